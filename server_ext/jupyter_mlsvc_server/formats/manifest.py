"""What a snapshot holds, as the kernel that wrote it, the server and a worker all read it.

Members have default values so that an older manifest can be read by a newer version.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from jupyter_mlsvc.wire.library_settings import Setting

FORMAT: Final = 1
"""Version of the manifest and of the stream it describes."""

STREAM: Final = "stream"
BUFFERS: Final = "buffers"
"""Where a capture writes the objects, and the folder of the large buffers ``0``, ``1`` …"""


class ObjectEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One name of a workspace.

    Attributes
    ----------
    name, type : str
        The name and the class of its object, such as ``sklearn.svm._classes.SVC``.
    size : int
        Bytes it takes in the snapshot; where objects share data, the first one counts it. In R
        those it takes in memory.
    kept : bool
        Whether the snapshot holds it.
    reason : str
        Why it was left out and what to do about it; empty for an object that was kept.
    uses : tuple of str
        Names of the workspace that its functions look up when they are called.
    """

    name: str
    type: str
    size: int = 0
    kept: bool = True
    reason: str = ""
    uses: tuple[str, ...] = ()


class BlobEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of content: its SHA-256 in hexadecimal and its size in bytes."""

    digest: str
    size: int


class FileEntry(BlobEntry, frozen=True, kw_only=True):
    """A file of the working directory; ``path`` is relative, with forward slashes."""

    path: str
    executable: bool = False


class SkippedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the working directory that a snapshot does not keep, and why."""

    path: str
    reason: str


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """What a workspace was when it was captured.

    Attributes
    ----------
    python_version : str
        Such as ``3.11.2``; code in a stream fits the minor version it was written by only. Empty
        for another language.
    r_version : str
        Such as ``4.2.2``, for a workspace of R.
    packages : dict
        Versions of the distributions whose modules were loaded; of the loaded packages in R.
    submodules : tuple of str
        Modules like ``xml.etree.ElementTree`` that ``import xml.etree.ElementTree`` makes reachable
        through the name ``xml``.
    objects : tuple of ObjectEntry
        One row for each name; those kept are in the order of the stream.
    settings : tuple of Setting
        Options of libraries that change results; restoring does not set them.
    """

    python_version: str = ""
    r_version: str = ""
    packages: dict[str, str] = {}
    submodules: tuple[str, ...] = ()
    objects: tuple[ObjectEntry, ...] = ()
    settings: tuple[Setting, ...] = ()


class CaptureReport(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of a capture.

    Attributes
    ----------
    workspace : Workspace
        What was captured.
    stream_size, buffer_sizes
        Bytes of the stream and of each buffer.
    marks : dict
        Fingerprints of the buffers that the server has already, by their numbers; they were not
        written.
    """

    workspace: Workspace
    stream_size: int
    buffer_sizes: tuple[int, ...] = ()
    marks: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a snapshot holds.

    Attributes
    ----------
    runtime_type : str
        Runtime that wrote it, such as ``Python``.
    stream : BlobEntry
        The pickled objects; in R what ``save`` writes.
    buffers : tuple of BlobEntry
        Large buffers that the stream refers to, in its order.
    files, skipped_files : tuple
        The working directory.
    """

    format: int = FORMAT
    runtime_type: str
    workspace: Workspace
    stream: BlobEntry
    buffers: tuple[BlobEntry, ...] = ()
    files: tuple[FileEntry, ...] = ()
    skipped_files: tuple[SkippedFile, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all that it holds; what is held twice counts once."""
        parts = {part.digest: part.size for part in (self.stream, *self.buffers, *self.files)}
        return sum(parts.values())

    @property
    def digests(self) -> frozenset[str]:
        """Digests of all that it holds."""
        return frozenset(part.digest for part in (self.stream, *self.buffers, *self.files))

    @property
    def workspace_digests(self) -> frozenset[str]:
        """Digests of its objects, without its files."""
        return frozenset(part.digest for part in (self.stream, *self.buffers))

    def part(self, digest: str) -> str:
        """Say what a blob of it is, to follow "in"."""
        for file in self.files:
            if file.digest == digest:
                return f"the file {file.path!r}"
        if digest == self.stream.digest:
            return "the objects of its workspace"
        return "the large data of its objects"

    @property
    def skipped(self) -> tuple[ObjectEntry, ...]:
        """The objects that it does not hold."""
        return tuple(entry for entry in self.workspace.objects if not entry.kept)


def missing_behind(names: Iterable[str], objects: Iterable[ObjectEntry]) -> dict[str, ObjectEntry]:
    """Find the left-out objects that code needs, directly or through functions it calls.

    Parameters
    ----------
    names
        Names that the code looks up.
    objects
        Rows of a workspace, with those that were lost on restoring marked as not kept.

    Returns
    -------
    dict
        The rows of the left-out objects by name.
    """
    rows = {entry.name: entry for entry in objects}
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in rows:
            continue
        seen.add(name)
        waiting.extend(rows[name].uses)
    return {name: rows[name] for name in sorted(seen) if not rows[name].kept}
