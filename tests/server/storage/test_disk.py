"""Room on the disk: what is refused while some is left, and what is given up when there is none."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from traitlets.config import Config

from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.disk import SPARE_BYTES, DiskSpace
from jupyter_mlsvc_server.storage.machine_faults import DiskFull
from jupyter_mlsvc_server.storage.schema import services
from jupyter_mlsvc_server.storage.staging import Staging

RESERVE = 100 * 2**20


class Disk:
    """Says how much room there is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 10 * RESERVE
        monkeypatch.setattr(os, "statvfs", self._statvfs)

    def _statvfs(self, _path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=self.free // 4096, f_frsize=4096)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def space(tmp_path: Path, disk: Disk) -> DiskSpace:
    config = Config({"DiskSpace": {"reserve_bytes": RESERVE}})
    return DiskSpace(data_dir=tmp_path, config=config)


def spare(space: DiskSpace, tmp_path: Path) -> int:
    path = tmp_path / "spare"
    return path.stat().st_blocks * 512 if path.exists() else 0


def test_work_is_refused_while_less_than_the_reserve_is_free(
    space: DiskSpace, disk: Disk, tmp_path: Path
) -> None:
    staging = Staging(tmp_path, require_room=space.require_room)
    staging.open()
    staging.folder()
    disk.free = RESERVE - 4096
    with pytest.raises(DiskFull):
        staging.folder()
    disk.free = RESERVE
    staging.folder()
    staging.close()


def test_the_spare_file_takes_room_until_it_is_given_up(
    space: DiskSpace, disk: Disk, tmp_path: Path
) -> None:
    space.keep_spare()
    assert spare(space, tmp_path) >= SPARE_BYTES
    disk.free = 0
    assert space.make_room()
    assert spare(space, tmp_path) == 0
    assert not space.make_room()
    space.keep_spare()
    assert spare(space, tmp_path) == 0
    disk.free = 10 * RESERVE
    space.keep_spare()
    assert spare(space, tmp_path) >= SPARE_BYTES


def test_a_start_on_a_full_disk_uses_the_spare_file(
    space: DiskSpace, disk: Disk, tmp_path: Path
) -> None:
    space.keep_spare()
    disk.free = RESERVE // 2
    assert not space.make_room_to_start()
    disk.free = 4096
    assert space.make_room_to_start()
    assert spare(space, tmp_path) == 0
    assert not space.make_room_to_start()


def test_a_spare_file_that_cannot_be_made_is_only_logged(
    space: DiskSpace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spare").symlink_to(tmp_path / "missing" / "spare")
    space.keep_spare()
    assert "no spare room" in caplog.text


def test_a_probe_leaves_nothing_not_even_of_a_killed_server(
    space: DiskSpace, tmp_path: Path
) -> None:
    (tmp_path / ".probe").write_bytes(b"x")
    space.probe()
    assert list(tmp_path.iterdir()) == []


def test_a_probe_of_a_disk_that_fails_raises(
    space: DiskSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        space.probe()


# --- the database ----------------------------------------------------------------------------


class Room:
    """Is asked for room by a database, and gives some so many times."""

    def __init__(self) -> None:
        self.left = 0
        self.asked = 0

    def make(self) -> bool:
        self.asked += 1
        self.left -= 1
        return self.left >= 0


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
async def database(tmp_path: Path, room: Room) -> AsyncIterator[Database]:
    opened = Database(data_dir=tmp_path / "data", make_room=room.make)
    await opened.start()
    yield opened
    await opened.stop()


class FullTwice:
    """A change that finds the disk full the first times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, connection: sa.Connection) -> None:
        connection.execute(
            services.insert().values(name="a", owner_id="ann", created_at=now_text())
        )
        if self.times:
            self.times -= 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise sa.exc.OperationalError("INSERT", {}, error)


async def count(database: Database) -> int | None:
    query = sa.select(sa.func.count()).select_from(services)
    return await database.read(lambda connection: connection.scalar(query))


async def test_a_change_on_a_full_disk_is_made_in_the_room_that_is_given_up(
    database: Database, room: Room
) -> None:
    room.left = 1
    await database.run(FullTwice(1))
    assert (await count(database), room.asked) == (1, 1)
    # The room is the database's now: others can't fill it.
    folder = database.data_dir
    assert sum(path.stat().st_size for path in folder.iterdir()) > 4 * 2**20
    assert (
        await database.read(lambda c: c.exec_driver_sql("PRAGMA freelist_count").scalar_one()) > 500
    )


@pytest.mark.parametrize(("left", "times"), [(0, 1), (1, 2)], ids=["none", "too little"])
async def test_a_change_that_has_no_room_is_refused_and_leaves_nothing(
    database: Database, room: Room, left: int, times: int
) -> None:
    room.left = left
    with pytest.raises(DiskFull):
        await database.run(FullTwice(times))
    assert (await count(database), room.asked) == (0, 1)


async def test_a_database_takes_room_before_it_needs_it(database: Database) -> None:
    await database.take_room()
    assert sum(path.stat().st_size for path in database.data_dir.iterdir()) > 4 * 2**20
    assert await count(database) == 0
