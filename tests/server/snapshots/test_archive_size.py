"""The size of an archive is known before it is made."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_mlsvc_server.formats.blobs import LocalBlobs
from jupyter_mlsvc_server.formats.manifest import BlobEntry, FileEntry, Manifest, Workspace
from jupyter_mlsvc_server.snapshots import archive
from jupyter_mlsvc_server.snapshots.archive import archive_size, zip_stream
from jupyter_mlsvc_server.snapshots.record import Content

BYTES = st.binary(max_size=300)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


def stored(folder: Path, data: bytes) -> BlobEntry:
    """Keep a blob."""
    digest = hashlib.sha256(data).hexdigest()
    (folder / digest[:2]).mkdir(parents=True, exist_ok=True)
    (folder / digest[:2] / digest).write_bytes(data)
    return BlobEntry(digest=digest, size=len(data))


async def archived(content: Content) -> bytes:
    """Make the archive."""
    return b"".join([piece async for piece in zip_stream(content)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of blobs that all examples share."""
    return tmp_path_factory.mktemp("blobs")


@given(
    stream=BYTES,
    buffers=st.lists(BYTES, max_size=3),
    files=st.dictionaries(NAMES.filter(lambda name: "/" not in name), BYTES, max_size=4),
    limits=st.sampled_from([None, (40, 50, 2), (100, 120, 65535)]),
)
@settings(max_examples=60)
async def test_the_size_is_that_of_what_is_sent(
    folder: Path,
    stream: bytes,
    buffers: list[bytes],
    files: dict[str, bytes],
    limits: tuple[int, int, int] | None,
) -> None:
    manifest = Manifest(
        runtime_type="Python",
        workspace=Workspace(python_version="3"),
        stream=stored(folder, stream),
        buffers=tuple(stored(folder, each) for each in buffers),
        files=tuple(
            FileEntry(path=name, digest=entry.digest, size=entry.size, executable=False)
            for name, data in files.items()
            for entry in [stored(folder, data)]
        ),
    )
    content = Content("1", manifest, LocalBlobs(folder))
    with pytest.MonkeyPatch.context() as patched:
        if limits is not None:  # as with members and archives of gigabytes
            large, limit, members = limits
            patched.setattr(archive, "_ZIP64_BYTES", large)
            patched.setattr(archive, "_LIMIT", limit)
            patched.setattr(archive, "_MEMBERS_LIMIT", members)
            patched.setattr(zipfile, "ZIP64_LIMIT", limit)
            patched.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", members)
        data = await archived(content)
        assert len(data) == archive_size(manifest)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


async def test_what_has_changed_on_disk_is_not_sent_as_it_is(tmp_path: Path) -> None:
    manifest = Manifest(
        runtime_type="Python",
        workspace=Workspace(python_version="3"),
        stream=stored(tmp_path, b"1" * 100),
    )
    digest = manifest.stream.digest
    (tmp_path / digest[:2] / digest).write_bytes(b"1" * 99)
    with pytest.raises(OSError, match=digest):
        await archived(Content("1", manifest, LocalBlobs(tmp_path)))
