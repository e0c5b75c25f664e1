"""Services that run many calls at a time in a worker, called as applications do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from jupyter_mlsvc_server.scoring.errors import (
    CodeEnded,
    RunTooLong,
    UnservableCode,
    WorkerEnded,
    WorkerFailed,
)
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import Service, Snapshots, define
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
Serve = Callable[..., Awaitable[Service]]

PARTIES = 40
HANG = "import asyncio, os\nif x: await asyncio.Event().wait()\ny = os.getpid()"


async def test_one_worker_has_many_calls_in_flight(serve: Serve, snapshots: Snapshots) -> None:
    service = await serve(
        "y = await meet(x)\nprint(x)",
        snapshots.take("async def meet(n):\n    await barrier.wait()\n    return n * 2"),
        setup_code=f"import asyncio\nbarrier = asyncio.Barrier({PARTIES})",
        inputs="x:integer",
        concurrency=PARTIES,
    )
    results = await asyncio.gather(*(service.call(x=n) for n in range(PARTIES)))
    assert [each["outputParameters"]["y"] for each in results] == [2 * n for n in range(PARTIES)]
    assert [each["consoleOutput"] for each in results] == [f"{n}\n" for n in range(PARTIES)]
    figures = await service.engine.figures(*service.key)
    assert (figures.calls, figures.workers) == (PARTIES, 1)
    log = await service.engine.logs(*service.key, after=None, limit=100)
    assert {entry.text for entry in log} >= {f"{n}\n" for n in range(PARTIES)}


async def test_threads_run_code_that_blocks(serve: Serve) -> None:
    service = await serve(
        "barrier.wait(60)\ny = x",
        setup_code="import threading\nbarrier = threading.Barrier(4)",
        inputs="x:integer",
        concurrency=4,
    )
    results = await asyncio.gather(*(service.outputs(x=n) for n in range(4)))
    assert results == [{"y": n} for n in range(4)]


async def test_a_call_over_its_own_deadline_is_cancelled_and_its_worker_goes_on(
    serve: Serve,
) -> None:
    service = await serve(HANG, inputs="x:logical", concurrency=5, deadline_seconds=0.5)
    before = await service.outputs(x=False)
    with pytest.raises(RunTooLong, match=r"longer than 0\.5 s"):
        await service.call(x=True)
    assert await service.outputs(x=False) == before
    log = await service.engine.logs(*service.key, after=None, limit=100)
    assert any("deadlineSeconds of the version" in entry.problem for entry in log)


async def test_a_worker_whose_loop_is_blocked_is_replaced(serve: Serve) -> None:
    code = (
        "import asyncio, os, time\nawait asyncio.sleep(0)\nif x: time.sleep(1000)\ny = os.getpid()"
    )
    service = await serve(code, inputs="x:logical", concurrency=5, deadline_seconds=2)
    before = await service.outputs(x=False)
    with pytest.raises(RunTooLong):
        await service.call(x=True)
    assert await service.outputs(x=False) != before


async def test_a_call_whose_caller_leaves_is_cancelled(serve: Serve, tmp_path: Path) -> None:
    code = (
        "import asyncio, os\nos.mkdir(door)\n"
        "try: await asyncio.Event().wait()\nfinally: os.rmdir(door)"
    )
    service = await serve(code, inputs="door:character", outputs="", concurrency=5)
    door = tmp_path / "door"
    call = asyncio.create_task(service.call(door=str(door)))
    await until(door.is_dir)
    call.cancel()
    await until(lambda: not door.is_dir())
    assert (await service.engine.figures(*service.key)).workers == 1


@pytest.mark.parametrize("effects", [False, True])
async def test_a_call_that_ends_the_worker_fails_and_others_follow_the_rules(
    serve: Serve, tmp_path: Path, effects: bool
) -> None:
    code = (
        "import asyncio, os\nif x: os._exit(3)\nos.makedirs(door, exist_ok=True)\n"
        "while not os.path.exists(door + '/open'): await asyncio.sleep(0.01)\ny = 1"
    )
    service = await serve(code, inputs="x:logical door:character", concurrency=5, effects=effects)
    door = tmp_path / "door"
    other = asyncio.create_task(service.outputs(x=False, door=str(door)))
    await until(door.is_dir)
    ends = asyncio.create_task(service.call(x=True, door=""))
    if effects:
        with pytest.raises(WorkerEnded, match="have effects"):
            await ends
        with pytest.raises(WorkerEnded, match="have effects"):
            await other
        return
    (door / "open").touch()
    with pytest.raises(CodeEnded):
        await ends
    assert await other == {"y": 1}


async def test_a_worker_that_fails_itself_is_replaced(serve: Serve) -> None:
    code = (
        "import os, jupyter_mlsvc_server.worker.concurrent as itself\n"
        "if x: itself._take_own_decimal_context = None\ny = os.getpid()"
    )
    service = await serve(code, inputs="x:logical", concurrency=5)
    before = await service.outputs(x=True)
    with pytest.raises(WorkerFailed):
        await service.call(x=False)
    assert await service.outputs(x=False) != before
    figures = await service.engine.figures(*service.key)
    assert figures.retired == 1


async def test_the_check_runs_code_that_awaits(engine: LocalEngine) -> None:
    code = "import asyncio\nawait asyncio.sleep(0)\ny = x + 1"
    definition = define(code, inputs="x:integer", outputs="y:", concurrency=100)
    outcome = await engine.check(definition, msgspec.json.encode({"x": 1}))
    assert (outcome.problem, outcome.types) == ("", {"y": "numeric"})


async def test_a_deadline_beyond_the_operators_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(UnservableCode, match=r"max_deadline_seconds"):
        await engine.check(define("y = 1", deadline_seconds=31))


async def test_a_slow_reader_of_a_stream_holds_up_nobody_else(serve: Serve) -> None:
    code = "import asyncio\nwhile x:\n    await asyncio.sleep(0)\n    yield 'x' * 1000\nyield 'end'"
    service = await serve(
        code, inputs="x:logical", outputs="y:vector", concurrency=2, revision="r2"
    )
    stream = service.engine.stream(*service.key, b'{"x": true}')
    await until(lambda: stream._is_paused)
    assert await service.outputs(x=False) == {"y": ["end"]}
    assert len(await stream.read()) > 100
    assert await stream.read(), "it goes on where it is read"
    stream.leave()
    assert await service.outputs(x=False) == {"y": ["end"]}


async def test_a_function_of_a_snapshot_that_would_mix_calls_up_is_refused(
    engine: LocalEngine, snapshots: Snapshots
) -> None:
    content = snapshots.take("class A:\n    def m(self): return x\na = [A()]")
    definition = define("y = a[0].m()", content, "x:integer", concurrency=2, revision="r3")
    with pytest.raises(UnservableCode, match=r"'A\.m' looks up 'x'"):
        await engine.check(definition)
