"""Counts and times of a service version's requests."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

KEPT: Final = 2048
"""Requests whose times are kept for the percentiles; the newest ones."""

INTERVAL_SECONDS: Final = 10
INTERVALS: Final = 60
"""How many intervals the history has, the running one included."""

_MINUTE: Final = 60


class State(StrEnum):
    """How a service version is."""

    IDLE = "idle"
    """It has no process; the next request starts one."""
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    """All of its workers are at work."""
    FAILED = "failed"
    """It can't be started."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened in some seconds; times are in seconds, and None where nothing was answered.

    ``start`` is in seconds since 1970, and a multiple of the length of an interval.
    """

    start: int
    calls: int = 0
    errors: int = 0
    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How a service version is and what it did since the server started.

    Attributes
    ----------
    state, message
        How it is; the message says why it failed.
    workers, waiting : int
        Processes that answer, and requests that wait for one of them.
    calls, errors : int
        All requests, and those that failed.
    calls_per_minute : int
        Requests of the last 60 seconds.
    p50, p99 : float or None
        Seconds that half and 99 of 100 of the newest requests stayed within.
    last_call : float or None
        When the last request ended, in seconds since 1970.
    history : sequence of Interval
        The last ten minutes, oldest first, the last one not over; empty where it was not asked for.
    """

    state: State = State.IDLE
    message: str = ""
    workers: int = 0
    waiting: int = 0
    calls: int = 0
    errors: int = 0
    calls_per_minute: int = 0
    p50: float | None = None
    p99: float | None = None
    last_call: float | None = None
    history: Sequence[Interval] = ()


class Timings:
    """Counts requests, and remembers when they came and how long they took.

    It is told of every request, so telling it costs little: once a second it puts away what it
    counted, and in between it adds to numbers and to a ring of the newest times.
    """

    __slots__ = (
        "_answered",
        "_began",
        "_clock",
        "_finished",
        "_per_second",
        "_second",
        "_seconds",
        "count",
        "errors",
        "last_call",
    )

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.last_call: float | None = None
        self._clock = time.time
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._answered = 0
        self._second = int(self._clock())
        self._per_second = [0] * _MINUTE
        self._finished: deque[Interval] = deque(maxlen=INTERVALS - 1)
        self._began = self._counts()

    def add(self, seconds: float, *, failed: bool = False) -> None:
        """Count a request that was answered, and whether its code failed."""
        self._count()
        self._answered += 1
        self._seconds.append(seconds)
        if failed:
            self.errors += 1

    def add_failure(self) -> None:
        """Count a request that got no answer."""
        self._count()
        self.errors += 1

    def percentiles(self, *shares: float) -> list[float | None]:
        """Give the times, in seconds, that such shares of the last requests stayed within."""
        ordered = sorted(self._seconds)
        return [_percentile(ordered, share) for share in shares]

    def calls_per_minute(self) -> int:
        """Count the requests of the last 60 seconds."""
        self._advance(int(self._clock()))
        return sum(self._per_second)

    def history(self) -> list[Interval]:
        """Give the last intervals, oldest first; the last one is not over."""
        now = int(self._clock())
        self._advance(now)
        known = {each.start: each for each in (*self._finished, self._running())}
        last = _start(now)
        starts = range(last - (INTERVALS - 1) * INTERVAL_SECONDS, last + 1, INTERVAL_SECONDS)
        return [known.get(start) or Interval(start) for start in starts]

    # --- seconds and intervals ---------------------------------------------------------------

    def _count(self) -> None:
        now = self.last_call = self._clock()
        if (second := int(now)) != self._second:
            self._advance(second)
        self.count += 1
        self._per_second[second % _MINUTE] += 1

    def _advance(self, second: int) -> None:
        """Make room for a second that has come."""
        before, self._second = self._second, second
        if second == before:
            return
        # A clock that was set back makes what was counted older than it is, and no mess.
        if not 0 < second - before < _MINUTE:
            self._per_second = [0] * _MINUTE
        else:
            for passed in range(before + 1, second + 1):
                self._per_second[passed % _MINUTE] = 0
        if _start(second) != _start(before):
            finished = self._running(_start(before))
            if finished.calls:
                self._finished.append(finished)
            self._began = self._counts()

    def _running(self, start: int | None = None) -> Interval:
        count, errors, answered = self._began
        newest = min(self._answered - answered, len(self._seconds))
        ordered = sorted(list(self._seconds)[-newest:]) if newest else []
        return Interval(
            start=_start(self._second) if start is None else start,
            calls=self.count - count,
            errors=self.errors - errors,
            p50=_percentile(ordered, 0.5),
            p99=_percentile(ordered, 0.99),
        )

    def _counts(self) -> tuple[int, int, int]:
        return self.count, self.errors, self._answered


def _start(second: int) -> int:
    return second - second % INTERVAL_SECONDS


def _percentile(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
