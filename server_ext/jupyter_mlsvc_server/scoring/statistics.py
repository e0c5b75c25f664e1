"""Counts and times of a service version's requests."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jupyter_mlsvc_server.scoring.percentiles import Times

KEPT: Final = 2048
"""Requests whose times count for the percentiles: so many to twice as many, the newest ones."""

INTERVAL_SECONDS: Final = 10
INTERVALS: Final = 60
"""How many intervals the history has, the running one included."""

LATENCY_BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds, in seconds, of the buckets of a latency histogram; another has all above."""

_MINUTE: Final = 60


class State(StrEnum):
    """How a service version is."""

    IDLE = "idle"
    """It has no process; the next request starts one."""
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    """All of its workers are at work."""
    FAILING = "failing"
    """Its processes keep ending, or can't be started; it is tried again after a pause."""


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
        How it is; the message says why it is failing.
    workers, waiting : int
        Processes that answer, and requests that wait for one of them.
    calls, errors : int
        All requests, and those that failed.
    rejected : int
        Those of all that did not fit, so that the code never ran.
    calls_per_minute : int
        Requests of the last 60 seconds.
    p50, p99 : float or None
        Seconds that half and 99 of 100 of the newest requests stayed within, to 5 %.
    last_call : float or None
        When the last request ended, in seconds since 1970.
    retired : int
        Workers that were replaced because a request had changed what can't be put back.
    retired_for : str
        What the last of these had changed.
    lost_workers : int
        Workers that ended unexpectedly.
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
    lost_workers: int = 0
    history: Sequence[Interval] = ()


@dataclass(frozen=True, slots=True)
class Latency:
    """Histogram of the times of all answered requests.

    Attributes
    ----------
    counts
        Requests within each of ``LATENCY_BOUNDS``, those within smaller ones included; the last
        number is that of all.
    seconds
        Sum of the times.
    """

    counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS) + 1)
    seconds: float = 0.0

    def with_sample(self, times: Sequence[float], stands_for: int) -> Latency:
        """Add requests of which only the times of some are known; these stand for the others."""
        ordered = sorted(times)
        size = len(ordered)
        within = [bisect_right(ordered, bound) for bound in LATENCY_BOUNDS]
        counts = [count * stands_for // size for count in [*within, size]]
        return Latency(
            tuple(old + new for old, new in zip(self.counts, counts, strict=True)),
            self.seconds + sum(ordered) * stands_for / size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCounters:
    """What a monitor wants to know of a service version; counts are since the server started.

    Attributes
    ----------
    name, version : str
        Which it is.
    state : State
        State of the version.
    workers, waiting : int
        Processes that answer, and requests that wait for one of them.
    calls, errors, rejected : int
        As in :class:`Figures`.
    unanswered : int
        Those of the errors that got no answer of a worker: deadlines, full queues, lost workers.
    retired, lost_workers, lost_templates : int
        Workers that were replaced after a request, and processes that ended unexpectedly.
    latency : Latency
        Times of the answered requests.
    """

    name: str
    version: str
    state: State = State.IDLE
    workers: int = 0
    waiting: int = 0
    calls: int = 0
    errors: int = 0
    rejected: int = 0
    unanswered: int = 0
    retired: int = 0
    lost_workers: int = 0
    lost_templates: int = 0
    latency: Latency = Latency()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCounters:
    """Counters of an engine and of all versions that are loaded or were called.

    Attributes
    ----------
    unloaded : int
        Versions that were unloaded because nobody called them.
    forkserver_restarts : int
        Forkservers that were started because the one before had ended.
    """

    versions: Sequence[VersionCounters] = ()
    unloaded: int = 0
    forkserver_restarts: int = 0


class Timings:
    """Counts requests, and remembers when they came and how long they took.

    It counts every request, so that has to cost little: it adds, and puts the time into a
    ring. What came in which second and which interval is worked out once a second, and so are
    histogram and percentiles: where more requests came in a second than the ring holds, the newest
    stand for all.

    Parameters
    ----------
    clock
        Tells the seconds since 1970.
    """

    __slots__ = (
        "_before",
        "_binned",
        "_clock",
        "_ends",
        "_finished",
        "_interval_began",
        "_interval_times",
        "_latency",
        "_per_second",
        "_percentiles",
        "_recent",
        "_second",
        "_second_began",
        "_seconds",
        "_unanswered",
        "count",
        "errors",
        "last_call",
        "lost_templates",
        "lost_workers",
        "rejected",
        "retired",
        "retired_for",
        "unanswered",
    )

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.count = 0
        self.errors = 0
        self.rejected = 0
        self.retired = 0
        self.retired_for = ""
        self.unanswered = 0
        self.lost_workers = 0
        self.lost_templates = 0
        self.last_call: float | None = None
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._unanswered = 0
        self._second = int(clock())
        self._ends = self._second + 1
        self._second_began = 0
        self._per_second = [0] * _MINUTE
        self._finished: deque[Interval] = deque(maxlen=INTERVALS - 1)
        self._interval_began = (0, 0, 0)
        self._latency = Latency()
        self._binned = 0
        self._recent = Times()
        self._before = Times()
        """Of requests before the recent ones, which take their place in time."""
        self._interval_times = Times()
        self._percentiles: tuple[tuple[int, tuple[float, ...]], list[float | None]] = (0, ()), []
        """Those that were asked for last, and after how many answers."""

    def add(self, seconds: float, *, failed: bool = False) -> float:
        """Count a request that was answered, and whether its code failed; return the time."""
        now = self.last_call = self._clock()
        if not self._second <= now < self._ends:
            self._advance(int(now))
        self.count += 1
        self._seconds.append(seconds)
        if failed:
            self.errors += 1
        return now

    def add_rejection(self, seconds: float | None = None) -> float:
        """Count a request that did not fit, by itself or, without a time, by how it was sent."""
        now = self._add_unanswered() if seconds is None else self.add(seconds)
        self.rejected += 1
        return now

    def add_failure(self) -> float:
        """Count a request that got no answer; return the time."""
        now = self._add_unanswered()
        self.errors += 1
        self.unanswered += 1
        return now

    def _add_unanswered(self) -> float:
        now = self.last_call = self._clock()
        self._advance(int(now))
        self.count += 1
        self._unanswered += 1
        return now

    def add_retired(self, reason: str) -> None:
        """Count a worker that was replaced, and keep what its last request had changed."""
        self.retired += 1
        self.retired_for = reason

    def percentiles(self, *shares: float) -> list[float | None]:
        """Give the times, in seconds, that such shares of the last requests stayed within."""
        self._bin()
        if self._percentiles[0] != (self._binned, shares):
            # Of most versions nobody has called one since the last time.
            found = self._recent.percentiles(*shares, before=self._before)
            self._percentiles = (self._binned, shares), found
        return self._percentiles[1]

    def calls_per_minute(self) -> int:
        """Count the requests of the last 60 seconds."""
        self._advance(int(self._clock()))
        return sum(self._per_second) + self.count - self._second_began

    def latency(self) -> Latency:
        """Return the histogram of all requests that were answered."""
        self._bin()
        return self._latency

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
        self._bin()
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
            self._interval_began = self.count, self.errors, self.rejected
            self._interval_times = Times()

    def _bin(self) -> None:
        """Put the times that came since the last time where they are counted."""
        answered = self.count - self._unanswered
        new, self._binned = answered - self._binned, answered
        if not new:
            return
        times = [*self._seconds]
        self._seconds.clear()
        self._latency = self._latency.with_sample(times, new)
        self._interval_times.add(times)
        self._recent.add(times)
        if self._recent.count >= KEPT:
            self._before, self._recent = self._recent, Times()

    def _interval(self, start: int) -> Interval:
        """Describe the running interval."""
        self._bin()
        count, errors, rejected = self._interval_began
        p50, p99 = self._interval_times.percentiles(0.5, 0.99)
        return Interval(
            start=start,
            calls=self.count - count,
            errors=self.errors - errors,
            rejected=self.rejected - rejected,
            p50=p50,
            p99=p99,
        )


def _start(second: int) -> int:
    return second - second % INTERVAL_SECONDS
