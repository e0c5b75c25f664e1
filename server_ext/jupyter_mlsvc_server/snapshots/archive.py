"""A snapshot as a zip archive, made while it is sent.

::

    manifest.json       what there is: objects, packages, files (a ``Manifest``)
    workspace.pickle    the objects: one pickle for the namespace, then one [name, object] each
    workspace.RData     the objects of an R session instead, for ``load``
    buffers/0 …         large buffers, in the order in which the pickles ask for them
    files/…             the working directory

With the project installed, ``jupyter_mlsvc_server.runtime.restore`` reads it; the archive says by
itself what belongs to what, because the manifest has the digest of each part.
"""

from __future__ import annotations

import asyncio
import stat
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Final, cast

import msgspec

from jupyter_mlsvc_server.runtime.manifest import Manifest
from jupyter_mlsvc_server.runtime.r_code import RUNTIME as R
from jupyter_mlsvc_server.snapshots.record import Content

MANIFEST: Final = "manifest.json"
BUFFERS: Final = "buffers"
FILES: Final = "files"

_CHUNK_BYTES: Final = 1 << 20
_ZIP64_BYTES: Final = 1 << 31
# Archives of the same content are the same bytes.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def workspace_name(manifest: Manifest) -> str:
    """Name the member that holds the objects."""
    return "workspace.RData" if manifest.runtime_type == R else "workspace.pickle"


async def zip_stream(content: Content) -> AsyncIterator[bytes]:
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
        archive.writestr(_info(MANIFEST), msgspec.json.encode(content.manifest))
        for name, path, is_executable in _members(content):
            info = _info(name, is_executable=is_executable)
            if name.startswith(BUFFERS):
                info.compress_type = zipfile.ZIP_STORED  # numbers gain little and cost much
            info.file_size = path.stat().st_size
            large = info.file_size >= _ZIP64_BYTES
            with path.open("rb") as source, archive.open(info, "w", force_zip64=large) as member:
                while chunk := source.read(_CHUNK_BYTES):
                    member.write(chunk)
                    if taken := sink.take():
                        yield taken
    yield sink.take()


def _members(content: Content) -> Iterator[tuple[str, Path, bool]]:
    manifest = content.manifest
    yield workspace_name(manifest), content.path(manifest.stream.digest), False
    for index, buffer in enumerate(manifest.buffers):
        yield f"{BUFFERS}/{index}", content.path(buffer.digest), False
    for file in manifest.files:
        yield f"{FILES}/{file.path}", content.path(file.digest), file.executable


def _info(name: str, *, is_executable: bool = False) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | (0o755 if is_executable else 0o644)) << 16
    return info
