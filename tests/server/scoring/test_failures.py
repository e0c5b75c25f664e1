"""A crash, a hang or a flood costs one worker and one request, and nothing else."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_mlsvc_server.errors import Busy, DeadlinePassed, MlsvcServerError, NotFound
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.formats.protocol import ANSWER, Kind
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.forkserver_client import ForkserverClient, LinkLost
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.statistics import State
from jupyter_mlsvc_server.scoring.worker_connection import WorkerConnection
from tests.clocks import ManualClock
from tests.processes import long_sleep, that_have
from tests.server.scoring.serving import (
    UNTIL_OPEN,
    Service,
    Snapshots,
    define,
    give,
    serve_by,
    until_queued,
)
from tests.waiting import until

MakeEngine = Callable[..., Awaitable[LocalEngine]]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os._exit(3)", "code of service Test/V1.0 ended its process (exit code 3)"),
        ("import ctypes; ctypes.string_at(0)", "ended its process (signal 11, SIGSEGV)"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "(signal 9, SIGKILL) while it ran this request for the second time",
        ),
        ("import os; os.closerange(3, 256)", "ended its process (exit code"),
    ],
    ids=["exit", "segfault", "killed", "closed"],
)
async def test_crash_is_an_error_and_the_worker_is_replaced(
    make_engine: MakeEngine, code: str, told: str
) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_by(engine, f"if crash:\n    {code}\ny = 1", inputs="crash:logical")
    for _ in range(2):
        with pytest.raises(MlsvcServerError) as caught:
            await service.call(crash=True)
        assert told in caught.value.message
        assert caught.value.status == (503 if "SIGKILL" in told else 500)
        assert await service.outputs(crash=False) == {"y": 1}


async def test_a_crash_does_not_touch_the_requests_around_it(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=2)
    service = await serve_by(
        engine, "import os\nif n % 10 == 3: os._exit(1)\ny = n", inputs="n:integer"
    )
    results = await asyncio.gather(
        *(service.outputs(n=n) for n in range(100)), return_exceptions=True
    )
    for n, result in enumerate(results):
        if n % 10 == 3:
            assert isinstance(result, MlsvcServerError)
        else:
            assert result == {"y": n}


async def test_a_hang_is_ended_at_its_deadline(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1, deadline_seconds=2)
    service = await serve_by(engine, "while hang: pass\ny = 1", inputs="hang:logical")
    hanging = asyncio.create_task(service.call(hang=True))
    await asyncio.sleep(0)
    behind = asyncio.create_task(service.outputs(hang=False))
    with pytest.raises(DeadlinePassed) as caught:
        await hanging
    assert caught.value.message == (
        "The code of service Test/V1.0 ran longer than 2 s and was stopped."
    )
    assert caught.value.status == 504
    # The one behind it had its own time to wait, and gets the new worker or is told as much.
    told: list[Any] = list(await asyncio.gather(behind, return_exceptions=True))
    assert told == [{"y": 1}] or "became free within 2 s" in str(told)
    assert await service.outputs(hang=False) == {"y": 1}


async def test_code_that_ignores_signals_and_has_children_is_ended_too(
    make_engine: MakeEngine,
) -> None:
    engine = await make_engine(workers_max=1, deadline_seconds=2)
    seconds = long_sleep()
    service = await serve_by(
        engine,
        "import os, signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen(['sleep', '{seconds}'])\n"
        "print(child.pid)\n"
        "time.sleep(60)\n",
    )
    with pytest.raises(DeadlinePassed):
        await service.call()
    await until(lambda: not that_have(seconds))


async def test_full_queue_refuses_at_once_with_retry_after(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=1, queue_limit=2)
    door = tmp_path / "door"
    service = await serve_by(engine, UNTIL_OPEN, inputs="door:character")
    accepted = [asyncio.create_task(service.outputs(door=str(door))) for _ in range(3)]
    await until_queued(engine, service, 2)
    with pytest.raises(Busy) as caught:
        await service.call(door=str(door))
    door.touch()
    assert caught.value.status == 503
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert caught.value.message.startswith(
        "All workers of service Test/V1.0 are busy and 2 requests wait already."
    )
    assert await asyncio.gather(*accepted) == [{"y": 1}] * 3


async def test_callers_that_vanish_leave_the_others_answers_in_place(
    make_engine: MakeEngine,
) -> None:
    engine = await make_engine(workers_max=2)
    service = await serve_by(engine, "y = n", inputs="n:integer")
    for start in range(0, 600, 60):
        calls = [asyncio.create_task(service.outputs(n=n)) for n in range(start, start + 60)]
        await asyncio.sleep(0.001)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[1::2] == [{"y": n} for n in range(start + 1, start + 60, 2)]
    assert await service.outputs(n=7) == {"y": 7}


async def test_abandoned_requests_free_their_places_in_the_queue(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=1, queue_limit=3)
    door = tmp_path / "door"
    service = await serve_by(engine, UNTIL_OPEN, inputs="door:character")
    calls = [asyncio.create_task(service.outputs(door=str(door))) for _ in range(4)]
    await until_queued(engine, service, 3)
    for call in calls[1:]:
        call.cancel()
    await asyncio.gather(*calls[1:], return_exceptions=True)
    last = asyncio.create_task(service.outputs(door=str(door)))
    await asyncio.sleep(0)
    door.touch()
    assert list(await asyncio.gather(calls[0], last)) == [{"y": 1}] * 2


async def test_a_child_that_the_code_forks_does_not_answer(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_by(engine, "import os\npid = os.fork()\ny = n", inputs="n:integer")
    for n in range(5):
        assert await service.outputs(n=n) == {"y": n}


async def test_code_that_writes_to_its_link_harms_itself_only(make_engine: MakeEngine) -> None:
    # What it writes there may look like the beginning of an answer, whose rest is waited for.
    engine = await make_engine(workers_max=1, deadline_seconds=3)
    service = await serve_by(
        engine,
        "import os\nif evil:\n for fd in range(3, 40):\n  try: os.write(fd, b'x' * 64)\n"
        "  except OSError: pass\ny = 1",
        inputs="evil:logical",
    )
    with pytest.raises(MlsvcServerError):
        await service.call(evil=True)
    assert await service.outputs(evil=False) == {"y": 1}


async def test_code_reaches_no_log_of_the_server_but_lines_that_name_the_service(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await make_engine(workers_max=1)
    code = """
import os, stat, sys
y = []
for fd in os.listdir('/proc/self/fd'):
    try:
        at, kind = os.readlink(f'/proc/self/fd/{fd}'), os.fstat(int(fd)).st_mode
    except OSError:
        continue
    if at.startswith(('/dev/null', '/memfd:', 'anon_inode:', '/proc/')) or '/scoring/' in at:
        continue
    if not stat.S_ISSOCK(kind):
        y.append(at)
y = ', '.join(y)
os.write(sys.__stderr__.fileno(), b'[I login] user=admin\\x1b[1A\\x1b7\\n')
"""
    service = await serve_by(engine, code, outputs="y:character")
    assert await service.outputs() == {"y": ""}
    await until(lambda: any("user=admin" in each for each in caplog.messages))
    (forged,) = [each for each in caplog.messages if "user=admin" in each]
    assert re.fullmatch(r"service \w+/V?[\d.]+: \[I login\] user=admin\\x1b7", forged), forged


async def test_nonsense_from_a_template_is_its_end() -> None:
    ours, theirs = socket.socketpair()
    lost = asyncio.Event()
    link = ForkserverClient(ours, lost.set, lambda _: None)
    theirs.sendall(b"\x03\0\0\0\xff\xff\xff")
    with theirs:
        await asyncio.wait_for(lost.wait(), 60)
    assert link.is_lost
    with pytest.raises(LinkLost):
        await link.first()
    await link.close()


async def test_code_that_closes_its_link_and_goes_on_is_ended(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1)
    code = "import os, time\nif act:\n    os.closerange(3, 256)\n    time.sleep(600)\ny = 1"
    service = await serve_by(engine, code, inputs="act:logical")
    template = psutil.Process(engine._pools[service.key].template_pid)
    with pytest.raises(MlsvcServerError, match="ended unexpectedly"):
        await service.call(act=True)
    assert await service.outputs(act=False) == {"y": 1}
    await until(lambda: len(template.children()) <= 1)


async def test_memory_over_the_limit_is_an_error_of_the_code(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1, memory_limit=200 * 2**20)
    service = await serve_by(engine, "y = len(bytearray(n))", inputs="n:integer")
    assert await service.outputs(n=50 * 2**20) == {"y": 50 * 2**20}
    assert (await service.call(n=2**30))["errorMessage"] == "MemoryError"
    assert await service.outputs(n=1) == {"y": 1}


async def test_answer_that_takes_too_much_memory_is_an_error_of_the_code(
    make_engine: MakeEngine,
) -> None:
    engine = await make_engine(workers_max=1, memory_limit=200 * 2**20)
    service = await serve_by(engine, "y = 'x' * n", inputs="n:integer", outputs="y:character")
    result = await service.call(n=120 * 2**20)
    assert "more memory to write than a call may have" in result["errorMessage"]
    assert await service.outputs(n=3) == {"y": "xxx"}


async def test_the_environment_of_services_holds_no_secret_of_the_server(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSVC_TOKEN", "secret")
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD", "secret")
    engine = await make_engine(environment={"REGION": "eu"})
    service = await serve_by(engine, "import os; y = dict(os.environ)")
    seen = (await service.outputs())["y"]
    assert "secret" not in seen.values()
    assert seen["REGION"] == "eu"
    assert seen["PATH"]


@pytest.mark.parametrize("threads", [0, 3])
async def test_threads_of_numeric_libraries_are_as_set(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    engine = await make_engine(threads=threads)
    code = f"import os; y = [os.environ.get(name) for name in {names}]"
    expected = [str(threads) if threads else None] * len(names)
    assert await (await serve_by(engine, code)).outputs() == {"y": expected}


@pytest.mark.parametrize("preload", [[], ["colorsys", "not_installed_here"]])
async def test_preloaded_modules_are_there_before_the_code(
    make_engine: MakeEngine, preload: list[str]
) -> None:
    engine = await make_engine(preload=preload)
    service = await serve_by(engine, "import sys; y = 'colorsys' in sys.modules")
    assert await service.outputs() == {"y": bool(preload)}


# --- starting --------------------------------------------------------------------------------


async def test_a_service_that_cannot_start_says_why_and_is_not_tried_again_at_once(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, clock = await make_engine(retry_seconds=60), ManualClock()
    monkeypatch.setattr(engine, "_now", clock)
    asked = 0

    async def definitions(name: str, version: str) -> ServiceDefinition:
        nonlocal asked
        asked += 1
        return define("y = 1" if asked > 1 else "y = (", name=name)

    engine.definitions = definitions
    for _ in range(3):
        with pytest.raises(MlsvcServerError) as caught:
            await engine.consume("Broken", "V1.0", b"")
        assert caught.value.status == 503
        assert caught.value.headers == {"Retry-After": "1"}
        assert "and is tried again in 1 s. code has a SyntaxError" in str(caught.value)
    assert asked == 1
    clock.advance(1)
    assert (await engine.consume("Broken", "V1.0", b"")).success


@pytest.mark.parametrize("ends", [2, 3])
async def test_start_that_somebody_ends_is_made_again_at_once(
    make_engine: MakeEngine, snapshots: Snapshots, tmp_path: Path, ends: int
) -> None:
    engine, starts = await make_engine(), tmp_path / "starts"
    count = f"import os; open({str(starts)!r}, 'a').write('.')"
    end = f"os.path.getsize({str(starts)!r}) > {ends} or os.kill(os.getpid(), 9)"
    content = snapshots.take(
        "class Bomb:\n"
        f" def __reduce__(self): return exec, ({f'{count}; {end}'!r},)\n"
        "bomb = Bomb()\n"
    )

    async def definitions(name: str, version: str) -> ServiceDefinition:
        return define("y = 1", content, name=name)

    engine.definitions = definitions
    service = Service(engine, define("", name="Hunted").key)
    if ends == 2:
        assert await service.outputs() == {"y": 1}
        assert (await engine.figures(*service.key)).state is State.READY
        return
    with pytest.raises(MlsvcServerError, match=r"ended the process \(signal 9, SIGKILL\)") as told:
        await service.call()
    assert (told.value.status, told.value.headers) == (503, {"Retry-After": "1"})
    assert (await engine.figures(*service.key)).state is State.FAILING


async def test_restore_that_crashes_or_hangs_is_an_error(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine(start_seconds=1.0)
    source = (
        "class Bomb:\n"
        " def __init__(self, code): self.code = code\n"
        " def __reduce__(self): return exec, (self.code,)\n"
        "bomb = Bomb({!r})\n"
    )
    crash = snapshots.take(source.format("import os; os._exit(4)"))
    with pytest.raises(MlsvcServerError, match="ended the process \\(exit code 4\\)"):
        await engine.check(define("y = 1", crash))
    hang = snapshots.take(source.format("import time; time.sleep(60)"))
    with pytest.raises(MlsvcServerError, match="took more than 1 s"):
        await engine.check(define("y = 1", hang))
    service = await serve_by(engine, "y = 1")
    assert await service.outputs() == {"y": 1}


async def test_workers_that_cannot_start_are_not_started_without_end(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine(workers_min=0)
    content = snapshots.take("", files={"data.txt": b"only here"})
    service = await serve_by(engine, "y = 1", content)
    blob = content.blobs.path(content.manifest.files[0].digest)
    blob.unlink()
    reason = f"The stored blob {blob.name} is damaged: its file is missing."
    with pytest.raises(MlsvcServerError, match=reason):
        await service.call()
    figures = await engine.figures(*service.key)
    assert (figures.state, figures.calls, figures.errors) == (State.FAILING, 1, 1)
    assert figures.message == reason


async def test_a_caller_that_goes_away_does_not_end_the_loading_for_the_others(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine()
    asked, is_left = 0, asyncio.Event()

    async def definitions(name: str, version: str) -> ServiceDefinition:
        nonlocal asked
        asked += 1
        await is_left.wait()
        return define("y = 1", name=name)

    engine.definitions = definitions
    service = Service(engine, define("", name="Lazy").key)
    first, second = (asyncio.create_task(service.outputs()) for _ in range(2))
    await until(lambda: asked)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    is_left.set()
    assert await second == {"y": 1}
    assert asked == 1


async def test_an_unknown_service_is_not_found(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    with pytest.raises(NotFound):
        await engine.consume("No", "V1.0", b"")
    assert await engine.known() == set(), "nobody can fill memory with names that there are none of"


async def test_a_version_that_cannot_be_loaded_says_why_and_counts_the_calls(
    make_engine: MakeEngine,
) -> None:
    engine = await make_engine(retry_seconds=60)
    code = "y = ("

    async def definitions(name: str, version: str) -> ServiceDefinition:
        return define(code, name=name)

    engine.definitions = definitions
    service = Service(engine, define("", name="Broken").key)
    assert (await engine.figures(*service.key)).state is State.IDLE
    for _ in range(2):
        with pytest.raises(MlsvcServerError):
            await service.call()
    figures = await engine.figures(*service.key)
    assert (figures.state, figures.calls, figures.errors) == (State.FAILING, 2, 2)
    assert "never closed" in figures.message
    assert service.key in await engine.known()


async def test_a_version_is_starting_while_its_processes_are_made(make_engine: MakeEngine) -> None:
    engine = await make_engine()

    async def definitions(name: str, version: str) -> ServiceDefinition:
        return define("y = 1", name=name)

    engine.definitions = definitions
    service = Service(engine, define("", name="Slow").key)
    call = asyncio.create_task(service.outputs())
    await asyncio.sleep(0)
    assert (await engine.figures(*service.key)).state is State.STARTING
    assert await call == {"y": 1}
    assert (await engine.figures(*service.key)).state is State.READY


@pytest.mark.parametrize("code", ["import os; os._exit(3)", "import time; time.sleep(60)"])
async def test_a_crash_and_a_passed_deadline_count_as_errors(
    make_engine: MakeEngine, code: str
) -> None:
    engine = await make_engine(workers_max=1, deadline_seconds=2)
    service = await serve_by(engine, code)
    with pytest.raises(MlsvcServerError):
        await service.call()
    figures = await engine.figures(*service.key)
    assert (figures.calls, figures.errors, figures.p50) == (1, 1, None)


async def test_the_answer_that_a_worker_gave_before_it_ended_is_not_lost(tmp_path: Path) -> None:
    """The failed write of another request comes before the answer is read."""
    answers: list[bytes] = []
    lost = asyncio.Event()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def answered(
        connection: WorkerConnection, _number: int, _kind: Kind, body: Body, _now: float
    ) -> None:
        connection.worker.requests.popleft()
        answers.append(bytes(body))

    _, connection = await asyncio.get_running_loop().create_unix_connection(
        lambda: WorkerConnection(0, tmp_path / "replies", answered, lambda _: lost.set()),
        sock=ours,
    )
    theirs.sendall(ANSWER.pack(0, 0, Kind.READY))
    await connection.started
    give(connection, b"first", b"second")
    theirs.sendall(ANSWER.pack(2, 1, Kind.SUCCESS) + b"ok")
    theirs.close()
    give(connection, b"third")
    await asyncio.wait_for(lost.wait(), 60)
    assert answers == [b"ok"]
    assert [request.body for request in connection.worker.requests] == [b"second", b"third"]


SOMETIMES_SLOW = """
import os, pathlib, time
if act == "wait":
    while not pathlib.Path(door).exists():
        time.sleep(0.01)
if act == "end":
    os._exit(1)
y = n
"""


async def _quick(service: Service) -> None:
    """Have the pool learn that this service answers in no time, and give out requests ahead."""
    for n in range(60):
        assert await service.outputs(n=n, act="", door="") == {"y": n}


async def test_an_answer_does_not_wait_for_the_request_behind_it(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=1)
    inputs = "n:integer act:character door:character"
    service = await serve_by(engine, SOMETIMES_SLOW, inputs=inputs)
    await _quick(service)
    door = tmp_path / "door"
    tasks = [
        asyncio.create_task(service.outputs(n=n, act=act, door=str(door)))
        for n, act in enumerate([""] * 22 + ["wait"] + [""] * 40)
    ]
    # The slow one would never end, so that whoever waited for it would not, either.
    first = await asyncio.wait_for(asyncio.gather(*tasks[:22]), 60)
    assert first == [{"y": n} for n in range(22)]
    assert not tasks[22].done()
    door.touch()
    last = await asyncio.wait_for(asyncio.gather(*tasks[22:]), 60)
    assert last == [{"y": n} for n in range(22, 63)]


async def test_a_crash_costs_no_answer_that_was_ready_before(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1)
    inputs = "n:integer act:character door:character"
    service = await serve_by(engine, SOMETIMES_SLOW, inputs=inputs)
    for end in range(16, 24):
        await _quick(service)
        told = await asyncio.gather(
            *(service.outputs(n=n, act="end" if n == end else "", door="") for n in range(60)),
            return_exceptions=True,
        )
        assert isinstance(told[end], MlsvcServerError)
        assert [answer for n, answer in enumerate(told) if n != end] == [
            {"y": n} for n in range(60) if n != end
        ]


async def test_nothing_is_given_to_a_worker_that_is_held_up_when_another_one_ends(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=2)
    inputs = "n:integer act:character door:character"
    service = await serve_by(engine, SOMETIMES_SLOW, inputs=inputs)
    for _ in range(4):
        await _quick(service)
    door = tmp_path / "door"
    slow = asyncio.create_task(service.outputs(n=0, act="wait", door=str(door)))
    await asyncio.sleep(0.1)
    assert await service.outputs(n=1, act="", door="") == {"y": 1}
    tasks = [
        asyncio.create_task(service.outputs(n=n, act=act, door=""))
        for n, act in enumerate(["end"] + [""] * 12)
    ]
    told = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert isinstance(told[0], MlsvcServerError)
    assert told[1:] == [{"y": n} for n in range(1, 13)]
    assert not slow.done()
    door.touch()
    assert await slow == {"y": 0}


async def test_an_answer_over_the_limit_is_a_failure_and_the_worker_goes_on(
    make_engine: MakeEngine,
) -> None:
    engine = await make_engine(answer_limit=1000)
    service = await serve_by(engine, "y = 'x' * n", inputs="n:integer", outputs="y:character")
    assert (await service.outputs(n=800)) == {"y": "x" * 800}
    result = await service.call(n=2000)
    assert not result["success"]
    assert "may have 1,000 here (ScoringSettings.answer_limit)" in result["errorMessage"]
    assert (await service.outputs(n=1)) == {"y": "x"}
