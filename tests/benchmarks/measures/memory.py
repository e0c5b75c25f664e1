"""Memory of one and of four workers with a large model, beside FastAPI with as many processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.bars import Bar
from tests.benchmarks.models import MEGABYTES, MODELS, OUTPUTS, LargeModel, load_code
from tests.benchmarks.peers import (
    FastApiPeer,
    OurServer,
    PeerFailed,
    Target,
    proportional_bytes,
    publish,
    run_in_session,
)
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table

WORKERS = (1, 4)

MAX_TIMES = {"arrays": 1.15, "forest": 1.4}
"""What the largest number of workers may take beside what one takes."""


@dataclass(frozen=True, slots=True)
class Use:
    """Proportional set sizes in bytes, once as many workers as wanted have scored.

    Parameters
    ----------
    service
        Of the processes that are there for the service alone.
    all
        Of all processes of the server.
    processes
        How many processes the service has.
    """

    service: int
    all: int
    processes: int


def measure(plan: Plan) -> Section:
    """Measure each model with each number of workers, ours and the peer's."""
    uses: dict[str, dict[int, dict[str, Use]]] = {}
    megabytes = plan.scaled(MEGABYTES)
    for model in MODELS.values():
        uses[model.name] = {workers: {} for workers in WORKERS}
        for workers, use in _ours(model, megabytes, plan.work).items():
            uses[model.name][workers]["ours"] = use
        for workers in WORKERS:
            uses[model.name][workers]["FastAPI"] = _fastapi(model, megabytes, plan.work, workers)
    return _section(uses, megabytes)


def _ours(model: LargeModel, megabytes: int, work: Path) -> dict[int, Use]:
    found = {}
    with OurServer(work / f"memory-{model.name}") as server:
        path = _publish(server, model, model.file(work, megabytes))
        for workers in WORKERS:
            # A restart, so that nothing of the publishing is left in any process.
            server.restart(workers=workers)
            server.wait_until_quiet()
            before = {process.pid for process in server.processes()}
            _score_in_all(server.public("ours", path), workers)
            server.wait_until_quiet()
            everything = server.processes()
            service = [process for process in everything if process.pid not in before]
            found[workers] = _use(service, everything)
    return found


def _publish(server: OurServer, model: LargeModel, file: Path) -> str:
    with server.connect() as connection:
        session = run_in_session(connection, load_code(file))
        snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
        connection.call("DELETE", f"/sessions/{session}")
        return publish(
            connection, "Large", model.code, snapshot=snapshot, inputs={}, outputs=OUTPUTS
        )


def _fastapi(model: LargeModel, megabytes: int, work: Path, workers: int) -> Use:
    file = model.file(work, megabytes)
    environment = {"BENCHMARK_MODEL": str(file), "BENCHMARK_CODE": model.code}
    peer = FastApiPeer("large_model", "/score", work=work, workers=workers, environment=environment)
    with peer:
        peer.first_answer({})
        _score_in_all(peer.target, workers)
        everything = [peer.process, *peer.process.children(recursive=True)]
        return _use(peer.worker_processes, everything)


def _score_in_all(target: Target, workers: int, timeout: float = 60) -> None:
    """Ask, several at a time, until as many workers as wanted have given a score."""
    seen: set[int] = set()
    deadline = time.monotonic() + timeout
    lock = threading.Lock()

    def ask() -> None:
        while len(seen) < workers and time.monotonic() < deadline:
            # A connection each time: some servers give a connection to one process for good.
            with target.connect() as connection:
                worker = _worker_of(connection.call("POST", target.path, {}))
            with lock:
                seen.add(worker)

    _in_parallel(ask, 2 * workers)
    if len(seen) < workers:
        raise PeerFailed(f"{target.name}: only {len(seen)} of {workers} workers scored.")


def _worker_of(answer: dict[str, object]) -> int:
    outputs = answer.get("outputParameters", answer)
    if not isinstance(outputs, dict) or not isinstance(outputs.get("worker"), int):
        raise PeerFailed(f"The answer names no worker: {answer!r}")
    return int(outputs["worker"])


def _in_parallel(work: Callable[[], None], count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work) for _ in range(count)]:
            done.result()


def _use(service: Sequence[psutil.Process], everything: Sequence[psutil.Process]) -> Use:
    return Use(
        service=proportional_bytes(service),
        all=proportional_bytes(everything),
        processes=len(service),
    )


def _section(uses: dict[str, dict[int, dict[str, Use]]], megabytes: int) -> Section:
    rows = []
    for model, by_workers in uses.items():
        for workers, found in by_workers.items():
            ours, peer = found["ours"], found["FastAPI"]
            rows.append(
                [
                    f"{model}, {workers} worker{'s' if workers > 1 else ''}",
                    _megabytes(ours.service),
                    _megabytes(peer.service),
                    f"{ours.service / peer.service:.2f}",
                    _megabytes(ours.all),
                    _megabytes(peer.all),
                    f"{ours.all / peer.all:.2f}",
                ]
            )
    columns = [
        f"Model of {megabytes} MB",
        "service MB",
        "FastAPI workers MB",
        "x FastAPI",
        "whole server MB",
        "whole FastAPI MB",
        "x FastAPI",
    ]
    return Section(
        title="Memory",
        tables=[Table(columns, rows)],
        data=dict(uses),
        notes=[
            (
                "Sums of proportional set sizes: memory that n processes share counts once. "
                "Measured when every worker has scored, using all of the arrays."
            ),
            (
                "service: the processes that started with its first call, which are its workers"
                " and the template that they are forked from. whole: the server with everything"
                " it runs, for us accounts, sessions, snapshots and both APIs too."
            ),
        ],
        # Beside smaller models what a worker itself takes would show more.
        bars=[_bar(model, by_workers) for model, by_workers in uses.items()]
        if megabytes == MEGABYTES
        else (),
    )


def _bar(model: str, by_workers: dict[int, dict[str, Use]]) -> Bar:
    few, many = min(WORKERS), max(WORKERS)
    times = by_workers[many]["ours"].service / by_workers[few]["ours"].service
    name = f"{model} of {MEGABYTES} MB, memory of {many} workers against {few}"
    return Bar.at_most(name, times, MAX_TIMES[model])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"
