"""Folders for what is being written, which are gone after a crash or a restart.

They are on the file system of the data folder, so that what is finished can be renamed into place.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from jupyter_mlsvc_server.formats.private_files import private_directory


class Staging:
    """A folder of this process with a folder for each piece of work.

    Servers that share a data folder keep off each other's; what a dead one left is removed.
    All methods block and are meant for a thread.

    Parameters
    ----------
    data_dir
        The data folder.
    require_room
        Raises where there is no room for more work.
    """

    def __init__(self, data_dir: Path, *, require_room: Callable[[], None] = lambda: None) -> None:
        self._require_room = require_room
        self._root = data_dir / "staging"
        self._own = self._root / f"run-{uuid.uuid4().hex}"
        self._lock: int | None = None

    def open(self) -> None:
        """Make this process's folder and remove those of processes that ended."""
        private_directory(self._root)
        for left in self._root.iterdir():
            if left != self._own and _is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        if self._lock is None:
            # Locked before it has its name: nobody may see it without a lock.
            hidden = self._root / f".{self._own.name}"
            hidden.mkdir(mode=0o700)
            self._lock = os.open(hidden / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            hidden.rename(self._own)

    def close(self) -> None:
        """Remove this process's folder; may be called twice."""
        if self._lock is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def folder(self) -> Path:
        """Make a folder for a piece of work, which whoever asked removes.

        Raises
        ------
        DiskFull
            There is no room for what would be written.
        """
        self._require_room()
        path = self._own / uuid.uuid4().hex
        path.mkdir(mode=0o700)
        return path


def _is_abandoned(folder: Path) -> bool:
    """Whether no living process holds a folder's lock."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # One that is being made is hidden and has no lock for a moment.
        return not folder.name.startswith(".run-")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
