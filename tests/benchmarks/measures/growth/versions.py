"""Versions of one snapshot: published only, and called in turn within a memory budget."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.iris import BODIES, CODE, FIT, expected_species
from tests.benchmarks.peers import Connection, OurServer, PeerFailed, publish, run_in_session
from tests.benchmarks.plan import Plan

_BUDGET: Final = 1_500
"""Megabytes, about a hundred called versions."""

_MOST: Final = 50
"""Versions whose publishing is timed at each size, the last ones."""


def published(plan: Plan) -> list[Growth]:
    """Publish more and more, and call none."""
    sizes = [plan.scaled(size) for size in (50, 300, 1000)]
    with OurServer(
        plan.work / "versions", options=["--ServiceManager.max_versions_per_user=0"]
    ) as server:
        versions = _Versions(server)
        server.wait_until_quiet()
        before = server.megabytes()
        versions.publish(1)  # takes the snapshot's template

        def do(size: int) -> Mapping[str, float]:
            versions.publish(size - min(_MOST, size // 2))
            count, begun = size - versions.count, server.processor_seconds()
            versions.publish(size)
            server.wait_until_quiet()
            return {
                "MB": server.megabytes() - before,
                "processor ms of a publish": 1000 * (server.processor_seconds() - begun) / count,
            }

        limits = {
            "MB": Limit.at_the_largest(100),
            "processor ms of a publish": Limit.of_times(1.5),
        }
        return grown("published versions of one snapshot", sizes, do, limits)


def called(plan: Plan) -> list[Growth]:
    """Call each once, more than fit into the budget."""
    sizes = [plan.scaled(size) for size in (100, 200, 300)]
    budget = plan.scaled(_BUDGET)
    options = [f"--LocalEngine.memory_budget={budget * 10**6}"]
    with OurServer(plan.work / "called", options=options) as server:
        versions = _Versions(server)
        versions.publish(max(sizes))
        server.restart()
        server.wait_until_quiet()
        before = server.megabytes()
        times: list[float] = []

        def do(size: int) -> Mapping[str, float]:
            with server.connect() as connection:
                connection.call("GET", "/services")  # connects, and has the token known
                numbers = range(len(times), size)
                times.extend(versions.call(connection, number) for number in numbers)
            return {
                "ms, p99 of first answers": sorted(times)[int(len(times) * 0.99) - 1],
                "MB": server.megabytes() - before,
            }

        limits = {
            "ms, p99 of first answers": Limit.at_the_largest(1000),
            "MB": Limit.at_the_largest(1.1 * budget),
        }
        return grown(f"versions called in turn, {budget:,} MB for them", sizes, do, limits)


class _Versions:
    """The service of the walkthrough, which tells its number besides, again and again."""

    def __init__(self, server: OurServer) -> None:
        self._server = server
        self._expected = expected_species()[0]
        self.count = 0
        with server.connect() as connection:
            session = run_in_session(connection, FIT)
            answer = connection.call("POST", f"/sessions/{session}/snapshot", {})
            connection.call("DELETE", f"/sessions/{session}")
        self._snapshot = answer["snapshotId"]

    def publish(self, count: int) -> None:
        """Publish until there are so many."""
        inputs, outputs = {"flower_data": "vector"}, {"iris_species": "vector", "number": "integer"}
        with self._server.connect() as connection:
            for number in range(self.count, count):
                publish(
                    *(connection, f"Iris{number}", f"{CODE}\nnumber = {number}"),
                    snapshot=self._snapshot,
                    inputs=inputs,
                    outputs=outputs,
                )
        self.count = max(self.count, count)

    def call(self, connection: Connection, number: int) -> float:
        """Call one, and give the milliseconds until its answer, which has to be right."""
        begun = time.perf_counter()
        answer = connection.call("POST", f"/api/Iris{number}/1.0", BODIES[0])
        milliseconds = 1000 * (time.perf_counter() - begun)
        if answer["outputParameters"] != {"iris_species": self._expected, "number": number}:
            raise PeerFailed(f"Version {number} answered {answer}.")
        return milliseconds
