"""How many records of a service version are with the scoring engine at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

_QUICK_SECONDS: Final = 0.03
"""An answer that comes within this time tells that more records could be on their way."""

_SLOW_SECONDS: Final = 2 * _QUICK_SECONDS


class Gate:
    """Lets records in, of whatever batches of a version.

    Of records that are answered quickly many have to be on their way, in groups that are large
    enough to cost little each; so there is more room then. It ends where a group would take long:
    until it is back its results are not to be seen, and are lost with the server.

    Parameters
    ----------
    room
        Records that are let in at a time, however slow.
    most
        Records that are let in where they are quick.
    """

    def __init__(self, room: int, most: int) -> None:
        self._least = self._room = room
        self._most = max(room, most)
        self._inside = 0
        self._narrowed_at = -math.inf
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def room(self) -> int:
        """How many records it lets in at a time now."""
        return self._room

    @property
    def room_of_quick(self) -> int:
        """How many of these there is room for only because answers are quick."""
        return self._room - self._least

    def enter(self, count: int = 1) -> int:
        """Let so many records in, or as many as there is room for; gives their number."""
        entered = max(min(count, self._room - self._inside), 0)
        self._inside += entered
        return entered

    def wait(self, come: Callable[[], None]) -> None:
        """Have somebody called, once, when there is room and it is their turn."""
        self._waiting.append(come)

    def forget(self, come: Callable[[], None]) -> None:
        """Call somebody no more, if they wait."""
        if come in self._waiting:
            self._waiting.remove(come)

    def leave(self, count: int = 1, seconds: float | None = None) -> None:
        """Take note that records were answered in so many seconds, or did not run."""
        self._inside -= count
        if seconds is not None and seconds < _QUICK_SECONDS:
            self._room = min(self._room + count, self._most)
        elif seconds is not None and seconds > _SLOW_SECONDS:
            self._make_narrower(seconds)
        while self._waiting and self._inside < self._room:
            self._waiting.popleft()()

    def _make_narrower(self, seconds: float) -> None:
        now = monotonic()
        # Once for all that was on its way: of a short hold-up each would tell.
        if now - seconds >= self._narrowed_at:
            self._narrowed_at = now
            self._room = max(int(self._room * _SLOW_SECONDS / seconds), self._least)

    def narrow(self) -> None:
        """Give way to others: there are too many requests."""
        self._room = self._least
