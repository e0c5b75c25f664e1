"""A clock that tests set forward, for what is given its clocks."""

from __future__ import annotations

import time


class ManualClock:
    """Seconds that pass only when a test says so.

    Parameters
    ----------
    now
        What it shows at first; the present moment where nothing is given.
    """

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
