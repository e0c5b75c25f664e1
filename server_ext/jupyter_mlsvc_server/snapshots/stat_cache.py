"""Cache of fingerprints by ``stat``: unchanged files are not read again, as in git's index.

A file that is where it was, as large as it was and with the times that it had holds what it held
when it was last read. The time of its last change (ctime) shows that: every change sets it,
and nobody can set it to a time of their own. What could go wrong, and what is done about it:

- A change in the same tick of the clock leaves the same time, and a tick may be as long as two
  seconds. So a file is remembered only if its last change was well before it was read.
- The clock may be set back and come to the time of an old change again. What was remembered before
  is forgotten then. A clock that is set back and forth between two snapshots goes unnoticed, but a
  change would have to come at the nanosecond, or tick, of the last one.
- A process that has a page of a file mapped sets the time by changing it. It does not by changing
  it again before it was written to the disk. A long write sets the time when it begins. So
  a file that anybody has open for writing while it is read is not remembered.
- Some file systems set no time for mapped pages (tmpfs), do not say who has a file open, or show
  what another machine says. Only those count that are known to do all that is needed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from jupyter_mlsvc_server.snapshots.directory import FoundFile
from jupyter_mlsvc_server.storage.copying import has_writer

_TICK_NS: Final = 2 * 10**9
_UNNOTICED_NS: Final = 10**9
"""How far a clock may be set back unnoticed: nobody reads two clocks at the same time."""

MIN_AGE_NS: Final = _TICK_NS + _UNNOTICED_NS
"""Age that the last change of a file must have."""

# Of Linux; elsewhere each file is read again.
_FILE_SYSTEMS: Final = frozenset({b"btrfs", b"ext2", b"ext3", b"ext4", b"xfs"})


@dataclass(frozen=True, slots=True)
class ScanTime:
    """Time at which a scan of a directory begins.

    Parameters
    ----------
    device
        The directory's file system; None if its times do not show every change.
    now_ns
        Time of day, in nanoseconds.
    ahead_ns
        How far that is ahead of a clock which nobody sets.
    """

    device: int | None
    now_ns: int
    ahead_ns: int

    @classmethod
    def at(cls, directory: Path) -> ScanTime:
        """Create one from the clock and the file system of a directory."""
        now_ns = time.time_ns()
        return cls(_device(directory), now_ns, now_ns - time.monotonic_ns())

    def is_after(self, earlier: ScanTime) -> bool:
        """Whether the clock has not been set back since an earlier scan."""
        return self.ahead_ns > earlier.ahead_ns - _UNNOTICED_NS

    def is_cacheable(self, found: FoundFile) -> bool:
        """Return whether any change of a file from now on will show in its times.

        Ask before the file is read: what is read is then what it holds, or is seen to have changed.
        """
        identity = found.identity
        return (
            identity.device == self.device
            and identity.changed_ns < self.now_ns - MIN_AGE_NS
            and not has_writer(found.stream.fileno())
        )


class CachedFingerprint(NamedTuple):
    """Fingerprint of a file that was cacheable when it was read, and the time of that scan."""

    fingerprint: str
    scan_time: ScanTime


def _device(directory: Path) -> int | None:
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.fstat(folder).st_dev if _file_system(folder) in _FILE_SYSTEMS else None
        finally:
            os.close(folder)
    except (OSError, ValueError):  # a kernel that describes files in another way
        return None


def _file_system(descriptor: int) -> bytes | None:
    """Return the kind of file system that an open file is on, if it can be found out."""
    about = dict(
        line.split(b":", 1)
        for line in Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().splitlines()
    )
    mount = about.get(b"mnt_id", b"").strip()
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        # Blanks in paths are escaped.
        place, _, kind = line.partition(b" - ")
        if place.split(b" ", 1)[0] == mount:
            return kind.split(b" ", 1)[0]
    return None
