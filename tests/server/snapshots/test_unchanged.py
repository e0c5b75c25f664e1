"""A session that is captured again: what has not changed is neither written nor stored again."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import pytest_asyncio

from jupyter_mlsvc.wire.models import CreateSessionRequest
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.errors import CaptureFailed, SnapshotTooLarge
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore, Intake
from jupyter_mlsvc_server.storage.copying import Blob, Hasher
from tests.server.snapshots.conftest import run

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

_CODE = """
import numpy as np
model = [np.arange(50_000.0) + number for number in range(3)]
def total(): return float(sum(part.sum() for part in model))
"""


class Copying(BlobStore):
    """Notes what is copied into it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.copied: list[bytes] = []

    def take_in(
        self,
        intake: Intake,
        source: BinaryIO,
        limit: int | None,
        *others: Hasher,
        expected: Blob | None = None,
    ) -> Blob:
        content = source.read()
        self.copied.append(content)
        return super().take_in(intake, io.BytesIO(content), limit, *others, expected=expected)


async def nothing() -> None:
    """Do nothing."""


def names_in(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


class Watched:
    """A session whose kernel is watched while it is captured.

    Attributes
    ----------
    written : list of str
        Names of the buffers that it wrote last.
    meanwhile
        Run when it has been captured and nothing is stored yet.
    claims
        Fingerprints that it claims besides those that are true.
    """

    def __init__(self, session: Session) -> None:
        self.id = session.id
        self.runtime_type = session.runtime_type
        self.directory = session.directory
        self.session = session
        self.written: list[str] = []
        self.meanwhile: Callable[[], Awaitable[None]] = nothing
        self.claims: dict[str, str] = {}

    async def call_agent(self, op: str, data: dict[str, Any]) -> dict[str, Any]:
        answer = await self.session.call_agent(op, data)
        if op == "capture":
            await self.meanwhile()
            self.written = sorted(await asyncio.to_thread(names_in, data["staging"] + "/buffers"))
            answer["report"]["marks"] |= self.claims
        return answer


@pytest_asyncio.fixture(loop_scope="module")
async def session(server: Any, ann: Principal) -> AsyncIterator[Watched]:
    opened = await server.session(ann, _CODE)
    yield Watched(opened)
    await server.sessions.close(ann, opened.id)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def no_leftovers(server: Any, ann: Principal) -> AsyncIterator[None]:
    yield
    for snapshot in await server.snapshots.list(ann):
        await server.snapshots.delete(ann, snapshot.id)
    await server.snapshots.collect()
    assert server.blob_names() == set()


async def take(server: Any, ann: Principal, session: Watched) -> str:
    created = await server.snapshots.create(ann, session)
    assert created.skipped == []
    return str(created.snapshot_id)


async def buffers(server: Any, snapshot_id: str) -> list[str]:
    record = await server.snapshots.find(snapshot_id)
    manifest = (await server.snapshots.content(record.content_id)).manifest
    return [buffer.digest for buffer in manifest.buffers]


async def files(server: Any, snapshot_id: str) -> list[tuple[str, str, bool]]:
    record = await server.snapshots.find(snapshot_id)
    manifest = (await server.snapshots.content(record.content_id)).manifest
    return [(file.path, file.digest, file.executable) for file in manifest.files]


async def value_in(server: Any, ann: Principal, snapshot_id: str, expression: str) -> Any:
    """Evaluate something in a new session that starts from a snapshot."""
    request = CreateSessionRequest(snapshot_id=snapshot_id)
    other = await server.sessions.create(ann, request)
    values = await run(other, f"value = {expression}", "value")
    await server.sessions.close(ann, other.id)
    return values["value"]


async def test_buffers_that_have_not_changed_are_not_written_again(
    server: Any, ann: Principal, session: Watched
) -> None:
    first = await take(server, ann, session)
    assert session.written == ["0", "1", "2"]
    await run(session.session, "label = 'another'")
    second = await take(server, ann, session)
    assert session.written == []
    assert await buffers(server, second) == await buffers(server, first)
    assert await value_in(server, ann, second, "total()") == 3 * sum(range(50_000)) + 150_000


@pytest.mark.parametrize("at", [0, 123_457, 399_999])
async def test_one_byte_that_was_changed_in_place_is_seen(
    server: Any, ann: Principal, session: Watched, at: int
) -> None:
    first = await take(server, ann, session)
    await run(session.session, f"model[1].view('u1')[{at}] ^= 1")
    second = await take(server, ann, session)
    assert session.written == ["1"]
    byte = f"int(model[1].view('u1')[{at}])"
    before, after = [await value_in(server, ann, each, byte) for each in (first, second)]
    assert before ^ after == 1
    await take(server, ann, session)
    assert session.written == []


async def test_what_was_changed_back_is_right_too(
    server: Any, ann: Principal, session: Watched
) -> None:
    first = await take(server, ann, session)
    await run(session.session, "model[0][:] += 1")
    await take(server, ann, session)
    await run(session.session, "model[0][:] -= 1")
    assert await buffers(server, await take(server, ann, session)) == await buffers(server, first)


async def test_buffers_whose_snapshot_was_deleted_are_written_again(
    server: Any, ann: Principal, session: Watched
) -> None:
    await server.snapshots.delete(ann, await take(server, ann, session))
    assert server.blob_names() == set()
    second = await take(server, ann, session)
    assert session.written == ["0", "1", "2"]
    assert await value_in(server, ann, second, "float(model[2][7])") == 9


async def test_buffers_of_a_deleted_snapshot_that_are_still_there_are_kept(
    server: Any, ann: Principal, session: Watched
) -> None:
    server.blobs.grace_seconds = 60
    try:
        await server.snapshots.delete(ann, await take(server, ann, session))
        second = await take(server, ann, session)
    finally:
        server.blobs.grace_seconds = 0
    assert session.written == []
    await server.snapshots.collect()
    assert await value_in(server, ann, second, "float(model[2][7])") == 9


async def test_collecting_during_the_capture_spares_what_is_not_written(
    server: Any, ann: Principal, session: Watched
) -> None:
    first = await take(server, ann, session)
    session.meanwhile = lambda: server.snapshots.delete(ann, first)
    second = await take(server, ann, session)
    assert session.written == []
    assert await value_in(server, ann, second, "float(model[2][7])") == 9


async def test_a_blob_that_is_gone_or_cut_is_written_again(
    server: Any, ann: Principal, session: Watched
) -> None:
    first = await buffers(server, await take(server, ann, session))
    server.blobs.path(first[0]).unlink()
    server.blobs.path(first[1]).chmod(0o600)
    server.blobs.path(first[1]).write_bytes(b"cut")
    second = await take(server, ann, session)
    assert session.written == ["0", "1"]
    assert await value_in(server, ann, second, "float(model[1][7])") == 8


async def test_a_new_kernel_writes_all_that_it_holds(
    server: Any, ann: Principal, session: Watched
) -> None:
    first = await take(server, ann, session)
    other = Watched(await server.session(ann, _CODE))
    second = await take(server, ann, other)
    assert other.written == ["0", "1", "2"]
    assert await buffers(server, second) == await buffers(server, first)
    await server.sessions.close(ann, other.id)


async def test_read_only_and_mapped_buffers_are_compared_too(
    server: Any, ann: Principal, session: Watched
) -> None:
    await run(
        session.session,
        "model[0].flags.writeable = False\n"
        "import os; mapped = os.environ['TMPDIR'] + '/mapped'\n"
        "model[1].tofile(mapped); del model[2]\n"
        "model[1] = np.memmap(mapped, dtype=float, mode='r')",
    )
    await take(server, ann, session)
    await take(server, ann, session)
    assert session.written == []
    await run(
        session.session,
        "with open(mapped, 'r+b') as file: file.seek(56); file.write(b'\\0' * 8)\ndel file",
    )
    third = await take(server, ann, session)
    assert session.written == ["1"]
    assert await value_in(server, ann, third, "[float(part[7]) for part in model]") == [7, 0]


async def test_files_that_have_not_changed_are_not_copied_again(
    server: Any, ann: Principal, session: Watched
) -> None:
    snapshots = SnapshotManager(
        database=server.database,
        blobs=(blobs := Copying(data_dir=server.data_dir, grace_seconds=0, trash_seconds=0)),
        data_dir=server.data_dir,
        collect_interval=0,
        hold_seconds=0,
    )
    await snapshots.start()
    server = replace(server, snapshots=snapshots)
    await run(
        session.session,
        "import os, pathlib\n"
        "for name in 'ab': pathlib.Path(name).write_bytes(name.encode() * 100_000)",
    )
    first = await take(server, ann, session)
    assert blobs.copied == [b"a" * 100_000, b"b" * 100_000]
    blobs.copied.clear()
    await run(session.session, "os.chmod('a', 0o755)")
    second = await take(server, ann, session)
    assert blobs.copied == []
    assert await files(server, second) == [
        (path, digest, path == "a") for path, digest, _ in await files(server, first)
    ]
    await run(
        session.session,
        "with open('b', 'r+b') as file: file.seek(70_000); file.write(b'c')\ndel file",
    )
    third = await take(server, ann, session)
    assert blobs.copied == [b"b" * 70_000 + b"c" + b"b" * 29_999]
    assert await value_in(server, ann, third, "open('b').read().index('c')") == 70_000
    assert await value_in(server, ann, second, "open('b').read().count('b')") == 100_000
    await snapshots.stop()


async def test_what_is_known_counts_towards_the_limit(
    server: Any, ann: Principal, session: Watched
) -> None:
    await take(server, ann, session)
    server.snapshots.max_snapshot_bytes = 1_000_000
    try:
        with pytest.raises(SnapshotTooLarge):
            await server.snapshots.create(ann, session)
    finally:
        server.snapshots.max_snapshot_bytes = 0


async def test_marks_that_the_server_did_not_give_are_not_believed(
    server: Any, ann: Principal, session: Watched
) -> None:
    await take(server, ann, session)
    session.claims = {"0": "0" * 32}
    with pytest.raises(CaptureFailed):
        await server.snapshots.create(ann, session)
