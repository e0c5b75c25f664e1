"""What is started before the first call, and when the engine says that it is ready."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from jupyter_mlsvc_server.scoring import local
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.forkserver import Forkserver
from jupyter_mlsvc_server.scoring.loaded_file import LoadedFile
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.statistics import State
from tests.server.scoring.serving import define
from tests.waiting import until

Make = Callable[..., Awaitable[LocalEngine]]

NAMES = ("a", "b", "broken")
KEYS = [DefinitionKey(name, "V1.0") for name in NAMES]


async def find(name: str, version: str) -> ServiceDefinition:
    """Define what is asked for; one of them can't be served."""
    return define("y = 1" if name != "broken" else "y = (", name=name)


async def states(engine: LocalEngine) -> list[State]:
    return [(await engine.figures(*key)).state for key in KEYS]


async def warmed(engine: LocalEngine, published: list[DefinitionKey]) -> LocalEngine:
    engine.definitions = find
    engine.warm_up(published)
    was_ready = engine.is_ready
    await engine.until_warm()
    assert (was_ready, engine.is_ready) == (False, True)
    return engine


def forkserver_of(engine: LocalEngine) -> Forkserver | None:
    return engine._forkservers.usual


async def test_nothing_runs_where_nothing_is_published(make_engine: Make) -> None:
    engine = await warmed(await make_engine(), [])
    assert forkserver_of(engine) is None
    engine.expect_publish()
    expected = forkserver_of(engine)
    assert expected is not None
    engine.expect_publish()
    assert forkserver_of(engine) is expected
    await engine.put(define("y = 1", name="a"))
    assert engine.is_ready


async def test_the_forkserver_may_be_wanted_at_the_start_all_the_same(make_engine: Make) -> None:
    engine = await warmed(await make_engine(preload_at_start=True), [])
    assert engine._forkservers.usual is not None
    assert engine._forkservers.usual.link.is_ready


@pytest.mark.parametrize(
    ("warm", "expected"),
    [
        ("none", [State.IDLE, State.IDLE, State.IDLE]),
        ("all", [State.READY, State.READY, State.FAILING]),
    ],
)
async def test_versions_are_loaded_as_it_is_set(
    warm: str, expected: list[State], make_engine: Make
) -> None:
    engine = await warmed(await make_engine(warm=warm), KEYS)
    assert engine._forkservers.usual is not None
    assert engine._forkservers.usual.link.is_ready
    assert await states(engine) == expected


async def test_a_pool_of_its_own_is_waited_for(make_engine: Make) -> None:
    engine = await make_engine()
    engine.definitions = find
    engine.resize(*KEYS[1], PoolSize(1, 1))
    await warmed(engine, KEYS)
    assert await states(engine) == [State.IDLE, State.READY, State.IDLE]


async def test_what_was_loaded_at_the_end_is_loaded_at_the_start(make_engine: Make) -> None:
    first = await warmed(await make_engine(warm="recent"), KEYS)
    assert await states(first) == [State.IDLE] * 3
    await first.consume(*KEYS[0], b"{}")
    await first.stop()
    second = await make_engine(warm="recent")
    second._loaded_file = first._loaded_file
    await warmed(second, KEYS)
    assert await states(second) == [State.READY, State.IDLE, State.IDLE]


async def test_an_engine_that_lost_its_forkserver_is_ready_once_there_is_another_one(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_SWEEP_SECONDS", 0.05)
    engine = await warmed(await make_engine(), KEYS)
    assert engine._forkservers.usual is not None
    os.kill(engine._forkservers.usual.pid, signal.SIGKILL)
    lost = engine._forkservers.usual
    await until(lambda: engine._forkservers.usual is not lost and engine.is_ready)
    assert (await engine.consume(*KEYS[0], b"{}")).success


@pytest.mark.parametrize(("code", "inputs"), [("y = n + 1", "n:integer"), ("y = 8", "n:vector")])
async def test_code_that_needs_no_libraries_does_not_wait_for_them(
    make_engine: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: str,
    inputs: str,
) -> None:
    monkeypatch.setattr(local, "_SWEEP_SECONDS", 0.05)
    module = tmp_path / "takes_long.py"
    module.write_text(
        f"import os, time\nwhile not os.path.exists({str(tmp_path / 'door')!r}): time.sleep(0.01)"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    engine = await make_engine(preload=["takes_long"])
    definition = define(code, None, inputs, "y:integer")
    serving = asyncio.create_task(engine.put(definition))
    is_plain = inputs == "n:integer"
    if is_plain:
        await serving
        assert (await engine.consume(*definition.key, b'{"n": 7}')).success
        assert engine._forkservers.usual is not None
        assert not engine._forkservers.usual.link.is_ready
    else:
        await until(lambda: engine._forkservers.usual is not None)
        assert engine._forkservers.bare is None
    (tmp_path / "door").touch()
    await serving
    await until(
        lambda: engine._forkservers.usual is not None and engine._forkservers.usual.link.is_ready
    )
    assert (engine._forkservers.bare is not None) is is_plain
    await engine.put(define("y = 9", outputs="y:integer", revision="r2"))
    await until(lambda: engine._forkservers.bare is None)
    assert b"9" in (await engine.consume(*definition.key, b"{}")).body


@pytest.mark.parametrize(
    ("definition", "needs"),
    [
        (define("y = 1"), False),
        (define("import numpy as np; y = np.arange(3)"), True),
        (define("y = 1", None, "n:vector"), True),
        (define("y = 1", None, "n:data.frame"), True),
        (define("y <- numpy", runtime_type="R"), False),
        (define("", runtime_type="Realtime"), True),
        (define("y = 1", cast("Any", object())), True),
    ],
)
def test_version_needs_libraries_that_it_may_use(
    definition: ServiceDefinition, needs: bool
) -> None:
    assert definition.may_need(["numpy", "sklearn.svm"]) is needs


async def test_a_list_of_versions_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    loaded = LoadedFile(tmp_path / "loaded.json")
    assert await loaded.read() == frozenset()
    await loaded.write(KEYS)
    assert await LoadedFile(tmp_path / "loaded.json").read() == frozenset(KEYS)
    (tmp_path / "loaded.json").write_text("[")
    assert await LoadedFile(tmp_path / "loaded.json").read() == frozenset()
