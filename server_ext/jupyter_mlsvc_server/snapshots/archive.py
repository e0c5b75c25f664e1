"""A snapshot as a zip archive, made while it is sent.

::

    manifest.json       what there is: objects, packages, files (a ``Manifest``)
    workspace.pickle    the objects: one pickle for the namespace, then one [name, object] each
    workspace.RData     the objects of an R session instead, for ``load``
    buffers/0 …         large buffers, in the order in which the pickles ask for them
    files/…             the working directory

Nothing is compressed, so that the size is known before anything is read: a list has it, and a
download that breaks off is seen to. Numbers gain little from compression, and it costs much.

With the project installed, ``jupyter_mlsvc_server.formats.restore`` reads it; the archive says by
itself what belongs to what, because the manifest has the digest of each part.
"""

from __future__ import annotations

import asyncio
import stat
import zipfile
from collections.abc import AsyncGenerator, Iterator
from typing import IO, Final, cast

import msgspec

from jupyter_mlsvc_server.formats.manifest import BlobEntry, FileEntry, Manifest
from jupyter_mlsvc_server.formats.r_code import RUNTIME as R
from jupyter_mlsvc_server.snapshots.record import Content

MANIFEST: Final = "manifest.json"
BUFFERS: Final = "buffers"
FILES: Final = "files"

_CHUNK_BYTES: Final = 1 << 20
_ZIP64_BYTES: Final = 2_000_000_000
"""A member of so many bytes has the larger fields, a little before the library asks for them."""

_LIMIT: Final = (1 << 31) - 1
_MEMBERS_LIMIT: Final = (1 << 16) - 1
_LOCAL_BYTES: Final = 30
_ZIP64_EXTRA_BYTES: Final = 20
_DESCRIPTOR_BYTES: Final = 16
_ZIP64_DESCRIPTOR_BYTES: Final = 24
_ENTRY_BYTES: Final = 46
_END_BYTES: Final = 22
_ZIP64_END_BYTES: Final = 76
# Archives of the same content are the same bytes.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def workspace_name(manifest: Manifest) -> str:
    """Name the member that holds the objects."""
    return "workspace.RData" if manifest.runtime_type == R else "workspace.pickle"


def archive_size(manifest: Manifest) -> int:
    """Return the size of the archive of a content, in bytes."""
    members = [(MANIFEST, len(_manifest_bytes(manifest)))]
    members += [(name, part.size) for name, part, _ in _parts(manifest)]
    at = directory = 0
    for name, size in members:
        length, is_large = len(name.encode()), size >= _ZIP64_BYTES
        long_fields = 2 * (size > _LIMIT) + (at > _LIMIT)
        directory += _ENTRY_BYTES + length + (4 + 8 * long_fields if long_fields else 0)
        at += _LOCAL_BYTES + length + size
        at += _ZIP64_EXTRA_BYTES + _ZIP64_DESCRIPTOR_BYTES if is_large else _DESCRIPTOR_BYTES
    is_long = len(members) > _MEMBERS_LIMIT or at > _LIMIT or directory > _LIMIT
    return at + directory + _END_BYTES + (_ZIP64_END_BYTES if is_long else 0)


async def zip_stream(content: Content) -> AsyncGenerator[bytes]:
    """Give the bytes of the archive, piece by piece; files are read in a thread."""
    pieces = _pieces(content)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


class _Sink:
    """What a ``ZipFile`` writes to; it can't seek, so the archive is written front to back."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        taken = b"".join(self._written)
        self._written.clear()
        return taken


def _pieces(content: Content) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w") as archive:
        archive.writestr(_info(MANIFEST), _manifest_bytes(content.manifest))
        for name, part, is_executable in _parts(content.manifest):
            info = _info(name, is_executable=is_executable)
            info.file_size = part.size
            large = part.size >= _ZIP64_BYTES
            path = content.path(part.digest)
            if path.stat().st_size != part.size:
                raise OSError(f"blob {part.digest} is not as long as it was")
            with path.open("rb") as source, archive.open(info, "w", force_zip64=large) as member:
                while chunk := source.read(_CHUNK_BYTES):
                    member.write(chunk)
                    if taken := sink.take():
                        yield taken
    yield sink.take()


def _manifest_bytes(manifest: Manifest) -> bytes:
    return msgspec.json.encode(manifest)


def _parts(manifest: Manifest) -> Iterator[tuple[str, BlobEntry | FileEntry, bool]]:
    """Give the members after the manifest: their names, their content, and what is executable."""
    yield workspace_name(manifest), manifest.stream, False
    for index, buffer in enumerate(manifest.buffers):
        yield f"{BUFFERS}/{index}", buffer, False
    for file in manifest.files:
        yield f"{FILES}/{file.path}", file, file.executable


def _info(name: str, *, is_executable: bool = False) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_STORED
    info.external_attr = (stat.S_IFREG | (0o755 if is_executable else 0o644)) << 16
    return info
