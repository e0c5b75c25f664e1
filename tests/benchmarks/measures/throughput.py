"""Requests per second and latency of the iris service, beside what users would pick instead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from jupyter_mlsvc import serialize_model
from tests.benchmarks import load
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.bars import Bar
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.frameworks.catalogue import FRAMEWORKS, RAY, RAY_HAPROXY
from tests.benchmarks.frameworks.rival import STACK, Rival
from tests.benchmarks.iris import (
    BODIES,
    CODE,
    FIT,
    FLAT_CODE,
    FLOWERS,
    NAMES,
    expected_species,
    fit,
)
from tests.benchmarks.peers import (
    FastApiPeer,
    OurServer,
    PeerFailed,
    publish,
    run_in_session,
)
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

TITLE = "The iris service under load"

CONNECTIONS = (1, 8, 64)
_MAX_CONNECTIONS = max(CONNECTIONS)

_ONE, _TWO = "public API, 1 worker", "public API, 2 workers"
_FLAT = "public API, 1 worker, the article's flat list"
_REALTIME = "public API, realtime service"
OURS = (_ONE, _TWO, _FLAT, _REALTIME)
_BARE, _TOLD = "plain", "told what is no data frame"
_FASTAPI = {1: "FastAPI, 1 process", 2: "FastAPI, 2 processes"}

Bare = Mapping[str, Sequence[float]]
"""Calls per second of the bare loops, round by round."""


def measure(plan: Plan) -> Section:
    """Load all contestants in turns, round by round."""
    wrk = load.find_wrk()
    expected = expected_species()
    rivals = [
        # Short names: some put sockets there, whose paths may not be long.
        Rival(FRAMEWORKS[name], plan.work / f"f{number}", versus=_FASTAPI[2])
        for number, name in enumerate(plan.frameworks)
    ]
    for rival in rivals:
        rival.install()
    with ExitStack() as stack:
        contestants = _contestants(plan, stack)
        loops = {
            name: stack.enter_context(BareLoop(told=told))
            for name, told in ((_BARE, False), (_TOLD, True))
        }
        bare: dict[str, list[float]] = {name: [] for name in loops}
        for one in contestants:
            one.check_answers(expected)
            one.put_under_load(wrk, 8, 1)  # warms caches and pools; not counted
        for _ in range(plan.rounds):
            for connections in CONNECTIONS:
                for one in contestants:
                    one.measure(wrk, connections, plan.seconds)
            for rival in rivals:
                rival.take_turn(
                    wrk,
                    expected,
                    connections=_MAX_CONNECTIONS,
                    warm_seconds=plan.warm_seconds,
                    seconds=plan.seconds,
                )
            for name, loop in loops.items():
                bare[name].append(loop.rate(plan.seconds))
        for one in contestants:
            one.check_answers(expected)
    return _section(contestants, rivals, bare, plan)


def _contestants(plan: Plan, stack: ExitStack) -> list[Contestant]:
    peers = {
        workers: stack.enter_context(FastApiPeer("iris", "/iris", work=plan.work, workers=workers))
        for workers in _FASTAPI
    }
    servers = {
        workers: stack.enter_context(
            OurServer(plan.work / f"throughput-{workers}", workers=workers)
        )
        for workers in (1, 2)
    }
    paths = {workers: _publish_iris(server) for workers, server in servers.items()}
    realtime = servers[1].publish_realtime("IrisModel", serialize_model(fit()["clf"]))
    for peer in peers.values():
        peer.first_answer(BODIES[0])
    iris, flat = paths[1]
    public = servers[1].public
    one, two = _FASTAPI.values()
    return [
        Contestant(public(_ONE, iris), BODIES, _our_species, one),
        Contestant(servers[2].public(_TWO, paths[2][0]), BODIES, _our_species, two),
        Contestant(public(_FLAT, flat), BODIES, _our_species, one),
        Contestant(public(_REALTIME, realtime), _columns(), _predicted_species, one),
        *(Contestant(peer.target, BODIES, _their_species) for peer in peers.values()),
    ]


def _publish_iris(server: OurServer) -> tuple[str, str]:
    """Publish it as it is written today, and as the article has it."""
    vector = {"flower_data": "vector"}, {"iris_species": "vector"}
    with server.connect() as connection:
        session = run_in_session(connection, FIT)
        snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
        connection.call("DELETE", f"/sessions/{session}")
        iris, flat = (
            publish(connection, name, code, snapshot=snapshot, inputs=vector[0], outputs=vector[1])
            for name, code in (("Iris", CODE), ("IrisFlat", FLAT_CODE))
        )
    return iris, flat


def _columns() -> list[bytes]:
    """The flowers as a realtime service takes them: a data.frame of one row."""
    return [
        json.dumps({"inputData": {name: [x] for name, x in zip("abcd", row, strict=True)}}).encode()
        for row in FLOWERS
    ]


def _outputs(answer: Any) -> Any:
    if not answer["success"]:
        raise PeerFailed(f"The service failed: {answer['errorMessage']}")
    return answer["outputParameters"]


def _our_species(answer: Any) -> list[str]:
    species: list[str] = _outputs(answer)["iris_species"]
    return species


def _predicted_species(answer: Any) -> list[str]:
    return [NAMES[number] for number in _outputs(answer)["outputData"]["y_Pred"]]


def _their_species(answer: Any) -> list[str]:
    species: list[str] = answer["iris_species"]
    return species


def _section(
    contestants: Sequence[Contestant], rivals: Sequence[Rival], bare: Bare, plan: Plan
) -> Section:
    rows = {one.name: one for one in contestants}
    measured = {one.name: one for rival in rivals if (one := rival.measured)}
    best = _best(measured)
    tables = [
        _speed_table(connections, rows)
        for connections in CONNECTIONS
        if connections < _MAX_CONNECTIONS
    ]
    tables.append(_full_table(rows, rivals, best))
    tables.append(_share_table(rows, bare))
    if rivals:
        tables.append(_frameworks_table(rivals))
    everybody = [*rows.values(), *measured.values()]
    return Section(
        title=TITLE,
        tables=tables,
        data={
            "rounds": {one.name: one.loads for one in everybody},
            "bare_calls_per_second": bare,
            "frameworks": {
                rival.name: {
                    "versions": rival.versions,
                    "settings": rival.framework.settings,
                    "left out because": rival.failure,
                }
                for rival in rivals
            },
        },
        notes=list(_notes(plan)),
        bars=list(_bars(rows, measured, best, bare, wanted=bool(rivals))),
        faults=list(_faults(rows.values())),
    )


def _best(measured: Mapping[str, Contestant]) -> Contestant | None:
    """The fastest framework; Ray Serve has a bar of its own."""
    others = [one for one in measured.values() if one.name not in (RAY.name, RAY_HAPROXY.name)]
    return max(others, key=lambda one: Spread.of(one.rates(_MAX_CONNECTIONS)).median, default=None)


def _speed_table(connections: int, rows: Mapping[str, Contestant]) -> Table:
    label = f"{connections} connection{'s' if connections > 1 else ''}"
    return Table(
        [label, "requests/s", "p50 ms", "p99 ms", "x FastAPI", "failed"],
        [
            [*_speed(one, connections), _versus(one, rows, connections), _failed(one)]
            for one in rows.values()
        ],
    )


def _full_table(
    rows: Mapping[str, Contestant], rivals: Sequence[Rival], best: Contestant | None
) -> Table:
    columns = [f"{_MAX_CONNECTIONS} connections", "requests/s", "p50 ms", "p99 ms", "x FastAPI"]
    versus_best = f"x {best.name}" if best else "x best framework"
    lines = []
    for one in [*rows.values(), *(rival.measured or rival for rival in rivals)]:
        if isinstance(one, Rival):
            lines.append([f"{one.name}: {one.failure}", *["-"] * 6])
            continue
        against_best = _ratio(one, best).text(2) if best else "-"
        lines.append(
            [
                *_speed(one, _MAX_CONNECTIONS),
                _versus(one, rows, _MAX_CONNECTIONS),
                against_best,
                _failed(one),
            ]
        )
    return Table([*columns, versus_best, "failed"], lines)


def _speed(one: Contestant, connections: int) -> list[str]:
    loads = one.loads[connections]
    return [
        one.name,
        Spread.of(one.rates(connections)).text(),
        Spread.of([found.p50 for found in loads]).text(2),
        Spread.of([found.p99 for found in loads]).text(2),
    ]


def _versus(one: Contestant, rows: Mapping[str, Contestant], connections: int) -> str:
    if one.versus is None:
        return "1"
    return _ratio(one, rows[one.versus], connections).text(2)


def _failed(one: Contestant) -> str:
    return f"{sum(one.failures().values()):,}"


def _ratio(one: Contestant, other: Contestant, connections: int = _MAX_CONNECTIONS) -> Spread:
    return ratios(one.rates(connections), other.rates(connections))


def _share_table(rows: Mapping[str, Contestant], bare: Bare) -> Table:
    return Table(
        ["Share of the bare loop", "requests/s", *bare],
        [
            [
                name,
                Spread.of(rows[name].rates(_MAX_CONNECTIONS)).text(),
                *(
                    ratios(rows[name].rates(_MAX_CONNECTIONS), calls).text(2)
                    for calls in bare.values()
                ),
            ]
            for name in (_ONE, _FASTAPI[1])
        ]
        + [["calls/s of the loop", "-", *(Spread.of(calls).text() for calls in bare.values())]],
    )


def _frameworks_table(rivals: Sequence[Rival]) -> Table:
    return Table(
        ["Framework", "version", "on", "run with"],
        [
            [
                rival.name,
                rival.version,
                ", ".join(
                    f"{name} {rival.versions[name]}" for name in STACK if name in rival.versions
                ),
                rival.framework.settings,
            ]
            for rival in rivals
        ],
    )


def _bars(
    rows: Mapping[str, Contestant],
    measured: Mapping[str, Contestant],
    best: Contestant | None,
    bare: Bare,
    *,
    wanted: bool,
) -> Iterator[Bar]:
    """Judge by the medians of ratios that were taken round by round."""

    def rate(one: str, other: str) -> float:
        return _ratio(rows[one], rows[other]).median

    def latency(one: str, other: str, connections: int, which: str) -> float:
        both = [
            [float(getattr(found, which)) for found in rows[name].loads[connections]]
            for name in (one, other)
        ]
        return ratios(*both).median

    def versus(other: Contestant | None) -> float | None:
        return _ratio(rows[_TWO], other).median if other else None

    many, single = f"{_MAX_CONNECTIONS} connections", "1 connection"
    fast, faster = _FASTAPI.values()
    yield Bar.at_least(f"{_ONE}, {many}: requests/s x {fast}", rate(_ONE, fast), 3.0)
    slow = latency(_ONE, fast, _MAX_CONNECTIONS, "p99")
    yield Bar.at_most(f"{_ONE}, {many}: p99 x {fast}", slow, 0.5)
    yield Bar.at_least(f"{_TWO}, {many}: requests/s x {faster}", rate(_TWO, faster), 1.7)
    alone = latency(_ONE, fast, 1, "p50")
    yield Bar.at_most(f"{_ONE}, {single}: p50 x {fast}", alone, 1.0)
    if wanted:
        name = f"the best framework ({best.name})" if best else "the best framework"
        yield Bar.at_least(f"{_TWO}, {many}: requests/s x {name}", versus(best), 3.0)
        for ray in (RAY.name, RAY_HAPROXY.name):
            figure = versus(measured.get(ray))
            yield Bar.at_least(f"{_TWO}, {many}: requests/s x {ray}", figure, 3.0)
    yield Bar.at_least(f"{_REALTIME}, {many}: requests/s x {_ONE}", rate(_REALTIME, _ONE), 4.0)
    yield Bar.at_least(f"{_REALTIME}, {many}: requests/s x {fast}", rate(_REALTIME, fast), 12.0)
    alone = latency(_REALTIME, _ONE, 1, "p50")
    yield Bar.at_most(f"{_REALTIME}, {single}: p50 x {_ONE}", alone, 1.0)
    share = ratios(rows[_ONE].rates(_MAX_CONNECTIONS), bare[_BARE]).median
    yield Bar.at_least(f"{_ONE}, {many}: share of the bare loop", share, 0.85)


def _faults(contestants: Iterable[Contestant]) -> Iterator[str]:
    """Tell of answers that were not right: the figures of a run with them are not to be trusted."""
    for one in contestants:
        if failures := one.failures():
            yield f"{one.name} failed: {dict(failures)}."


def _notes(plan: Plan) -> Iterator[str]:
    yield (
        f"Median (lowest-highest) of {plan.rounds} rounds of {plan.seconds} s; in each round the "
        "servers are loaded in turns. Ratios are taken round by round, to FastAPI with as many "
        "processes."
    )
    yield (
        "One row a request, kept-alive connections, wrk with one thread on the same cores. wrk "
        "compares the status and the body of every answer with the right one, and each body has to "
        "come as often as it was asked for; this costs 0.6 microseconds of processor time an "
        "answer. Before and after, 16 clients at once see that each gets the answer to what they "
        "asked. failed: answers of all rounds that were not right; they do not count for speed."
    )
    yield "Latency is of a closed loop: a connection sends its next request when it has its answer."
    yield (
        "All call `clf.predict` with a list of one row, or of the rows that were gathered; only "
        "the flat list is the article's `clf.predict(flower_data)`, which this server makes work."
    )
    yield (
        "FastAPI: uvicorn with uvloop and httptools, async endpoint, pydantic models of input and "
        "output, a token compared in constant time."
    )
    yield (
        "Bare loop: the same call of the same model in a plain process, one core; compared at "
        f"{_MAX_CONNECTIONS} connections. scikit-learn asks three times a call whether a list or "
        "an array is a data frame; our workers answer that at once, and so does the second loop."
    )
    if plan.frameworks:
        yield (
            "The frameworks are started for their turn, warmed for "
            f"{plan.warm_seconds} s and ended after it, outside of the measured time. They run "
            "without a token check, which is in their favour. Ours and FastAPI stay up; idle, they "
            "take less than a hundredth of a core."
        )
