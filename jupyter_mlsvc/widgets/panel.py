"""The panel in a cell: services and sessions of the server, live, and what to do with them."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import anywidget
import msgspec
import traitlets

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc.magics.connection import connection_of
from jupyter_mlsvc.widgets import front_end
from jupyter_mlsvc.widgets.channel import Channel, Refused, Request
from jupyter_mlsvc.widgets.looks import bundle
from jupyter_mlsvc.widgets.state import PanelState, Part
from jupyter_mlsvc.wire import models

_GRACE_SECONDS: Final = 30.0
_MAX_SERVICES_IN_TEXT: Final = 20
_PASSED_ON: Final = (
    ("GET", "services", "*", "*", "statistics"),
    ("POST", "api", "*", "*"),
    ("DELETE", "services", "*", "*"),
    ("DELETE", "sessions", "*"),
    ("POST", "sessions", "*", "cancel"),
    ("POST", "sessions", "*", "snapshot"),
)
"""What the front end may ask the server for."""


def panel(client: Client | None = None) -> Panel:
    """Show services and sessions in a cell, live.

    Parameters
    ----------
    client : Client, optional
        The server and the login; by default those of the magics of this notebook.

    Returns
    -------
    Panel
        Shows itself as the last value of a cell. It stops asking the server when no view of it is
        left, and :meth:`Panel.close` takes it away.

    Raises
    ------
    MlsvcError
        There is neither a client nor a notebook.
    """
    if client is not None:
        return Panel(client.clone)
    connection = connection_of()
    # The client of the moment: somebody may log in at another server.
    return Panel(lambda: connection.client.clone())  # noqa: PLW0108


class Panel(anywidget.AnyWidget):
    """A panel; made by :func:`panel`.

    Parameters
    ----------
    connect : callable
        Gives a client that nobody else uses.

    Attributes
    ----------
    state : PanelState
        What is shown.
    """

    _esm = front_end.script()
    _css = front_end.style()
    _kind = traitlets.Unicode("panel").tag(sync=True)

    def __init__(self, connect: Callable[[], Client]) -> None:
        # A number tells the front end to count its views there.
        super().__init__(_view_count=0)
        self._connect = connect
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._unseen: threading.Timer | None = None
        self._is_closed = False
        self._channel = Channel(self.send, self._answer)
        self.on_msg(lambda _, content, buffers: self._channel.receive(content, buffers))
        self.observe(self._on_views, "_view_count")
        self.state = PanelState(connect, self._changed)
        self.state.load()

    # --- life --------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether it follows the server now."""
        return self._thread is not None and self._thread.is_alive() and not self._stop.is_set()

    def close(self) -> None:
        """Take the panel off the page, and stop asking the server; may be called twice."""
        self._is_closed = True
        self._stop.set()
        if self._unseen is not None:
            self._unseen.cancel()
        self._channel.close()
        self.layout.close()
        super().close()
        self.state.close()

    def _start(self) -> None:
        """Follow the server, unless that is done already."""
        if self._is_closed or self.is_live:
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._follow, args=(self._stop,), name="mlsvc-panel", daemon=True
        )
        self._thread.start()

    def _follow(self, stop: threading.Event) -> None:
        try:
            self.state.follow(stop)
        except Exception as error:  # noqa: BLE001  # a thread's traceback would come up in any cell
            if not stop.is_set():
                self.state.trouble = f"The panel stopped: {type(error).__name__}: {error}"
                self._changed(set())

    def _stop_if_unseen(self) -> None:
        """Stop where nothing can show the widget: nobody would tell that the last view is gone."""
        if not self._view_count:
            self._stop.set()

    def _on_views(self, change: Mapping[str, Any]) -> None:
        """Follow the server while there is a view."""
        if change["new"]:
            self._start()
        elif change["old"]:
            self._stop.set()

    # --- the front end -----------------------------------------------------------------------

    def _changed(self, parts: set[Part]) -> None:
        """Send what has changed, also while a cell runs; called by any thread."""
        if not self._is_closed:
            self.send({"changed": True}, [_encoded(self.state, parts)])

    def _answer(self, request: Request) -> bytes | Generator[bytes]:
        if request.fits("GET", "state"):
            return _encoded(self.state, {"services", "sessions", "statistics"})
        if not any(request.fits(*each) for each in _PASSED_ON):
            raise Refused(request)
        if request.lines and request.fits("POST", "api", "*", "*"):
            return self._parts(request)
        with self._connect() as client:
            return client.request(
                request.method, *request.path, query=request.query, body=request.body or None
            )

    def _parts(self, request: Request) -> Generator[bytes]:
        """Call a service; give the parts of its answer as they come."""
        _, name, version = request.path
        with (
            self._connect() as client,
            client.services.stream_json(name, version, request.body) as items,
        ):
            yield from items.parts()

    # --- looks -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        if self.state.trouble:
            return f"ML services: {self.state.trouble}"
        services, sessions, more = self._listings()
        rest = f"\n{more}" if more else ""
        return f"Services\n{services!r}{rest}\n\nSessions\n{sessions!r}"

    def _fallback(self) -> str:
        if self.state.trouble:
            return f"<p>{html.escape(repr(self))}</p>"
        services, sessions, more = self._listings()
        shown, running = services._repr_html_(), sessions._repr_html_()
        return f"<strong>Services</strong>{shown}{more}<br><strong>Sessions</strong>{running}"

    def _listings(self) -> tuple[formatting.Listing[Service], formatting.Listing[Session], str]:
        shown = self.state.shown_services()[:_MAX_SERVICES_IN_TEXT]
        more = len(self.state.services) - len(shown)
        return (
            formatting.Listing(shown, _SERVICE_COLUMNS, "No services."),
            formatting.Listing(self.state.sessions, _SESSION_COLUMNS, "No sessions."),
            f"and {more:,} more" if more else "",
        )

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return bundle(self._shown, repr(self), self._fallback()), {}

    def _shown(self) -> str:
        if self._is_closed:
            raise MlsvcError("This panel is closed; make another one with panel().")
        self._start()
        if self._unseen is None:
            self._unseen = threading.Timer(_GRACE_SECONDS, self._stop_if_unseen)
            self._unseen.daemon = True
            self._unseen.start()
        return str(self.model_id)


def _encoded(state: PanelState, parts: set[Part]) -> bytes:
    """Write parts of what is known as the REST API does, and what is wrong."""
    found: dict[str, Any] = {"trouble": state.trouble, "isLoaded": state.is_loaded}
    if state.user is not None:
        found["user"] = state.user
    if "services" in parts:
        found["services"] = [service.row for service in state.services]
    if "sessions" in parts:
        found["sessions"] = [_row(models.Session, each) for each in state.sessions]
    if "statistics" in parts:
        rows = state.statistics.values()
        found["statistics"] = [_row(models.ServiceStatistics, each) for each in rows]
    return msgspec.json.encode(found)


def _row(kind: type[msgspec.Struct], known: object) -> msgspec.Struct:
    """Make a row of a list again from an object of the client."""
    return kind(**{name: getattr(known, name) for name in kind.__struct_fields__})


_SERVICE_COLUMNS: Final[tuple[formatting.Column, ...]] = (
    ("name", lambda service: service.name),
    ("version", lambda service: service.version),
    ("published by", lambda service: service.published_by),
    ("description", lambda service: service.description),
)
_SESSION_COLUMNS: Final[tuple[formatting.Column, ...]] = (
    ("name", lambda session: session.name),
    ("state", lambda session: session.state),
)
