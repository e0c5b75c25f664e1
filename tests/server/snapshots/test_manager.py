"""Snapshots of real sessions: what they hold, who may have them, and what is left of them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import sqlalchemy as sa

from jupyter_mlsvc.wire.models import CreateSessionRequest, ExecuteRequest
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.manifest import BlobEntry, Manifest, Workspace
from jupyter_mlsvc_server.formats.restore import restore
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.errors import (
    CaptureFailed,
    ContentNotFound,
    FilesCannotBeWritten,
    InvalidSnapshotName,
    OtherRuntime,
    QuotaExceeded,
    SnapshotNotFound,
    SnapshotTooLarge,
)
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.machine_faults import DiskFull
from jupyter_mlsvc_server.storage.schema import (
    contents,
    service_revisions,
    service_versions,
    services,
)

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

_CODE = """
import numpy as np, threading
weights = np.arange(50_000.0)
factor = 2
def score(x): return x * factor
lock = threading.Lock()
open("data.csv", "w").write("a,b")
import os; os.makedirs("deep/er", exist_ok=True); open("deep/er/x.txt", "w").write("x")
"""


@pytest_asyncio.fixture(loop_scope="module")
async def session(server: Any, ann: Principal) -> AsyncIterator[Session]:
    opened = await server.session(ann, _CODE)
    yield opened
    await server.sessions.close(ann, opened.id)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def no_leftovers(server: Any, ann: Principal, ben: Principal) -> AsyncIterator[None]:
    yield
    for person in (ann, ben):
        for snapshot in await server.snapshots.list(person):
            await server.snapshots.delete(person, snapshot.id)
    await server.snapshots.collect()
    assert server.blob_names() == set()
    assert [path.name for path in server.data_dir.glob("staging/*/*")] == ["lock"]


async def read(session: Session, *names: str) -> dict[str, Any]:
    request = ExecuteRequest(code="", output_parameters=list(names))
    response = await session.execute(request)
    assert response.success, response.error_message
    return {output.name: output.value for output in response.output_parameters}


async def execute(session: Session, code: str) -> None:
    response = await session.execute(ExecuteRequest(code=code))
    assert response.success, response.error_message


async def test_a_snapshot_says_what_it_could_not_keep(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session, "Iris")
    (skipped,) = created.skipped
    assert (skipped.name, skipped.type) == ("lock", "_thread.lock")
    assert "a thread lock" in skipped.reason
    (listed,) = await server.snapshots.list(ann)
    assert (listed.id, listed.name, listed.owner) == (created.snapshot_id, "Iris", "ann")
    assert listed.runtime_type == "Python"
    assert listed.content_size > 400_000
    assert listed.skipped == created.skipped


async def test_a_snapshot_without_a_name_is_called_by_its_date(
    server: Any, ann: Principal, session: Session
) -> None:
    await server.snapshots.create(ann, session)
    await server.snapshots.create(ann, session, "")
    first, second = await server.snapshots.list(ann)
    assert first.name.startswith(f"Snapshot {now_text()[:10]}")
    assert second.name.startswith("Snapshot ")


async def test_two_snapshots_may_have_one_name(
    server: Any, ann: Principal, session: Session
) -> None:
    await server.snapshots.create(ann, session, "same")
    await server.snapshots.create(ann, session, "same")
    assert [snapshot.name for snapshot in await server.snapshots.list(ann)] == ["same", "same"]


async def test_a_new_session_starts_from_a_snapshot(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    request = CreateSessionRequest(snapshot_id=created.snapshot_id)
    other = await server.sessions.create(ann, request)
    await execute(
        other,
        "factor = 10; y = score(2); total = weights.sum(); weights[0] = 5; first = weights[0]\n"
        "text = open('deep/er/x.txt').read() + open('data.csv').read()",
    )
    values = await read(other, "y", "total", "first", "text")
    assert values == {"y": 20, "total": sum(range(50_000)), "first": 5, "text": "xa,b"}
    await server.sessions.close(ann, other.id)


async def test_loading_overwrites_the_same_names_and_removes_nothing(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    await execute(
        session,
        "factor = 'changed'; other = 1; open('data.csv', 'w').write('changed and longer')\n"
        "open('other.txt', 'w').write('o')",
    )
    sentence = await server.snapshots.load(ann, created.snapshot_id, session)
    assert sentence == "Loaded 6 objects and 2 files."
    await execute(session, "texts = [open(n).read() for n in ('data.csv', 'other.txt')]")
    values = await read(session, "factor", "other", "texts")
    assert values == {"factor": 2, "other": 1, "texts": ["a,b", "o"]}


async def test_loading_twice_into_one_session_keeps_classes_one(
    server: Any, ann: Principal
) -> None:
    session = await server.session(ann, "class C:\n  def v(self): return K\nc = C(); K = 1")
    created = await server.snapshots.create(ann, session)
    for _ in range(2):
        await server.snapshots.load(ann, created.snapshot_id, session)
        await execute(session, "ok = type(c) is C and C().v() == 1 and c.v() == 1")
        assert await read(session, "ok") == {"ok": True}
    await server.sessions.close(ann, session.id)


async def test_what_two_snapshots_share_is_stored_once(
    server: Any, ann: Principal, session: Session
) -> None:
    await execute(session, "open('copy.csv', 'w').write('a,b')")
    await server.snapshots.create(ann, session)
    before = server.blob_names()
    assert len(before) == 4  # stream, one buffer, and two files of different content
    await execute(session, "factor = 3")
    await server.snapshots.create(ann, session)
    after = server.blob_names()
    assert len(after - before) == 1  # the other stream


async def test_equal_snapshots_are_one_content_until_the_last_is_deleted(
    server: Any, ann: Principal, session: Session
) -> None:
    first, second = [(await server.snapshots.create(ann, session)).snapshot_id for _ in range(2)]
    records = [await server.snapshots.find(each) for each in (first, second)]
    assert records[0].content_id == records[1].content_id
    await execute(session, "factor = 4")
    other = (await server.snapshots.create(ann, session)).snapshot_id
    assert (await server.snapshots.find(other)).content_id != records[0].content_id
    await server.snapshots.delete(ann, first)
    content = await server.snapshots.content(records[1].content_id)
    assert all(content.path(digest).exists() for digest in content.manifest.digests)
    await server.snapshots.delete(ann, second)
    with pytest.raises(ContentNotFound):
        await server.snapshots.content(records[1].content_id)


async def test_another_persons_snapshot_is_as_if_not_there(
    server: Any, ann: Principal, ben: Principal, session: Session
) -> None:
    snapshot_id = (await server.snapshots.create(ann, session)).snapshot_id
    bens = await server.session(ben)
    assert await server.snapshots.list(ben) == []
    sentences = set()
    for refused in (
        server.snapshots.get(ben, snapshot_id),
        server.snapshots.delete(ben, snapshot_id),
        server.snapshots.zip_stream(ben, snapshot_id),
        server.snapshots.load(ben, snapshot_id, bens),
        server.sessions.create(ben, CreateSessionRequest(snapshot_id=snapshot_id)),
        server.snapshots.get(ann, snapshot_id[:-1] + "x"),
    ):
        with pytest.raises(SnapshotNotFound) as error:
            await refused
        sentences.add(error.value.message.replace(snapshot_id[:-1] + "x", snapshot_id))
    assert sentences == {f"There is no snapshot '{snapshot_id}'. List yours with GET /snapshots."}
    assert len(await server.snapshots.list(ann)) == 1
    await server.sessions.close(ben, bens.id)


async def test_a_deleted_snapshot_leaves_nothing(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    assert server.blob_names()
    await server.snapshots.delete(ann, created.snapshot_id)
    assert server.blob_names() == set()
    with pytest.raises(SnapshotNotFound):
        await server.snapshots.delete(ann, created.snapshot_id)


async def test_a_service_keeps_the_content_of_a_deleted_snapshot(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    record = await server.snapshots.find(created.snapshot_id)
    await server.database.run(lambda connection: _publish(connection, record.content_id))
    await server.snapshots.delete(ann, created.snapshot_id)
    content = await server.snapshots.content(record.content_id)
    assert all(content.path(digest).exists() for digest in content.manifest.digests)
    await server.database.run(_unpublish)
    await server.snapshots.collect()
    with pytest.raises(ContentNotFound):
        await server.snapshots.content(record.content_id)


async def test_a_content_that_was_just_looked_at_is_kept_for_a_while(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    server.snapshots.hold_seconds = 60
    try:
        record = await server.snapshots.find(created.snapshot_id)
        await server.snapshots.delete(ann, created.snapshot_id)
        assert (await server.snapshots.content(record.content_id)).manifest.files
    finally:
        server.snapshots.hold_seconds = 0


async def test_collecting_spares_what_is_being_taken(
    server: Any, ann: Principal, session: Session
) -> None:
    server.blobs.grace_seconds = 30
    try:
        taking = [asyncio.create_task(server.snapshots.create(ann, session)) for _ in range(3)]
        while not all(task.done() for task in taking):
            await server.snapshots.collect()
    finally:
        server.blobs.grace_seconds = 0
    for created in await asyncio.gather(*taking):
        record = await server.snapshots.find(created.snapshot_id)
        content = await server.snapshots.content(record.content_id)
        assert all(content.path(digest).exists() for digest in content.manifest.digests)


async def test_links_and_pipes_are_named_and_not_kept(
    server: Any, ann: Principal, session: Session
) -> None:
    await execute(
        session,
        "os.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'folder'); os.mkfifo('pipe')\n"
        "open(b'\\xff', 'w').close()\n"
        "os.makedirs('__pycache__'); open('__pycache__/x', 'w').close()",
    )
    created = await server.snapshots.create(ann, session)
    record = await server.snapshots.find(created.snapshot_id)
    manifest = (await server.snapshots.content(record.content_id)).manifest
    assert [file.path for file in manifest.files] == ["data.csv", "deep/er/x.txt"]
    assert {file.path: file.reason for file in manifest.skipped_files} == {
        "link": "it is a symbolic link, not a regular file",
        "folder": "it is a symbolic link, not a regular file",
        "pipe": "it is a named pipe, not a regular file",
        "\\udcff": "its name is not valid UTF-8",
    }


async def test_a_large_snapshot_is_refused_whole(
    server: Any, ann: Principal, session: Session
) -> None:
    server.snapshots.max_snapshot_bytes = 450_000
    try:
        await server.snapshots.create(ann, session)
        await execute(session, "open('large.bin', 'wb').write(bytes(range(256)) * 1000)")
        with pytest.raises(SnapshotTooLarge, match="450,000 bytes"):
            await server.snapshots.create(ann, session)
        await execute(session, "os.remove('large.bin'); more = np.arange(10_000.0)")
        with pytest.raises(SnapshotTooLarge):
            await server.snapshots.create(ann, session)
    finally:
        server.snapshots.max_snapshot_bytes = 0
    assert len(await server.snapshots.list(ann)) == 1


async def test_a_person_may_have_so_many_bytes(
    server: Any, ann: Principal, session: Session
) -> None:
    server.snapshots.max_bytes_per_user = 600_000
    try:
        await server.snapshots.create(ann, session)
        with pytest.raises(QuotaExceeded, match="600,000 bytes"):
            await server.snapshots.create(ann, session)
    finally:
        server.snapshots.max_bytes_per_user = 0


async def test_a_name_that_is_too_long_is_refused(
    server: Any, ann: Principal, session: Session
) -> None:
    with pytest.raises(InvalidSnapshotName, match="255"):
        await server.snapshots.create(ann, session, "x" * 256)


async def test_what_the_kernel_says_of_its_files_is_not_believed(
    server: Any, ann: Principal, session: Session
) -> None:
    await execute(
        session,
        "import jupyter_mlsvc_server.kernel.agent as agent\n"
        "import jupyter_mlsvc_server.kernel.capture as c\n"
        "def lie(namespace, staging, **_):\n"
        "    os.symlink('/etc/passwd', staging / 'stream')\n"
        "    return c.CaptureReport(workspace=c.Workspace(python_version='3'), stream_size=1)\n"
        "agent.capture = lie",
    )
    with pytest.raises(CaptureFailed):
        await server.snapshots.create(ann, session)
    await execute(session, "agent.capture = c.capture")


async def test_a_full_disk_under_a_capture_is_no_mistake_of_the_caller(
    server: Any, ann: Principal, session: Session
) -> None:
    await execute(
        session,
        "import errno\n"
        "import jupyter_mlsvc_server.kernel.agent as agent\n"
        "import jupyter_mlsvc_server.kernel.capture as c\n"
        "def fill(namespace, staging, **_):\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device', str(staging))\n"
        "agent.capture = fill",
    )
    with pytest.raises(DiskFull) as caught:
        await server.snapshots.create(ann, session)
    assert str(server.data_dir) not in caught.value.message
    await execute(session, "agent.capture = c.capture")


async def test_a_full_disk_under_a_load_is_no_mistake_of_the_caller(
    server: Any, ann: Principal, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await server.snapshots.create(ann, session)

    def fill(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(session.directory))

    monkeypatch.setattr("jupyter_mlsvc_server.snapshots.manager.write_files", fill)
    with pytest.raises(DiskFull):
        await server.snapshots.load(ann, created.snapshot_id, session)


async def test_a_session_of_another_runtime_is_refused(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    session.runtime_type = "R"
    try:
        with pytest.raises(OtherRuntime, match="one of Python and the session runs R"):
            await server.snapshots.load(ann, created.snapshot_id, session)
    finally:
        session.runtime_type = "Python"


async def test_another_python_is_refused_before_anything_is_written(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    record = await server.snapshots.find(created.snapshot_id)
    manifest = (await server.snapshots.content(record.content_id)).manifest
    workspace = msgspec.structs.replace(manifest.workspace, python_version="3.9.1")
    text = msgspec.json.encode(msgspec.structs.replace(manifest, workspace=workspace)).decode()
    await server.database.run(
        lambda connection: connection.execute(
            contents.update().values(
                manifest=text, manifest_digest=hashlib.sha256(text.encode()).hexdigest()
            )
        )
    )
    await execute(session, "os.remove('data.csv')")
    with pytest.raises(BadRequest, match=r"taken with Python 3\.9\.1"):
        await server.snapshots.load(ann, created.snapshot_id, session)
    assert not (session.directory / "data.csv").exists()


async def test_a_folder_in_place_of_a_file_stops_loading_before_the_objects(
    server: Any, ann: Principal, session: Session
) -> None:
    created = await server.snapshots.create(ann, session)
    await execute(session, "factor = 7; os.remove('data.csv'); os.mkdir('data.csv')")
    with pytest.raises(FilesCannotBeWritten, match=r"data\.csv"):
        await server.snapshots.load(ann, created.snapshot_id, session)
    assert await read(session, "factor") == {"factor": 7}


async def test_restore_lists_objects_that_cannot_come_back(server: Any, ann: Principal) -> None:
    session = await server.session(
        ann,
        "class Picky(Exception):\n  def __init__(self, a, b): super().__init__('no')\n"
        "picky = Picky(1, 2); fine = 1",
    )
    created = await server.snapshots.create(ann, session)
    assert created.skipped == []
    sentence = await server.snapshots.load(ann, created.snapshot_id, session)
    assert sentence.startswith("Loaded 2 objects and 0 files. picky is missing: ")
    await server.sessions.close(ann, session.id)


async def test_the_archive_holds_everything_and_can_be_restored_from(
    server: Any, ann: Principal, session: Session, tmp_path: Any
) -> None:
    await execute(session, "os.chmod('data.csv', 0o755)")
    created = await server.snapshots.create(ann, session)
    pieces = await server.snapshots.zip_stream(ann, created.snapshot_id)
    archive = zipfile.ZipFile(io.BytesIO(b"".join([piece async for piece in pieces])))
    assert archive.testzip() is None
    assert archive.namelist() == [
        "manifest.json",
        "workspace.pickle",
        "buffers/0",
        "files/data.csv",
        "files/deep/er/x.txt",
    ]
    assert archive.getinfo("files/data.csv").external_attr >> 16 & 0o111
    archive.extractall(tmp_path)
    manifest = msgspec.json.decode((tmp_path / "manifest.json").read_bytes(), type=Manifest)
    paths = {manifest.stream.digest: tmp_path / "workspace.pickle"}
    paths |= {blob.digest: tmp_path / f"buffers/{n}" for n, blob in enumerate(manifest.buffers)}
    namespace: dict[str, Any] = {}
    restore(manifest, paths.__getitem__, namespace)
    assert namespace["weights"].sum() == sum(range(50_000))
    assert namespace["score"](4) == 8
    namespace["weights"][0] = 99  # the archive's file is mapped, and stays as it is
    assert json.loads((tmp_path / "manifest.json").read_text())["format"] == 1


def _publish(connection: sa.Connection, content_id: str) -> None:
    now, key = now_text(), {"name": "Iris", "version": "1"}
    connection.execute(services.insert().values(name="Iris", owner_id="ann", created_at=now))
    connection.execute(
        service_versions.insert().values(
            owner_id="ann", created_at=now, revision_id="r", seq=1, **key
        )
    )
    texts = dict.fromkeys(("description", "inputs", "outputs", "output_files"), "")
    connection.execute(
        service_revisions.insert().values(
            id="r",
            number=1,
            runtime_type="Python",
            content_id=content_id,
            created_at=now,
            **key,
            **texts,
        )
    )


def _unpublish(connection: sa.Connection) -> None:
    for table in (service_revisions, service_versions, services):
        connection.execute(table.delete())


async def test_a_manifest_counts_what_is_held_twice_once() -> None:
    blob = BlobEntry(digest="d", size=10)
    manifest = Manifest(
        runtime_type="Python",
        workspace=Workspace(python_version="3.11"),
        stream=blob,
        buffers=(blob, BlobEntry(digest="e", size=5)),
    )
    assert manifest.size == 15
