"""Latency of a quiet service while something heavy goes on beside it on the same server."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

from tests.benchmarks import load
from tests.benchmarks.bars import Bar
from tests.benchmarks.peers import OurServer, publish, run_in_session
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

TITLE = "A quiet service beside something heavy"

_CONNECTIONS = 8
_MAX_RATIO = 3.0
_MAX_P99 = 50.0
"""Milliseconds."""

_ALONE = "nothing"
_OTHER_PROGRAMS = {
    "a program computes that has nothing to do with the server": 1,
    "two such programs compute": 2,
}
"""Tell what part of the others is the machine's, and have no bar."""
_BODY = b'{"x": 1}'
_VARIABLE_BYTES = 200 * 2**20
_SNAPSHOT_BYTES = 2**30
_LOGINS_A_SECOND = 20
_STOPPED_SECONDS = 10
_SATURATING_CALLERS = 8
_RECORDS = 1000
_ENDED = {"Complete", "Failed"}
_BUSY = "y = sum(i * x for i in range(20_000))"
"""Code that takes a worker about a millisecond."""

_LOOP = "import time\nend = time.monotonic() + 3600\nwhile time.monotonic() < end:\n    {}"


def measure(plan: Plan) -> Section:
    """Load a trivial service in turns, alone and beside each disturbance."""
    wrk = load.find_wrk()
    with OurServer(plan.work / "disturbances", jupyter=True) as server:
        with server.connect() as connection:
            session = run_in_session(connection, "pass")
            snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
            connection.call("DELETE", f"/sessions/{session}")
            path = publish(
                connection,
                "Trivial",
                "y = x + 1",
                snapshot=snapshot,
                inputs={"x": "numeric"},
                outputs={"y": "numeric"},
            )
            busy = publish(
                connection,
                "Busy",
                _BUSY,
                snapshot=snapshot,
                inputs={"x": "numeric"},
                outputs={"y": "numeric"},
            )
            for each in (path, busy):
                connection.call("POST", each, {"x": 1})
        target = server.public("trivial", path)
        kinds = _disturbances(server, plan, busy)
        found: dict[str, list[load.Load]] = {name: [] for name in (_ALONE, *kinds)}
        for _ in plan.turns(plan.rounds):
            for name, loads in found.items():
                with kinds[name]() if name in kinds else contextlib.nullcontext():
                    loads.append(
                        load.run(
                            wrk,
                            target.url + path,
                            target.token,
                            [_BODY],
                            _CONNECTIONS,
                            plan.seconds,
                        )
                    )
                server.wait_until_quiet()
    return _section(found)


Disturbance = Callable[[], AbstractContextManager[None]]


def _disturbances(server: OurServer, plan: Plan, busy: str) -> Mapping[str, Disturbance]:
    variable, snapshot = plan.scaled(_VARIABLE_BYTES), plan.scaled(_SNAPSHOT_BYTES)
    return {
        **{name: partial(_computing, count) for name, count in _OTHER_PROGRAMS.items()},
        "a session computes": lambda: _executing(server, _LOOP.format("pass")),
        "a session prints": lambda: _executing(server, _LOOP.format("print('a line of output')")),
        "a session prints flushed lines": lambda: _executing(
            server, _LOOP.format("print('a line of output', flush=True)")
        ),
        f"a variable of {variable / 2**20:.0f} MB is fetched and put": lambda: _carrying(
            server, variable
        ),
        f"snapshots of {snapshot / 2**30:.1f} GB are taken": lambda: _taking(server, snapshot),
        "another service has more calls than it can answer": lambda: _saturating(server, busy),
        "a batch of another service runs": lambda: _running_batches(server, busy),
        f"{_LOGINS_A_SECOND} logins a second": lambda: _logging_in(server),
        "the Jupyter server is stopped": lambda: _jupyter_stopped(server),
    }


@contextlib.contextmanager
def _computing(programs: int) -> Iterator[None]:
    with contextlib.ExitStack() as running:
        for _ in range(programs):
            program = subprocess.Popen([sys.executable, "-c", _LOOP.format("pass")])
            running.enter_context(program)
            running.callback(program.kill)
        yield


@contextlib.contextmanager
def _executing(server: OurServer, code: str) -> Iterator[None]:
    """Run code in a session that is killed in the end."""
    with server.connect() as connection:
        session = run_in_session(connection, "pass")
        try:
            connection.call("POST", f"/sessions/{session}/executions", {"code": code})
            time.sleep(0.5)
            yield
        finally:
            connection.call("DELETE", f"/sessions/{session}/force")


@contextlib.contextmanager
def _carrying(server: OurServer, size: int) -> Iterator[None]:
    with server.connect() as connection:
        session = run_in_session(connection, f"import numpy\na = numpy.ones({size // 8})")
        path = f"/sessions/{session}/workspace/a"

        def carry() -> None:
            content = connection.raw("GET", path)
            connection.raw("POST", path, content)

        try:
            with _repeating(carry):
                yield
        finally:
            connection.call("DELETE", f"/sessions/{session}/force")


@contextlib.contextmanager
def _taking(server: OurServer, size: int) -> Iterator[None]:
    with server.connect() as connection:
        session = run_in_session(connection, f"import numpy\na = numpy.ones({size // 8})")
        numbers = iter(range(10**6))

        def take() -> None:
            # Other content each time, or it would be found to be stored.
            run_in_session(connection, f"a[:] = {next(numbers)}", session)
            made = connection.call("POST", f"/sessions/{session}/snapshot", {})
            connection.call("DELETE", f"/snapshots/{made['snapshotId']}")

        try:
            with _repeating(take):
                yield
        finally:
            connection.call("DELETE", f"/sessions/{session}/force")


@contextlib.contextmanager
def _saturating(server: OurServer, path: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(_SATURATING_CALLERS):
            connection = stack.enter_context(server.connect())
            stack.enter_context(_repeating(partial(connection.call, "POST", path, {"x": 1})))
        yield


@contextlib.contextmanager
def _running_batches(server: OurServer, path: str) -> Iterator[None]:
    with server.connect() as connection:

        def run() -> None:
            started = connection.call("POST", f"{path}/batch", [{"x": n} for n in range(_RECORDS)])
            batch = f"{path}/batch/{started['batchExecutionId']}"
            while connection.call("GET", f"{batch}?showPartialResult=false")["state"] not in _ENDED:
                time.sleep(0.1)
            connection.call("DELETE", batch)

        with _repeating(run):
            yield


@contextlib.contextmanager
def _logging_in(server: OurServer) -> Iterator[None]:
    with server.connect() as connection:

        def log_in() -> None:
            begun = time.monotonic()
            server.log_in(connection)
            time.sleep(max(0.0, 1 / _LOGINS_A_SECOND - (time.monotonic() - begun)))

        with _repeating(log_in):
            yield


@contextlib.contextmanager
def _jupyter_stopped(server: OurServer) -> Iterator[None]:
    """Stop the host for a while, as a debugger or a suspended container would."""
    server.signal_host(signal.SIGSTOP)
    going_on = threading.Timer(_STOPPED_SECONDS, server.signal_host, [signal.SIGCONT])
    going_on.start()
    try:
        time.sleep(0.5)
        yield
    finally:
        going_on.cancel()
        server.signal_host(signal.SIGCONT)


@contextlib.contextmanager
def _repeating(work: Callable[[], None]) -> Iterator[None]:
    """Do something again and again in a thread; what it raises is raised at the end."""
    ended = threading.Event()
    problems: list[BaseException] = []

    def repeat() -> None:
        try:
            while not ended.is_set():
                work()
        except BaseException as error:  # noqa: BLE001  # raised below, in the other thread
            problems.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if problems:
        raise problems[0]


def _section(found: Mapping[str, Sequence[load.Load]]) -> Section:
    p99 = {name: [each.p99 for each in loads] for name, loads in found.items()}
    versus = {name: ratios(of, p99[_ALONE]) for name, of in p99.items()}
    return Section(
        title=TITLE,
        tables=[
            Table(
                ["Meanwhile", "requests/s", "p50 ms", "p99 ms", "p99 x alone"],
                [
                    [
                        name,
                        Spread.of([each.rate for each in loads]).text(),
                        Spread.of([each.p50 for each in loads]).text(2),
                        Spread.of(p99[name]).text(2),
                        "1" if name == _ALONE else versus[name].text(2),
                    ]
                    for name, loads in found.items()
                ],
            )
        ],
        data={"loads": found},
        notes=[
            f"A service of one addition under wrk with {_CONNECTIONS} connections, one thread, on "
            "the same cores; alone and beside each of the others in turns, ratios round by round. "
            "On two cores the other programs show how long a call waits for any process that runs: "
            "a saturated service is two, its workers."
        ],
        bars=[
            bar
            for name in found
            if name != _ALONE and name not in _OTHER_PROGRAMS
            for bar in (
                Bar.at_most(f"{name}: p99 x alone", versus[name].median, _MAX_RATIO),
                Bar.at_most(f"{name}: p99 ms", Spread.of(p99[name]).median, _MAX_P99, digits=1),
            )
        ],
        faults=[
            f"{name} failed: {failed}."
            for name, loads in found.items()
            if (failed := _errors(loads))
        ],
    )


def _errors(loads: Sequence[load.Load]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in loads:
        for kind, count in each.errors.items():
            if count:
                total[kind] = total.get(kind, 0) + count
    return total
