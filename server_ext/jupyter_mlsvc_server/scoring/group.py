"""Requests of one caller that a pool answers when its workers have time for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jupyter_mlsvc_server.scoring.recent_calls import Caller
from jupyter_mlsvc_server.scoring.request import PendingRequest

if TYPE_CHECKING:
    from jupyter_mlsvc_server.scoring.definition import DefinitionKey
    from jupyter_mlsvc_server.scoring.engine import Outcome


class Group:
    """Requests that came together, and that nobody waits for one by one.

    Each becomes a pending request only when a worker has room for it. So any number of them can
    stand in a pool without being ahead of anybody.

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
    caller
        Who made the requests, where that is known.
    numbers
        By which the caller knows each; none where they have no numbers.
    """

    __slots__ = (
        "_bodies", "_caller", "_ended", "_next", "_numbers", "_outcomes", "_pending", "arrived",
        "at_a_time", "key", "running",
    )  # fmt: skip

    def __init__(
        self,
        key: DefinitionKey,
        bodies: Sequence[bytes],
        at_a_time: int,
        ended: Callable[[list[Outcome]], None],
        caller: Caller | None = None,
        numbers: Sequence[int] = (),
    ) -> None:
        self.key = key
        self.arrived = 0.0
        self.at_a_time = at_a_time
        self.running = 0
        """Requests that were taken and did not come back; the scheduler counts them down."""
        self._bodies = bodies
        self._caller = caller
        self._numbers = numbers
        self._ended = ended
        self._next = 0
        self._outcomes: dict[int, Outcome] = {}
        self._pending: dict[int, PendingRequest] = {}

    @property
    def waiting(self) -> int:
        """Number of requests that have not been taken."""
        return len(self._bodies) - self._next

    def take(self) -> PendingRequest:
        """Return the next request."""
        place = self._next
        self._next += 1
        self.running += 1
        number = self._numbers[place] if self._numbers else ""
        request = PendingRequest(
            *(self.key, self._bodies[place], partial(self._end, place)),
            group=self,
            caller=self._caller,
            id=number,
        )
        self._pending[place] = request
        return request

    def _end(self, place: int, outcome: Outcome) -> None:
        """Keep the outcome of a request, and return all when it was the last one."""
        del self._pending[place]
        self._outcomes[place] = outcome
        if len(self._outcomes) == len(self._bodies):
            outcomes = self._outcomes
            self._ended([outcomes[place] for place in range(len(self._bodies))])

    def abandon(self) -> None:
        """Forget the caller, who left; what runs is read and dropped, the rest won't run."""
        self._next = len(self._bodies)
        for request in self._pending.values():
            request.abandon()
        self._pending.clear()
