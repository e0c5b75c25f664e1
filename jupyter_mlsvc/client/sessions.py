"""Sessions: interpreters on the server that keep their variables between calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.results import ExecutionResult
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.errors import NotFound
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.suggestions import did_you_mean


class Sessions:
    """Your sessions; ``client.sessions``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def create(
        self,
        name: str | None = None,
        *,
        snapshot_id: str | None = None,
        runtime_type: str = "Python",
        notebook: str | None = None,
        lease_seconds: float | None = None,
    ) -> Session:
        """Start a session (contract: ``createSession``).

        Parameters
        ----------
        name : str, optional
            A name for people; the server makes one up otherwise. Names need not be unique.
        snapshot_id : str, optional
            A snapshot of yours to load into it.
        runtime_type : str
            Language: ``Python``, or ``R`` where the server has it.
        notebook : str, optional
            Path of the notebook whose own session it is (our addition).
        lease_seconds : float, optional
            Close it, busy or not, once it was neither used nor renewed for as long (our addition).
        """
        request = models.CreateSessionRequest(
            name=name,
            snapshot_id=snapshot_id,
            runtime_type=runtime_type,
            notebook=notebook,
            lease_seconds=lease_seconds,
        )
        # A cold start takes as long as its interpreter and the snapshot take to load.
        patient = (self._api.timeout[0], None)
        answer = self._api.post(
            models.CreateSessionResponse, "sessions", json=request, timeout=patient
        )
        session = Session(
            self._api, answer.session_id, name or answer.session_id, runtime_type=runtime_type
        )
        session.notebook = notebook
        return session

    def list(self) -> formatting.Listing[Session]:
        """List your sessions (contract: ``listSessions``)."""
        rows = self._api.get(list[models.Session], "sessions")
        return formatting.Listing(
            (Session.of(self._api, row) for row in rows), _COLUMNS, "No sessions."
        )

    def get(self, name: str) -> Session:
        """Find a session of yours by name or id; of several with the name the newest.

        Raises
        ------
        NotFound
            You have none of that name.
        """
        sessions = self.list()
        found = [session for session in sessions if name in {session.name, session.id}]
        if not found:
            meant = did_you_mean(name, {session.name for session in sessions})
            raise NotFound(
                f"You have no session {name!r}.{meant}",
                status=404,
                exception_type="NotFoundException",
            )
        return found[-1]

    def with_id(self, session_id: str, *, runtime_type: str = "Python") -> Session:
        """Return a session by its id, without a request; the id stands for its name."""
        return Session(self._api, session_id, session_id, runtime_type=runtime_type)

    # --- what programs do that keep ids alone ------------------------------------------------

    def execute(
        self,
        session_id: str,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        *,
        timeout: float | None = None,
    ) -> ExecutionResult:
        """Run code in a session, as :meth:`Session.execute` does without ``check``."""
        session = self.with_id(session_id)
        return session.execute(code, inputs, outputs, timeout=timeout, check=False)

    def cancel(self, session_id: str, execution_id: str | None = None) -> None:
        """Cancel what runs in a session, or one execution; see :meth:`Session.cancel`."""
        self.with_id(session_id).cancel(execution_id)

    def close(self, session_id: str, *, force: bool = False) -> None:
        """Close a session for good; see :meth:`Session.close`."""
        self.with_id(session_id).close(force=force)


_COLUMNS: Final[Sequence[formatting.Column]] = (
    ("name", lambda session: session.name),
    ("runtime", lambda session: session.runtime_type),
    ("state", lambda session: session.state),
    (
        "memory",
        lambda session: formatting.size(session.memory_bytes) if session.memory_bytes else "",
    ),
    ("created", lambda session: formatting.moment(session.creation_time)),
    ("last activity", lambda session: formatting.moment(session.last_activity)),
    ("closes in", lambda session: formatting.duration(session.lease_seconds)),
    ("id", lambda session: session.id),
)
