"""Large tables in Arrow beside JSON, and how long a large body holds up the server's loop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd

from jupyter_mlsvc.client import arrow_calls
from tests.benchmarks import turns
from tests.benchmarks.bars import Bar
from tests.benchmarks.peers import Connection, OurServer, PeerFailed, publish
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

CELLS: Final = 1_000_000
COLUMNS: Final = 10
MEGABYTES: Final = (1, 10, 50, 200)

_CALLS: Final = 3
_MEGA: Final = 1_000_000
_MOST: Final = 300 * _MEGA

_MIN_RATIO: Final = 6.0
_MAX_TURN: Final = 5.0
_PATIENCE: Final = 60.0

Times = dict[str, list[float]]


class WatchedServer(OurServer):
    """A server that takes large bodies and tells the longest turn of its loop."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir.with_suffix(".turns")
        super().__init__(
            data_dir,
            options=[
                f"--config={turns.__file__}",
                f"--MlsvcApp.max_body_bytes={_MOST}",
                f"--MlsvcApp.max_held_bytes={2 * _MOST}",
            ],
        )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have it tell its turns where the loop is to be watched."""
        os.environ[turns.FILE] = str(self._file)
        try:
            yield
        finally:
            del os.environ[turns.FILE]

    def longest_turn(self) -> float:
        """Give the longest turn since the last time, in milliseconds."""
        self._file.unlink(missing_ok=True)
        self.signal_host(turns.TELL)
        give_up = time.monotonic() + _PATIENCE
        while not self._file.exists():
            if time.monotonic() > give_up:
                raise PeerFailed("The server did not tell how long its turns were.")
            time.sleep(0.01)
        return float(self._file.read_text()) * 1000


def measure(plan: Plan) -> Section:
    """Measure both."""
    frame = _frame(CELLS)
    with OurServer(plan.work / "arrow") as server:
        times = _processor_times(server, frame, plan)
    sizes = [megabytes for megabytes in MEGABYTES if megabytes <= plan.scaled(max(MEGABYTES))]
    longest = longest_turns(plan, plan.work / "turns", sizes)
    return _section(times, len(msgspec.json.encode(frame.to_dict("list"))), longest)


def _frame(cells: int) -> pd.DataFrame:
    numbers = np.random.default_rng(0).normal(size=(cells // COLUMNS, COLUMNS))
    return pd.DataFrame(numbers, columns=[f"c{number}" for number in range(COLUMNS)])


# --- processor time --------------------------------------------------------------------------


def _processor_times(server: OurServer, frame: pd.DataFrame, plan: Plan) -> Times:
    """Send a frame there and back, in turns as JSON and as Arrow; seconds of all processes."""
    times: Times = {"JSON": [], "Arrow": []}
    with server.connect() as connection:
        kinds = {"df": "data.frame"}, {"out": "data.frame"}
        publish(connection, "Echo", "out = df", snapshot=None, inputs=kinds[0], outputs=kinds[1])
    usual = arrow_calls.MANY_CELLS
    with server.client() as client:
        service = client.service("Echo")
        try:
            for turn in plan.turns(plan.rounds + 1):
                for way, least in {"JSON": frame.size + 1, "Arrow": usual}.items():
                    arrow_calls.MANY_CELLS = least  # type: ignore[misc]  # the one way or the other
                    seconds = _seconds_of(server, service, frame)
                    if turn:  # the first one warms up
                        times[way].append(seconds)
        finally:
            arrow_calls.MANY_CELLS = usual  # type: ignore[misc]
    return times


def _seconds_of(server: OurServer, service: Any, frame: pd.DataFrame) -> float:
    before = _spent(server)
    for _ in range(_CALLS):
        answer = service(df=frame).out
    spent = _spent(server) - before
    pd.testing.assert_frame_equal(answer, frame)
    return spent / _CALLS


def _spent(server: OurServer) -> float:
    """Give the processor time of the server, its workers and this process."""
    used = [process.cpu_times() for process in server.processes()]
    return time.process_time() + sum(each.user + each.system for each in used)


# --- turns of the loop -----------------------------------------------------------------------


def longest_turns(
    plan: Plan, folder: Path, sizes: Sequence[int]
) -> Mapping[int, Mapping[str, float]]:
    """Give the longest turns of answers and of bodies of so many megabytes, medians of some."""
    watched = WatchedServer(folder)
    with watched.watched(), watched, watched.connect() as connection:
        publish(
            *(connection, "Out", "t = 'x' * int(n)"),
            snapshot=None,
            inputs={"n": "numeric"},
            outputs={"t": "character"},
        )
        publish(
            *(connection, "In", "n = len(t)"),
            snapshot=None,
            inputs={"t": "character"},
            outputs={"n": "integer"},
        )
        return {size: _longest_turns(watched, connection, size, plan) for size in sizes}


def _longest_turns(
    server: WatchedServer, connection: Connection, megabytes: int, plan: Plan
) -> Mapping[str, float]:
    found: dict[str, list[float]] = {"answer": [], "body": []}
    size = megabytes * _MEGA
    body = b'{"t":"%b"}' % (b"x" * size)
    server.longest_turn()
    for _ in plan.turns(plan.repeats):
        if len(connection.answer("/api/Out/1.0", b'{"n":%d}' % size)) < size:
            raise PeerFailed("The answer is not whole.")
        found["answer"].append(server.longest_turn())
        if connection.call("POST", "/api/In/1.0", body)["outputParameters"]["n"] != size:
            raise PeerFailed("The body did not come whole.")
        found["body"].append(server.longest_turn())
    return {what: Spread.of(figures).median for what, figures in found.items()}


def _section(times: Times, size: int, longest: Mapping[int, Mapping[str, float]]) -> Section:
    ratio = ratios(times["JSON"], times["Arrow"])
    megabytes = size / _MEGA
    per_megabyte = {way: [1000 * each / megabytes for each in times[way]] for way in times}
    rows: Sequence[Sequence[str]] = [
        [f"{mb} MB", f"{found['answer']:.2f}", f"{found['body']:.2f}"]
        for mb, found in longest.items()
    ]
    return Section(
        title="Large tables and bodies",
        tables=[
            Table(
                ["a frame of numbers, there and back", "ms a MB of its JSON", "x less"],
                [
                    ["JSON", Spread.of(per_megabyte["JSON"]).text(2), "1"],
                    ["Arrow", Spread.of(per_megabyte["Arrow"]).text(2), ratio.text(2)],
                ],
            ),
            Table(["longest turn of the loop, ms", "answer", "body"], rows),
        ],
        data={"seconds": times, "longest_turns": {str(mb): dict(longest[mb]) for mb in longest}},
        notes=[
            (
                f"Processor time of the Python client, the server and the worker together, for a "
                f"frame of {megabytes:.1f} MB as JSON that a service answers as it is."
            ),
            (
                "The longest turn is the processor time that the server's event loop has spent "
                "between two callbacks, while one call with a text of that size was answered."
            ),
        ],
        bars=[
            Bar.at_least(
                "a frame of numbers there and back, processor time of JSON against Arrow",
                ratio.median,
                _MIN_RATIO,
            ),
            Bar.at_most(
                f"longest turn of the loop with up to {max(longest)} MB in and out, ms",
                max(turn for found in longest.values() for turn in found.values()),
                _MAX_TURN,
            ),
        ],
    )
