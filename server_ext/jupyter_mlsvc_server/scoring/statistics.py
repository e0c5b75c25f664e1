"""Counts and times of a service version's requests."""

from __future__ import annotations

from collections import deque
from typing import Final

KEPT: Final = 2048
"""Requests whose times are kept for the percentiles; the newest ones."""


class Timings:
    """Counts requests and remembers how long the last ones took."""

    __slots__ = ("_seconds", "count", "errors")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self._seconds: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """Count a request that was answered."""
        self.count += 1
        self._seconds.append(seconds)

    def add_failure(self) -> None:
        """Count a request that got no answer."""
        self.count += 1
        self.errors += 1

    def percentile(self, share: float) -> float | None:
        """Give the time, in seconds, that so many of the last requests stayed within."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
