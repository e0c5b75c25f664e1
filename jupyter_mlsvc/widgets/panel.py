"""The panel in a cell: services and sessions of the server, live, and what to do with them."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import ipywidgets

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.statistics import milliseconds
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc.magics.connection import connection_of
from jupyter_mlsvc.widgets.forms import CallForm
from jupyter_mlsvc.widgets.looks import block, bundle, close_all, line
from jupyter_mlsvc.widgets.state import PanelState, Part, ServiceKey

_GRACE_SECONDS: Final = 30.0
_MAX_SERVICES_IN_TEXT: Final = 20
_ROWS: Final = 6
_ALL_PARTS: Final[frozenset[Part]] = frozenset({"services", "sessions", "statistics", "connection"})


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


class Panel:
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

    def __init__(self, connect: Callable[[], Client]) -> None:
        self.state = PanelState(connect, self._changed)
        self._lock = threading.RLock()
        self._widgets: _PanelWidgets | None = None
        self._is_drawing = False
        self._form: CallForm | None = None
        self._form_key: ServiceKey | None = None
        self._question: Callable[[], str] | None = None
        self._confirmed: Callable[[], str] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._unseen: threading.Timer | None = None
        self._is_closed = False
        self.state.load()

    # --- life --------------------------------------------------------------------------------

    @property
    def widget(self) -> ipywidgets.Widget:
        """The panel as a widget; built when it is first asked for."""
        return self._built.root

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
        with self._lock:
            if self._widgets is not None:
                close_all(self._widgets.root)
                self._widgets = None
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
                self._say(f"The panel stopped: {type(error).__name__}: {error}", is_error=True)

    def _stop_if_unseen(self) -> None:
        """Stop where nothing can show the widgets: nobody would tell that the last view is gone."""
        if self._widgets is not None and not self._widgets.root._view_count:  # noqa: SLF001
            self._stop.set()

    def _on_views(self, change: Mapping[str, Any]) -> None:
        """Follow the server while there is a view."""
        if change["new"]:
            self._start()
        elif change["old"]:
            self._stop.set()

    # --- drawing -----------------------------------------------------------------------------

    @property
    def _built(self) -> _PanelWidgets:
        with self._lock:
            if self._widgets is None:
                if self._is_closed:
                    raise MlsvcError("This panel is closed; make another one with panel().")
                self._widgets = _PanelWidgets()
                self._connect_widgets(self._widgets)
                self._draw(set(_ALL_PARTS))
            return self._widgets

    def _connect_widgets(self, built: _PanelWidgets) -> None:
        # A number tells the front end to count its views there.
        built.root._view_count = 0  # noqa: SLF001  # the documented way to have views counted
        built.root.observe(self._on_views, "_view_count")
        for widget in (built.search, built.only_mine):
            widget.observe(lambda _: self._drawn({"services"}), "value")
        built.services.observe(lambda _: self._selected({"services"}), "value")
        built.sessions.observe(lambda _: self._selected({"sessions"}), "value")
        # A question is about what is on its tab.
        built.tabs.observe(lambda _: self._dismiss(), "selected_index")
        for button, action in (
            (built.try_it, self._toggle_form),
            (built.delete, self._ask_to_delete),
            (built.interrupt, self._interrupt),
            (built.snapshot, self._take_snapshot),
            (built.close_session, self._ask_to_close),
            (built.confirm, self._confirm),
            (built.keep, self._dismiss),
        ):
            button.on_click(_without_button(action))

    def _changed(self, parts: set[Part]) -> None:
        """Draw what the state says has changed; called by any thread."""
        if not self._is_closed and self._widgets is not None:
            self._drawn(parts)

    def _drawn(self, parts: set[Part]) -> None:
        with self._lock:
            if not self._is_drawing and not self._is_closed:
                self._draw(parts)

    def _selected(self, parts: set[Part]) -> None:
        with self._lock:
            if not self._is_drawing and not self._is_closed:
                self._dismiss()
                self._draw(parts)

    def _draw(self, parts: set[Part]) -> None:
        built = self._widgets
        if built is None:
            return
        self._is_drawing = True
        try:
            if parts & {"services"}:
                self._draw_services(built)
            if parts & {"services", "statistics"}:
                _set(built.service_details, value=self._service_html())
                if self._question is not None:  # it says what calls there were
                    _set(built.question, value=line(self._question()))
            if parts & {"sessions"}:
                self._draw_sessions(built)
            _set(built.trouble, value=line(self.state.trouble, is_error=True))
        finally:
            self._is_drawing = False

    def _draw_services(self, built: _PanelWidgets) -> None:
        shown = self.state.shown_services(built.search.value, only_mine=built.only_mine.value)
        options = [
            (f"{service.name}  {service.version}", (service.name, service.version))
            for service in shown
        ]
        _set_options(built.services, options)
        built.tabs.set_title(0, f"Services ({len(self.state.services)})")
        service = self._service()
        if service is None or self._form_key != (service.name, service.version):
            self._close_form(built)
        _set(built.try_it, disabled=service is None)
        _set(built.delete, disabled=service is None or not service.is_mine)

    def _draw_sessions(self, built: _PanelWidgets) -> None:
        options = [
            (f"{session.name}  ({session.state or 'state unknown'})", session.id)
            for session in self.state.sessions
        ]
        _set_options(built.sessions, options)
        built.tabs.set_title(1, f"Sessions ({len(self.state.sessions)})")
        session = self._session()
        _set(built.session_details, value=self._session_html())
        _set(built.interrupt, disabled=session is None or session.state != "busy")
        for button in (built.snapshot, built.close_session):
            _set(button, disabled=session is None)

    def _service(self) -> Service | None:
        return None if self._widgets is None else self.state.service(self._widgets.services.value)

    def _session(self) -> Session | None:
        return None if self._widgets is None else self.state.session(self._widgets.sessions.value)

    def _service_html(self) -> str:
        service = self._service()
        if service is None:
            if self.state.services:
                return "<p>No service fits the search.</p>"
            known = self.state.is_loaded and not self.state.trouble
            return "<p>Nothing is published yet; %%publish does so.</p>" if known else ""
        return _service_html(service, self.state)

    def _session_html(self) -> str:
        session = self._session()
        if session is None:
            known = self.state.is_loaded and not self.state.trouble
            return "<p>You have no session; %%remote_exec starts one.</p>" if known else ""
        return _session_html(session)

    def _say(self, text: str, *, is_error: bool = False) -> None:
        if self._widgets is not None:
            self._widgets.message.value = line(text, is_error=is_error)

    # --- doing something ---------------------------------------------------------------------

    def _toggle_form(self) -> None:
        with self._lock:
            built, service = self._built, self._service()
            if self._form is not None:
                self._close_form(built)
            elif service is not None:
                self._form = CallForm(service)
                self._form_key = (service.name, service.version)
                built.form.children = (self._form,)
                built.try_it.description, built.try_it.icon = "Close the form", "times"

    def _close_form(self, built: _PanelWidgets) -> None:
        form, self._form, self._form_key = self._form, None, None
        if form is not None:
            built.form.children = ()
            form.close()
            built.try_it.description, built.try_it.icon = "Try it", "play"

    def _ask_to_delete(self) -> None:
        service = self._service()
        if service is None:
            return

        def question() -> str:
            what = f"Delete {service.name} {service.version} for good?"
            return f"{what} {self.state.calls_of(service)}"

        def ask() -> str:
            self.state.load_statistics()
            self._ask(question, "Delete", lambda: self.state.delete_service(service))
            return ""

        self._do("Looking who calls it…", ask)

    def _ask_to_close(self) -> None:
        session = self._session()
        if session is not None:
            busy = " It is running code now." if session.state == "busy" else ""
            self._ask(
                lambda: f"Close session {session.name!r}? Its variables go with it.{busy}",
                "Close",
                lambda: self.state.close_session(session),
            )

    def _ask(self, question: Callable[[], str], verb: str, action: Callable[[], str]) -> None:
        with self._lock:
            built = self._built
            self._question, self._confirmed = question, action
            built.question.value = line(question())
            built.confirm.description = verb
            built.confirmation.layout.display = ""
            self._say("")

    def _dismiss(self) -> None:
        self._question = self._confirmed = None
        if self._widgets is not None:
            self._widgets.confirmation.layout.display = "none"

    def _confirm(self) -> None:
        action = self._confirmed
        self._dismiss()
        if action is not None:
            self._do("Working…", action)

    def _interrupt(self) -> None:
        if (session := self._session()) is not None:
            self._do("Interrupting…", lambda: self.state.interrupt(session))

    def _take_snapshot(self) -> None:
        if (session := self._session()) is not None:
            self._do("Taking a snapshot…", lambda: self.state.take_snapshot(session))

    def _do(self, meanwhile: str, action: Callable[[], str]) -> None:
        """Do something that asks the server, in a thread of its own: the kernel stays free."""
        self._say(meanwhile)

        def work() -> None:
            try:
                self._say(action())
            except MlsvcError as error:
                self._say(error.in_notebook(), is_error=True)
            except Exception as error:  # noqa: BLE001  # nobody else would see it
                self._say(f"{type(error).__name__}: {error}", is_error=True)

        threading.Thread(target=work, name="mlsvc-panel-action", daemon=True).start()

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

    def _repr_mimebundle_(self, **_: object) -> Mapping[str, Any]:
        return bundle(lambda: self._shown().model_id, repr(self), self._fallback())

    def _shown(self) -> ipywidgets.Widget:
        self._start()
        if self._unseen is None:
            self._unseen = threading.Timer(_GRACE_SECONDS, self._stop_if_unseen)
            self._unseen.daemon = True
            self._unseen.start()
        return self.widget


def _without_button(action: Callable[[], None]) -> Callable[[ipywidgets.Button], None]:
    return lambda _button: action()


def _set(widget: ipywidgets.Widget, **values: Any) -> None:
    """Set what is different, so that nothing is sent for what is not."""
    for name, value in values.items():
        if getattr(widget, name) != value:
            setattr(widget, name, value)


def _set_options(select: ipywidgets.Select, options: list[tuple[str, Any]]) -> None:
    """Change the options and keep what is selected; of what is gone, take the next one."""
    if list(select.options) == options:
        return
    selected, index = select.value, select.index or 0
    values = [value for _, value in options]
    with select.hold_sync():
        select.options = options
        if selected in values:
            select.value = selected
        elif values:
            select.index = min(index, len(values) - 1)


def _service_html(service: Service, state: PanelState) -> str:
    statistics = state.statistics.get((service.name, service.version))
    rows = [
        ("description", service.description),
        ("inputs", ", ".join(f"{item.name}: {item.type}" for item in service.inputs)),
        ("outputs", ", ".join(f"{item.name}: {item.type}" for item in service.outputs)),
        ("published", f"{formatting.moment(service.creation_time)} by {service.published_by}"),
    ]
    if service.never_answered:
        calls = 0 if statistics is None else statistics.calls
        rows.append(("answered", "never" if calls else "never called"))
    if statistics is not None:
        workers = f"{statistics.workers}, {statistics.state}"
        rows += [
            ("workers", f"{workers}: {statistics.message}" if statistics.message else workers),
            ("calls", f"{statistics.calls:,}, {statistics.calls_per_minute:,} a minute"),
            ("errors", f"{statistics.errors:,}" if statistics.errors else ""),
            ("rejected", f"{statistics.rejected:,}" if statistics.rejected else ""),
            ("workers replaced", f"{statistics.retired:,}" if statistics.retired else ""),
            ("note", statistics.note),
            ("half within", milliseconds(statistics.p50_milliseconds)),
            ("99 % within", milliseconds(statistics.p99_milliseconds)),
        ]
    card = formatting.html_card(f"{service.name} {service.version}", rows)
    if service.code:
        code = html.escape(service.code)
        card += f"<details><summary>code</summary><pre>{code}</pre></details>"
    return block(card)


def _session_html(session: Session) -> str:
    rows = [
        ("state", _state_text(session)),
        ("runtime", session.runtime_type),
        ("memory", "" if session.memory_bytes is None else formatting.size(session.memory_bytes)),
        ("created", formatting.moment(session.creation_time)),
        ("last used", formatting.moment(session.last_activity)),
        ("lease", _lease_text(session.lease_seconds)),
    ]
    return block(formatting.html_card(session.name, rows))


def _state_text(session: Session) -> str:
    waiting = f", {session.queued} more wait" if session.queued else ""
    return f"{session.state or ''}{waiting}"


def _lease_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = max(round(seconds / 60), 1)
    return f"closes in {minutes} min if nobody uses it"


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


def _html() -> ipywidgets.HTML:
    return ipywidgets.HTML()


def _button(text: str, icon: str = "", style: str = "", tip: str = "") -> Callable[[], Any]:
    return lambda: ipywidgets.Button(
        description=text, icon=icon, button_style=style, tooltip=tip or text
    )


def _list(label: str) -> Callable[[], Any]:
    return lambda: ipywidgets.Select(
        options=[],
        rows=_ROWS,
        description=label,
        layout=ipywidgets.Layout(width="auto"),
        style={"description_width": "initial"},
    )


@dataclass(slots=True)
class _PanelWidgets:
    """The widgets of a panel."""

    search: ipywidgets.Text = field(
        default_factory=lambda: ipywidgets.Text(
            description="Search",
            placeholder="names, versions, descriptions, people",
            layout=ipywidgets.Layout(width="30em"),
            style={"description_width": "initial"},
        )
    )
    only_mine: ipywidgets.Checkbox = field(
        default_factory=lambda: ipywidgets.Checkbox(description="only mine", indent=False)
    )
    services: ipywidgets.Select = field(default_factory=_list("Services"))
    service_details: ipywidgets.HTML = field(default_factory=_html)
    try_it: ipywidgets.Button = field(default_factory=_button("Try it", "play"))
    delete: ipywidgets.Button = field(default_factory=_button("Delete…", "trash"))
    form: ipywidgets.VBox = field(default_factory=ipywidgets.VBox)
    sessions: ipywidgets.Select = field(default_factory=_list("Sessions"))
    session_details: ipywidgets.HTML = field(default_factory=_html)
    interrupt: ipywidgets.Button = field(default_factory=_button("Interrupt", "stop"))
    snapshot: ipywidgets.Button = field(default_factory=_button("Take a snapshot", "camera"))
    close_session: ipywidgets.Button = field(default_factory=_button("Close…", "times"))
    question: ipywidgets.HTML = field(default_factory=_html)
    confirm: ipywidgets.Button = field(default_factory=_button("Delete", style="danger"))
    keep: ipywidgets.Button = field(default_factory=_button("Keep"))
    message: ipywidgets.HTML = field(default_factory=_html)
    trouble: ipywidgets.HTML = field(default_factory=_html)
    confirmation: ipywidgets.HBox = field(init=False)
    tabs: ipywidgets.Tab = field(init=False)
    root: ipywidgets.VBox = field(init=False)

    def __post_init__(self) -> None:
        box, row = ipywidgets.VBox, ipywidgets.HBox
        self.confirmation = row(
            [self.question, self.confirm, self.keep], layout=ipywidgets.Layout(display="none")
        )
        services = box(
            [
                row([self.search, self.only_mine]),
                self.services,
                self.service_details,
                row([self.try_it, self.delete]),
                # What is asked and said is beside the buttons on either tab.
                self.confirmation,
                self.message,
                self.form,
            ]
        )
        sessions = box(
            [
                self.sessions,
                self.session_details,
                row([self.interrupt, self.snapshot, self.close_session]),
                self.confirmation,
                self.message,
            ]
        )
        self.tabs = ipywidgets.Tab([services, sessions], titles=("Services", "Sessions"))
        self.root = box([self.trouble, self.tabs])
