"""Counts and times of a service version's requests."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
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
    rejected: int = 0


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
    rejected : int
        Those of all that did not fit, so that the code never ran.
    calls_per_minute : int
        Requests of the last 60 seconds.
    p50, p99 : float or None
        Seconds that half and 99 of 100 of the newest requests stayed within.
    last_call : float or None
        When the last request ended, in seconds since 1970.
    retired : int
        Workers that were replaced because a request had changed what can't be put back.
    retired_for : str
        What the last of these had changed.
    history : sequence of Interval
        The last ten minutes, oldest first, the last one not over; empty where it was not asked for.
    """

    state: State = State.IDLE
    message: str = ""
    workers: int = 0
    waiting: int = 0
    calls: int = 0
    errors: int = 0
    rejected: int = 0
    calls_per_minute: int = 0
    p50: float | None = None
    p99: float | None = None
    last_call: float | None = None
    retired: int = 0
    retired_for: str = ""
    history: Sequence[Interval] = ()


class Timings:
    """Counts requests, and remembers when they came and how long they took.

    It is told of every request, so telling it costs little: it counts, and puts the time into a
    ring. What came in which second and which interval is worked out once a second.

    Parameters
    ----------
    clock
        Tells the seconds since 1970.
    """

    __slots__ = (
        "_clock",
        "_ends",
        "_finished",
        "_interval_began",
        "_per_second",
        "_second",
        "_second_began",
        "_seconds",
        "_unanswered",
        "count",
        "errors",
        "last_call",
        "rejected",
        "retired",
        "retired_for",
    )

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.count = 0
        self.errors = 0
        self.rejected = 0
        self.retired = 0
        self.retired_for = ""
        self.last_call: float | None = None
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._unanswered = 0
        self._second = int(clock())
        self._ends = self._second + 1
        self._second_began = 0
        self._per_second = [0] * _MINUTE
        self._finished: deque[Interval] = deque(maxlen=INTERVALS - 1)
        self._interval_began = (0, 0, 0, 0)

    def add(self, seconds: float, *, failed: bool = False) -> None:
        """Count a request that was answered, and whether its code failed."""
        now = self.last_call = self._clock()
        if not self._second <= now < self._ends:
            self._advance(int(now))
        self.count += 1
        self._seconds.append(seconds)
        if failed:
            self.errors += 1

    def add_rejection(self, seconds: float | None = None) -> None:
        """Count a request that did not fit, by itself or, without a time, by how it was sent."""
        if seconds is not None:
            self.add(seconds)
            self.rejected += 1
            return
        self.last_call = self._clock()
        self._advance(int(self.last_call))
        self.count += 1
        self.rejected += 1
        self._unanswered += 1

    def add_failure(self) -> None:
        """Count a request that got no answer."""
        self.last_call = self._clock()
        self._advance(int(self.last_call))
        self.count += 1
        self.errors += 1
        self._unanswered += 1

    def add_retired(self, reason: str) -> None:
        """Count a worker that was replaced, and keep what its last request had changed."""
        self.retired += 1
        self.retired_for = reason

    def percentiles(self, *shares: float) -> list[float | None]:
        """Give the times, in seconds, that such shares of the last requests stayed within."""
        ordered = sorted(self._seconds)
        return [_percentile(ordered, share) for share in shares]

    def calls_per_minute(self) -> int:
        """Count the requests of the last 60 seconds."""
        self._advance(int(self._clock()))
        return sum(self._per_second) + self.count - self._second_began

    def history(self) -> list[Interval]:
        """Give the last intervals, oldest first; the last one is not over."""
        self._advance(int(self._clock()))
        last = _start(self._second)
        known = {each.start: each for each in (*self._finished, self._interval(last))}
        starts = range(last - (INTERVALS - 1) * INTERVAL_SECONDS, last + 1, INTERVAL_SECONDS)
        return [known.get(start) or Interval(start) for start in starts]

    # --- seconds and intervals ---------------------------------------------------------------

    def _advance(self, second: int) -> None:
        """Put away what came until now, where another second has come."""
        before, self._second, self._ends = self._second, second, second + 1
        if second == before:
            return
        self._per_second[before % _MINUTE] = self.count - self._second_began
        self._second_began = self.count
        if 0 < second - before < _MINUTE:
            for passed in range(before + 1, second + 1):
                self._per_second[passed % _MINUTE] = 0
        else:
            # Nothing came for a minute, or somebody set the clock.
            self._per_second = [0] * _MINUTE
        if _start(second) != _start(before):
            if self.count > self._interval_began[0]:
                self._finished.append(self._interval(_start(before)))
            self._interval_began = (
                *(self.count, self.errors, self._unanswered),
                self.rejected,
            )

    def _interval(self, start: int) -> Interval:
        """Describe the running interval."""
        count, errors, unanswered, rejected = self._interval_began
        calls = self.count - count
        answered = min(calls - (self._unanswered - unanswered), len(self._seconds))
        ordered = sorted(list(self._seconds)[-answered:]) if answered else []
        return Interval(
            start=start,
            calls=calls,
            errors=self.errors - errors,
            rejected=self.rejected - rejected,
            p50=_percentile(ordered, 0.5),
            p99=_percentile(ordered, 0.99),
        )


def _start(second: int) -> int:
    return second - second % INTERVAL_SECONDS


def _percentile(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
