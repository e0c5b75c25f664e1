"""Time to take and restore a snapshot with a large model, and to a cold service's first answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.benchmarks import plain
from tests.benchmarks.models import MEGABYTES, MODELS, OUTPUTS, LargeModel, load_code
from tests.benchmarks.peers import Connection, FastApiPeer, OurServer, publish, run_in_session
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

T = TypeVar("T")
Times = dict[str, list[float]]

DUMP = "cloudpickle to a file, fsync"
LOAD = "pickle.load, fresh process"
LOAD_AND_SCORE = "pickle.load and first score"
FASTAPI_START = "start of FastAPI to its first answer"
FASTAPI_NEXT = "FastAPI, next answer"

# Our step, and the peer's that it is compared with.
STEPS = (
    ("snapshot", DUMP),
    ("snapshot of the same again", DUMP),
    ("load into a session", LOAD),
    ("load and first score", LOAD_AND_SCORE),
    ("publish", None),
    ("first answer of a cold service", FASTAPI_START),
    ("next answer", FASTAPI_NEXT),
)


def measure(plan: Plan) -> Section:
    """Go through all steps with each model, in turns with the peers."""
    times: dict[str, Times] = {}
    megabytes = plan.scaled(MEGABYTES)
    for model in MODELS.values():
        file = model.file(plan.work, megabytes)
        times[model.name] = {}
        for turn in plan.turns(plan.repeats):
            # A new data folder each time: content that is stored already is not stored again.
            folder = plan.work / f"snapshots-{model.name}-{turn}"
            _measure_ours(model, folder, file, times[model.name])
            _measure_plain(model, plan.work, megabytes, times[model.name])
            _measure_fastapi(model, plan.work, file, times[model.name])
    return _section(times, megabytes)


def _measure_ours(model: LargeModel, folder: Path, file: Path, times: Times) -> None:
    with OurServer(folder) as server:
        with server.connect() as connection:
            snapshot = _take_snapshots(connection, file, times)
            _load_snapshot(connection, model, snapshot, times)
            publishing = _timed(
                times,
                "publish",
                lambda: publish(
                    connection, "Large", model.code, snapshot=snapshot, inputs={}, outputs=OUTPUTS
                ),
            )
        server.restart()
        server.wait_until_quiet()
        with server.connect() as connection:
            connection.call("GET", "/sessions")  # connects
            for step in ("first answer of a cold service", "next answer"):
                _timed(times, step, lambda: connection.call("POST", publishing, {}))


def _take_snapshots(connection: Connection, file: Path, times: Times) -> str:
    session = run_in_session(connection, load_code(file))
    path = f"/sessions/{session}/snapshot"
    for step in ("snapshot", "snapshot of the same again"):
        answer = _timed(times, step, lambda: connection.call("POST", path, {"name": "large"}))
    connection.call("DELETE", f"/sessions/{session}")
    return str(answer["snapshotId"])


def _load_snapshot(connection: Connection, model: LargeModel, snapshot: str, times: Times) -> None:
    session = run_in_session(connection, "1+1")
    path = f"/sessions/{session}/loadsnapshot/{snapshot}"
    _timed(times, "load into a session", lambda: connection.call("POST", path))
    _timed(times, "load and first score", lambda: run_in_session(connection, model.code, session))
    times["load and first score"][-1] += times["load into a session"][-1]
    connection.call("DELETE", f"/sessions/{session}")


def _measure_plain(model: LargeModel, work: Path, megabytes: int, times: Times) -> None:
    found = plain.measure(model.name, work, megabytes)
    times.setdefault(DUMP, []).append(found.dump)
    times.setdefault(LOAD, []).append(found.load)
    times.setdefault(LOAD_AND_SCORE, []).append(found.load + found.score)


def _measure_fastapi(model: LargeModel, work: Path, file: Path, times: Times) -> None:
    environment = {"BENCHMARK_MODEL": str(file), "BENCHMARK_CODE": model.code}
    peer = FastApiPeer("large_model", "/score", work=work, environment=environment)
    try:
        _timed(times, FASTAPI_START, lambda: peer.start().first_answer({}))
        with peer.target.connect() as connection:
            connection.call("POST", "/score", {})  # connects
            _timed(times, FASTAPI_NEXT, lambda: connection.call("POST", "/score", {}))
    finally:
        peer.stop()


def _timed(times: Times, step: str, call: Callable[[], T]) -> T:
    begun = time.perf_counter()
    result = call()
    times.setdefault(step, []).append(time.perf_counter() - begun)
    return result


def _section(times: dict[str, Times], megabytes: int) -> Section:
    turns = " or ".join(sorted({str(len(found[DUMP])) for found in times.values()}))
    return Section(
        title=f"Snapshots and cold services with a model of {megabytes} MB",
        tables=[_table(name, found) for name, found in times.items()],
        data=dict(times),
        notes=[
            (
                f"Milliseconds, median (lowest-highest) of {turns}, each with an empty "
                "data folder. Files just written are in the page cache on both sides."
            ),
            (
                "arrays: ten numpy arrays, all summed by the service. forest: a "
                "RandomForestRegressor of fully grown trees, predicting 64 rows."
            ),
            (
                "A cold service: the server runs and is quiet, but nobody has called the "
                "service since it started. The peer is cold when its process is not there."
            ),
        ],
    )


def _table(model: str, times: Times) -> Table:
    rows = []
    for step, peer in STEPS:
        row = [step, _milliseconds(times[step]), "", "", ""]
        if peer is not None:
            row[2:] = [
                peer,
                _milliseconds(times[peer]),
                ratios(times[step], times[peer]).text(2),
            ]
        rows.append(row)
    return Table([f"Model: {model}", "ms", "peer", "peer ms", "x peer"], rows)


def _milliseconds(seconds: list[float]) -> str:
    return Spread.of([value * 1e3 for value in seconds]).text()
