"""Which forkserver templates are forked from, where their snapshots need heavy libraries."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc_server.formats.protocol import Preloaded
from jupyter_mlsvc_server.scoring import forkservers
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.forkservers import Forkservers, heavy_modules, why_not_shared
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from tests.server.scoring.serving import Snapshots, StoredContent, define, serve_by

MakeEngine = Callable[..., Awaitable[LocalEngine]]

MANY = Preloaded({}, heavy_bytes=100 * 2**20, heavy_seconds=2.0)


def taken_with(content: StoredContent, *packages: str) -> StoredContent:
    """Change which packages a snapshot says it was taken with."""
    workspace = msgspec.structs.replace(
        content.manifest.workspace, packages=dict.fromkeys(packages, "1.0")
    )
    manifest = msgspec.structs.replace(content.manifest, workspace=workspace)
    return StoredContent(manifest, content.blobs)


def needing(snapshots: Snapshots, *packages: str) -> ServiceDefinition:
    return define("y = a", taken_with(snapshots.take("a = 1"), *packages))


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        (["torch", "numpy"], ("torch",)),
        (["XGBoost", "torch"], ("torch", "xgboost")),
        (["some-models"], ("some_models.api",)),
        (["numpy"], ()),
    ],
)
def test_heavy_modules_are_those_of_packages_that_a_snapshot_was_taken_with(
    snapshots: Snapshots, packages: list[str], expected: tuple[str, ...]
) -> None:
    names = ["xgboost", "torch", "some_models.api"]
    assert heavy_modules(needing(snapshots, *packages), names) == expected
    assert heavy_modules(define("import torch"), names) == ()


@pytest.mark.parametrize(
    ("imported", "why"),
    [
        (MANY, ""),
        (Preloaded({}, heavy_bytes=100 * 2**20, heavy_seconds=0.1), ""),
        (Preloaded({}, heavy_bytes=0, heavy_seconds=1.0), ""),
        (Preloaded({}, heavy_bytes=2**20, heavy_seconds=0.1), "they take little"),
        (Preloaded({}, 1, 3, 100 * 2**20, 2.0), "they start 3 threads, which a fork ends"),
    ],
)
def test_modules_that_start_threads_or_take_little_are_not_shared(
    imported: Preloaded, why: str
) -> None:
    assert why_not_shared(imported) == why


HEAVY = """
import os
ballast = os.urandom(2**20) * 50
imported_by = os.getpid()
"""
WITH_THREAD = HEAVY + "import threading; threading.Thread(target=threading.Event().wait).start()"


@pytest.mark.parametrize("is_threaded", [False, True])
async def test_versions_share_heavy_modules_from_the_second_one_on(
    snapshots: Snapshots,
    make_engine: MakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_threaded: bool,
) -> None:
    (tmp_path / "heavy_one.py").write_text(WITH_THREAD if is_threaded else HEAVY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    engine = await make_engine(heavy_modules=["heavy_one"])
    found: list[Any] = []
    for number in range(3):
        content = taken_with(snapshots.take(f"a = {number}"), "heavy-one")
        code = "import sys; m = sys.modules.get('heavy_one'); y = m and m.imported_by"
        service = await serve_by(engine, code, content, name=f"Version{number}")
        found.append((await service.outputs())["y"])
    if is_threaded:
        assert found == [None, None, None]
        assert not engine._forkservers.heavy
    else:
        (shared,) = engine._forkservers.heavy.values()
        pid = (await shared.ready()).pid
        assert found == [None, pid, pid]
        assert await engine._forkservers.memory() > 0


class FakeLink:
    is_lost = False
    is_ready = True


class FakeForkserver:
    """Has imported what it was told at once."""

    started: list[FakeForkserver]

    def __init__(self, _settings: object, _limit: int, *, heavy: tuple[str, ...], **_: Any) -> None:
        self.heavy = heavy
        self.link = FakeLink()
        self.is_stopped = False
        self.started.append(self)

    async def ready(self) -> Preloaded:
        return MANY

    async def missing(self) -> dict[str, str]:
        return {}

    async def stop(self) -> None:
        self.is_stopped = True


class FakeProcess:
    """A template process of a forkserver."""

    is_open = True

    def __init__(self, definition: ServiceDefinition, forkserver: Any = None) -> None:
        self.definition = definition
        self.forkserver = forkserver

    def is_of(self, link: object) -> bool:
        return self.forkserver is not None and self.forkserver.link is link


async def test_the_least_recently_used_ends_for_another_one_and_those_in_use_stay(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkservers, "Forkserver", FakeForkserver)
    monkeypatch.setattr(forkservers, "_UNUSED_SECONDS", 0.0)
    FakeForkserver.started = []
    tasks: list[asyncio.Future[None]] = []
    names = ["a", "b", "c", "d", "e", "f"]
    definitions = [needing(snapshots, name) for name in names]
    processes: list[Any] = [FakeProcess(each) for each in definitions]
    owner = Forkservers(
        ScoringSettings(heavy_modules=names, preload=[]),
        lambda: 0,
        lambda: processes,
        lambda work: tasks.append(asyncio.ensure_future(work)),
    )
    found: list[Any] = [await owner.for_template(each) for each in definitions[:4]]
    assert [each.heavy for each in found] == [("a",), ("b",), ("c",), ("d",)]
    assert await owner.for_template(definitions[0]) is found[0]
    processes.append(FakeProcess(definitions[1], found[1]))
    # The first was used since, the second has a template.
    await owner.for_template(definitions[4])
    await asyncio.gather(*tasks)
    assert [each.is_stopped for each in found] == [False, False, True, False]
    processes += [FakeProcess(definitions[0], each) for each in FakeForkserver.started]
    assert await owner.for_template(definitions[5]) is owner.usual
    del processes[-4:]
    await owner.sweep()
    assert list(owner.heavy) == [("b",), ("a",)]
    await owner.stop()
    assert all(each.is_stopped for each in FakeForkserver.started)
