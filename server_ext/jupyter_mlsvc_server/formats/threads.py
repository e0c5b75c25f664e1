"""Threads, which survive no fork: what counts them, and gives those of libraries to workers.

A process that has computed with several threads of OpenMP can be forked, but its child hangs where
it computes for the first time: the library takes its threads for running. So what is forked
computes with one, and who does not fork any more says how many there are. A model may say another
number; the threads that it has started are ended before a fork, and start again when it computes.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    # Cores as joblib counts them: for n_jobs=-1 of scikit-learn, and for models of LightGBM, which
    # heed nothing else.
    "LOKY_MAX_CPU_COUNT",
)  # fmt: skip
"""What numeric libraries read, most of them when they are loaded."""

_OF_NO_MATTER: Final = frozenset({"jemalloc_bg_thd"})
"""Threads by name that their library ends before a fork, and starts again after it."""

_OPENMP: Final = re.compile(rb" (/[^\n]*/lib(?:g|i)?omp[^/\n]*\.so[^/\n]*)$", re.MULTILINE)
"""Libraries of OpenMP among mapped files; packages bring copies with names of their own."""

_HARD_PAUSE: Final = 2
"""What has OpenMP end its threads (``omp_pause_hard``)."""

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
    """Name threads that run since then, do not end by themselves at once, and can't be ended."""
    if threads() - before:
        _end_openmp()
    give_up = time.monotonic() + _ENDING_SECONDS
    while (new := threads() - before) and time.monotonic() < give_up:
        time.sleep(_ENDING_SECONDS / 20)
    return new


def _end_openmp() -> None:
    """End the threads that OpenMP keeps for this one, in each of its libraries."""
    maps = Path("/proc/self/maps")
    for path in {*_OPENMP.findall(maps.read_bytes())} if maps.exists() else ():
        # One from before OpenMP 5.0 has no such function.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(os.fsdecode(path), os.RTLD_NOLOAD).omp_pause_resource_all(_HARD_PAUSE)


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
