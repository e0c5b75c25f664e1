"""Whether processes have ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def that_run_on(processes: Iterable[psutil.Process], seconds: float = 60) -> list[list[str]]:
    """Wait for processes to end; give the commands of those that did not.

    One that ended and that nobody has collected yet, such as an orphan on a busy machine, runs no
    more.
    """
    _, left = psutil.wait_procs(set(processes), timeout=seconds)
    found = []
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one as well
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
    return found
