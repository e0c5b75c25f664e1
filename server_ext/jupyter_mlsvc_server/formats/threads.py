"""Threads, which survive no fork: what counts them, and gives those of libraries to workers.

A process that has computed with several threads of OpenMP can be forked, but its child hangs where
it computes for the first time: the library takes its threads for running. So what is forked
computes with one, and who does not fork any more says how many there are.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
"""What numeric libraries read when they are loaded."""

_OF_NO_MATTER: Final = frozenset({"jemalloc_bg_thd"})
"""Threads by name that their library ends before a fork, and starts again after it."""

_ENDING_SECONDS: Final = 0.2
"""Time for threads that have done their work to be gone."""


def threads() -> set[int]:
    """Name the threads of this process that a fork would leave out."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return {each.native_id for each in threading.enumerate() if each.native_id} - {os.getpid()}
    found = set()
    for task in tasks.iterdir():
        with suppress(OSError):
            if (task / "comm").read_text().rstrip() not in _OF_NO_MATTER:
                found.add(int(task.name))
    return found - {os.getpid()}


def lasting_threads(before: set[int]) -> set[int]:
    """Name threads that run since then and do not end by themselves at once."""
    give_up = time.monotonic() + _ENDING_SECONDS
    while (new := threads() - before) and time.monotonic() < give_up:
        time.sleep(_ENDING_SECONDS / 20)
    return new


def use_threads(count: int) -> None:
    """Have numeric libraries compute with so many threads, also those that are loaded later.

    Parameters
    ----------
    count
        Threads; 0 for one for each core that this process may use.
    """
    if count == 1:
        return  # as it was forked
    for name in THREAD_VARIABLES:
        if count:
            os.environ[name] = str(count)
        else:
            os.environ.pop(name, None)
    import threadpoolctl  # type: ignore[import-untyped]

    threadpoolctl.threadpool_limits(count or len(os.sched_getaffinity(0)))
