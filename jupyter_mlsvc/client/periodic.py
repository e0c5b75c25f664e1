"""Telling how long something has taken, while it takes its time."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Ticker:
    """Calls something every second while a block runs, and never after its end.

    Parameters
    ----------
    tick : callable
        Called in a thread of its own with the seconds since the start of the block.
    first : float
        Seconds to wait before the first call.
    every : float
        Seconds between calls.
    """

    def __init__(
        self, tick: Callable[[float], object], *, first: float = 1.0, every: float = 1.0
    ) -> None:
        self._tick = tick
        self._first = first
        self._every = every
        self._done = threading.Event()
        self._ticking = threading.Lock()

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        # With the context, so that what it shows belongs to the cell that started it.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run,), name="mlsvc-ticker", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        # What it is showing now is there before what comes next.
        with self._ticking:
            pass

    def _run(self) -> None:
        pause = self._first
        while not self._done.wait(pause):
            with self._ticking:
                if not self._done.is_set():
                    self._tick(time.monotonic() - self._started)
            pause = self._every
