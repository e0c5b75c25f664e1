"""Limit how many records of a service version the batches send to the scoring engine at a time.

A batch has thousands of records, and each is a request. Sent one by one they would leave workers
idle between two of them. Sent all at once they would fill the pool's queue, hide their results
until the last one is back, and be lost with the server. So the limit follows the answers, as a
congestion window does::

                    answer within QUICK_SECONDS: + number of records answered
                  ┌───────────────────────────────────────────────────────┐
                  ▼                                                       │
    minimum ── at the limit ── maximum ───────────────────────────────────┘
       ▲              │
       │              │ answer after SLOW_SECONDS: x SLOW_SECONDS / seconds,
       │              │ once for all that was sent before the last cut
       │              ▼
       └───────── back_off(): a caller or a worker had no room for a record

Between quick and slow the limit stays. One limiter serves all batches of a version: who finds no
room waits, and each release lets the next one in turn try.

The limiter is a state machine. It reads no clock and calls nobody: time comes with the events, and
what is to be done is returned. `tests/server/batches/test_limiter.py` states what it guarantees.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Generic, TypeVar

QUICK_SECONDS: Final = 0.03
"""An answer within this time raises the limit: a group of records then costs a caller who comes
between less than a person or a program notices."""

SLOW_SECONDS: Final = 2 * QUICK_SECONDS
"""An answer after this time lowers the limit, in proportion."""

Waiter = TypeVar("Waiter")
"""Who waits for room: whatever the caller uses to know it again."""


class AdaptiveLimiter(Generic[Waiter]):
    """Limits records on their way by how quickly they are answered.

    Parameters
    ----------
    minimum
        Records that may be on their way however slow they are.
    maximum
        Records that may be on their way when they are quick.
    """

    def __init__(self, minimum: int, maximum: int) -> None:
        self._minimum = self._limit = minimum
        self._maximum = max(minimum, maximum)
        self._in_flight = 0
        self._lowered_at = -math.inf
        self._waiting: deque[Waiter] = deque()

    @property
    def limit(self) -> int:
        """Records that may be on their way now."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """Records that are on their way."""
        return self._in_flight

    @property
    def surplus(self) -> int:
        """How far the limit is above its minimum."""
        return self._limit - self._minimum

    def acquire(self, count: int = 1) -> int:
        """Count records as sent, as many as there is room for; return their number."""
        granted = max(min(count, self._limit - self._in_flight), 0)
        self._in_flight += granted
        return granted

    def wait(self, waiter: Waiter) -> None:
        """Put somebody at the end of those who wait for room."""
        self._waiting.append(waiter)

    def forget(self, waiter: Waiter) -> None:
        """Remove somebody who may wait."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def next_waiter(self) -> Waiter | None:
        """Remove and return who may try now; None while there is no room, or nobody waits."""
        if self._waiting and self._in_flight < self._limit:
            return self._waiting.popleft()
        return None

    def release(self, count: int, now: float, seconds: float | None = None) -> None:
        """Count records as back, and adapt the limit to the time that they took.

        Parameters
        ----------
        count
            How many came back.
        now
            The clock's time.
        seconds
            The time from sending them to their answers; None where they did not run.
        """
        self._in_flight -= count
        if seconds is None:
            return
        if seconds < QUICK_SECONDS:
            self._limit = min(self._limit + count, self._maximum)
        elif seconds > SLOW_SECONDS and now - seconds >= self._lowered_at:
            # All that was on its way during one delay reports it; it counts once.
            self._lowered_at = now
            self._limit = max(int(self._limit * SLOW_SECONDS / seconds), self._minimum)

    def back_off(self) -> None:
        """Lower the limit to its minimum, because a record found no room."""
        self._limit = self._minimum
