"""Requests per second and latency of the iris service, beside FastAPI and a bare loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks import load
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.iris import BODIES, CODE, FIT, expected_species
from tests.benchmarks.peers import (
    Connection,
    FastApiPeer,
    OurServer,
    PeerFailed,
    Target,
    publish,
    run_in_session,
)
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

CONNECTIONS = (1, 8, 64)

Species = Callable[[Any], list[str]]


@dataclass
class Contestant:
    """A target with its peer to compare with, and what was measured of it."""

    target: Target
    species: Species
    versus: str | None = None
    loads: dict[int, list[load.Load]] = field(default_factory=dict)
    answer_size: float = 0

    def check_answers(self, expected: Sequence[list[str]]) -> None:
        """See that it answers rightly, and remember the size of right answers.

        Raises
        ------
        PeerFailed
            An answer is wrong.
        """
        with self.target.connect() as connection:
            for body, species in zip(BODIES, expected, strict=True):
                answer = connection.call("POST", self.target.path, body)
                if self.species(answer) != species:
                    raise PeerFailed(f"{self.target.name} answered {answer} to {body!r}.")
            sizes = [connection.size_of_answer(self.target.path, body) for body in BODIES]
        self.answer_size = statistics.fmean(sizes)

    def put_under_load(self, wrk: str, connections: int, seconds: int) -> load.Load:
        """Load it once, trusting only a run of right answers."""
        target = self.target
        found = load.run(wrk, target.address, target.token, BODIES, connections, seconds)
        try:
            found.check(self.answer_size)
        except load.LoadFailed as error:
            raise load.LoadFailed(f"{target.name}: {error}") from None
        return found

    def rates(self, connections: int) -> list[float]:
        """Requests per second, by round."""
        return [found.rate for found in self.loads[connections]]


def measure(plan: Plan) -> Section:
    """Load all contestants in turns, round by round."""
    wrk = load.find_wrk()
    expected = expected_species()
    with ExitStack() as stack:
        contestants = _contestants(plan, stack)
        loop = stack.enter_context(BareLoop())
        bare: list[float] = []
        for one in contestants:
            one.check_answers(expected)
            one.put_under_load(wrk, 8, 1)  # warms caches and pools; not counted
        for _ in plan.turns(plan.rounds):
            for connections in CONNECTIONS:
                for one in contestants:
                    found = one.put_under_load(wrk, connections, plan.seconds)
                    one.loads.setdefault(connections, []).append(found)
            bare.append(loop.rate(plan.seconds))
        for one in contestants:
            one.check_answers(expected)
    return _section(contestants, bare, plan)


def _contestants(plan: Plan, stack: ExitStack) -> list[Contestant]:
    peers = {
        workers: stack.enter_context(FastApiPeer("iris", "/iris", work=plan.work, workers=workers))
        for workers in (1, 2)
    }
    servers = {
        workers: stack.enter_context(
            OurServer(plan.work / f"throughput-{workers}", workers=workers)
        )
        for workers in (1, 2)
    }
    paths = {workers: _publish_iris(server) for workers, server in servers.items()}
    for peer in peers.values():
        peer.first_answer(BODIES[0])
    versus = {workers: peer.target.name for workers, peer in peers.items()}
    return [
        Contestant(servers[1].public("public door, 1 worker", paths[1]), _our_species, versus[1]),
        Contestant(servers[2].public("public door, 2 workers", paths[2]), _our_species, versus[2]),
        Contestant(servers[1].jupyter("Jupyter door, 1 worker", paths[1]), _our_species, versus[1]),
        *(Contestant(peer.target, _their_species) for peer in peers.values()),
    ]


def _publish_iris(server: OurServer) -> str:
    with server.connect() as connection:
        session = run_in_session(connection, FIT)
        snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
        connection.call("DELETE", f"/sessions/{session}")
        return _published(connection, snapshot)


def _published(connection: Connection, snapshot: str) -> str:
    vector = {"flower_data": "vector"}, {"iris_species": "vector"}
    return publish(connection, "Iris", CODE, snapshot=snapshot, inputs=vector[0], outputs=vector[1])


def _our_species(answer: Any) -> list[str]:
    if not answer["success"]:
        raise PeerFailed(f"The service failed: {answer['errorMessage']}")
    species: list[str] = answer["outputParameters"]["iris_species"]
    return species


def _their_species(answer: Any) -> list[str]:
    species: list[str] = answer["iris_species"]
    return species


def _section(contestants: Sequence[Contestant], bare: list[float], plan: Plan) -> Section:
    by_name = {one.target.name: one for one in contestants}
    tables = [_speed_table(connections, contestants, by_name) for connections in CONNECTIONS]
    most = max(CONNECTIONS)
    share = Table(
        ["Share of the bare loop", "requests/s", "bare calls/s", "share"],
        [
            [
                name,
                Spread.of(by_name[name].rates(most)).text(),
                Spread.of(bare).text(),
                ratios(by_name[name].rates(most), bare).text(2),
            ]
            for name in (contestants[0].target.name, str(contestants[0].versus))
        ],
    )
    return Section(
        title="The iris service under load",
        tables=[*tables, share],
        data={
            "rounds": {one.target.name: one.loads for one in contestants},
            "bare_calls_per_second": bare,
        },
        notes=[
            (
                f"Median (lowest-highest) of {len(bare)} rounds of {plan.seconds} s; in each "
                "round the servers are loaded in turns. Ratios are taken round by round."
            ),
            (
                "One row a request, bearer token, kept-alive connections, wrk with one thread "
                "on the same cores. Every answer had status 2xx; species were checked before "
                "and after, and the size of the answers during the load."
            ),
            (
                "Latency is of a closed loop: a connection sends its next request when it has "
                "its answer."
            ),
            (
                "FastAPI: uvicorn with uvloop and httptools, async endpoint, pydantic models of"
                " input and output, a token compared in constant time."
            ),
            (
                "Bare loop: the same call of the same model in a plain process, one core; "
                f"compared at {most} connections."
            ),
        ],
    )


def _speed_table(
    connections: int, contestants: Sequence[Contestant], by_name: dict[str, Contestant]
) -> Table:
    rows = []
    for one in contestants:
        loads = one.loads[connections]
        versus = by_name[one.versus] if one.versus else None
        rows.append(
            [
                one.target.name,
                Spread.of(one.rates(connections)).text(),
                Spread.of([found.p50 for found in loads]).text(2),
                Spread.of([found.p99 for found in loads]).text(2),
                ratios(one.rates(connections), versus.rates(connections)).text(2)
                if versus
                else "1",
            ]
        )
    label = f"{connections} connection{'s' if connections > 1 else ''}"
    return Table([label, "requests/s", "p50 ms", "p99 ms", "x FastAPI"], rows)
