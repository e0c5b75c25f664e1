"""Reads a snapshot back from an archive that somebody sends (see ``archive`` for what is in one).

Nothing is written under a name that the archive gives: its parts become blobs, which are named by
their content. What is in them is not read here; a session or a worker does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

import msgspec

from jupyter_mlsvc_server.formats.manifest import BlobEntry, Manifest
from jupyter_mlsvc_server.snapshots.archive import BUFFERS, FILES, MANIFEST, workspace_name
from jupyter_mlsvc_server.snapshots.errors import InvalidArchive, SnapshotTooLarge
from jupyter_mlsvc_server.snapshots.manifest_rules import require_sound
from jupyter_mlsvc_server.storage.blobs import BlobStore

# Both are read as a whole: some 150,000 files, and the rows of as many.
_MAX_DIRECTORY_BYTES: Final = 16 * 2**20
_MAX_MANIFEST_BYTES: Final = 32 * 2**20
_KNOWN_COMPRESSION: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED: Final = 0x1
_BROKEN: Final = (
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What ``zipfile`` raises for archives that are damaged, or made to do damage."""


class Unpacking:
    """Takes one archive in.

    Parameters
    ----------
    blobs
        Where the parts go.
    limit
        Bytes that a snapshot may hold; 0 for any number.

    Attributes
    ----------
    digests : set of str
        What is being stored and must not be deleted although nothing refers to it yet.
    """

    def __init__(self, *, blobs: BlobStore, limit: int) -> None:
        self.digests: set[str] = set()
        self._blobs = blobs
        self._limit = limit

    async def manifest(self, archive: BinaryIO) -> Manifest:
        """Read what the archive says it holds.

        Raises
        ------
        InvalidArchive
            It is no snapshot, or not a whole one.
        SnapshotTooLarge
            It holds more than the limit.
        """
        return await asyncio.to_thread(self._manifest, archive)

    async def store(self, archive: BinaryIO, manifest: Manifest) -> None:
        """Store what a manifest names; each part has to be what the manifest says it is.

        Raises
        ------
        InvalidArchive
            A part is damaged, or another one than the manifest says.
        """
        self.digests |= manifest.digests
        with _checked(), zipfile.ZipFile(archive) as opened:
            for name, part in _parts(manifest):
                with opened.open(name) as member:
                    # A part that is larger than it says ends here, whatever it would grow to.
                    blob = await self._blobs.ingest_copy(cast("BinaryIO", member), part.size)
                if (blob.digest, blob.size) != (part.digest, part.size):
                    raise InvalidArchive(f"{name} is not what its manifest says")

    def _manifest(self, archive: BinaryIO) -> Manifest:
        with _checked():
            _require_small_directory(archive)
            with zipfile.ZipFile(archive) as opened:
                members = _members(opened)
                if MANIFEST not in members:
                    raise InvalidArchive(f"it has no {MANIFEST}")
                if members[MANIFEST].file_size > _MAX_MANIFEST_BYTES:
                    raise InvalidArchive(f"its {MANIFEST} is too large")
                manifest = _decode(opened.read(MANIFEST))
            require_sound(manifest)
            self._require_members(members, manifest)
        return manifest

    def _require_members(self, members: dict[str, zipfile.ZipInfo], manifest: Manifest) -> None:
        """Compare what is there with what should be, before anything is unpacked."""
        expected = dict(_parts(manifest))
        for name in members.keys() - expected.keys() - {MANIFEST}:
            raise InvalidArchive(f"{name[:200]!r} is not in its manifest")
        for name, part in expected.items():
            if name not in members:
                raise InvalidArchive(f"{name!r} is missing")
            if members[name].file_size != part.size:
                raise InvalidArchive(f"the size of {name!r} is not what its manifest says")
        # What is there twice is unpacked twice.
        if self._limit and sum(part.size for part in expected.values()) > self._limit:
            raise SnapshotTooLarge(self._limit)


def _parts(manifest: Manifest) -> Iterator[tuple[str, BlobEntry]]:
    yield workspace_name(manifest), manifest.stream
    for index, buffer in enumerate(manifest.buffers):
        yield f"{BUFFERS}/{index}", buffer
    for file in manifest.files:
        yield f"{FILES}/{file.path}", file


def _require_small_directory(archive: BinaryIO) -> None:
    """Look at the table of contents before ``zipfile`` builds an object for each of its rows."""
    end = zipfile._EndRecData(archive)  # type: ignore[attr-defined]  # noqa: SLF001  # no other way
    if end is None:
        raise InvalidArchive("it is no zip archive")
    if end[zipfile._ECD_SIZE] > _MAX_DIRECTORY_BYTES:  # type: ignore[attr-defined]  # noqa: SLF001
        raise InvalidArchive("it has too many files")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
        if name in members:
            raise InvalidArchive(f"it has {name[:200]!r} twice")
        if name != info.orig_filename or kind not in {0, stat.S_IFREG}:
            raise InvalidArchive(f"{name[:200]!r} is no plain file")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _KNOWN_COMPRESSION:
            raise InvalidArchive(f"{name[:200]!r} is encrypted, or packed in an unusual way")
        members[name] = info
    return members


def _decode(data: bytes) -> Manifest:
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArchive(f"its {MANIFEST} does not fit: {error}") from None


@contextlib.contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except OverflowError:
        raise InvalidArchive("a part of it is larger than its manifest says") from None
    except _BROKEN as error:
        raise InvalidArchive(f"it is damaged ({error})") from None
