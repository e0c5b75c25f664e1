"""Written pages: finds large arrays that were written, by the pages that the system has copied.

A worker shares the memory of its template, and both share the files of the snapshot. The first
write to a page makes a copy of it for this process alone. The system says which pages these are
(``/proc/self/pagemap``), so that a write to one element of a large array is seen without a look at
the elements. A page that comes of a file is no longer "of a file" then (bit 61), and belongs to
this process only (bit 56).

Only whole pages of an array are looked at. What it has of the pages at its ends it may share with
others, so these few bytes are compared by somebody else.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Final

PAGE: Final = resource.getpagesize()
_PRESENT: Final = 1 << 63
_SWAPPED: Final = 1 << 62
_OF_FILE: Final = 1 << 61
_ALONE: Final = 1 << 56
_FEW: Final = 32
"""Pages up to which looking costs less than asking whether there is a reason to."""


class WrittenPages:
    """Watches the pages of memory."""

    def __init__(self) -> None:
        self._pages: list[tuple[int, int, str]] = []
        self._count = 0
        self._faults = 0
        try:
            self._map = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._map = -1

    def add(self, address: int, size: int, label: str) -> bool:
        """Watch the whole pages of some memory; return whether that is possible."""
        first, end = -(-address // PAGE), (address + size) // PAGE
        if self._map < 0 or end <= first:
            return False
        try:
            if self._are_written(first, end):
                # Written before the first request, so that another write makes no difference.
                return False
        except OSError:
            return False
        self._pages.append((first, end, label))
        self._count += end - first
        return True

    def start(self) -> None:
        """Take the memory as it should be from now on."""
        self._faults = _faults()

    def find_written(self) -> str:
        """Give the label of memory that was written, if there is any."""
        if not self._pages:
            return ""
        if self._count > _FEW:
            # The first write to a page stops the process for a moment, which is counted.
            faults = _faults()
            if faults == self._faults:
                return ""
            self._faults = faults
        for first, end, label in self._pages:
            if self._are_written(first, end):
                return label
        return ""

    def _are_written(self, first: int, end: int) -> bool:
        data = os.pread(self._map, 8 * (end - first), 8 * first)
        if len(data) < 8 * (end - first):
            raise OSError("the system tells nothing of these pages")
        numpy = sys.modules.get("numpy")
        if numpy is None or len(data) <= 8 * _FEW:
            return any(map(_is_written, memoryview(data).cast("Q")))
        pages = numpy.frombuffer(data, dtype=numpy.uint64)
        here = pages & numpy.uint64(_PRESENT | _OF_FILE | _ALONE)
        written = here == numpy.uint64(_PRESENT | _ALONE)
        return bool((written | (pages & numpy.uint64(_SWAPPED) != 0)).any())


def _is_written(page: int) -> bool:
    # A page that is swapped out was written by somebody, at some time.
    is_own = page & (_PRESENT | _OF_FILE | _ALONE) == _PRESENT | _ALONE
    return is_own or bool(page & _SWAPPED)


def _faults() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt + usage.ru_majflt
