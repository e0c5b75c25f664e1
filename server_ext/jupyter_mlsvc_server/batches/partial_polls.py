"""Answers to those who ask again and again for all results of a running batch, at a bearable pace.

Each such answer has all results so far, so that a client which asks twice a second reads the square
of what there is. A poll waits until there is a good deal more than at the last one, or for some
seconds: then all polls together read a few times of what there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from jupyter_mlsvc_server.batches.record import BatchRecord, Progress

_FREE: Final = 1000
"""Results up to which polls are answered at once."""
_SHARE: Final = 0.25
"""How much more there has to be than at the last poll."""
_LONGEST: Final = 5.0
_LOOK: Final = 0.1
"""Seconds that a poll waits at most, and between two looks."""


class Run(Protocol):
    """What is asked of a batch that runs."""

    progress: Progress
    told: int
    """Results that the last poll was answered with."""


class PartialPolls:
    """Has polls of running batches wait.

    Parameters
    ----------
    runs
        The batches that run in this process, by their ids.
    clock
        Seconds that have passed.
    pause
        Waits for some seconds.
    """

    def __init__(
        self,
        runs: Mapping[str, Run],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._runs = runs
        self._clock = clock
        self._pause = pause

    async def wait(self, record: BatchRecord) -> None:
        """Return when a poll of a batch may be answered with all its results.

        That is at once for one that has few, has ended, or runs elsewhere.
        """
        until = self._clock() + _LONGEST
        while (run := self._runs.get(record.id)) is not None:
            there = run.progress.completed
            if run.told < _FREE or there >= run.told * (1 + _SHARE) or self._clock() >= until:
                run.told = there
                return
            await self._pause(_LOOK)
