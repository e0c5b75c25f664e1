"""Processor time of a lone call of heavier models, and whether they bear being forked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from tests.benchmarks.bars import Bar
from tests.benchmarks.heavier import HEAVIER, HeavierModel, Made, agree
from tests.benchmarks.models import load_code
from tests.benchmarks.peers import Connection, OurServer, PeerFailed, Target, run_in_session
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section, Table
from tests.benchmarks.spread import Spread, ratios

TITLE: Final = "Heavier models"

MAX_TIMES: Final = 1.5
"""What a lone call may take beside the same line in a loop, in processor time."""

_SHORT_SECONDS: Final = 1e-3
"""A line that takes less is told and has no bar: whatever the model, a call costs some 0.4 ms."""

_STANDARD, _REALTIME, _CALL = "standard", "realtime", "isolation call"
_WORKERS: Final = 2
_CONNECTIONS: Final = 8
_TIMEOUT: Final = 120
"""Seconds without an answer after which a process is taken to hang."""


@dataclass
class Lone:
    """What calls took that came one after the other; seconds a call, by round."""

    name: str
    kind: str
    bare: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)
    replaced: int = 0

    @property
    def title(self) -> str:
        """What tables call it."""
        return f"{self.name}, {self.kind}"


@dataclass(frozen=True)
class Forked:
    """What several workers answered whose libraries may have as many threads as they like."""

    title: str
    right: int
    replaced: int


@dataclass(frozen=True)
class Service:
    """A published version, and how to ask it."""

    name: str
    kind: str
    target: Target

    def answer(self, connection: Connection, row: Any, count: int = 1) -> dict[str, Any]:
        """Ask for a row, or as often as told in one call; give ``prediction`` and more.

        Raises
        ------
        PeerFailed
            It answered that it failed.
        """
        body: dict[str, Any] = {"row": row, "count": count}
        if self.kind == _REALTIME:
            body = {"inputData": {f"x{i}": [number] for i, number in enumerate(row)}}
        answer = connection.call("POST", self.target.path, body)
        if not answer["success"]:
            raise PeerFailed(f"The service failed: {answer['errorMessage']}")
        outputs: dict[str, Any] = answer["outputParameters"]
        if self.kind == _REALTIME:
            return {"prediction": outputs["outputData"]["y_Pred"]}
        return outputs

    def replaced(self, connection: Connection) -> int:
        """Count the workers that others have taken the place of."""
        found = connection.call("GET", f"/services/{self.name}/1.0/statistics")
        return int(found["retired"]) + int(found["lostWorkers"])


def measure(plan: Plan) -> Section:
    """Publish all that can be had here, each as a standard and as a realtime service."""
    lone: list[Lone] = []
    forked: list[Forked] = []
    left_out: list[str] = []
    faults: list[str] = []
    for number, model in enumerate(HEAVIER.values()):
        reason = model.why_left_out()
        if reason:
            left_out.append(reason)
            continue
        made = model.made(plan.work)
        with _faults(faults, model.name), OurServer(plan.work / f"lone-{number}") as server:
            services = _publish(server, model, made, isolation="worker")
            lone += _lone(server, services, model, made, plan)
        every_core = ["--ScoringSettings.threads=0"]
        with (
            _faults(faults, model.name),
            OurServer(
                plan.work / f"forked-{number}", workers=_WORKERS, options=every_core
            ) as server,
        ):
            services = _publish(server, model, made, isolation="worker")
            if not model.setup:  # whose threads would not be there in the process of a call
                services += _publish(server, model, made, isolation="call")
            for service in services:
                with _faults(faults, f"{model.name}, {service.kind}, several threads"):
                    forked.append(_forked(service, model, made, plan))
    return section(lone, forked, plan, left_out=left_out, faults=faults)


@contextmanager
def _faults(faults: list[str], name: str) -> Iterator[None]:
    """Write down what goes wrong with one model, so that the others are measured still."""
    try:
        yield
    except (PeerFailed, OSError) as error:
        faults.append(f"{name}: {str(error) or type(error).__name__}")


def _publish(
    server: OurServer, model: HeavierModel, made: Made, *, isolation: str
) -> list[Service]:
    name = {"worker": "Standard", "call": "Forking"}[isolation]
    kind = "character" if model.is_text else "vector"
    with server.connect() as connection:
        snapshot = None
        if model.fit is not None:
            session = run_in_session(connection, load_code(made.variables))
            snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
            connection.call("DELETE", f"/sessions/{session}")
        connection.call(
            "POST",
            f"/services/{name}/1.0",
            {
                "code": repeated(model.code),
                "setupCode": model.setup or None,
                "snapshotId": snapshot,
                "runtimeType": "Python",
                "isolation": isolation,
                "inputParameterDefinitions": [
                    {"name": "row", "type": kind},
                    {"name": "count", "type": "integer"},
                ],
                "outputParameterDefinitions": [
                    {"name": "prediction", "type": "vector"},
                    {"name": "seconds", "type": "numeric"},
                ],
            },
        )
    kind = _CALL if isolation == "call" else _STANDARD
    found = [Service(name, kind, server.public(kind, f"/api/{name}/1.0"))]
    if model.is_estimator and isolation == "worker":
        path = server.publish_realtime("Realtime", made.realtime.read_bytes())
        found.append(Service("Realtime", _REALTIME, server.public(_REALTIME, path)))
    return found


def repeated(code: str) -> str:
    """Give code that does the same as often as ``count`` says, and tells the time of one turn.

    A call of one turn and a loop of many run in the same process then.
    """
    turn = "".join(f"    {line}\n" for line in code.strip().splitlines())
    return (
        "import time\n"
        "begun = time.process_time()\n"
        f"for turn in range(count):\n{turn}"
        "seconds = (time.process_time() - begun) / count\n"
    )


def _lone(
    server: OurServer, services: Sequence[Service], model: HeavierModel, made: Made, plan: Plan
) -> list[Lone]:
    """Ask each service and the loop in turns, round by round."""
    questions = list(zip(model.rows, made.expected, strict=True))
    found = [Lone(model.name, service.kind) for service in services]
    loop = services[0]
    with server.connect() as connection:
        for service in services:
            _ask(service, connection, questions, len(questions))
        loop.answer(connection, model.rows[0], count=plan.calls)
        server.wait_until_quiet()
        for _ in range(plan.rounds):
            outputs = loop.answer(connection, model.rows[0], count=plan.calls)
            for one, service in zip(found, services, strict=True):
                before = _clocks(server)
                elapsed = _ask(service, connection, questions, plan.calls)
                after = _clocks(server)
                host, others = spent(before, after, server.processes()[0].pid)
                one.bare.append(outputs["seconds"])
                one.worker.append(others / plan.calls)
                one.whole.append((host + others) / plan.calls)
                one.elapsed.append(median(elapsed))
        for one, service in zip(found, services, strict=True):
            one.replaced = service.replaced(connection)
    return found


def _forked(service: Service, model: HeavierModel, made: Made, plan: Plan) -> Forked:
    """Have all workers at work at the same time."""
    questions = list(zip(model.rows, made.expected, strict=True))
    each = max(plan.calls // _CONNECTIONS, len(questions))

    def ask() -> int:
        with service.target.connect(_TIMEOUT) as connection:
            return len(_ask(service, connection, questions, each))

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        right = sum(done.result() for done in [pool.submit(ask) for _ in range(_CONNECTIONS)])
    with service.target.connect() as connection:
        return Forked(f"{model.name}, {service.kind}", right, service.replaced(connection))


def _ask(
    service: Service,
    connection: Connection,
    questions: Sequence[tuple[Any, Sequence[float]]],
    calls: int,
) -> list[float]:
    """Ask one question after the other; give the seconds of each.

    Raises
    ------
    PeerFailed
        An answer is not what the model says in a process without a server.
    """
    elapsed = []
    for turn in range(calls):
        row, expected = questions[turn % len(questions)]
        begun = time.perf_counter()
        answer = service.answer(connection, row)["prediction"]
        elapsed.append(time.perf_counter() - begun)
        if not agree(answer, expected):
            raise PeerFailed(f"It answered {answer!r:.200} and not {expected!r:.200}.")
    return elapsed


def _clocks(server: OurServer) -> dict[int, float]:
    """Processor seconds of each process of a server, to the nanosecond."""
    found = {}
    for process in server.processes():
        # The clock of all threads of another process, as clock_getcpuclockid(3) makes it.
        with suppress(OSError):
            found[process.pid] = time.clock_gettime(~process.pid << 3 | 2)
    return found


def spent(
    before: Mapping[int, float], after: Mapping[int, float], host: int
) -> tuple[float, float]:
    """Give the seconds of the server itself, and those of all its other processes."""
    seconds = {pid: clock - before.get(pid, 0.0) for pid, clock in after.items()}
    return seconds.pop(host, 0.0), sum(seconds.values())


def section(
    lone: Sequence[Lone],
    forked: Sequence[Forked],
    plan: Plan,
    *,
    left_out: Sequence[str] = (),
    faults: Sequence[str] = (),
) -> Section:
    """Lay out what was found."""
    tables = [
        Table(
            [
                "One call after the other, processor ms a call",
                "loop in the worker",
                "worker",
                "x loop",
                "with the server",
                "x loop",
                "p50 ms",
                "replaced workers",
            ],
            [
                [
                    one.title,
                    Spread.of(_milliseconds(one.bare)).text(3),
                    Spread.of(_milliseconds(one.worker)).text(3),
                    ratios(one.worker, one.bare).text(2),
                    Spread.of(_milliseconds(one.whole)).text(3),
                    ratios(one.whole, one.bare).text(2),
                    Spread.of(_milliseconds(one.elapsed)).text(2),
                    f"{one.replaced}",
                ]
                for one in lone
            ],
        ),
        Table(
            [
                f"{_WORKERS} workers, a thread for each core, {_CONNECTIONS} connections",
                "right answers",
                "replaced workers",
            ],
            [[one.title, f"{one.right}", f"{one.replaced}"] for one in forked],
        ),
    ]
    replaced = [*((one.title, one.replaced) for one in lone)]
    replaced += [(f"{one.title}, several threads", one.replaced) for one in forked]
    return Section(
        title=TITLE,
        tables=tables,
        data={"lone": list(lone), "forked": list(forked)},
        notes=[
            f"Median (lowest-highest) of {plan.rounds} rounds of {plan.calls} calls, on one "
            "connection, with one thread for numeric libraries. Each answer was compared with what "
            "the model says in a process without a server.",
            "loop in the worker: the same line repeated in one call of the same process. Realtime "
            "services are compared with it too. worker: all processes but the server's own.",
            *left_out,
        ],
        bars=[
            Bar.at_most(
                f"{one.title}, a lone call: processor time x a loop of the same line",
                ratios(one.whole, one.bare).median,
                MAX_TIMES,
            )
            for one in lone
            if Spread.of(one.bare).median > _SHORT_SECONDS
        ],
        faults=[
            *faults,
            *(f"{title}: {count} workers were replaced." for title, count in replaced if count),
        ],
    )


def _milliseconds(seconds: Sequence[float]) -> list[float]:
    return [one * 1e3 for one in seconds]
