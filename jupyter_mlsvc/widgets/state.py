"""What a panel knows of the server, kept up to date; no widgets in here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.statistics import ServiceStatistics
from jupyter_mlsvc.errors import MlsvcError, NotFound
from jupyter_mlsvc.wire import models

Part = Literal["services", "sessions", "statistics", "connection"]
"""What of a state changed."""
ServiceKey = tuple[str, str]
"""Name and version."""

_WAIT_SECONDS: Final = 3
_STATISTICS_SECONDS: Final = 3.0
_MAX_PAUSE: Final = 30.0
_PARTS: Final[dict[str, Part]] = {"service": "services", "session": "sessions"}


@dataclass(slots=True)
class PanelState:
    """Services and sessions of a server, and what is wrong with the connection.

    Methods that ask the server block; those that raise do so with one readable line.

    Parameters
    ----------
    connect : callable
        Gives a client of its own; asked again when the connection failed or the login ended.
    on_change : callable
        Called with the parts that changed, by the thread that changed them.

    Attributes
    ----------
    services : list of Service
    sessions : list of Session
    statistics : dict
        ``ServiceStatistics`` by name and version, of those that were called or are loaded.
    user : UserResponse or None
        Who asks, to the server; None where it does not say.
    trouble : str
        Why nothing of this may be true any more; empty while the server answers.
    is_loaded : bool
        Whether the server has answered once.
    """

    connect: Callable[[], Client]
    on_change: Callable[[set[Part]], object] = lambda _parts: None
    clock: Callable[[], float] = time.monotonic
    services: list[Service] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    statistics: dict[ServiceKey, ServiceStatistics] = field(default_factory=dict)
    user: models.UserResponse | None = None
    trouble: str = ""
    is_loaded: bool = False
    _client: Client | None = None
    _place: models.EventList | None = None
    _has_events: bool = True
    _has_statistics: bool = True
    _statistics_at: float = 0.0

    # --- what is shown -----------------------------------------------------------------------

    def shown_services(self, search: str = "") -> list[Service]:
        """Give the services that have all words of a search, by name, the newest version first."""
        words = search.lower().split()
        found = [
            service
            for service in self.services
            if all(word in _searchable(service) for word in words)
        ]
        # The server lists versions oldest first; sorting is stable.
        found.reverse()
        return sorted(found, key=lambda service: service.name.lower())

    # --- asking the server -------------------------------------------------------------------

    def load(self) -> None:
        """Load everything; ``trouble`` says what goes wrong."""
        try:
            self._load(self._connected(), {"services", "sessions", "statistics"})
        except MlsvcError as error:
            self._fail(error)

    def follow(self, stop: threading.Event) -> None:
        """Keep this up to date until somebody stops it, through failures of the server."""
        failures = 0
        while not stop.is_set():
            try:
                self._follow_once(stop)
            except MlsvcError as error:
                self._fail(error)
                stop.wait(min(2.0**failures, _MAX_PAUSE))
                failures += 1
            else:
                failures = 0

    def _follow_once(self, stop: threading.Event) -> None:
        """Wait for the next change, a few seconds at most, and load what it is about."""
        client = self._connected()
        parts: set[Part] = set()
        if self._has_events:
            try:
                parts = self._next_events(client)
            except NotFound:
                # A server of another make, or an older one.
                self._has_events = False
        if not self._has_events:
            if self.is_loaded and stop.wait(_WAIT_SECONDS):
                return
            parts = {"services", "sessions"}
        if self.clock() - self._statistics_at >= _STATISTICS_SECONDS:
            parts.add("statistics")
        if parts and not stop.is_set():
            self._load(client, parts)

    def _next_events(self, client: Client) -> set[Part]:
        before = self._place
        place = self._place = client.events.poll(before, _WAIT_SECONDS if before else 0)
        if before is None or place.is_reset:
            return {"services", "sessions", "statistics"}
        return {_PARTS[event.kind] for event in place.events if event.kind in _PARTS}

    def _load(self, client: Client, parts: set[Part]) -> None:
        if "services" in parts:
            self.services = list(client.services.list())
        if "sessions" in parts:
            self.sessions = list(client.sessions.list())
        if "statistics" in parts:
            self._load_statistics(client)
        changed = set(parts)
        if self.trouble or not self.is_loaded:
            changed.add("connection")
            # Another one maybe, after a login elsewhere.
            self.user = None
            with suppress(NotFound):
                self.user = client.whoami()
        self.trouble, self.is_loaded = "", True
        self.on_change(changed)

    def _load_statistics(self, client: Client) -> None:
        self._statistics_at = self.clock()
        if not self._has_statistics:
            return
        try:
            rows = client.services.statistics()
        except NotFound:
            self._has_statistics = False
        else:
            self.statistics = {(row.name, row.version): row for row in rows}

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self.connect()
        return self._client

    def _fail(self, error: MlsvcError) -> None:
        client, self._client = self._client, None
        # The server may be another one by now, or the login.
        self._place = None
        if client is not None:
            client.close()
        self.trouble = error.in_notebook()
        self.on_change({"connection"})

    def close(self) -> None:
        """Close the connections; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # --- doing something ---------------------------------------------------------------------

    def delete_service(self, service: Service) -> str:
        """Delete a version of a service; gives a sentence about it."""
        with suppress(NotFound):
            service.delete()
        key = (service.name, service.version)
        self.services = [each for each in self.services if (each.name, each.version) != key]
        self.on_change({"services"})
        return f"Deleted {service.name} {service.version}."

    def close_session(self, session: Session) -> str:
        """Close a session for good; gives a sentence about it."""
        session.close()
        self.sessions = [each for each in self.sessions if each.id != session.id]
        self.on_change({"sessions"})
        return f"Closed session {session.name!r}."


def _searchable(service: Service) -> str:
    words: Iterable[str] = (
        service.name,
        service.version,
        service.description,
        service.published_by,
        *(item.name for item in (*service.inputs, *service.outputs)),
    )
    return " ".join(words).lower()
