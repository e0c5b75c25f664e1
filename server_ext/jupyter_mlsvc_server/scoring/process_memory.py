"""Memory of processes and of those below them; what is shared counts in parts (PSS, Linux)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil


def of_tree(pid: int) -> int:
    """Measure a process and all below it, in bytes; R runs below its worker."""
    return of_process(pid) + sum(map(of_tree, _children(pid)))


def of_workers_below(stand_in: int) -> int:
    """Measure the workers of a template in a sandbox, outside of which another process waits."""
    workers = [worker for template in _children(stand_in) for worker in _children(template)]
    return sum(map(of_tree, workers))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text("ascii").split())
    except OSError:
        # Not Linux, or it has ended. To ask for all processes takes long where there are many.
        with contextlib.suppress(psutil.Error):
            found = [each.pid for each in psutil.Process(pid).children()]
    return found


def of_process(pid: int) -> int:
    """Measure one process, in bytes."""
    try:
        memory = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(memory, "pss", memory.uss))
