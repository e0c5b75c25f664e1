"""Reads a snapshot back from an archive that somebody sends (see ``archive`` for what is in one).

Nothing is written under a name that the archive gives: its parts become blobs, which are named by
their content. What is in them is not read here; a session or a worker does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
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
from jupyter_mlsvc_server.storage.blobs import BlobStore, Intake
from jupyter_mlsvc_server.storage.copying import Blob

# Both are read as a whole: some 150,000 files, and the rows of as many.
_MAX_DIRECTORY_BYTES: Final = 16 * 2**20
_MAX_MANIFEST_BYTES: Final = 32 * 2**20
_MODEST_BYTES: Final = 64 * 2**20
"""Bytes that any archive may unpack to."""
_PARTS_AT_ONCE: Final = 400
_THREADS: Final = 4
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
    most_files
        How many members an archive may have.
    most_ratio
        How many times its size it may unpack to.

    Attributes
    ----------
    digests : set of str
        What is being stored and must not be deleted although nothing refers to it yet.
    """

    def __init__(
        self, *, blobs: BlobStore, limit: int, most_files: int = 20_000, most_ratio: int = 100
    ) -> None:
        self.digests: set[str] = set()
        self._blobs = blobs
        self._limit = limit
        self._most_files = most_files
        self._most_ratio = most_ratio

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
        intake = Intake()
        try:
            with _checked(), zipfile.ZipFile(archive) as opened:
                parts = list(_parts(manifest))
                for first in range(0, len(parts), _PARTS_AT_ONCE):
                    some = parts[first : first + _PARTS_AT_ONCE]
                    outcomes = await asyncio.gather(
                        *(
                            asyncio.to_thread(
                                self._take_parts, opened, some[each::_THREADS], intake
                            )
                            for each in range(_THREADS)
                        ),
                        return_exceptions=True,
                    )
                    for failure in filter(None, outcomes):
                        raise failure
            await self._blobs.settle(intake)
        finally:
            await self._blobs.give_up(intake)

    def _take_parts(
        self, opened: zipfile.ZipFile, parts: list[tuple[str, BlobEntry]], intake: Intake
    ) -> None:
        for name, part in parts:
            with opened.open(name) as member:
                # A part that is larger than it says ends here, whatever it would grow to.
                source, expected = cast("BinaryIO", member), Blob(part.digest, part.size)
                blob = self._blobs.take_in(intake, source, part.size, expected=expected)
            if (blob.digest, blob.size) != (part.digest, part.size):
                raise InvalidArchive(f"{name} is not what its manifest says")

    def _manifest(self, archive: BinaryIO) -> Manifest:
        with _checked():
            _require_small_directory(archive)
            with zipfile.ZipFile(archive) as opened:
                self._require_modest(archive, opened)
                members = _members(opened)
                if MANIFEST not in members:
                    raise InvalidArchive(f"it has no {MANIFEST}")
                if members[MANIFEST].file_size > _MAX_MANIFEST_BYTES:
                    raise InvalidArchive(f"its {MANIFEST} is too large")
                manifest = _decode(opened.read(MANIFEST))
            require_sound(manifest)
            self._require_members(members, manifest)
        return manifest

    def _require_modest(self, archive: BinaryIO, opened: zipfile.ZipFile) -> None:
        members = opened.infolist()
        if len(members) > self._most_files:
            raise InvalidArchive(
                f"it has {len(members):,} members, and {self._most_files:,} may be in one "
                "(SnapshotManager.max_archive_files)"
            )
        sent = archive.seek(0, os.SEEK_END)
        size = sum(info.file_size for info in members)
        if size > max(_MODEST_BYTES, sent * self._most_ratio):
            raise InvalidArchive(
                f"its {sent:,} bytes unpack to {size:,}, and no more than {self._most_ratio} times "
                "as many are taken (SnapshotManager.max_archive_ratio)"
            )

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
