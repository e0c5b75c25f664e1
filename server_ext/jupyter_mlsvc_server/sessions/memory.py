"""How much memory the processes of sessions take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import psutil


def memory_of(pids: Sequence[int | None]) -> list[int | None]:
    """Measure processes with all that they started, in bytes; what they share counts in parts.

    It reads the list of all processes once, which takes some milliseconds.

    Parameters
    ----------
    pids
        Process ids.

    Returns
    -------
    list of (int or None)
        One for each; None for a process that is unknown or gone.
    """
    if not any(pids):
        return [None] * len(pids)
    children: dict[int, list[int]] = defaultdict(list)
    for process in psutil.process_iter(["ppid"]):
        children[process.info["ppid"]].append(process.pid)
    return [None if pid is None else _with_children(pid, children) for pid in pids]


def _with_children(pid: int, children: dict[int, list[int]]) -> int | None:
    own = _memory(pid)
    if own is None:
        return None
    below = list(children.get(pid, ()))
    for child in below:
        below.extend(children.get(child, ()))
    return own + sum(_memory(child) or 0 for child in below)


def _memory(pid: int) -> int | None:
    try:
        # Forked kernels share what all of them need, and guards have nothing of their own.
        memory = psutil.Process(pid).memory_full_info()
        return int(getattr(memory, "pss", memory.uss))
    except psutil.AccessDenied:
        return _resident(pid)
    except psutil.Error:
        return None


def _resident(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
