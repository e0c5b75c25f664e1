"""What changes on the server, as it happens."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from typing import Final, Literal, NamedTuple

from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.errors import ConnectionFailed, ServerFault, TooManyRequests
from jupyter_mlsvc.wire import models

Kind = Literal["service", "session", "snapshot", "batch", "key", "reset"]

_WAIT_SECONDS: Final = 25
"""How long the server keeps one call waiting."""

_GRACE_SECONDS: Final = 20.0
_FIRST_PAUSE: Final = 0.2
_MAX_PAUSE: Final = 5.0


class Event(NamedTuple):
    """Something changed.

    Attributes
    ----------
    kind : str
        ``service``, ``session``, ``snapshot`` or ``batch``; ``reset`` says that events were missed,
        because the server was started anew or too many came: look at everything again.
    action : str
        ``created``, ``changed`` or ``deleted``; empty for ``reset``.
    id : str
        Of a session, snapshot or batch.
    name, version : str
        Of the service, also of the one that a batch runs; the name of a session or snapshot.
    """

    kind: Kind
    action: str = ""
    id: str = ""
    name: str = ""
    version: str = ""


RESET: Final = Event("reset")


class Events:
    """Changes of all services, and of your sessions, snapshots and batches; ``client.events``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def follow(
        self, timeout: float | None = None, *, kinds: Collection[Kind] | None = None
    ) -> Iterator[Event]:
        """Give each change as it happens, from this call on.

        Broken connections and restarts of the server are waited out.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which it ends, within a second; None follows until you stop.
        kinds : collection of str, optional
            Give events of these kinds only, and ``reset`` in any case.

        Raises
        ------
        ConnectionFailed
            Nobody answers now. Later on it is tried again until the time is over.

        Examples
        --------
        >>> for event in client.events.follow(kinds={"service"}):
        ...     print(event.action, event.name, event.version)
        created Iris V1.0
        """
        ends = math.inf if timeout is None else time.monotonic() + timeout
        # Asked now, not at the first event: what happens in between is not missed.
        place = self.poll()
        return self._follow(place, ends, kinds)

    def _follow(
        self, place: models.EventList, ends: float, kinds: Collection[Kind] | None
    ) -> Iterator[Event]:
        pause = _FIRST_PAUSE
        while (left := ends - time.monotonic()) > 0:
            try:
                place = self.poll(place, math.ceil(min(left, _WAIT_SECONDS)))
            except (ConnectionFailed, ServerFault, TooManyRequests):
                time.sleep(max(min(pause, ends - time.monotonic()), 0))
                pause = min(2 * pause, _MAX_PAUSE)
                continue
            pause = _FIRST_PAUSE
            if place.is_reset:
                yield RESET
            for event in place.events:
                if kinds is None or event.kind in kinds:
                    yield Event(event.kind, event.action, event.id, event.name, event.version)

    def poll(self, place: models.EventList | None = None, wait: int = 0) -> models.EventList:
        """Ask once (``listEvents``).

        Parameters
        ----------
        place : EventList, optional
            What the last call gave; without it the answer has no events and tells where to go on.
        wait : int
            Seconds to wait for an event, 55 at most.

        Returns
        -------
        EventList
            ``events`` since then; with ``is_reset`` some were missed: look at everything again.
        """
        query = {}
        if place is not None:
            query = {"run": place.run, "after": str(place.last), "wait": str(wait)}
        connecting, reading = self._api.timeout
        read_timeout = None if reading is None else max(reading, wait + _GRACE_SECONDS)
        response = self._api.call("GET", "events", query=query, timeout=(connecting, read_timeout))
        return self._api.decode(models.EventList, response)
