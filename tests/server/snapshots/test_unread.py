"""Files of a session that is captured again: what has not changed is not even read."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import pytest
import pytest_asyncio

from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.ingest import Ingest, SessionCache
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.snapshots.stat_cache import MIN_AGE_NS, CachedFingerprint
from jupyter_mlsvc_server.storage.blobs import BlobStore, Intake
from jupyter_mlsvc_server.storage.copying import Blob, Hasher
from jupyter_mlsvc_server.storage.staging import Staging
from tests.server.snapshots.conftest import Server, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("tells_of_changes"),
]

_SIZE: Final = 100_000
_NAMES: Final = ("kept", "rewritten", "replaced", "collected", "mapped")
_IN_ACCESS: Final = 1

_MAP = """
import mmap
with open('mapped', 'r+b') as file: view = mmap.mmap(file.fileno(), 0)
view[:1] = b'1'
del file
"""


class Reads:
    """Tells whether a file is read, by whomever."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._events, os.fsencode(path), _IN_ACCESS) >= 0

    def any(self) -> bool:
        """Whether it was, since it was last asked."""
        try:
            return bool(os.read(self._events, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._events)


@contextmanager
def reads(path: Path) -> Iterator[Reads]:
    watch = Reads(path)
    try:
        path.read_bytes()
        assert watch.any()
        yield watch
    finally:
        watch.close()


class Meddling(BlobStore):
    """Changes a file, without changing its size, as soon as it was read."""

    def __init__(self, file: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._file = file

    def take_in(
        self,
        intake: Intake,
        source: BinaryIO,
        limit: int | None,
        *others: Hasher,
        expected: Blob | None = None,
    ) -> Blob:
        blob = super().take_in(intake, source, limit, *others, expected=expected)
        overwrite(self._file, b"m" * _SIZE)
        return blob


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(server: Server, ann: Principal) -> AsyncIterator[Session]:
    """A session with files that were changed long enough ago; each is for one test."""
    opened = await server.session(ann)
    for name in _NAMES:
        (opened.directory / name).write_bytes(name[:1].encode() * _SIZE)
    await run(opened, _MAP)
    await settle()
    yield opened
    await server.sessions.close(ann, opened.id)


async def settle() -> None:
    await asyncio.sleep(MIN_AGE_NS / 1e9 + 0.1)


async def take(server: Server, ann: Principal, session: Session) -> str:
    return (await server.snapshots.create(ann, session)).snapshot_id


async def content(server: Server, ann: Principal, snapshot_id: str, name: str) -> bytes:
    record = await server.snapshots.get(ann, snapshot_id)
    kept = await server.snapshots.content(record.content_id)
    digest = next(file.digest for file in kept.manifest.files if file.path == name)
    return kept.path(digest).read_bytes()


def overwrite(file: Path, data: bytes) -> None:
    """Change a file in place, and put back the time of its last writing."""
    times = file.stat()
    with file.open("r+b") as opened:
        opened.write(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


async def test_a_file_that_has_not_changed_is_not_read_again(
    server: Server, ann: Principal, session: Session
) -> None:
    first = await take(server, ann, session)
    with reads(session.directory / "kept") as read:
        for _ in range(2):
            again = await take(server, ann, session)
            assert not read.any()
            assert await content(server, ann, again, "kept") == b"k" * _SIZE
    assert await content(server, ann, first, "kept") == b"k" * _SIZE


async def test_files_of_r_are_not_read_again_either(
    server: Server, ann: Principal, needs_r: None
) -> None:
    session = await server.session(ann, "writeLines('a,b', 'data.csv')", "R")
    await settle()
    await take(server, ann, session)
    with reads(session.directory / "data.csv") as read:
        again = await take(server, ann, session)
        assert not read.any()
    assert await content(server, ann, again, "data.csv") == b"a,b\n"
    await server.sessions.close(ann, session.id)


async def test_new_content_of_the_same_size_and_time_is_seen(
    server: Server, ann: Principal, session: Session
) -> None:
    file = session.directory / "rewritten"
    first = await take(server, ann, session)
    times = file.stat()
    overwrite(file, b"n" * _SIZE)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    second = await take(server, ann, session)
    assert await content(server, ann, first, "rewritten") == b"r" * _SIZE
    assert await content(server, ann, second, "rewritten") == b"n" * _SIZE


async def test_another_file_of_the_same_name_size_and_time_is_seen(
    server: Server, ann: Principal, session: Session
) -> None:
    file, other = session.directory / "replaced", session.directory.parent / "other"
    await take(server, ann, session)
    other.write_bytes(b"o" * _SIZE)
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    second = await take(server, ann, session)
    assert await content(server, ann, second, "replaced") == b"o" * _SIZE


async def test_a_file_that_was_changed_right_before_a_snapshot_is_read_by_the_next(
    server: Server, ann: Principal, session: Session
) -> None:
    file = session.directory / "new"
    file.write_bytes(b"1" * _SIZE)
    with reads(file) as read:
        for _ in range(2):
            await take(server, ann, session)
            assert read.any()
    file.unlink()


async def test_a_change_right_after_a_snapshot_is_seen(
    server: Server, ann: Principal, session: Session
) -> None:
    file = session.directory / "new"
    for data in (b"1" * _SIZE, b"2" * _SIZE, b"3" * _SIZE):
        file.touch()
        overwrite(file, data)
        snapshot = await take(server, ann, session)
        assert await content(server, ann, snapshot, "new") == data
    file.unlink()


async def test_a_change_while_a_file_is_stored_is_seen_the_next_time(
    server: Server, ann: Principal
) -> None:
    session = await server.session(ann)
    file = session.directory / "file"
    file.write_bytes(b"f" * _SIZE)
    await settle()
    snapshots = SnapshotManager(
        database=server.database,
        blobs=Meddling(file, data_dir=server.data_dir, grace_seconds=0, trash_seconds=0),
        data_dir=server.data_dir,
        collect_interval=0,
        hold_seconds=0,
    )
    await snapshots.start()
    meddled = replace(server, snapshots=snapshots)
    first, second = [await take(meddled, ann, session) for _ in range(2)]
    assert await content(server, ann, first, "file") == b"f" * _SIZE
    assert await content(server, ann, second, "file") == b"m" * _SIZE
    await snapshots.stop()
    await server.sessions.close(ann, session.id)


async def test_a_mapped_file_that_is_changed_again_without_a_new_time_is_seen(
    server: Server, ann: Principal, session: Session
) -> None:
    first = await take(server, ann, session)
    await run(session, "view[:1] = b'2'")
    second = await take(server, ann, session)
    assert await content(server, ann, first, "mapped") == b"1" + b"m" * (_SIZE - 1)
    assert await content(server, ann, second, "mapped") == b"2" + b"m" * (_SIZE - 1)


async def test_a_file_whose_blob_was_deleted_is_read_and_stored_again(
    server: Server, ann: Principal, session: Session
) -> None:
    await take(server, ann, session)
    for snapshot in await server.snapshots.list(ann):
        await server.snapshots.delete(ann, snapshot.id)
    assert server.blob_names() == set()
    with reads(session.directory / "collected") as read:
        again = await take(server, ann, session)
        assert read.any()
    assert await content(server, ann, again, "collected") == b"c" * _SIZE


async def test_what_was_seen_before_the_clock_was_set_back_is_read_again(
    server: Server, ann: Principal, session: Session
) -> None:
    staging = Staging(server.data_dir)
    await asyncio.to_thread(staging.open)
    cache = SessionCache()

    async def take_in() -> None:
        await Ingest(blobs=server.blobs, staging=staging, limit=0, cache=cache).run(session)

    with reads(session.directory / "kept") as read:
        await take_in()
        assert read.any()
        await take_in()
        assert not read.any()
        # As if the clock had been ahead until then.
        cache.files = {
            identity: CachedFingerprint(
                seen.fingerprint, replace(seen.scan_time, ahead_ns=seen.scan_time.ahead_ns + 10**10)
            )
            for identity, seen in cache.files.items()
        }
        await take_in()
        assert read.any()
    await asyncio.to_thread(staging.close)
