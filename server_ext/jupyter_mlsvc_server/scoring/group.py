"""Requests of one caller that a pool answers when its workers have time for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jupyter_mlsvc_server.scoring.link import Call

if TYPE_CHECKING:
    from jupyter_mlsvc_server.scoring.definition import DefinitionKey
    from jupyter_mlsvc_server.scoring.engine import Outcome


class Group:
    """Requests that came together, and that nobody waits for one by one.

    Each becomes a call only when a worker has room for it, so that as many as one likes can stand
    in a pool without being ahead of anybody.

    Parameters
    ----------
    key
        The service version.
    bodies
        The requests; one at least.
    at_a_time
        How many of them may run at a time.
    ended
        Called once with what became of each, in their order.
    """

    __slots__ = (
        "_bodies", "_ended", "_next", "_outcomes", "_running", "arrived", "at_a_time",
        "key",
    )  # fmt: skip

    def __init__(
        self,
        key: DefinitionKey,
        bodies: Sequence[bytes],
        at_a_time: int,
        ended: Callable[[list[Outcome]], None],
    ) -> None:
        self.key = key
        self.arrived = 0.0
        self.at_a_time = at_a_time
        self._bodies = bodies
        self._ended = ended
        self._next = 0
        self._outcomes: dict[int, Outcome] = {}
        self._running: dict[int, Call] = {}

    @property
    def waiting(self) -> int:
        """How many have not been taken."""
        return len(self._bodies) - self._next

    @property
    def running(self) -> int:
        """How many have been taken and are not answered."""
        return len(self._running)

    def take(self) -> Call:
        """Take the next one."""
        place = self._next
        self._next += 1
        call = Call(self.key, self._bodies[place], partial(self._note, place))
        call.is_of_group = True
        self._running[place] = call
        return call

    def _note(self, place: int, outcome: Outcome) -> None:
        """Take note of what became of one."""
        del self._running[place]
        self._outcomes[place] = outcome
        if len(self._outcomes) == len(self._bodies):
            outcomes = self._outcomes
            self._ended([outcomes[place] for place in range(len(self._bodies))])

    def abandon(self) -> None:
        """Forget about the caller, who left; what runs is read and dropped, the rest won't run."""
        self._next = len(self._bodies)
        for call in self._running.values():
            call.abandon()
        self._running.clear()
