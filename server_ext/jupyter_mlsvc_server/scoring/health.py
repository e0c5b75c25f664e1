"""Decide whether the processes of a version keep ending, and when the version is tried again.

A process that ends costs its call, and the next one takes its place at once. Where one after the
other ends, that helps nobody: the version is *failing*. It is tried again after a pause that
doubles, one try at a time, and its callers get the reason meanwhile::

             ended, max_ends times in a row
    ready ────────────────────────────────────▶ failing ◀───┐
      ▲   ◀── succeeded ────────────────────────   │        │ ended: the pause doubles
      │                                            │ pause  │
      └─────────────── succeeded ─────────── one try ───────┘

Ends are in a row where no call was answered in between, and each process was started after the
one before had ended. Processes that end together count as one: something ended them all.

The policy reads no clock. Scheduler and engine share the one of a revision, as it outlives pools.
"""

from __future__ import annotations

import math
from typing import Final

from jupyter_mlsvc_server.scoring.scheduler_settings import HealthSettings

END_AT_START: Final = "Its processes end as soon as they are started."
KEEP_ENDING: Final = "Its processes keep ending"


class Health:
    """Counts processes that ended since the last success.

    Parameters
    ----------
    settings
        Numbers and times.
    """

    __slots__ = ("_ended_at", "_ends", "_settings", "_was_at_start", "reason", "retry_at")

    def __init__(self, settings: HealthSettings) -> None:
        self.reason = ""
        """Why the last process ended, in a sentence."""
        self.retry_at = 0.0
        """When a version that is failing may be tried again."""
        self._settings = settings
        self._ends = 0
        self._ended_at = -math.inf
        self._was_at_start = False

    @property
    def is_well(self) -> bool:
        """Whether no process has ended since the last success."""
        return not self._ends

    @property
    def is_failing(self) -> bool:
        """Whether the processes keep ending."""
        return self._ends >= self._settings.max_ends

    def may_try(self, now: float) -> bool:
        """Return whether a process may be started."""
        return not self.is_failing or now >= self.retry_at

    def retry_after(self, now: float) -> int:
        """Return the seconds that a caller is to wait, one at least."""
        return max(math.ceil(self.retry_at - now), 1)

    def ended(
        self, now: float, reason: str, *, began: float | None = None, at_start: bool = False
    ) -> None:
        """Count a process that has ended by itself.

        Parameters
        ----------
        now
            The clock's time.
        reason
            Why, in a sentence, as far as it is known.
        began
            When the process was started. One that was there when another ended is not counted.
        at_start
            Whether it ended before it could take a call.
        """
        if began is not None and began < self._ended_at:
            return
        if not self.is_failing and now - self._ended_at > self._settings.calm_seconds:
            self._ends = 0
        self._count(now, reason, self._ends + 1, at_start=at_start)

    def refused(self, now: float, reason: str) -> None:
        """Take word of a start that failed for a reason that the next one would have too."""
        self._count(now, reason, max(self._ends + 1, self._settings.max_ends), at_start=True)

    def _count(self, now: float, reason: str, ends: int, *, at_start: bool) -> None:
        settings = self._settings
        self._ends, self._ended_at, self._was_at_start = ends, now, at_start
        self.reason = reason
        if self.is_failing:
            doublings = min(ends - settings.max_ends, 32)
            self.retry_at = now + min(settings.first_pause * 2.0**doublings, settings.max_pause)

    def explain(self, ending: str) -> None:
        """Take word of how the last process ended, where nothing was known of it."""
        if self.reason == f"{KEEP_ENDING}.":
            self.reason = f"{KEEP_ENDING} ({ending})."

    def started(self) -> None:
        """Take word that a process can take calls: what kept others from that is mended."""
        if self._was_at_start:
            self.succeeded()

    def succeeded(self) -> None:
        """Take word that a call was answered."""
        self._ends = 0
        self._was_at_start = False
        self.reason = ""
