"""Walks a working directory that its user's code may be changing; no link leads out of it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from jupyter_mlsvc_server.formats.manifest import SkippedFile

# Caches that come back by themselves.
_NOT_KEPT: Final = frozenset({"__pycache__", ".ipynb_checkpoints"})
_DEEPEST: Final = 64
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe would wait for a writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Identity(NamedTuple):
    """What a file is recognised by, and what changes with its content; its size is in bytes."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file, open for reading until the next one is asked for."""

    identity: Identity
    stream: io.FileIO
    executable: bool


def walk(directory: Path) -> Generator[FoundFile | SkippedFile, None, None]:
    """List the files below a directory in a stable order, and what is not kept.

    Parameters
    ----------
    directory
        Where to begin.

    Yields
    ------
    FoundFile or SkippedFile
        Regular files, and links, pipes, sockets, devices and unreadable files with the reason.
    """
    yield from _walk(os.open(directory, _FOLDER), "", 0)


def _walk(folder: int, prefix: str, depth: int) -> Iterator[FoundFile | SkippedFile]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if entry.name not in _NOT_KEPT:
                yield from _visit(folder, entry, prefix + entry.name, depth)
    finally:
        os.close(folder)


def _visit(
    folder: int, entry: os.DirEntry[str], path: str, depth: int
) -> Iterator[FoundFile | SkippedFile]:
    shown = path.encode("utf-8", "backslashreplace").decode()
    if shown != path:
        yield SkippedFile(path=shown, reason="its name is not valid UTF-8")
        return
    try:
        # Most file systems say with the name whether it is one of these.
        if entry.is_file(follow_symlinks=False):
            yield from _open(os.open(entry.name, _FILE, dir_fd=folder), path)
        elif not entry.is_dir(follow_symlinks=False):
            mode = entry.stat(follow_symlinks=False).st_mode
            yield SkippedFile(path=path, reason=f"it is {_kind(mode)}, not a regular file")
        elif depth >= _DEEPEST:
            yield SkippedFile(path=path, reason="it is nested too deeply")
        else:
            below = os.open(entry.name, _FOLDER, dir_fd=folder)
            yield from _walk(below, f"{path}/", depth + 1)
    except OSError as error:
        reason = "it cannot be read" if error.strerror is None else error.strerror.lower()
        yield SkippedFile(path=path, reason=reason)


def _open(descriptor: int, path: str) -> Iterator[FoundFile | SkippedFile]:
    # Without a buffer, whose set-up takes longer than to read a small file.
    with io.FileIO(descriptor, "rb") as stream:
        # Something else may have taken its place since it was looked at.
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            yield FoundFile(_identity(path, found), stream, bool(found.st_mode & stat.S_IXUSR))
        else:
            reason = f"it is {_kind(found.st_mode)}, not a regular file"
            yield SkippedFile(path=path, reason=reason)


def _identity(path: str, found: os.stat_result) -> Identity:
    times = found.st_mtime_ns, found.st_ctime_ns
    return Identity(path, found.st_dev, found.st_ino, found.st_size, *times)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
