"""Archives that somebody sends: what is kept of good ones, and that nothing is of bad ones."""

from __future__ import annotations

import hashlib
import io
import pickle
import stat
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.formats.manifest import (
    BlobEntry,
    FileEntry,
    Manifest,
    ObjectEntry,
    Workspace,
)
from jupyter_mlsvc_server.snapshots.errors import (
    InvalidArchive,
    InvalidSnapshotName,
    QuotaExceeded,
    SnapshotTooLarge,
    TooManySnapshots,
)
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOBS = "jupyter_mlsvc_server.storage.blobs"
STREAM = pickle.dumps("the objects")
BUFFER = bytes(range(256)) * 500
DATA = b"a,b\n1,2\n"


def entry(data: bytes) -> BlobEntry:
    return BlobEntry(digest=hashlib.sha256(data).hexdigest(), size=len(data))


def file(path: str, data: bytes = DATA, **members: Any) -> FileEntry:
    blob = entry(data)
    return FileEntry(path=path, digest=blob.digest, size=blob.size, **members)


def manifest_of(**changes: Any) -> Manifest:
    members: dict[str, Any] = {
        "runtime_type": "Python",
        "workspace": Workspace(
            python_version="3.11.2", objects=(ObjectEntry(name="x", type="int", size=5),)
        ),
        "stream": entry(STREAM),
        "buffers": (entry(BUFFER),),
        "files": (file("data.csv"), file("deep/er/ü b.csv", executable=True)),
    }
    return Manifest(**(members | changes))


def members_of(manifest: Manifest) -> dict[Any, bytes]:
    return {
        "manifest.json": msgspec.json.encode(manifest),
        "workspace.pickle": STREAM,
        "buffers/0": BUFFER,
        **{f"files/{each.path}": DATA for each in manifest.files},
    }


def zipped(members: dict[Any, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def archive_of(
    manifest: Manifest | None = None, changes: dict[str, bytes | None] | None = None
) -> io.BytesIO:
    members: dict[Any, Any] = members_of(manifest or manifest_of()) | (changes or {})
    return io.BytesIO(zipped({name: data for name, data in members.items() if data is not None}))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def snapshots(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SnapshotManager]:
    data_dir = tmp_path_factory.mktemp("data")
    database = Database(data_dir=data_dir)
    blobs = BlobStore(data_dir=data_dir, grace_seconds=0, trash_seconds=0)
    manager = SnapshotManager(
        database=database, blobs=blobs, data_dir=data_dir, hold_seconds=0, collect_interval=0
    )
    await database.start()
    await manager.start()
    yield manager
    await manager.stop()
    await database.stop()


def blobs_of(snapshots: SnapshotManager) -> set[str]:
    folder = snapshots.data_dir / "blobs"
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def no_leftovers(snapshots: SnapshotManager, ann: Principal) -> AsyncIterator[None]:
    yield
    for snapshot in await snapshots.list(ann):
        await snapshots.delete(ann, snapshot.id)
    await snapshots.collect()
    assert blobs_of(snapshots) == set()


async def test_a_snapshot_comes_back_as_it_was_sent(
    snapshots: SnapshotManager, ann: Principal, ben: Principal
) -> None:
    manifest = manifest_of()
    created = await snapshots.upload(ann, archive_of(), "moved")
    (listed,) = await snapshots.list(ann)
    assert (listed.id, listed.name, listed.owner) == (created.snapshot_id, "moved", "ann")
    record = await snapshots.get(ann, created.snapshot_id)
    content = await snapshots.content(record.content_id)
    assert content.manifest == manifest
    assert content.path(manifest.buffers[0].digest).read_bytes() == BUFFER
    assert await snapshots.list(ben) == []
    # Sent back, it is the same again.
    pieces = [piece async for piece in await snapshots.zip_stream(ann, created.snapshot_id)]
    assert listed.content_size == len(b"".join(pieces))
    again = await snapshots.upload(ann, io.BytesIO(b"".join(pieces)))
    assert (await snapshots.get(ann, again.snapshot_id)).content_size == len(b"".join(pieces))
    assert blobs_of(snapshots) == manifest.digests


def _with(path: str) -> Callable[[], io.BytesIO]:
    return lambda: archive_of(manifest_of(files=(file(path),)))


def _objects(*names: str) -> Workspace:
    rows = tuple(ObjectEntry(name=name, type="int") for name in names)
    return Workspace(python_version="3.11.2", objects=rows)


def _link() -> io.BytesIO:
    info = zipfile.ZipInfo("files/data.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    manifest = manifest_of(files=(file("data.csv", b"/etc/passwd"),))
    members = members_of(manifest)
    del members["files/data.csv"]
    return io.BytesIO(zipped({**members, info: b"/etc/passwd"}))


def _twice() -> io.BytesIO:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members_of(manifest_of()).items():
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("files/data.csv", DATA)
    return data


def _packed_by_bzip() -> io.BytesIO:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_BZIP2) as archive:
        for name, content in members_of(manifest_of()).items():
            archive.writestr(name, content)
    return data


def _changed(find: bytes, replacement: bytes) -> io.BytesIO:
    """An archive whose bytes were changed behind the back of ``zipfile``."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members_of(manifest_of()).items():
            archive.writestr(name, content)
    assert find in data.getvalue()
    return io.BytesIO(data.getvalue().replace(find, replacement))


def _bomb() -> io.BytesIO:
    """One that says it is small and grows to much more."""
    grown = bytes(50 * 2**20)
    manifest = manifest_of(files=(file("data.csv", b"x"),))
    members = {**members_of(manifest), "files/data.csv": grown}
    data = zipped(members)
    # The sizes in both headers of the file are made to be what the manifest says.
    size, lie = len(grown).to_bytes(4, "little"), (1).to_bytes(4, "little")
    assert data.count(size) == 2
    return io.BytesIO(data.replace(size, lie))


BAD: dict[str, tuple[Callable[[], io.BytesIO], str]] = {
    "no zip": (lambda: io.BytesIO(b"PK but no zip"), "no zip archive"),
    "empty": (lambda: io.BytesIO(b""), "no zip archive"),
    "cut": (lambda: io.BytesIO(archive_of().getvalue()[100:]), "damaged"),
    "no manifest": (lambda: archive_of(changes={"manifest.json": None}), "no manifest.json"),
    "no json": (lambda: archive_of(changes={"manifest.json": b"{"}), "manifest.json does not fit"),
    "other json": (
        lambda: archive_of(changes={"manifest.json": b"[1]"}),
        "manifest.json does not fit",
    ),
    "future": (lambda: archive_of(manifest_of(format=2)), "format 2 and this server reads 1"),
    "runtime": (lambda: archive_of(manifest_of(runtime_type="Cobol")), "runtime 'Cobol'"),
    "python": (
        lambda: archive_of(manifest_of(workspace=Workspace(python_version="x"))),
        "'x' is no version of Python",
    ),
    "reserved name": (
        lambda: archive_of(manifest_of(workspace=_objects("__builtins__"))),
        "'__builtins__' is no name of an object",
    ),
    "one name twice": (
        lambda: archive_of(manifest_of(workspace=_objects("x", "x"))),
        "two objects have one name",
    ),
    "module": (
        lambda: archive_of(
            manifest_of(workspace=Workspace(python_version="3.11", submodules=("a b",)))
        ),
        "'a b' is no name of a module",
    ),
    "digest": (
        lambda: archive_of(manifest_of(buffers=(BlobEntry(digest="../../x", size=1),))),
        "is no SHA-256",
    ),
    "negative": (
        lambda: archive_of(manifest_of(buffers=(BlobEntry(digest="0" * 64, size=-1),))),
        "the size of 000",
    ),
    "two sizes": (
        lambda: archive_of(
            manifest_of(buffers=(entry(BUFFER), msgspec.structs.replace(entry(BUFFER), size=1)))
        ),
        "the size of",
    ),
    "climbing": (_with("../data.csv"), "no path inside"),
    "climbing later": (_with("a/../../data.csv"), "no path inside"),
    "absolute": (_with("/etc/cron.d/x"), "no path inside"),
    "no name": (_with("a//b"), "no path inside"),
    "long name": (_with("x" * 256), "no path inside"),
    "deep": (_with("d/" * 70 + "x"), "no path inside"),
    "file and folder": (
        lambda: archive_of(manifest_of(files=(file("a"), file("a/b")))),
        "a file and a folder",
    ),
    "same path": (lambda: archive_of(manifest_of(files=(file("a"), file("a")))), "'files/a'|one"),
    "link": (_link, "no plain file"),
    "folder": (lambda: archive_of(changes={"files/": b""}), "'files/' is no plain file"),
    "more": (lambda: archive_of(changes={"evil.txt": b"x"}), "'evil.txt' is not in its manifest"),
    "climbing member": (
        lambda: archive_of(changes={"../x": b"x"}),
        "'../x' is not in its manifest",
    ),
    "less": (lambda: archive_of(changes={"buffers/0": None}), "'buffers/0' is missing"),
    "twice": (_twice, "'files/data.csv' twice"),
    "bzip2": (_packed_by_bzip, "packed in an unusual way"),
    "size": (lambda: archive_of(changes={"files/data.csv": b"x"}), "the size of 'files/data.csv'"),
    "content": (
        lambda: archive_of(changes={"files/data.csv": b"A,b\n1,2\n"}),
        "files/data.csv is not what its manifest says",
    ),
    "damaged": (lambda: _changed(BUFFER[:300], BUFFER[1:301]), "damaged"),
    "bomb": (_bomb, "damaged|larger than its manifest says"),
}


def _outside_the_store(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "blobs" not in path.parts}


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD)
async def test_what_is_no_whole_snapshot_is_refused_and_leaves_nothing(
    snapshots: SnapshotManager,
    ann: Principal,
    tmp_path: Path,
    make: Callable[[], io.BytesIO],
    reason: str,
) -> None:
    before = _outside_the_store(tmp_path.parent)
    with pytest.raises(InvalidArchive, match=reason):
        await snapshots.upload(ann, make())
    assert await snapshots.list(ann) == []
    assert _outside_the_store(tmp_path.parent) == before


async def test_a_bomb_that_does_not_hide_is_refused_before_it_is_unpacked(
    snapshots: SnapshotManager, ann: Principal
) -> None:
    grown = bytes(5 * 2**20)
    manifest = manifest_of(files=tuple(file(f"{number}", grown) for number in range(10)))
    members = members_of(manifest) | {f"files/{n}": grown for n in range(10)}
    snapshots.max_snapshot_bytes = 10 * 2**20
    try:
        with pytest.raises(SnapshotTooLarge):
            await snapshots.upload(ann, io.BytesIO(zipped(members)))
    finally:
        snapshots.max_snapshot_bytes = 0
    assert blobs_of(snapshots) == set()


async def test_a_table_of_contents_that_would_fill_memory_is_not_read(
    snapshots: SnapshotManager, ann: Principal
) -> None:
    data = bytearray(archive_of().getvalue())
    # The size of the table, as the end of the archive tells it.
    data[-10:-6] = (17 * 2**20).to_bytes(4, "little")
    with pytest.raises(InvalidArchive, match="too many files"):
        await snapshots.upload(ann, io.BytesIO(data))


async def test_the_quota_counts_what_is_uploaded(
    snapshots: SnapshotManager, ann: Principal
) -> None:
    snapshots.max_bytes_per_user = manifest_of().size + 10
    try:
        await snapshots.upload(ann, archive_of())
        with pytest.raises(QuotaExceeded):
            await snapshots.upload(ann, archive_of())
    finally:
        snapshots.max_bytes_per_user = 0
    assert len(await snapshots.list(ann)) == 1


async def test_a_name_that_is_too_long_is_refused(
    snapshots: SnapshotManager, ann: Principal
) -> None:
    with pytest.raises(InvalidSnapshotName):
        await snapshots.upload(ann, archive_of(), "x" * 256)


@pytest.mark.parametrize("seed", range(40))
async def test_an_archive_with_any_byte_changed_is_kept_whole_or_refused(
    snapshots: SnapshotManager, ann: Principal, seed: int
) -> None:
    data = bytearray(archive_of().getvalue())
    data[(seed * 7919) % len(data)] ^= 1 << (seed % 8)
    try:
        created = await snapshots.upload(ann, io.BytesIO(data))
    except InvalidArchive:
        assert await snapshots.list(ann) == []
    else:
        record = await snapshots.get(ann, created.snapshot_id)
        assert (await snapshots.content(record.content_id)).manifest.digests <= blobs_of(snapshots)


# --- what may be sent ------------------------------------------------------------------------


def many_files(number: int, *, is_same: bool) -> tuple[Manifest, dict[Any, bytes]]:
    contents = [b"x" if is_same else b"%d" % index for index in range(number)]
    files = tuple(file(f"{index}.txt", data) for index, data in enumerate(contents))
    manifest = manifest_of(files=files)
    members = members_of(manifest)
    members |= {f"files/{index}.txt": data for index, data in enumerate(contents)}
    return manifest, members


async def test_an_archive_has_so_many_members(snapshots: SnapshotManager, ann: Principal) -> None:
    _, members = many_files(10, is_same=True)
    snapshots.max_archive_files = 12
    try:
        with pytest.raises(InvalidArchive, match="it has 13 members, and 12 may be in one"):
            await snapshots.upload(ann, io.BytesIO(zipped(members)))
        snapshots.max_archive_files = 13
        await snapshots.upload(ann, io.BytesIO(zipped(members)))
    finally:
        snapshots.max_archive_files = 20_000


async def test_an_archive_unpacks_to_so_many_times_its_size(
    snapshots: SnapshotManager, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = bytes(2**20)
    manifest = manifest_of(files=(file("zeros", zeros),))
    archive = archive_of(manifest, {"files/zeros": zeros})
    await snapshots.upload(ann, archive)
    monkeypatch.setattr("jupyter_mlsvc_server.snapshots.unpacking._MODEST_BYTES", 2**20)
    snapshots.max_archive_ratio = 2
    try:
        with pytest.raises(InvalidArchive, match="no more than 2 times as many are taken"):
            await snapshots.upload(ann, archive)
    finally:
        snapshots.max_archive_ratio = 100


async def test_a_person_may_have_so_many_snapshots(
    snapshots: SnapshotManager, ann: Principal, ben: Principal
) -> None:
    snapshots.max_snapshots_per_user = 2
    try:
        for _ in range(2):
            await snapshots.upload(ann, archive_of())
        with pytest.raises(TooManySnapshots, match="You have 2 snapshots"):
            await snapshots.upload(ann, archive_of())
        theirs = await snapshots.upload(ben, archive_of())
        await snapshots.delete(ben, theirs.snapshot_id)
    finally:
        snapshots.max_snapshots_per_user = 1000


@pytest.mark.parametrize("is_same", [True, False])
async def test_what_is_stored_already_is_not_written_and_many_files_are_flushed_together(
    snapshots: SnapshotManager, ann: Principal, is_same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, members = many_files(40, is_same=is_same)
    archive = io.BytesIO(zipped(members))
    one: list[Path] = []
    together: list[Path] = []
    monkeypatch.setattr(f"{BLOBS}.sync_file", one.append)

    def flush_all(path: Path) -> bool:
        together.append(path)
        return True

    monkeypatch.setattr(f"{BLOBS}.sync_file_system", flush_all)
    await snapshots.upload(ann, archive)
    if is_same:
        # Three files, and the folders that they are in.
        assert len(one) <= 7
        assert together == []
    else:
        assert one == []
        assert len(together) == 2
    one.clear()
    together.clear()
    await snapshots.upload(ann, archive)
    assert one == together == []


async def test_where_the_system_can_not_flush_all_at_once_each_file_is(
    snapshots: SnapshotManager, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, members = many_files(41, is_same=False)
    flushed: list[Path] = []
    monkeypatch.setattr(f"{BLOBS}.sync_file", lambda path: flushed.append(Path(path)))
    monkeypatch.setattr(f"{BLOBS}.sync_file_system", lambda _path: False)
    await snapshots.upload(ann, io.BytesIO(zipped(members)))
    names = [path for path in flushed if len(path.name) == 2]
    assert len(names) == len(set(names)) > 0
    assert len([path for path in flushed if path.name.startswith(".new-")]) >= len(names)


async def test_content_that_one_only_knows_the_digest_of_is_not_got(
    snapshots: SnapshotManager, ann: Principal
) -> None:
    await snapshots.upload(ann, archive_of())
    manifest = manifest_of(files=(file("data.csv"),))
    with pytest.raises(InvalidArchive, match=r"data.csv is not what its manifest says"):
        await snapshots.upload(ann, archive_of(manifest, {"files/data.csv": bytes(len(DATA))}))
