"""New revisions, versions that are loaded when they are called, and how many workers there are."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from jupyter_mlsvc_server.errors import MlsvcServerError, NotFound
from jupyter_mlsvc_server.scoring.definition import PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import (
    UNTIL_OPEN,
    Service,
    Snapshots,
    define,
    serve_by,
    until_queued,
)
from tests.waiting import until

MakeEngine = Callable[..., Awaitable[LocalEngine]]

PID_ONCE_OPEN = f"{UNTIL_OPEN}\ny = os.getpid()"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  # the engine tells nobody
            await asyncio.sleep(0.02)


async def counts(engine: LocalEngine, **expected: int) -> bool:
    """Whether so many services, or workers, are there."""
    found = await engine.statistics()
    return {name: found[name] for name in expected} == expected


async def lacks(engine: LocalEngine, service: Service, size: PoolSize) -> bool:
    return not await engine.has_size(*service.key, size)


async def has_let_go(engine: LocalEngine) -> bool:
    return not engine._leaving


async def test_a_new_revision_takes_over_under_load_without_a_failed_request(
    make_engine: MakeEngine,
) -> None:
    engine = await make_engine(workers_max=2)
    service = await serve_by(engine, "y = 0", revision="0")
    seen: list[int] = []
    is_over = False

    async def caller() -> None:
        while not is_over:
            seen.append((await service.outputs())["y"])

    callers = [asyncio.create_task(caller()) for _ in range(8)]
    for number in range(1, 6):
        definition = define(f"y = {number}", revision=str(number))
        await engine.check(definition)
        await engine.put(definition)
        assert await service.outputs() == {"y": number}
        await until(partial(seen.__contains__, number))
    is_over = True
    await asyncio.gather(*callers)
    assert len(seen) > 50
    assert set(seen) == set(range(6))
    await eventually(lambda: has_let_go(engine))


async def test_a_request_in_flight_finishes_on_the_old_revision(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=1)
    door = tmp_path / "door"
    service = await serve_by(engine, UNTIL_OPEN, inputs="door:character", revision="0")
    calls = [asyncio.create_task(service.outputs(door=str(door))) for _ in range(2)]
    await until_queued(engine, service, 1)
    await engine.put(define("y = 'new'", revision="1"))
    assert await service.outputs() == {"y": "new"}
    assert not calls[0].done()
    door.touch()
    assert await asyncio.gather(*calls) == [{"y": 1}] * 2


async def test_request_that_ends_its_worker_fails_on_the_old_revision(
    make_engine: MakeEngine, snapshots: Snapshots, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=1)
    begun, door = tmp_path / "begun", tmp_path / "door"
    code = f"import os; open({str(begun)!r}, 'w').close()\n{UNTIL_OPEN}\nos._exit(3)"
    service = await serve_by(engine, code, inputs="door:character", revision="0", effects=True)
    call = asyncio.create_task(service.outputs(door=str(door)))
    await until(begun.exists)
    # Nobody is there to tell how the worker ended.
    os.kill(engine._pools[service.key].template_pid, signal.SIGSTOP)
    other = snapshots.take("new = 'new'")
    await engine.put(define("y = new", other, revision="1"))
    door.touch()
    async with asyncio.timeout(60):
        with pytest.raises(MlsvcServerError, match="ended unexpectedly"):
            await call
    await eventually(lambda: has_let_go(engine))


async def test_a_removed_version_is_gone_and_what_runs_finishes(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=1)
    door = tmp_path / "door"
    service = await serve_by(engine, UNTIL_OPEN, inputs="door:character")
    calls = [asyncio.create_task(service.outputs(door=str(door))) for _ in range(2)]
    await until_queued(engine, service, 1)
    await engine.remove("Test", "V1.0")
    with pytest.raises(NotFound):
        await service.call()
    door.touch()
    assert await asyncio.gather(*calls) == [{"y": 1}] * 2
    await engine.remove("Test", "V1.0")
    assert await counts(engine, services=0)


async def test_versions_are_loaded_once_when_they_are_first_called(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine(workers_max=2)
    content = snapshots.take("base = 40")
    asked = []

    async def definitions(name: str, version: str) -> ServiceDefinition:
        asked.append((name, version))
        return define("y = base + n", content, inputs="n:integer", name=name)

    engine.definitions = definitions
    service = Service(engine, define("", name="Lazy").key)
    results = await asyncio.gather(*(service.outputs(n=n) for n in range(10)))
    assert results == [{"y": 40 + n} for n in range(10)]
    assert asked == [("Lazy", "V1.0")]


async def test_workers_grow_with_the_load_and_go_when_idle(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_min=1, workers_max=3, idle_seconds=0.3)
    door = tmp_path / "door"
    service = await serve_by(engine, PID_ONCE_OPEN, inputs="door:character")
    assert await counts(engine, services=1, workers=0), "a worker was started before the first call"
    calls = [asyncio.create_task(service.outputs(door=str(door))) for _ in range(12)]
    await eventually(lambda: counts(engine, workers=3))
    await until_queued(engine, service, 9)
    door.touch()
    assert len({outputs["y"] for outputs in await asyncio.gather(*calls)}) == 3
    await eventually(lambda: counts(engine, workers=1))
    await asyncio.sleep(0.5)
    assert await counts(engine, workers=1)


async def test_no_worker_is_kept_where_none_is_asked_for(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_min=0, workers_max=2, idle_seconds=0.2)
    service = await serve_by(engine, "y = 1")
    assert await counts(engine, workers=0)
    assert await service.outputs() == {"y": 1}
    await eventually(lambda: counts(engine, workers=0))
    assert await service.outputs() == {"y": 1}


async def test_an_unused_version_is_unloaded_and_comes_back(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.scoring.local._SWEEP_SECONDS", 0.1)
    engine = await make_engine(unload_seconds=0.3)
    service = await serve_by(engine, "y = 1")
    await eventually(lambda: counts(engine, services=0))

    async def definitions(name: str, version: str) -> ServiceDefinition:
        return define("y = 2", name=name)

    engine.definitions = definitions
    assert await service.outputs() == {"y": 2}
    assert (await engine.counters()).unloaded == 1


async def test_statistics_count_requests_errors_and_times(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_by(engine, "y = 1 / n", inputs="n:numeric")
    for n in [1, 2, 4, 0]:
        await service.call(n=n)
    await service.problem_of(b"{}")
    found = (await engine.all_figures())[service.key]
    assert (found.calls, found.errors, found.workers, found.waiting) == (5, 1, 1, 0)
    assert found.p50 is not None
    assert found.p99 is not None
    assert 0 < found.p50 <= found.p99
    memory = await engine.memory()
    assert memory[service.key] > 2**20


async def test_versions_do_not_share_a_process(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    one = await serve_by(engine, "import os; y = os.getpid()", name="One")
    two = await serve_by(engine, "import os; y = os.getpid()", name="Two")
    assert await one.outputs() != await two.outputs()


async def test_a_pool_of_its_own_size_starts_at_once_and_grows_to_its_maximum(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_min=0, workers_max=1)
    door = tmp_path / "door"
    service = await serve_by(engine, PID_ONCE_OPEN, inputs="door:character")
    size = PoolSize(1, 3)
    engine.resize(*service.key, size)
    assert await lacks(engine, service, size)
    await eventually(lambda: engine.has_size(*service.key, size))
    assert await counts(engine, workers=1)
    calls = [asyncio.create_task(service.outputs(door=str(door))) for _ in range(9)]
    await eventually(lambda: counts(engine, workers=3))
    await until_queued(engine, service, 6)
    door.touch()
    assert len({outputs["y"] for outputs in await asyncio.gather(*calls)}) == 3


async def test_a_smaller_pool_lets_those_that_work_finish(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(workers_max=2, idle_seconds=60)
    door = tmp_path / "door"
    service = await serve_by(engine, UNTIL_OPEN, inputs="door:character")
    engine.resize(*service.key, PoolSize(3, 3))
    await eventually(lambda: engine.has_size(*service.key, PoolSize(3, 3)))
    calls = [asyncio.create_task(service.outputs(door=str(door))) for _ in range(4)]
    await until_queued(engine, service, 1)
    engine.resize(*service.key, PoolSize(1, 1))
    await asyncio.sleep(0.1)
    assert await lacks(engine, service, PoolSize(1, 1)), "three are still at work"
    door.touch()
    assert await asyncio.gather(*calls) == [{"y": 1}] * 4
    await eventually(lambda: counts(engine, workers=1))
    assert await engine.has_size(*service.key, PoolSize(1, 1))


async def test_workers_of_a_pool_that_end_are_replaced_unasked(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    service = await serve_by(engine, "y = 1")
    size = PoolSize(2, 2)
    engine.resize(*service.key, size)
    await eventually(lambda: engine.has_size(*service.key, size))
    killed = engine._pools[service.key].pids[0]
    os.kill(killed, signal.SIGKILL)
    await until(lambda: killed not in engine._pools[service.key].pids)
    await eventually(lambda: engine.has_size(*service.key, size))


async def test_a_pool_without_workers_to_keep_serves_all_the_same(make_engine: MakeEngine) -> None:
    engine = await make_engine(idle_seconds=0.2)
    service = await serve_by(engine, "y = 1")
    engine.resize(*service.key, PoolSize(0, 0))
    await eventually(lambda: engine.has_size(*service.key, PoolSize(0, 0)))
    assert await counts(engine, workers=0)
    assert await service.outputs() == {"y": 1}
