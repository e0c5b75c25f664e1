"""Files that are whole or not there, and folders that are nobody else's."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

_MAY_ENTER: Final = 0o010


def private_directory(path: Path, group: int | None = None) -> Path:
    """Make a folder, with those above it, that only the server's user can enter (0700).

    An existing folder is taken back from group and others. A group that may enter it and do nothing
    else keeps that: a command must not take it from a server that runs.

    Parameters
    ----------
    path
        The folder.
    group
        A group whose members may enter it, too, and open what they know the name of (0710).
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found, mode = path.stat(), 0o700 if group is None else 0o710
    if group is not None and found.st_gid != group:
        os.chown(path, -1, group)
    theirs = found.st_mode & 0o077
    if theirs != mode & 0o077 and (group is not None or theirs != _MAY_ENTER):
        path.chmod(mode)
    return path


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that readers, also after a crash, see the old or the new one whole."""
    _write_beside(path, data, mode, lambda temporary: temporary.replace(path))


def write_new(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """Write a file unless it exists; of several processes that try at once, one succeeds.

    Returns
    -------
    bool
        Whether this call wrote it.
    """
    try:
        # A link, unlike a rename, refuses to take the place of a file that is there already.
        _write_beside(path, data, mode, path.hardlink_to)
    except FileExistsError:
        return False
    return True


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes to an open file, however many it takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_file_system(path: Path) -> bool:
    """Make all that was written to a folder's file system survive a loss of power.

    Returns
    -------
    bool
        Whether the operating system can do that for all at once; only Linux can.
    """
    if sys.platform != "linux":
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    return True


def sync_directory(path: Path) -> None:
    """Make new names in a folder survive a loss of power."""
    if os.name == "nt":
        return  # Windows opens no folders; its file system journals names by itself.
    sync_file(path)


def sync_file(path: Path | str) -> None:
    """Make what is in a file survive a loss of power, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_beside(path: Path, data: bytes, mode: int, settle: Callable[[Path], object]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            temporary.chmod(mode)
            os.fsync(file.fileno())
        settle(temporary)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
