"""Hub of events: keeps the newest ones and lets callers wait for the next ones."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from typing import Any, Final, NamedTuple

from traitlets import Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.policy import may
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.events.errors import TooManyPolls, TooManyWaiters
from jupyter_mlsvc_server.events.record import NEEDED, Change, Kind, PublishEvent, drop_event

_FAREWELL_SECONDS: Final = 0.05

KEPT: Final = 1000
"""Events that somebody who was away can still read; the newest ones."""


class Cursor(NamedTuple):
    """Position of a reader: the epoch of the server, and the number of the last event it read."""

    epoch: str
    number: int


class Waiter:
    """A caller who waits for an event.

    Parameters
    ----------
    principal
        Who it is.
    """

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """End the wait; may be called at any time, and more than once."""
        if not self._woken.done():
            self._woken.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Wait until :meth:`wake` is called, or so long."""
        await asyncio.wait([self._woken], timeout=seconds)


class EventHub(LoggingConfigurable):
    """Hub that numbers events and sends each to the callers who may see it.

    Events are kept in memory. A server that starts anew has another epoch (``run`` on the wire), by
    which callers know that they have to look at everything again. Servers of one database have
    epochs of their own, and each has the events of all.

    Attributes
    ----------
    share
        Sends an event to the other servers of the database.
    """

    max_waiting = Integer(
        500,
        min=0,
        help="Calls of GET /events that may wait at a time, of all people together; more are "
        "answered with 503.",
    ).tag(config=True)
    max_waiting_per_user = Integer(
        50,
        min=0,
        help="Calls of GET /events that one person may have waiting at a time; more are answered "
        "with 429.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share: PublishEvent = drop_event
        self.epoch = secrets.token_hex(8)
        self._last = 0
        self._kept: deque[tuple[int, Change]] = deque(maxlen=KEPT)
        self._waiters: set[Waiter] = set()
        self._waiting: Counter[str] = Counter()
        self._is_stopped = False

    @property
    def waiting(self) -> int:
        """Number of callers who wait for an event."""
        return len(self._waiters)

    def publish_event(self, change: Change) -> None:
        """Send an event to the callers who wait for it, and store it for those who ask later."""
        self.take(change)
        self.share(change)

    def begin_anew(self) -> None:
        """Have all callers look at everything again: events of others may have been missed."""
        self.epoch = secrets.token_hex(8)
        self._kept.clear()
        for waiter in self._waiters:
            waiter.wake()

    def take(self, change: Change) -> None:
        """Do the same with an event of another server, which goes to no server from here."""
        self._last += 1
        self._kept.append((self._last, change))
        for waiter in self._waiters:
            if _may_see(waiter.principal, change):
                waiter.wake()

    async def stop(self) -> None:
        """Answer all callers who wait, and let none wait any more. May be called twice."""
        self._is_stopped = True
        if self._waiters:
            for waiter in self._waiters:
                waiter.wake()
            # Connections are about to be closed: the answers go out first.
            await asyncio.sleep(_FAREWELL_SECONDS)

    async def events_after(
        self, waiter: Waiter, cursor: Cursor | None, seconds: float
    ) -> models.EventList:
        """Return the events after a cursor; where there are none, wait for one (``listEvents``).

        Parameters
        ----------
        waiter
            Who asks; waking it ends the wait.
        cursor
            Where the last answer ended; None asks where the next one is to begin.
        seconds
            How long to wait at most.

        Raises
        ------
        TooManyPolls, TooManyWaiters
            There is no room for one more to wait.
        """
        if cursor is None:
            return self._answer([])
        if not self._knows(cursor):
            return self._answer([], is_reset=True)
        if seconds and not self._is_stopped and not self._seen_by(waiter.principal, cursor):
            await self._wait(waiter, seconds)
            if not self._knows(cursor):
                return self._answer([], is_reset=True)
        return self._answer(self._seen_by(waiter.principal, cursor))

    async def _wait(self, waiter: Waiter, seconds: float) -> None:
        account = waiter.principal.id
        if self._waiting[account] >= self.max_waiting_per_user:
            raise TooManyPolls(self.max_waiting_per_user)
        if len(self._waiters) >= self.max_waiting:
            raise TooManyWaiters
        self._waiters.add(waiter)
        self._waiting[account] += 1
        try:
            await waiter.sleep(seconds)
        finally:
            self._waiters.discard(waiter)
            self._waiting[account] -= 1
            if not self._waiting[account]:
                del self._waiting[account]

    def _knows(self, cursor: Cursor) -> bool:
        oldest = self._kept[0][0] if self._kept else self._last + 1
        return cursor.epoch == self.epoch and oldest - 1 <= cursor.number <= self._last

    def _seen_by(self, principal: Principal, cursor: Cursor) -> list[models.Event]:
        new = self._last - cursor.number
        if not new:
            return []
        # From the end: those who wait have read nearly all of them.
        kept = [self._kept[index] for index in range(-new, 0)]
        return [_shown(number, change) for number, change in kept if _may_see(principal, change)]

    def _answer(self, events: list[models.Event], *, is_reset: bool = False) -> models.EventList:
        return models.EventList(run=self.epoch, last=self._last, events=events, is_reset=is_reset)


def _may_see(principal: Principal, change: Change) -> bool:
    is_known = change.kind is not Kind.SERVICE or principal.knows_of(change.name, change.version)
    return is_known and may(principal, NEEDED[change.kind], change.owner)


def _shown(number: int, change: Change) -> models.Event:
    return models.Event(
        number=number,
        kind=change.kind.value,
        action=change.action.value,
        id=change.id,
        name=change.name,
        version=change.version,
    )
