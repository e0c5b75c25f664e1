"""Time to the first answer of services that nobody has called since the server started."""

from __future__ import annotations

import time
from typing import Final

from tests.benchmarks.bars import Bar
from tests.benchmarks.iris import BODIES, CODE, FIT, expected_species
from tests.benchmarks.peers import Connection, OurServer, PeerFailed, publish, run_in_session
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread

_MAX_MILLISECONDS: Final = 300.0
_NEXT: Final = 20


def measure(plan: Plan) -> Section:
    """Call one service after the other for the first time."""
    first: list[float] = []
    following: list[float] = []
    expected = expected_species()[0]
    with OurServer(plan.work / "cold") as server:
        paths = _publish(server, plan.rounds)
        server.restart()
        server.wait_until_quiet()
        with server.connect() as connection:
            connection.call("GET", "/services")  # connects, and has the token known
            for path in paths:
                first.append(_milliseconds(connection, path, expected))
                following += [_milliseconds(connection, path, expected) for _ in range(_NEXT)]
    return _section(first, following)


def _publish(server: OurServer, count: int) -> list[str]:
    """Publish the same service under names of its own; give their paths."""
    inputs, outputs = {"flower_data": "vector"}, {"iris_species": "vector"}
    with server.connect() as connection:
        session = run_in_session(connection, FIT)
        snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
        connection.call("DELETE", f"/sessions/{session}")
        return [
            publish(connection, f"Iris{i}", CODE, snapshot=snapshot, inputs=inputs, outputs=outputs)
            for i in range(count)
        ]


def _milliseconds(connection: Connection, path: str, expected: list[str]) -> float:
    begun = time.perf_counter()
    answer = connection.call("POST", path, BODIES[0])
    seconds = time.perf_counter() - begun
    if answer["outputParameters"].get("iris_species") != expected:
        raise PeerFailed(f"{path} answered {answer}.")
    return seconds * 1e3


def _section(first: list[float], following: list[float]) -> Section:
    found = Spread.of(first)
    return Section(
        title="Cold services",
        tables=[
            Table(
                ["The iris service", "ms"],
                [
                    ["first answer of a cold service", found.text()],
                    ["next answers", Spread.of(following).text(1)],
                ],
            )
        ],
        data={"first": first, "next": following},
        notes=[
            (
                f"Median (lowest-highest) of {len(first)} services, one after the other. The "
                "server runs and is quiet, the libraries are imported; the service's snapshot is "
                "restored and its worker started when it is called for the first time."
            )
        ],
        bars=[
            Bar.at_most(
                "first answer of a cold service, ms", found.median, _MAX_MILLISECONDS, digits=0
            )
        ],
    )
