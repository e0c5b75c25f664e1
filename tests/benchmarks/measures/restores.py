"""What the size of a snapshot costs: taking it again unchanged, and restoring it in a worker."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.bars import Bar
from tests.benchmarks.peers import Connection, OurServer, PeerFailed, publish, run_in_session
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread

AGAIN_MEGABYTES: Final = 1000
RESTORED_MEGABYTES: Final = (0, 200, 2000)

_MAX_PERCENT: Final = 5.0
_MAX_ABOVE_EMPTY: Final = 150.0
_MAX_TIMES: Final = 2.0

_ARRAYS: Final = """\
import numpy
model = [numpy.random.default_rng(i).random({count}) for i in range(10)]
"""

Found = dict[str, list[float]]


def measure(plan: Plan) -> Section:
    """Take both in turns of their own."""
    sizes = [plan.scaled(size) for size in RESTORED_MEGABYTES]
    again = _again(plan, plan.scaled(AGAIN_MEGABYTES))
    restored = _restored(plan, sizes)
    return _section(again, plan.scaled(AGAIN_MEGABYTES), restored)


def _again(plan: Plan, megabytes: int) -> Found:
    """Take a snapshot twice, with something small done in between."""
    found: Found = {"first s": [], "second s": [], "first bytes": [], "second bytes": []}
    for turn in plan.turns(plan.repeats):
        # A new data folder each time: content that is stored already is not stored again.
        folder = plan.work / f"again-{turn}"
        with OurServer(folder) as server, server.connect() as connection:
            session = run_in_session(connection, _code(megabytes))
            server.wait_until_quiet()
            for which in ("first", "second"):
                before, begun = _stored(folder), time.perf_counter()
                _take_snapshot(connection, session)
                found[f"{which} s"].append(time.perf_counter() - begun)
                found[f"{which} bytes"].append(_stored(folder) - before)
                run_in_session(connection, "step = 1", session)
            connection.call("DELETE", f"/sessions/{session}")
    return found


def _restored(plan: Plan, sizes: list[int]) -> dict[int, list[float]]:
    """Call services with snapshots of these sizes, each for the first time since a start."""
    found: dict[int, list[float]] = {size: [] for size in sizes}
    with OurServer(plan.work / "restores") as server:
        paths = {size: _publish(server, size) for size in sizes}
        for turn in plan.turns(plan.rounds):
            server.restart()
            server.wait_until_quiet()
            with server.connect() as connection:
                connection.call("GET", "/services")  # connects, and has the token known
                for size in sizes[turn % len(sizes) :] + sizes[: turn % len(sizes)]:
                    begun = time.perf_counter()
                    answer = connection.call("POST", paths[size], {})
                    found[size].append(time.perf_counter() - begun)
                    _check(answer, size)
    return found


def _publish(server: OurServer, megabytes: int) -> str:
    # It looks at one number: reading all of them is not restoring.
    code = "first = float(model[0][0])" if megabytes else "first = 0.0"
    with server.connect() as connection:
        session = run_in_session(connection, _code(megabytes) if megabytes else "step = 1")
        snapshot = _take_snapshot(connection, session)
        connection.call("DELETE", f"/sessions/{session}")
        return publish(
            connection,
            f"Size{megabytes}",
            code,
            snapshot=snapshot,
            inputs={},
            outputs={"first": "numeric"},
        )


def _check(answer: Any, megabytes: int) -> None:
    first = answer["outputParameters"].get("first")
    if not answer["success"] or (first == 0.0) is not (megabytes == 0):
        raise PeerFailed(f"The service with {megabytes} MB answered {answer}.")


def _code(megabytes: int) -> str:
    return _ARRAYS.format(count=megabytes * 10**6 // 8 // 10)


def _take_snapshot(connection: Connection, session: str) -> str:
    answer = connection.call("POST", f"/sessions/{session}/snapshot", {})
    return str(answer["snapshotId"])


def _stored(folder: Path) -> int:
    """Bytes on disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _percent(again: Found, unit: str) -> float:
    """What the second snapshot takes, in percent of the first one."""
    first, second = (statistics.median(again[f"{which} {unit}"]) for which in ("first", "second"))
    return 100 * second / first


def _section(again: Found, megabytes: int, restored: dict[int, list[float]]) -> Section:
    empty, small, large = (statistics.median(times) * 1e3 for times in restored.values())
    _, small_size, large_size = restored
    percent = {unit: _percent(again, unit) for unit in ("s", "bytes")}
    return Section(
        title="What the size of a snapshot costs",
        tables=[
            Table(
                [f"Snapshot of a session with {megabytes:,} MB", "ms", "MB stored"],
                [
                    [
                        f"{which} one",
                        Spread.of([seconds * 1e3 for seconds in again[f"{which} s"]]).text(),
                        f"{statistics.median(again[f'{which} bytes']) / 1e6:,.1f}",
                    ]
                    for which in ("first", "second")
                ],
            ),
            Table(
                ["First answer of a cold service", "ms", "ms above empty"],
                [
                    [
                        f"snapshot of {size:,} MB",
                        Spread.of([seconds * 1e3 for seconds in times]).text(),
                        f"{statistics.median(times) * 1e3 - empty:.0f}",
                    ]
                    for size, times in restored.items()
                ],
            ),
        ],
        data={"again": again, "restored": {str(size): times for size, times in restored.items()}},
        notes=[
            (
                f"Median (lowest-highest) of {len(again['first s'])} pairs of snapshots and of "
                f"{len(restored[small_size])} starts of the server. Ten numpy arrays of random "
                "numbers; between the two snapshots the session ran a line that makes a small "
                "variable. Files are in the page cache."
            ),
            (
                "First answers are of services that read one number of their arrays: a service "
                "that reads all of them has the memory to wait for in any process."
            ),
        ],
        bars=[
            Bar.at_most(
                f"second snapshot of {megabytes:,} MB unchanged, % of the first one's bytes",
                percent["bytes"],
                _MAX_PERCENT,
            ),
            Bar.at_most(
                f"second snapshot of {megabytes:,} MB unchanged, % of the first one's time",
                percent["s"],
                _MAX_PERCENT,
            ),
            Bar.at_most(
                f"restoring {small_size:,} MB in a fresh worker, ms above an empty snapshot",
                small - empty,
                _MAX_ABOVE_EMPTY,
                digits=0,
            ),
            Bar.at_most(
                f"first answer with {large_size:,} MB against one with {small_size:,} MB",
                large / small,
                _MAX_TIMES,
            ),
        ],
    )
