"""Real snapshots and real engines for the tests of scoring."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from traitlets.config import Config

from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import (
    IRIS,
    Service,
    Snapshots,
    StoredContent,
    no_definition,
    serve_by,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses an engine: it starts a forkserver."""
    for item in items:
        if isinstance(item, pytest.Function) and {"engine", "make_engine"} & {*item.fixturenames}:
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Snapshots:
    return Snapshots(tmp_path_factory.mktemp("snapshots"))


@pytest.fixture(scope="session")
def iris(snapshots: Snapshots) -> StoredContent:
    return snapshots.take(IRIS)


@pytest.fixture(scope="session")
def confinement(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Settings by which code may write into the folders of tests, and so tell that it ran."""
    return {"writable_paths": [tempfile.gettempdir(), str(tmp_path_factory.getbasetemp())]}


@pytest.fixture(scope="session")
def data_root() -> Iterator[Path]:
    """Where data folders are: not in what code may write, where they would stay closed."""
    root = Path(tempfile.mkdtemp(prefix="mlsvc-test-", dir="/var/tmp"))
    yield root
    shutil.rmtree(root)


@contextmanager
def hidden_folders_in(root: Path) -> Iterator[None]:
    """Have the user folders that code never sees elsewhere than in what it may write."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(root / name.lower()))
        yield


@pytest_asyncio.fixture
async def make_engine(
    tmp_path: Path, data_root: Path, confinement: dict[str, list[str]]
) -> AsyncIterator[Callable[..., Awaitable[LocalEngine]]]:
    """Start engines of other settings than the usual; nothing is preloaded unless asked for."""
    engines: list[LocalEngine] = []

    async def make(**settings: Any) -> LocalEngine:
        settings = {"preload": []} | settings
        with hidden_folders_in(data_root):
            engine = LocalEngine(
                data_dir=Path(f"{data_root}{tmp_path}/data-{len(engines)}"),
                definitions=no_definition,
                config=Config({"LocalEngine": settings, "Confinement": confinement}),
            )
        await engine.start()
        engines.append(engine)
        return engine

    yield make
    await asyncio.gather(*(engine.stop() for engine in engines))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(data_root: Path, confinement: dict[str, list[str]]) -> AsyncIterator[LocalEngine]:
    """One engine for a module's tests, with the usual libraries loaded and one worker a service."""
    folder = Path(tempfile.mkdtemp(dir=data_root))
    with hidden_folders_in(data_root):
        engine = LocalEngine(
            data_dir=folder,
            definitions=no_definition,
            config=Config({"LocalEngine": {"workers_max": 1}, "Confinement": confinement}),
        )
    await engine.start()
    yield engine
    await engine.stop()
    shutil.rmtree(folder)


@pytest.fixture
def serve(engine: LocalEngine) -> Callable[..., Awaitable[Service]]:
    """Define and serve by the module's engine."""
    return partial(serve_by, engine)
