"""Requests of one caller that a pool answers when its workers have time for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jupyter_mlsvc_server.scoring.link import Call

if TYPE_CHECKING:
    from jupyter_mlsvc_server.errors import MlsvcServerError
    from jupyter_mlsvc_server.scoring.definition import DefinitionKey
    from jupyter_mlsvc_server.scoring.engine import Outcome, ScoringAnswer


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
        "_bodies", "_ended", "_left", "_next", "_outcomes", "_running", "arrived", "at_a_time",
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
        self._left = len(bodies)
        self._outcomes: dict[int, Outcome] = {}
        self._running: set[Member] = set()

    @property
    def waiting(self) -> int:
        """How many have not been taken."""
        return len(self._bodies) - self._next

    @property
    def running(self) -> int:
        """How many have been taken and are not answered."""
        return len(self._running)

    def take(self) -> Member:
        """Take the next one."""
        call = Member(self, self._next, self._bodies[self._next])
        self._next += 1
        self._running.add(call)
        return call

    def note(self, call: Member, outcome: Outcome) -> None:
        """Take note of what became of one."""
        self._running.discard(call)
        self._outcomes[call.place] = outcome
        self._left -= 1
        if not self._left:
            self._ended([self._outcomes[place] for place in range(len(self._bodies))])

    def abandon(self) -> None:
        """Forget about the caller, who left; what runs is read and dropped, the rest won't run."""
        self._next = len(self._bodies)
        for call in self._running:
            call.abandon()


class Member(Call):
    """A request of a group."""

    __slots__ = ("_group", "place")

    def __init__(self, group: Group, place: int, body: bytes) -> None:
        super().__init__(group.key, body, self._note)
        self._group = group
        self.place = place

    def _note(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        self._group.note(self, outcome)
