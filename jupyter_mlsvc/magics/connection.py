"""What the magics share: the client, and which session is the current one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Bool, Float, Unicode
from traitlets.config import Configurable

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.snapshots import Snapshot, skipped_text
from jupyter_mlsvc.config import default_session_name
from jupyter_mlsvc.display import Waiting
from jupyter_mlsvc.errors import Gone, MlsvcError, NotFound

# Outputs (_, _5), inputs (_i, _i5), histories (_oh, _ih, _dh) and names like __builtins__.
_IPYTHONS: Final = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h|_exit_code|__\w+__")


class MlsvcConnection(Configurable):
    """The connection of this notebook; made on first use, never when the extension loads."""

    url = Unicode(
        "",
        help="Address of the server. Empty takes MLSVC_URL from the environment, else the public "
        "door of this machine.",
    ).tag(config=True)
    default_session = Unicode(
        "",
        help="Name of the session that is used where none is named. Empty names it after the "
        "notebook.",
    ).tag(config=True)
    connect_timeout = Float(5.0, help="Seconds to wait for a connection.").tag(config=True)
    read_timeout = Float(
        60.0, help="Seconds to wait for an answer. Running code may take as long as it takes."
    ).tag(config=True)
    progress_after = Float(
        3.0,
        help="Seconds of silence after which it is shown for how long something has been going on. "
        "0 never shows it.",
    ).tag(config=True)
    verify_tls = Bool(True, help="Whether to check the server's certificate.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._client: Client | None = None
        self._sessions: dict[str, Session] = {}
        self._current: Session | None = None

    # --- server ------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The client; made from the environment where nobody logged in."""
        if self._client is None:
            self._client = self._make(None)
        return self._client

    @property
    def is_connected(self) -> bool:
        """Whether there is a client with a token, or could be one without asking anybody."""
        return self.client.is_logged_in

    def login(self, url: str | None, username: str, password: str) -> Client:
        """Log in and use that server from now on; what was there before stays if this fails."""
        client = self._make(url)
        client.login(username, password)
        self.disconnect()
        self._client = client
        return client

    def disconnect(self) -> None:
        """Forget the client and its sessions; nothing is closed on the server."""
        if self._client is not None:
            self._client.close()
        self._client = None
        self._sessions.clear()
        self._current = None

    def _make(self, url: str | None) -> Client:
        timeout = (self.connect_timeout, self.read_timeout)
        return Client(url or self.url or None, timeout=timeout, verify=self.verify_tls)

    def snapshot_id(self, name: str) -> str:
        """Id of a snapshot that is given by id or name.

        What is neither stays as it is: the server knows whether it is unknown or another's.
        """
        snapshot = self.client.snapshots.find(name)
        return name if snapshot is None else snapshot.id

    def waiting(self, what: str, *, quiet: bool = False) -> Waiting:
        """Show for how long a block has been going on, once that is a while."""
        return Waiting(what, 0.0 if quiet else self.progress_after)

    # --- this kernel -------------------------------------------------------------------------

    @property
    def namespace(self) -> dict[str, Any]:
        """Variables of the notebook."""
        shell: Any = self.parent
        namespace: dict[str, Any] = shell.user_ns
        return namespace

    @property
    def has_magics(self) -> bool:
        """Whether the extension is loaded in the notebook."""
        shell: Any = self.parent
        return "consume" in shell.magics_manager.magics["line"]

    def own_objects(self) -> dict[str, Any]:
        """Variables of the notebook without those that IPython put there."""
        shell: Any = self.parent
        hidden: dict[str, Any] = shell.user_ns_hidden
        missing = object()
        return {
            name: value
            for name, value in list(self.namespace.items())
            if not _IPYTHONS.fullmatch(name) and hidden.get(name, missing) is not value
        }

    # --- sessions ----------------------------------------------------------------------------

    @property
    def current(self) -> Session | None:
        """The session that was used last, or None."""
        return self._current

    def session(
        self, name: str | None = None, runtime: str | None = None, *, quiet: bool = False
    ) -> Session:
        """Give a session and make it the current one; it is started where there is none.

        Parameters
        ----------
        name : str, optional
            Name or id; the current session, else the default one, where it is left out.
        runtime : str, optional
            Its language; that of the current session, else Python, where it is left out.
        quiet : bool
            Do not print what was found or started.

        Raises
        ------
        MlsvcError
            The session that is named runs another language.
        """
        current = self._current
        if name is None and current is not None and runtime in {None, current.runtime_type}:
            return current
        wanted = name or self.default_name(runtime)
        if wanted not in self._sessions:
            self._sessions[wanted] = self._find(wanted, quiet=quiet) or self._start(
                wanted, runtime=runtime, quiet=quiet
            )
        found = self._sessions[wanted]
        if runtime not in {None, found.runtime_type}:
            raise MlsvcError(
                f"Session {found.name!r} runs {found.runtime_type}. Give another name for one "
                f"that runs {runtime}."
            )
        self._current = found
        return found

    def default_name(self, runtime: str | None = None) -> str:
        """Name of the session that is used where none is named."""
        name = self.default_session or default_session_name()
        # Beside the notebook's session in Python, so that its cells can use both in turn.
        return f"{name} in R" if runtime == "R" else name

    def existing(self) -> Session | None:
        """Give the current session, or the default one where the server has it; starts none."""
        if self._current is None:
            found = self._find(self.default_name())
            return None if found is None else self._use(found)
        return self._current

    def switch(self, name: str) -> Session:
        """Make an existing session the current one.

        Raises
        ------
        NotFound
            You have no session of that name.
        """
        session = self._sessions.get(name) or self.client.sessions.get(name)
        return self._use(session)

    def chosen(self, name: str | None) -> Session:
        """Give the session that is named, else the current or default one; starts none.

        Raises
        ------
        NotFound, MlsvcError
            There is none.
        """
        session = self.existing() if name is None else self.switch(name)
        if session is None:
            raise MlsvcError(
                "No session is in use yet; %%remote_exec or %mlsvc session new starts one."
            )
        return session

    def new(
        self,
        name: str | None = None,
        *,
        snapshot: str | None = None,
        runtime: str | None = None,
    ) -> Session:
        """Start a session, even if there is one of that name, and make it the current one.

        Parameters
        ----------
        snapshot : str, optional
            Name or id of a snapshot to load into it.
        runtime : str, optional
            Its language; that of the snapshot, else Python, where it is left out.
        """
        return self._use(self._start(name or self.default_name(runtime), snapshot, runtime))

    def forget(self, session: Session) -> None:
        """Take a session that has ended off the list."""
        self._sessions = {
            key: kept for key, kept in self._sessions.items() if kept.id != session.id
        }
        if self._current is not None and self._current.id == session.id:
            self._current = None

    @contextmanager
    def told_when_gone(self, session: Session) -> Iterator[None]:
        """Say that the session has ended where that is why something was not found."""
        try:
            yield
        except (NotFound, Gone):
            if any(other.id == session.id for other in self.client.sessions.list()):
                raise
            self.forget(session)
            raise MlsvcError(
                f"Session {session.name!r} has ended on the server and its variables are gone. "
                "Run your cells again to start a new one."
            ) from None

    def snapshot(
        self, session: Session, name: str | None = None, *, quiet: bool = False
    ) -> Snapshot:
        """Take a snapshot of a session."""
        what = f"Taking a snapshot of session {session.name!r}"
        with self.told_when_gone(session), self.waiting(what, quiet=quiet):
            return self.client.snapshots.create(session.id, name)

    @contextmanager
    def passing_snapshot(self, session: Session, name: str | None = None) -> Iterator[str]:
        """Take a snapshot for a service and delete it afterwards: the service has the content."""
        snapshot = self.snapshot(session, name)
        try:
            if snapshot.skipped:
                print("Left out of the snapshot:", file=sys.stderr)
                print(skipped_text(snapshot.skipped), file=sys.stderr)
            yield snapshot.id
        finally:
            # What became of the service does not depend on tidying up.
            with suppress(MlsvcError):
                snapshot.delete()

    def _use(self, session: Session) -> Session:
        self._sessions[session.name] = session
        self._current = session
        return session

    def _find(self, name: str, *, quiet: bool = False) -> Session | None:
        try:
            session = self.client.sessions.get(name)
        except NotFound:
            return None
        if not quiet:
            print(f"Continuing in session {session.name!r}.")
        return session

    def _start(
        self,
        name: str,
        snapshot: str | None = None,
        runtime: str | None = None,
        *,
        quiet: bool = False,
    ) -> Session:
        found = None if snapshot is None else self.client.snapshots.find(snapshot)
        with self.waiting(f"Starting session {name!r}", quiet=quiet):
            session = self.client.sessions.create(
                name,
                # What is neither an id nor a name of yours: the server knows what it is.
                snapshot_id=snapshot if found is None else found.id,
                runtime_type=runtime or (found.runtime_type if found else None) or "Python",
            )
        if not quiet:
            language = "" if session.runtime_type == "Python" else f" ({session.runtime_type})"
            print(f"Started session {name!r}{language}.")
        return session


def connection_of(shell: InteractiveShell | None = None) -> MlsvcConnection:
    """Give the connection of a notebook, which the magics use as well; made where there is none.

    Parameters
    ----------
    shell : InteractiveShell, optional
        That of this process where it is left out.

    Raises
    ------
    MlsvcError
        This is no notebook and no IPython.
    """
    shell = shell or get_ipython()
    if shell is None:
        raise MlsvcError("This works in a notebook or in IPython; in a program use Client.")
    configurables: list[Configurable] = shell.configurables  # type: ignore[assignment]  # too narrow
    for item in configurables:
        if isinstance(item, MlsvcConnection):
            return item
    connection = MlsvcConnection(parent=shell)
    configurables.append(connection)
    return connection
