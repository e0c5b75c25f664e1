"""Rows per second of a batch, beside a loop of requests to the same service; memory meanwhile."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import cycle, islice
from typing import Any, Final, Self

import psutil

from tests.benchmarks import load
from tests.benchmarks.bars import Bar
from tests.benchmarks.iris import BODIES, CODE, FIT, expected_species
from tests.benchmarks.peers import (
    Connection,
    OurServer,
    PeerFailed,
    Target,
    proportional_bytes,
    publish,
    run_in_session,
)
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios
from tests.benchmarks.startable import Startable

RECORDS: Final = 100_000
WORKERS: Final = 2
CONNECTIONS: Final = 64
PARALLEL: Final = 100

_MIN_RATIO: Final = 1.3
_MAX_MEGABYTES: Final = 32
_POLL_SECONDS: Final = 0.2
_MIN_POLL_SECONDS: Final = 0.01
_LOOK_SECONDS: Final = 0.5
_PIECE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Effort:
    """Processor seconds that each kind of process has taken."""

    server: float
    front: float
    workers: float
    client: float

    @classmethod
    def now(cls, server: OurServer, before: Sequence[psutil.Process]) -> Self:
        """Read the clocks; ``before`` are the processes that are not workers, the server first."""
        workers = [process for process in server.processes() if process not in before]
        children = os.times()
        return cls(
            server=_seconds(before[:1]),
            front=_seconds(before[1:]),
            workers=_seconds(workers),
            client=children.children_user + children.children_system,
        )

    def each(self, begun: Self, rows: float) -> list[float]:
        """Microseconds a row since the clocks were read before."""
        parts = zip(astuple(self), astuple(begun), strict=True)
        return [(now - then) / rows * 1e6 for now, then in parts]


def _seconds(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


@dataclass(frozen=True, slots=True)
class Run:
    """One batch: where it is, its rate, and the most that the server's memory grew meanwhile."""

    path: str
    rows_per_second: float
    bytes_above_start: int


def measure(plan: Plan) -> Section:
    """Take the two in turns, and check every answer of the batch."""
    wrk = load.find_wrk()
    expected = expected_species()
    count = plan.scaled(RECORDS)
    body = b"[" + b",".join(islice(cycle(BODIES), count)) + b"]"
    loops: list[float] = []
    runs: list[Run] = []
    efforts: Efforts = {"batch": [], "loop": []}
    with OurServer(plan.work / "batch", workers=WORKERS) as server:
        _publish_iris(server)
        server.restart(workers=WORKERS)
        server.wait_until_quiet()
        # Before its first call there are no processes for the service alone.
        processes = server.processes()
        target = server.public("public API", "/api/Iris/1.0")
        with target.connect() as connection:
            # The first one comes another way, and has headers that the next ones do not have.
            connection.answer(target.path, BODIES[0])
            size = sum(connection.size_of_answer(target.path, one) for one in BODIES) / len(BODIES)
        run = _run_batch(target, b"[" + b",".join(BODIES) + b"]", len(BODIES), processes)
        _take_results(target, run.path, len(BODIES), expected)
        load.run(wrk, target.address, target.token, BODIES, CONNECTIONS, 1)  # warms; not counted
        for _ in plan.turns(plan.rounds):
            begun = Effort.now(server, processes)
            found = load.run(wrk, target.address, target.token, BODIES, CONNECTIONS, plan.seconds)
            found.check(size)
            loops.append(found.rate)
            efforts["loop"].append(Effort.now(server, processes).each(begun, found.requests))
            begun = Effort.now(server, processes)
            run = _run_batch(target, body, count, processes)
            efforts["batch"].append(Effort.now(server, processes).each(begun, count))
            runs.append(run)
            _take_results(target, run.path, count, expected)
    return _section(loops, runs, efforts, count, plan)


def _publish_iris(server: OurServer) -> None:
    with server.connect() as connection:
        session = run_in_session(connection, FIT)
        snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
        connection.call("DELETE", f"/sessions/{session}")
        inputs, outputs = {"flower_data": "vector"}, {"iris_species": "vector"}
        publish(connection, "Iris", CODE, snapshot=snapshot, inputs=inputs, outputs=outputs)


def _run_batch(target: Target, body: bytes, count: int, processes: Sequence[psutil.Process]) -> Run:
    with target.connect() as connection, Memory(processes) as memory:
        begun = time.perf_counter()
        path = f"{target.path}/batch"
        started = connection.call("POST", f"{path}?parallelCount={PARALLEL}", body)
        path = f"{path}/{started['batchExecutionId']}"
        while (status := connection.call("GET", f"{path}?count=0"))["state"] != "Complete":
            if status["state"] not in {"Pending", "InProgress"}:
                raise PeerFailed(f"The batch ended: {status}")
            time.sleep(_pause(time.perf_counter() - begun, status["completedItemCount"], count))
        seconds = time.perf_counter() - begun
    return Run(path, count / seconds, memory.above_start)


def _pause(seconds: float, done: int, count: int) -> float:
    """Tell when to ask again: more often near the end, which would else be seen late."""
    left = seconds * (count - done) / done if done else _POLL_SECONDS
    return min(max(left, _MIN_POLL_SECONDS), _POLL_SECONDS)


def _take_results(target: Target, path: str, count: int, expected: Sequence[list[str]]) -> None:
    with target.connect() as connection:
        _check_results(connection, path, count, expected)
        connection.call("DELETE", path)


def _check_results(
    connection: Connection, path: str, count: int, expected: Sequence[list[str]]
) -> None:
    for first in range(0, count, _PIECE):
        wanted = min(_PIECE, count - first)
        status = connection.call("GET", f"{path}?first={first}&count={wanted}")
        results: list[Any] = status["batchExecutionResults"]
        if len(results) != wanted:
            raise PeerFailed(f"{len(results)} results came instead of {wanted}.")
        for number, result in enumerate(results, first):
            if result["outputParameters"].get("iris_species") != expected[number % len(expected)]:
                raise PeerFailed(f"The result of record {number} is {result}.")


Efforts = dict[str, list[list[float]]]
"""Microseconds a row by kind of process, of each round."""


class Memory(Startable):
    """Looks at the memory of processes now and then.

    Parameters
    ----------
    processes
        Whose proportional set sizes are summed up.
    """

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._start = self._most = proportional_bytes(processes)

    @property
    def above_start(self) -> int:
        """The most that was seen, less what there was at the start; in bytes."""
        return self._most - self._start

    def _look(self) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            self._most = max(self._most, proportional_bytes(self._processes))

    def start(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._done.set()
        self._thread.join()


def _effort_table(efforts: Efforts) -> Table:
    rows = []
    for name, rounds in efforts.items():
        parts = [statistics.median(part) for part in zip(*rounds, strict=True)]
        rows.append([name, *(f"{part:.1f}" for part in (*parts, sum(parts)))])
    return Table(
        ["Processor time a row, µs", "server", "public API", "workers", "wrk", "all"], rows
    )


def _section(
    loops: list[float], runs: list[Run], efforts: Efforts, count: int, plan: Plan
) -> Section:
    rates = [run.rows_per_second for run in runs]
    ratio = ratios(rates, loops)
    megabytes = max(run.bytes_above_start for run in runs) / 1e6
    table = Table(
        [f"{WORKERS} workers, one row a record", "rows/s", "x loop", "MB above start"],
        [
            [
                f"batch of {count:,} records",
                Spread.of(rates).text(),
                ratio.text(2),
                f"{megabytes:.1f}",
            ],
            [f"loop of requests, {CONNECTIONS} connections", Spread.of(loops).text(), "1", ""],
        ],
    )
    return Section(
        title="A batch",
        tables=[table, _effort_table(efforts)],
        data={"loops": loops, "batches": runs, "records": count, "microseconds": efforts},
        notes=[
            (
                f"Median (lowest-highest) of {len(runs)} rounds, in each a loop of {plan.seconds} "
                "s by wrk and a batch. A batch's time is from sending it to reading that it is "
                "complete, which is asked five times a second, and at the end every 10 ms; storing "
                "records and results is in it, fetching the results is not. Then all of them are "
                "compared with the model's own."
            ),
            (
                "What limits the ratio is in the table of processor time: both ways pay the same "
                "for the workers, so that a batch can save no more than the loop's other parts."
            ),
            (
                "Memory: proportional set sizes of the server, the public API and the "
                "forkserver, the most that was seen in any batch above its start."
            ),
        ],
        bars=[
            Bar.at_least(
                f"batch of {count:,} one-row records, {WORKERS} workers, rows/s against a loop at "
                f"{CONNECTIONS} connections",
                ratio.median,
                _MIN_RATIO,
            ),
            Bar.at_most("memory of the server above start, MB", megabytes, _MAX_MEGABYTES),
        ],
    )
