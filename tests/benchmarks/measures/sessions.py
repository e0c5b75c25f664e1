"""Time to a new session and of a round trip in it, beside a bare Jupyter kernel."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.benchmarks.bars import Bar
from tests.benchmarks.peers import Connection, OurServer
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

_PYTHON = {"runtimeType": "Python"}
_CODE = {"code": "1+1"}

_MAX_CREATION = 100.0
_MAX_TRIP = 10.0
"""Milliseconds."""


def measure(plan: Plan) -> Section:
    """Create sessions in turns with bare kernels; then time round trips in one of each."""
    created: dict[str, list[float]] = {"session": [], "bare": []}
    answered: dict[str, list[float]] = {"session": [], "bare": []}
    with OurServer(plan.work / "sessions") as server:
        for _ in plan.turns(2 * plan.repeats):
            server.wait_until_quiet()
            with server.connect() as connection:
                _note(created["session"], answered["session"], *_new_session(connection))
            _note(created["bare"], answered["bare"], *_new_kernel())
        trips = _round_trips_of_both(server, plan.calls)
    return _section(created, answered, trips)


def _note(created: list[float], answered: list[float], first: float, second: float) -> None:
    created.append(first)
    answered.append(second)


def _new_session(connection: Connection) -> tuple[float, float]:
    connection.call("GET", "/sessions")  # connects
    begun = time.perf_counter()
    session = connection.call("POST", "/sessions", _PYTHON)["sessionId"]
    created = time.perf_counter() - begun
    connection.call("POST", f"/sessions/{session}/execute", _CODE)
    answered = time.perf_counter() - begun
    connection.call("DELETE", f"/sessions/{session}")
    return created, answered


def _new_kernel() -> tuple[float, float]:
    begun = time.perf_counter()
    manager, client = _start_kernel()
    created = time.perf_counter() - begun
    _execute(client)
    answered = time.perf_counter() - begun
    _end_kernel(manager, client)
    return created, answered


def _start_kernel() -> tuple[KernelManager, BlockingKernelClient]:
    manager = KernelManager()
    # It says on start-up that it talks over TCP; the server's kernels are no different.
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return manager, client


def _end_kernel(manager: KernelManager, client: BlockingKernelClient) -> None:
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def _execute(client: BlockingKernelClient) -> None:
    client.execute_interactive("1+1", output_hook=_ignore, timeout=60)


def _ignore(_message: dict[str, Any]) -> None:
    """Take the message that has the result, and leave it."""


def _round_trips_of_both(server: OurServer, calls: int) -> dict[str, list[float]]:
    manager, client = _start_kernel()
    try:
        with server.connect() as connection:
            session = connection.call("POST", "/sessions", _PYTHON)["sessionId"]
            path = f"/sessions/{session}/execute"
            ours, bare = [], []
            for _ in range(5):  # in turns, as what slows the machine should slow both
                ours += _round_trips(lambda: connection.call("POST", path, _CODE), calls // 5)
                bare += _round_trips(lambda: _execute(client), calls // 5)
            connection.call("DELETE", f"/sessions/{session}")
    finally:
        _end_kernel(manager, client)
    return {"session": ours, "bare": bare}


def _round_trips(call: Callable[[], object], calls: int) -> list[float]:
    times = []
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times


def _section(
    created: dict[str, list[float]],
    answered: dict[str, list[float]],
    trips: dict[str, list[float]],
) -> Section:
    names = {
        "session": "session",
        "bare": "bare kernel by jupyter_client",
    }
    creation = Table(
        ["Creation", "created ms", "`1+1` answered ms", "x bare"],
        [
            [
                title,
                _milliseconds(created[name]).text(),
                _milliseconds(answered[name]).text(),
                "1" if name == "bare" else ratios(answered[name], answered["bare"]).text(2),
            ]
            for name, title in names.items()
        ],
    )
    ours, bare = _milliseconds(trips["session"]), _milliseconds(trips["bare"])
    trip = Table(
        ["Executing `1+1`", "p50 ms", "p99 ms", "x bare (p50)"],
        [
            [
                "session, public API",
                f"{ours.median:.2f}",
                f"{_high(trips['session']):.2f}",
                f"{ours.median / bare.median:.2f}",
            ],
            ["bare kernel", f"{bare.median:.2f}", f"{_high(trips['bare']):.2f}", "1"],
        ],
    )
    return Section(
        title="Sessions",
        tables=[creation, trip],
        data={"created": created, "answered": answered, "round_trips": trips},
        notes=[
            (
                f"Creation: median (lowest-highest) of {len(created['bare'])}, taken in turns, "
                "each when the server had become quiet; the ratio compares the time to the "
                "first answer."
            ),
            f"Round trips: {len(trips['bare'])} of each, in turns, one after the other.",
        ],
        bars=[
            Bar.at_most(
                "creating a session, p50 ms",
                _milliseconds(created["session"]).median,
                _MAX_CREATION,
                digits=1,
            ),
            Bar.at_most(
                "executing 1+1 in a session, round trip, p50 ms", ours.median, _MAX_TRIP, digits=1
            ),
        ],
    )


def _milliseconds(seconds: Sequence[float]) -> Spread:
    return Spread.of([value * 1e3 for value in seconds])


def _high(seconds: Sequence[float]) -> float:
    """The 99th percentile in milliseconds."""
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1e3
