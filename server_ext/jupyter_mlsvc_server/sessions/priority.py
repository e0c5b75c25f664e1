"""Priority of a kernel's processes, below that of the server and its services."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

_LOWEST: Final = 19
_ATTEMPTS: Final = 10
_PAUSE: Final = 0.1
"""Seconds until Linux takes the next word about a group, from whoever it is, if not from root."""


async def lower_priority(pid: int, by: int) -> None:
    """Lower the priority of a kernel that has just been started, and of all that it starts.

    Parameters
    ----------
    pid
        The process. Where it has ended, nothing is done.
    by
        By how much its priority is to be below that of this process, as nice(1) counts.
    """
    with contextlib.suppress(OSError):
        own = os.getpriority(os.PRIO_PROCESS, 0)
        # The guard and the kernel, with all their threads; what they start later inherits it.
        which = os.PRIO_PGRP if os.getpgid(pid) == pid else os.PRIO_PROCESS
        os.setpriority(which, pid, own + by)
        if os.getsid(pid) != os.getsid(0):
            await lower_group(Path("/proc") / str(pid), by, own=Path("/proc/self"))


async def lower_group(process: Path, by: int, *, own: Path) -> None:
    """Lower the priority of a process's group, where Linux schedules by groups.

    It makes a group of each session (setsid), and kernels have sessions of their own. Priorities of
    processes count inside of their group only; among groups that of the group does.

    Parameters
    ----------
    process, own
        Folders of the process and of this one in ``/proc``.
    by
        As in :func:`lower_priority`.
    """
    group = process / "autogroup"
    with contextlib.suppress(OSError, ValueError):  # there are no groups, or it has ended
        nice = int((own / "autogroup").read_text().rpartition(" ")[2])
        for _ in range(_ATTEMPTS):
            try:
                group.write_text(str(min(nice + by, _LOWEST)))
            except BlockingIOError:
                await asyncio.sleep(_PAUSE)
            else:
                return
