"""A server that is killed while it takes a snapshot, and what the next one finds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.formats.restore import restore
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.staging import Staging

pytestmark = pytest.mark.process

# A session whose kernel is this very process, and parts that end it at a given step.
_PROGRAM = """
import asyncio, itertools, os, signal, sys
from pathlib import Path
import msgspec
import numpy as np
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.kernel.capture import capture
from jupyter_mlsvc_server.formats.fingerprints import Known
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage import blobs as module
from jupyter_mlsvc_server.storage.database import Database

data_dir, step, earlier = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
reached, taking = [], False

def pass_by(name):
    if not taking:
        return
    reached.append(name)
    if f"{name} {reached.count(name)}" == step:
        os.kill(os.getpid(), signal.SIGKILL)

class Blobs(module.BlobStore):
    def _place(self, *what):
        pass_by("before blob")
        super()._place(*what)
        pass_by("after blob")

class MortalDatabase(Database):
    async def run(self, work):
        def watched(connection):
            result = work(connection)
            pass_by("in transaction")
            return result
        result = await super().run(watched)
        pass_by("after transaction")
        return result

class Session:
    id, owner, runtime_type = "s", "ann", "Python"
    directory = data_dir / "work"
    numbers = itertools.count()
    async def call_agent(self, op, data):
        namespace = {"a": np.arange(20_000.0), "b": np.ones(30_000), "c": next(self.numbers)}
        pass_by("before capture")
        known = msgspec.convert(data["known"], Known)
        report = capture(namespace, Path(data["staging"]), known=known)
        pass_by("after capture")
        return {"report": msgspec.to_builtins(report)}

async def main():
    global taking
    database = MortalDatabase(data_dir=data_dir)
    blobs = Blobs(data_dir=data_dir)
    snapshots = SnapshotManager(database=database, blobs=blobs, data_dir=data_dir)
    Session.directory.mkdir()
    (Session.directory / "data.csv").write_text("a,b")
    await database.start()
    await snapshots.start()
    ann, session = Principal("ann", "ann", Role.OWNER), Session()
    for _ in range(earlier):
        await snapshots.create(ann, session)
    taking = True
    await snapshots.create(ann, session)
    print(*reached, sep=";")

asyncio.run(main())
"""

_STEPS = [
    "before capture 1",
    "after capture 1",
    *(f"{when} blob {n}" for n in (1, 2, 3, 4) for when in ("before", "after")),
    "in transaction 1",
    "after transaction 1",
]

# Of the same session again only the stream is another one.
_STEPS_AGAIN = [step for step in _STEPS if not step.endswith(("2", "3", "4"))]


@pytest.mark.parametrize(
    ("earlier", "step"),
    [*((0, step) for step in _STEPS), *((1, step) for step in _STEPS_AGAIN)],
)
async def test_a_killed_server_leaves_a_whole_snapshot_or_none(
    tmp_path: Path, earlier: int, step: str
) -> None:
    data_dir, ann = tmp_path / "data", Principal("ann", "ann", Role.OWNER)
    data_dir.mkdir()
    killed = _run(data_dir, step, earlier)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    database, blobs = (
        Database(data_dir=data_dir),
        BlobStore(data_dir=data_dir, grace_seconds=0, trash_seconds=0),
    )
    snapshots = SnapshotManager(
        database=database, blobs=blobs, data_dir=data_dir, hold_seconds=0, collect_interval=0
    )
    await database.start()
    await snapshots.start()
    await snapshots.collect()
    try:
        found = await snapshots.list(ann)
        assert len(found) == earlier + (step == "after transaction 1")
        used: set[str] = set()
        for snapshot in found:
            record = await snapshots.get(ann, snapshot.id)
            content = await snapshots.content(record.content_id)
            namespace: dict[str, object] = {}
            restored = restore(content.manifest, content.path, namespace)
            assert (set(restored.names), restored.lost) == ({"a", "b", "c"}, {})
            assert [file.path for file in content.manifest.files] == ["data.csv"]
            used |= content.manifest.digests
        assert {path.name for path in blobs.folder.rglob("*") if path.is_file()} == used
        assert [path.name for path in data_dir.glob("staging/*/*")] == ["lock"]
    finally:
        await snapshots.stop()
        await database.stop()


@pytest.mark.parametrize(("earlier", "steps"), [(0, _STEPS), (1, _STEPS_AGAIN)])
def test_without_a_kill_every_step_is_reached(
    tmp_path: Path, earlier: int, steps: list[str]
) -> None:
    (tmp_path / "data").mkdir()
    done = _run(tmp_path / "data", "never", earlier)
    reached = done.stdout.strip().split(";")
    counted = {f"{step} {reached[: n + 1].count(step)}" for n, step in enumerate(reached)}
    assert counted == set(steps), done.stderr
    assert not list((tmp_path / "data" / "staging").glob("*/*/*"))


def test_another_servers_work_is_not_swept(tmp_path: Path) -> None:
    one, other = Staging(tmp_path), Staging(tmp_path)
    one.open()
    work = one.folder()
    other.open()
    assert work.is_dir()
    one.close()
    one.close()
    assert not work.exists()
    other.close()
    assert not list((tmp_path / "staging").iterdir())


def _run(data_dir: Path, step: str, earlier: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(data_dir), step, str(earlier)],
        capture_output=True,
        text=True,
        check=False,
    )
