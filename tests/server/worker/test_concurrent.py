"""Code that awaits, and threads: many calls at a time in one worker."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.formats.problems import CodeProblem, SetupProblem
from jupyter_mlsvc_server.formats.protocol import (
    ANSWER,
    REQUEST,
    Flush,
    Kind,
    Service,
    without_notes,
)
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.worker.concurrent import ConcurrentProgram
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.program import compile_service
from jupyter_mlsvc_server.worker.scratch import ScratchDir

MakeProgram = Callable[..., ConcurrentProgram]

MEET = """
await barrier.wait()
print("hello from", x)
y = x
"""
"""Code whose calls go on when two are there."""


@pytest.fixture
def make_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeProgram]:
    monkeypatch.chdir(tmp_path)
    # A worker has temporary files in a folder of its own; this process gets its own back.
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)

    programs = []

    def make(code: str, snapshot: str = "", *, enter: bool = True, **spec: Any) -> Any:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(snapshot, namespace)
        service = Service(
            spec=ServiceSpec(
                name=ServiceName("Sum"),
                version=Version("1.0"),
                revision_id="r1",
                code=code,
                inputs=(ParameterDefinition(name="x", type="json"),),
                outputs=(ParameterDefinition(name="y", type="json"),),
                **{"concurrency": 10, **spec},
            ),
            manifest=None,
            blobs=None,
            work=str(tmp_path),
            memory_limit=0,
            console_limit=1000,
        )
        program = ConcurrentProgram(service, compile_service(service), namespace)
        if enter:
            scratch = ScratchDir(tmp_path / "scratch", (), Path)
            scratch.create()
            programs.append(program)
            program.enter(Console(1000), scratch)
        return program

    yield make
    for program in programs:
        program._loop.close()
        if program._threads is not None:
            program._threads.shutdown()
    asyncio.set_event_loop(None)


class Served:
    """A program that serves a link in a thread."""

    def __init__(self, program: ConcurrentProgram) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(60)
        self._received = b""
        self._thread = Thread(target=program.serve, args=(theirs, None))
        self._thread.start()

    def send(self, number: int, x: object, flush: Flush = Flush.NOW) -> None:
        body = msgspec.json.encode({"x": x})
        self.ours.sendall(REQUEST.pack(len(body), number, flush) + body)

    def tell(self, number: int, what: Flush) -> None:
        self.ours.sendall(REQUEST.pack(0, number, what))

    def cancel(self, number: int) -> None:
        self.tell(number, Flush.CANCEL)

    def answer(self) -> tuple[int, dict[str, Any]]:
        """Wait for the next answer: its number, and the result."""
        while True:
            if len(self._received) >= ANSWER.size:
                length, number, kind = ANSWER.unpack_from(self._received)
                end = ANSWER.size + length
                if len(self._received) >= end:
                    body = self._received[ANSWER.size : end]
                    self._received = self._received[end:]
                    _, answer = without_notes(Kind(kind), body)
                    return number, msgspec.json.decode(answer)
            data = self.ours.recv(2**16)
            assert data
            self._received += data

    def close(self) -> None:
        self.ours.close()
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_calls_are_in_flight_together_each_with_names_and_console_of_its_own(
    make_program: MakeProgram,
) -> None:
    served = Served(
        make_program(
            MEET, setup_code="import asyncio\nbarrier = asyncio.Barrier(2)\nawait asyncio.sleep(0)"
        )
    )
    served.send(1, "a")
    served.send(2, "b")
    answers = dict([served.answer(), served.answer()])
    assert [answers[number]["outputParameters"] for number in (1, 2)] == [{"y": "a"}, {"y": "b"}]
    assert [answers[number]["consoleOutput"] for number in (1, 2)] == [
        "hello from a\n",
        "hello from b\n",
    ]
    served.close()


def test_answers_come_when_they_are_ready_and_cancelled_calls_say_so(
    make_program: MakeProgram,
) -> None:
    code = "import asyncio\nif x: await asyncio.Event().wait()\ny = 1"
    served = Served(make_program(code))
    served.send(1, True)
    served.send(2, False)
    assert served.answer()[0] == 2
    served.send(3, True)
    served.cancel(3)
    number, result = served.answer()
    assert (number, result["errorMessage"]) == (
        3,
        "The call was cancelled: it took too long, or its caller has left.",
    )
    served.cancel(1)
    assert served.answer()[0] == 1
    served.close()


def test_a_second_cancel_does_not_hit_what_the_code_does_after_the_first(
    make_program: MakeProgram,
) -> None:
    code = """
if x == "wait":
    try:
        await asyncio.Event().wait()
    finally:
        reached.set()
        await gate.wait()
        print("clean")
elif x == "reached":
    await reached.wait()
else:
    gate.set()
y = 1
"""
    setup = "import asyncio\nreached, gate = asyncio.Event(), asyncio.Event()"
    served = Served(make_program(code, setup_code=setup))
    served.send(1, "wait")
    served.cancel(1)
    served.send(2, "reached")
    assert served.answer()[0] == 2
    served.cancel(1)
    served.send(3, "go")
    answers = dict([served.answer(), served.answer()])
    assert answers[1]["consoleOutput"].startswith("clean\n")
    served.close()


def test_plain_code_runs_in_threads(make_program: MakeProgram) -> None:
    code = "barrier.wait(60)\nprint(x)\ny = x"
    setup = "import threading\nbarrier = threading.Barrier(2)"
    served = Served(make_program(code, setup_code=setup, concurrency=2))
    served.send(1, "a")
    served.cancel(1)
    served.send(2, "b")
    answers = dict([served.answer(), served.answer()])
    assert [answers[number]["outputParameters"] for number in (1, 2)] == [{"y": "a"}, {"y": "b"}]
    assert [answers[number]["consoleOutput"] for number in (1, 2)] == ["a\n", "b\n"]
    served.close()


@pytest.mark.parametrize("code", ["await asyncio.sleep(0)\ny = 1 / 0", "y = 1 / 0"])
def test_a_failure_has_the_traceback_of_the_code_alone(
    make_program: MakeProgram, code: str
) -> None:
    program = make_program(code, "import asyncio")
    kind, body = without_notes(*program.answer(program.read(b'{"x": 1}')))
    result = msgspec.json.decode(body)
    assert (kind, result["errorMessage"]) == (Kind.FAILURE, "ZeroDivisionError: division by zero")
    assert result["consoleOutput"].count("File ") == 1
    assert program.reset()


@pytest.mark.parametrize(
    "code", ["raise SystemExit(3)", "raise StopIteration", "import sys; sys.exit()"]
)
@pytest.mark.parametrize("waits", ["import asyncio; await asyncio.sleep(0)\n", ""])
def test_code_that_would_end_the_worker_fails_its_call_alone(
    make_program: MakeProgram, code: str, waits: str
) -> None:
    program = make_program(waits + code)
    kind, _ = without_notes(*program.answer(program.read(b'{"x": 1}')))
    assert kind is Kind.FAILURE


def test_a_setup_that_fails_after_a_wait_says_where(make_program: MakeProgram) -> None:
    with pytest.raises(SetupProblem, match="line 2: ZeroDivisionError"):
        make_program("y = 1", setup_code="import asyncio; await asyncio.sleep(0)\n1 / 0")


def test_a_decimal_context_is_a_calls_own(make_program: MakeProgram) -> None:
    program = make_program("import decimal as d; d.getcontext().prec += 1; y = d.getcontext().prec")
    answers = [program.answer(program.read(b'{"x": 1}')) for _ in range(2)]
    assert all(b'"y":29' in body for _, body in answers)


@pytest.mark.parametrize(
    "code",
    [
        "async def items():\n  for n in range(2): yield n + x\ny = items()\nawait sleep(0)",
        "await sleep(0)\ny = (n + x for n in range(2))",
        "for n in range(2):\n    yield n + x",
        "for n in range(2):\n    await sleep(0)\n    yield n + x",
    ],
)
def test_streams_are_answered_all_at_once(make_program: MakeProgram, code: str) -> None:
    program = make_program(code, "from asyncio import sleep")
    assert b'"y":[5,6]' in program.answer(program.read(b'{"x": 5}'))[1]


FLOW = "n = 0\nwhile True:\n    await sleep(0)\n    yield n\n    n += 1"


def test_items_come_while_others_run_and_wait_for_a_slow_reader(make_program: MakeProgram) -> None:
    served = Served(make_program(FLOW, "from asyncio import sleep"))
    served.send(1, 0, Flush.STREAM)
    assert [served.answer() for _ in range(2)] == [
        (1, {"output": "y", "value": n}) for n in range(2)
    ]
    served.tell(1, Flush.PAUSE)
    served.send(2, 0, Flush.STREAM)
    # Those of the first that are on their way come before the first one of the second.
    while served.answer()[0] == 1:
        pass
    assert {served.answer()[0] for _ in range(200)} == {2}
    served.cancel(2)
    while "value" in (result := served.answer()[1]):
        pass
    assert result["success"]
    served.tell(1, Flush.RESUME)
    assert served.answer()[0] == 1
    served.cancel(1)
    while "value" in served.answer()[1]:
        pass
    served.close()


# --- names that calls would share ------------------------------------------------------------

RATE = "def score(): return rate * 2"


@pytest.mark.parametrize(
    ("snapshot", "code", "named"),
    [
        ("def score(): return x * 2", "y = score()", ("'score'", "'x'")),
        (RATE, "rate = x; y = score()", ("'score'", "'rate'")),
        (RATE, "for rate in x: y = score()", ("'score'", "'rate'")),
        ("class A:\n  def m(self): return [x for _ in 'a']", "y = A().m()", ("'A.m'", "'x'")),
        (
            "import math\nf = lambda: math.pi",
            "import cmath as math\ny = f()",
            ("'<lambda>'", "'math'"),
        ),
        ("def f():\n  global last\n  last = 1", "f(); y = last", ("'f'", "'last'")),
    ],
)
def test_a_function_that_would_mix_calls_up_is_refused(
    make_program: MakeProgram, snapshot: str, code: str, named: tuple[str, str]
) -> None:
    with pytest.raises(CodeProblem) as caught:
        make_program(code, snapshot, enter=False)
    assert all(name in str(caught.value) for name in named)


def test_functions_of_the_setup_are_looked_at_too(make_program: MakeProgram) -> None:
    with pytest.raises(CodeProblem, match="'score' looks up 'x'"):
        make_program("y = score()", setup_code="def score(): return x", enter=False)


@pytest.mark.parametrize(
    ("snapshot", "code"),
    [
        (
            "import math\nrate = 2\ndef score(x): return math.floor(rate * x)",
            "import math\ny = score(x)",
        ),
        ("from math import floor\ndef f(v): return floor(v)", "from math import floor\ny = f(x)"),
        ("import os.path as p\ndef f(v): return p.join(v)", "import os.path as p\ny = 2"),
        ("", "def score(): return x\ny = score()"),
        ("", "rate = x\ny = [rate for _ in range(1)][0]"),
    ],
)
def test_functions_that_find_what_is_theirs_are_taken(
    make_program: MakeProgram, snapshot: str, code: str
) -> None:
    program = make_program(code, snapshot)
    assert b'"y":2' in program.answer(program.read(b'{"x": 2}'))[1] or "math" in snapshot
