"""Backups of a data folder: what is in them, what is copied again, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlsvc_server.doctor.findings import Setup, State
from jupyter_mlsvc_server.doctor.stored import check_stored_data
from jupyter_mlsvc_server.storage.backup import CONTENTS, BackupRefused, Copied, back_up, restore
from jupyter_mlsvc_server.storage.blobs import TRASH
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.installation import Installation
from tests.server.snapshots.test_damage import flip
from tests.server.snapshots.test_upload import manifest_of
from tests.server.storage.stored import BATCH, store

DIGEST = manifest_of().buffers[0].digest


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    """A data folder with a snapshot and a batch."""
    await store(tmp_path / "data")
    (tmp_path / "data" / "secret.key").write_bytes(b"secret")
    return tmp_path / "data"


def copy(data_dir: Path, target: Path) -> Copied:
    return back_up(_url(data_dir), data_dir, target)


def _url(data_dir: Path) -> sa.URL:
    return sa.URL.create("sqlite", database=str(data_dir / "mlsvc.db"))


def blob(folder: Path, digest: str = DIGEST) -> Path:
    return folder / "blobs" / digest[:2] / digest


async def test_a_backup_comes_back_whole(data_dir: Path, tmp_path: Path) -> None:
    copied = copy(data_dir, tmp_path / "copy")
    assert (copied.blobs, copied.batches, copied.problems) == (3, 1, [])
    back = tmp_path / "back"
    restored = restore(tmp_path / "copy", back, back / "mlsvc.db")
    assert (restored.blobs, restored.batches, restored.problems) == (3, 1, [])
    assert {each.state for each in check_stored_data(Setup(data_dir=back))} == {State.OK}
    assert (back / "secret.key").read_bytes() == b"secret"
    database = Database(data_dir=back)
    await database.start()
    await Installation(database=database, data_dir=back).require()
    await database.stop()
    for folder in (tmp_path / "copy", back):
        assert not [path for path in folder.rglob("*") if path.stat().st_mode & 0o077]
        assert not list(folder.rglob(".new-*"))


async def test_what_is_there_already_is_not_copied_again(data_dir: Path, tmp_path: Path) -> None:
    first = copy(data_dir, tmp_path / "copy")
    assert first.new_blobs == 3
    inodes = {path: path.stat().st_ino for path in (tmp_path / "copy" / "batches").rglob("*")}
    again = copy(data_dir, tmp_path / "copy")
    assert (again.blobs, again.new_blobs, again.new_bytes) == (3, 0, 0)
    assert inodes == {path: path.stat().st_ino for path in inodes}


async def test_a_database_that_is_written_to_is_copied_whole(
    data_dir: Path, tmp_path: Path
) -> None:
    database = Database(data_dir=data_dir)
    await database.start()
    try:
        copy(data_dir, tmp_path / "copy")
    finally:
        await database.stop()
    assert restore(tmp_path / "copy", tmp_path / "b", tmp_path / "b" / "mlsvc.db").blobs == 3


async def test_a_blob_that_was_collected_meanwhile_is_copied(
    data_dir: Path, tmp_path: Path
) -> None:
    trash = data_dir / "blobs" / TRASH
    trash.mkdir()
    blob(data_dir).rename(trash / DIGEST)
    assert copy(data_dir, tmp_path / "copy").problems == []


@pytest.mark.parametrize("damage", [flip, Path.unlink])
async def test_what_is_damaged_is_told_and_keeps_nothing_else_back(
    data_dir: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(blob(data_dir))
    copied = copy(data_dir, tmp_path / "copy")
    assert copied.blobs == 2
    (problem,) = copied.problems
    assert DIGEST in problem
    back = tmp_path / "back"
    restored = restore(tmp_path / "copy", back, back / "mlsvc.db")
    assert (restored.blobs, len(restored.problems)) == (2, 1)


async def test_a_good_copy_is_kept_when_the_blob_is_damaged_later(
    data_dir: Path, tmp_path: Path
) -> None:
    copy(data_dir, tmp_path / "copy")
    flip(blob(data_dir))
    assert copy(data_dir, tmp_path / "copy").problems == []


@pytest.mark.parametrize("name", [f"blobs/{DIGEST[:2]}/{DIGEST}", f"batches/{BATCH}/records"])
async def test_a_damaged_backup_is_told_on_the_way_back(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    copy(data_dir, tmp_path / "copy")
    flip(tmp_path / "copy" / name)
    restored = restore(tmp_path / "copy", tmp_path / "back", tmp_path / "back" / "mlsvc.db")
    (problem,) = restored.problems
    assert name in problem
    assert not (tmp_path / "back" / name).exists()


async def test_a_damaged_database_is_not_restored(data_dir: Path, tmp_path: Path) -> None:
    copy(data_dir, tmp_path / "copy")
    flip(tmp_path / "copy" / "mlsvc.db")
    with pytest.raises(BackupRefused, match="is damaged"):
        restore(tmp_path / "copy", tmp_path / "back", tmp_path / "back" / "mlsvc.db")


async def test_a_folder_of_something_else_is_refused(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(BackupRefused, match=r"has thesis\.txt"):
        copy(data_dir, tmp_path / "full")
    with pytest.raises(BackupRefused, match="in the data folder itself"):
        copy(data_dir, data_dir / "copy")
    await store(tmp_path / "other")
    copy(tmp_path / "other", tmp_path / "copy")
    with pytest.raises(BackupRefused, match="of another installation"):
        copy(data_dir, tmp_path / "copy")
    with pytest.raises(BackupRefused, match="There is no database"):
        copy(tmp_path / "nothing", tmp_path / "new")


async def test_a_folder_that_is_not_empty_is_not_restored_into(
    data_dir: Path, tmp_path: Path
) -> None:
    copy(data_dir, tmp_path / "copy")
    with pytest.raises(BackupRefused, match="is there already"):
        restore(tmp_path / "copy", data_dir, data_dir / "mlsvc.db")
    with pytest.raises(BackupRefused, match="has no backup"):
        restore(tmp_path / "nowhere", tmp_path / "back", tmp_path / "back" / "mlsvc.db")
    with pytest.raises(BackupRefused, match="of a server with sqlite"):
        restore(tmp_path / "copy", tmp_path / "back", None)
    shutil.rmtree(tmp_path / "copy" / "blobs")
    (tmp_path / "copy" / CONTENTS).write_text("{")
    with pytest.raises(BackupRefused, match="cannot be read"):
        restore(tmp_path / "copy", tmp_path / "back", tmp_path / "back" / "mlsvc.db")
