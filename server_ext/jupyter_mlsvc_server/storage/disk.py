"""Room on the disk of the data folder.

Two things keep a full disk from stopping everything. New snapshots, uploads and batches are refused
while some room is left. And where others fill the disk to its last byte, a file that was there for
nothing else is given up, so that logins and deletions can still be written down.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from traitlets import Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.storage.machine_faults import DiskFull

SPARE_BYTES: Final = 8 * 2**20
"""Size of the file that is given up: the journals of some hundred small changes."""

_START_BYTES: Final = 2**20
"""With less room than that, a server does not start."""


class DiskSpace(LoggingConfigurable):
    """Knows how much room is left; its methods block and are meant for a thread.

    Parameters
    ----------
    data_dir
        The data folder.
    """

    reserve_bytes = Integer(
        128 * 2**20,
        min=0,
        help="Bytes of the data folder's disk that are left free: with fewer, new snapshots, "
        "uploads and batches are refused with 507, while calls, logins and deletions go on. "
        "0 refuses them when the disk is full.",
    ).tag(config=True)

    def __init__(self, *, data_dir: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._data_dir = data_dir
        self._spare = data_dir / "spare"

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be written."""
        found = os.statvfs(self._data_dir)
        return found.f_bavail * found.f_frsize

    @property
    def is_short(self) -> bool:
        """Whether less is left than is to be kept free."""
        return self.free_bytes < self.reserve_bytes

    def require_room(self) -> None:
        """Raise ``DiskFull`` where new things may not be stored."""
        if self.is_short:
            raise DiskFull
        self.keep_spare()

    def make_room_to_start(self) -> bool:
        """Give up the spare file where nothing else is left; returns whether it was."""
        return self.free_bytes < _START_BYTES and self.make_room()

    def keep_spare(self) -> None:
        """Have the spare file there, where there is room for it."""
        if self._spare.exists() or self.free_bytes < self.reserve_bytes + 2 * SPARE_BYTES:
            return
        try:
            descriptor = os.open(self._spare, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SPARE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.log.warning("there is no spare room on the disk: %s", error)

    def make_room(self) -> bool:
        """Give up the spare file; returns whether there was one."""
        try:
            self._spare.unlink()
        except OSError:
            return False
        self.log.error("the disk is full: %d MiB of spare room are used up", SPARE_BYTES >> 20)
        return True

    def probe(self) -> None:
        """Write a little, as everything else here is written.

        Raises
        ------
        OSError
            The disk is full, read-only or broken.
        """
        # One name: what a killed server left is written over.
        path = self._data_dir / ".probe"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"x")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink()
