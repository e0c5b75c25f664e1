"""What the magics share: the client, and which session is the current one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Bool, Float, Unicode
from traitlets.config import Configurable

from jupyter_mlsvc.config import (
    DEFAULT_URL,
    Environment,
    folder_of_notebook,
    name_of_notebook,
    notebook_of,
)
from jupyter_mlsvc.errors import Gone, MlsvcError, NotFound
from jupyter_mlsvc.magics.kernel_sessions import KernelSessions, kernel_id

if TYPE_CHECKING:
    from jupyter_mlsvc.client.client import Client
    from jupyter_mlsvc.client.session import Session
    from jupyter_mlsvc.client.snapshots import Snapshot
    from jupyter_mlsvc.display import Waiting

# Outputs (_, _5), inputs (_i, _i5), histories (_oh, _ih, _dh) and names like __builtins__.
_IPYTHONS: Final = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h|_exit_code|__\w+__")


class MlsvcConnection(Configurable):
    """The connection of this notebook; made on first use, never when the extension loads."""

    url = Unicode(
        "",
        help="Address of the server. Empty takes MLSVC_URL from the environment, else the public "
        "API of this machine.",
    ).tag(config=True)
    default_session = Unicode(
        "",
        help="Name of the session that is used where none is named. Empty names it after the "
        "notebook. Where there is no notebook, as with nbconvert, it is named after the kernel and "
        "ends with it.",
    ).tag(config=True)
    lease_seconds = Float(
        300.0,
        help="Seconds after which the server closes a session that was to end with its kernel, "
        "where the kernel was killed or cut off. 0 leaves that to the server's idle timeout.",
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
        self._kernel_sessions = KernelSessions(lambda: self.client)
        self._kernel_name = ""

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
        return self._take(client)

    def login_oidc(self, url: str | None) -> Client:
        """Log in with the identity provider of a server and use that server from now on."""
        client = self._make(url)
        client.login_oidc()
        return self._take(client)

    def _take(self, client: Client) -> Client:
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
        self._kernel_sessions.clear()

    def address(self, url: str | None) -> str:
        """Return the address that a login goes to."""
        return url or self.url or Environment.read().url or DEFAULT_URL

    def _make(self, url: str | None) -> Client:
        from jupyter_mlsvc.client.client import Client

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
        from jupyter_mlsvc.display import Waiting

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
        name = self.default_session or name_of_notebook(self.notebook or "") or self._kernel()
        # Beside the notebook's session in Python, so that its cells can use both in turn.
        return f"{name} in R" if runtime == "R" else name

    @property
    def notebook(self) -> str | None:
        """Path of the notebook that this kernel belongs to; None where it belongs to none."""
        return notebook_of(self.parent)

    @property
    def ends_with_kernel(self) -> bool:
        """Whether the session that is used where none is named ends with this kernel."""
        return not self.default_session and self.notebook is None

    def pick(self, name: str, sessions: Sequence[Session]) -> Session | None:
        """Choose from a list of sessions by name or id; of several with the name the newest.

        The name of this notebook's own session means that one only: a notebook of the same name
        in another folder has its own.
        """
        found = [each for each in sessions if name in {each.name, each.id}]
        runtime = self._default_of(name)
        if runtime is not None:
            path = self.notebook
            own = [
                each
                for each in sessions
                if each.notebook == path and each.runtime_type == runtime and path is not None
            ]
            found = own or [each for each in found if each.notebook is None]
        return found[-1] if found else None

    def _default_of(self, name: str) -> str | None:
        """Return the language whose session of this notebook has a name; None where none has."""
        if self.default_session:
            return None
        languages = ("Python", "R")
        return next((each for each in languages if name == self.default_name(each)), None)

    def _kernel(self) -> str:
        """Return the name of a session that belongs to this kernel."""
        self._kernel_name = self._kernel_name or f"kernel-{kernel_id(self.parent)[:8]}"
        return self._kernel_name

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
        return self._use(self._sessions.get(name) or self.find(name))

    def find(self, name: str) -> Session:
        """Find a session of yours by name or id, as :meth:`pick` chooses.

        Raises
        ------
        NotFound
            You have no session of that name.
        """
        found = self.pick(name, self.client.sessions.list())
        return self.client.sessions.get(name) if found is None else found

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
        self._kernel_sessions.discard(session.id)

    @contextmanager
    def explaining_lost_session(self, session: Session) -> Iterator[None]:
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
        with self.explaining_lost_session(session), self.waiting(what, quiet=quiet):
            return self.client.snapshots.create(session.id, name)

    def _use(self, session: Session) -> Session:
        self._sessions[session.name] = session
        self._current = session
        return session

    def _find(self, name: str, *, quiet: bool = False) -> Session | None:
        session = self.pick(name, self.client.sessions.list())
        if session is None:
            return None
        if self.ends_with_kernel and self._default_of(name):
            self._kernel_sessions.add(session.id, self._lease())
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
        is_own = self._default_of(name) is not None
        is_kernels = is_own and self.ends_with_kernel
        if is_own and not is_kernels:
            name = self._free_name(name)
        with self.waiting(f"Starting session {name!r}", quiet=quiet):
            session = self.client.sessions.create(
                name,
                # What is neither an id nor a name of yours: the server knows what it is.
                snapshot_id=snapshot if found is None else found.id,
                runtime_type=runtime or (found.runtime_type if found else None) or "Python",
                notebook=self.notebook if is_own else None,
                lease_seconds=self._lease() if is_kernels else None,
            )
        if is_kernels:
            self._kernel_sessions.add(session.id, self._lease())
        if not quiet:
            language = "" if session.runtime_type == "Python" else f" ({session.runtime_type})"
            # Its name is another one each time, and the outputs of a run are compared with others.
            text = "a session that ends with this kernel" if is_kernels else f"session {name!r}"
            print(f"Started {text}{language}.")
        return session

    def _lease(self) -> float | None:
        """Return the lease of a session that ends with this kernel.

        One at a terminal has none: a machine that sleeps must not cost a person their variables.
        """
        is_kernel = getattr(self.parent, "kernel", None) is not None
        return (self.lease_seconds or None) if is_kernel else None

    def _free_name(self, name: str) -> str:
        """Return the name of this notebook's session, which no other notebook has."""
        path = self.notebook or ""
        others = {each.name for each in self.client.sessions.list() if each.notebook != path}
        digest = hashlib.sha256(path.encode()).hexdigest()[:4]
        folder = folder_of_notebook(path)
        options = (name, f"{name} ({folder})", f"{name} ({folder} {digest})")
        return next((each for each in options if each not in others), options[-1])


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
