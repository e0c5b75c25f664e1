"""Sessions: interpreters on the server that keep their variables between calls."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET, UnsetType

from jupyter_mlsvc.client import looks
from jupyter_mlsvc.client.api import Api, multipart
from jupyter_mlsvc.client.events import AnyEvent, Finished, decode_event
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.results import ExecutionResult
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.transfer import Bytes, FileForm, Progress, no_progress, read, save
from jupyter_mlsvc.client.transport import Timeout, Upload
from jupyter_mlsvc.errors import ConnectionFailed, NotFound, UnexpectedAnswer
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.objects import dumps, loads
from jupyter_mlsvc.wire.suggestions import did_you_mean

_OCTETS: Final = "application/octet-stream"
_RECONNECTS: Final = 5
_QUICK_SECONDS: Final = 5.0
Strings = list[str]


class Sessions:
    """Your sessions; ``client.sessions``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    # --- life --------------------------------------------------------------------------------

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
            self, answer.session_id, name or answer.session_id, runtime_type=runtime_type
        )
        session.notebook = notebook
        return session

    def list(self) -> looks.Listing[Session]:
        """List your sessions (contract: ``listSessions``)."""
        rows = self._api.get(list[models.Session], "sessions")
        return looks.Listing((Session.of(self, row) for row in rows), _COLUMNS, "No sessions.")

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

    def renew(self, session_id: str) -> None:
        """Renew the lease of a session that was created with one (our addition)."""
        self._api.call("POST", "sessions", session_id, "renew").read()

    def close(self, session_id: str, *, force: bool = False) -> None:
        """Close a session for good (contract: ``closeSession``, ``closeSessionByForce``)."""
        self._api.delete("sessions", session_id, *(["force"] if force else []))

    # --- running code ------------------------------------------------------------------------

    def execute(
        self,
        session_id: str,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        *,
        timeout: float | None = None,
        typed: bool = False,
    ) -> ExecutionResult:
        """Run code and wait for its end (contract: ``executeCode``).

        Code that raises is told by the result (``success``, ``raise_for_error``).

        Parameters
        ----------
        inputs : mapping, optional
            Values to set before, sent as JSON; arrays and frames become lists and columns.
        outputs : sequence of str
            Names to read afterwards, as JSON.
        timeout : float, optional
            Seconds to wait for the answer; None waits as long as it takes.
        typed : bool
            Whether a DataFrame is to be a data frame there, too, as in sessions of R.
        """
        answer = self._api.post(
            models.ExecuteResponse,
            "sessions",
            session_id,
            "execute",
            json=self._request(code, inputs, outputs, typed=typed),
            timeout=(self._api.timeout[0], timeout),
        )
        return ExecutionResult.of(answer)

    def start_execution(
        self,
        session_id: str,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        execution_id: str | None = None,
        *,
        typed: bool = False,
    ) -> str:
        """Start code without waiting; :meth:`events` follows it. Returns the execution's id.

        Parameters
        ----------
        execution_id : str, optional
            An id of your own, by which the code can be cancelled before the answer has come.
        typed : bool
            As for :meth:`execute`.
        """
        request = self._request(code, inputs, outputs, typed=typed)
        answer = self._api.post(
            models.StartExecutionResponse,
            "sessions",
            session_id,
            "executions",
            json=models.StartExecutionRequest(
                code=request.code,
                input_parameters=request.input_parameters,
                output_parameters=request.output_parameters,
                execution_id=execution_id,
            ),
        )
        return answer.execution_id

    def executions(self, session_id: str) -> looks.Listing[models.Execution]:
        """List the executions that are still kept, oldest first (our addition).

        Each has ``execution_id``, ``code``, ``state`` (``queued``, ``running``, ``succeeded``,
        ``failed``, ``cancelled``), ``start_time``, ``end_time`` and ``error_message``.
        """
        rows = self._api.get(list[models.Execution], "sessions", session_id, "executions")
        return looks.Listing(rows, _EXECUTION_COLUMNS, "No executions.")

    def events(self, session_id: str, execution_id: str, since: int = 0) -> Iterator[AnyEvent]:
        """Follow an execution; ends after its ``Finished`` event.

        A broken connection is taken up again where it broke.

        Parameters
        ----------
        since : int
            Number of the first event to get.
        """
        failures = 0
        while True:
            opened = time.monotonic()
            try:
                for event in self._events_once(session_id, execution_id, since):
                    failures, since = 0, event.seq + 1
                    yield event
                    if isinstance(event, Finished):
                        return
            except ConnectionFailed:
                if failures >= _RECONNECTS:
                    raise
            else:
                if failures >= _RECONNECTS:
                    raise UnexpectedAnswer(
                        f"{self._api.url} ends the events of an execution too early."
                    )
            # A long silence ends in a time-out of ours or of a proxy: that is no failure.
            if time.monotonic() - opened < _QUICK_SECONDS:
                failures += 1
                time.sleep(0.1 * failures)

    def _events_once(self, session_id: str, execution_id: str, since: int) -> Iterator[AnyEvent]:
        response = self._api.call(
            "GET",
            "sessions",
            session_id,
            "executions",
            execution_id,
            "events",
            query={"since": str(since)},
        )
        try:
            for line in response.lines():
                event = decode_event(line)
                if event is not None:
                    yield event
        finally:
            response.close()

    def cancel(self, session_id: str, execution_id: str | None = None) -> None:
        """Interrupt the running code; the session stays usable (contract: ``cancelSession``).

        Parameters
        ----------
        execution_id : str, optional
            Cancel this execution only, whether it runs or waits; others are left alone.
        """
        query = {} if execution_id is None else {"executionId": execution_id}
        self._api.call("POST", "sessions", session_id, "cancel", query=query).read()

    def console_output(self, session_id: str) -> str:
        """Text that the running or last code printed (contract: ``getSessionConsoleOutput``)."""
        path = ("sessions", session_id, "console-output")
        return self._api.get(models.ConsoleOutputResponse, *path).console_output

    def history(self, session_id: str) -> Strings:
        """Code executed so far, oldest first (contract: ``listSessionHistory``)."""
        return self._api.get(Strings, "sessions", session_id, "history")

    # --- files -------------------------------------------------------------------------------

    def list_files(self, session_id: str) -> Strings:
        """Names of the files in the working directory (contract: ``listSessionFiles``)."""
        return self._api.get(Strings, "sessions", session_id, "files")

    def upload_file(self, session_id: str, name: str, data: bytes) -> None:
        """Put a file into the working directory (contract: ``uploadSessionFile``)."""
        body, content_type = multipart("file", name, data)
        self._send_form(session_id, body, content_type)

    def send_file(
        self,
        session_id: str,
        path: str | Path,
        name: str | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Put a local file, however large, into the working directory (``uploadSessionFile``).

        Parameters
        ----------
        name : str, optional
            Its name there; the same by default.
        progress : callable, optional
            Called with the bytes so far and in all.
        """
        source = Path(path)
        form = FileForm(source, name or source.name, {}, progress)
        self._send_form(session_id, form, form.content_type)

    def save_file(
        self, session_id: str, name: str, path: str | Path, progress: Progress = no_progress
    ) -> Path:
        """Save a file of the working directory, however large (contract: ``getSessionFile``).

        Returns
        -------
        pathlib.Path
            The local file; it exists only if all of the content arrived.
        """
        response = self._api.call(
            "GET", "sessions", session_id, "files", name, timeout=self._patient
        )
        return save(response, Path(path), progress)

    def _send_form(self, session_id: str, body: bytes | Upload, content_type: str) -> None:
        path = ("sessions", session_id, "files")
        self._api.call(
            "POST", *path, body=body, content_type=content_type, timeout=self._patient
        ).read()

    def download_file(self, session_id: str, name: str) -> bytes:
        """Read a file of the working directory (contract: ``getSessionFile``)."""
        path = ("sessions", session_id, "files", name)
        return self._api.call("GET", *path, timeout=self._patient).read()

    def delete_file(self, session_id: str, name: str) -> None:
        """Delete a file of the working directory (contract: ``deleteSessionFile``)."""
        self._api.delete("sessions", session_id, "files", name)

    # --- workspace ---------------------------------------------------------------------------

    def list_objects(self, session_id: str) -> Strings:
        """Names in the workspace (contract: ``listWorkspaceObjects``)."""
        return self._api.get(Strings, "sessions", session_id, "workspace")

    def inventory(self, session_id: str) -> models.SessionInventory:
        """Describe the workspace so that another can be compared with it (our addition)."""
        response = self._api.call("GET", "sessions", session_id, "inventory", timeout=self._patient)
        return self._api.decode(models.SessionInventory, response)

    def summary(self, session_id: str) -> models.SessionInventory:
        """Describe the workspace's objects: types, sizes, and values that are short.

        Raises
        ------
        ConnectionFailed
            No answer in the client's time: the session is busy.
        """
        query = {"view": "summary"}
        return self._api.get(
            models.SessionInventory, "sessions", session_id, "inventory", query=query
        )

    def comparison(self, session_id: str, names: Iterable[str]) -> models.SessionInventory:
        """Describe some objects, with exact digests; names that are not there are left out.

        It waits for what the session is running.
        """
        query = {"view": "comparison", "names": ",".join(names)}
        path = ("sessions", session_id, "inventory")
        response = self._api.call("GET", *path, query=query, timeout=self._patient)
        return self._api.decode(models.SessionInventory, response)

    def put_object(
        self,
        session_id: str,
        name: str,
        value: object,
        namespace: dict[str, Any] | None = None,
        progress: Progress = no_progress,
    ) -> int:
        """Set a variable to a Python object (contract: ``setWorkspaceObject``).

        Parameters
        ----------
        namespace : dict, optional
            Where functions in the value look their names up here; there they look in the
            session's workspace.
        progress : callable, optional
            Called with the bytes so far and in all.

        Returns
        -------
        int
            Bytes that were sent.
        """
        data = dumps(value, {} if namespace is None else namespace)
        path = ("sessions", session_id, "workspace", name)
        body = data if progress is no_progress else Bytes(data, progress)
        self._api.call("POST", *path, body=body, content_type=_OCTETS, timeout=self._patient).read()
        return len(data)

    def get_object(
        self,
        session_id: str,
        name: str,
        namespace: dict[str, Any] | None = None,
        progress: Progress = no_progress,
    ) -> Any:
        """Read a variable as a Python object (contract: ``getWorkspaceObject``).

        What comes is a pickle: do this only with servers and sessions that you trust.
        """
        path = ("sessions", session_id, "workspace", name)
        data = read(self._api.call("GET", *path, timeout=self._patient), progress)
        return loads(data, {} if namespace is None else namespace)

    def delete_object(self, session_id: str, name: str) -> None:
        """Delete a variable (contract: ``deleteWorkspaceObject``)."""
        self._api.delete("sessions", session_id, "workspace", name)

    def _request(
        self,
        code: str,
        inputs: Mapping[str, object] | None,
        outputs: Sequence[str],
        *,
        typed: bool,
    ) -> models.ExecuteRequest:
        self._api.require_room(inputs or {})
        return _execute_request(code, inputs, outputs, typed=typed)

    @property
    def _patient(self) -> Timeout:
        # Objects wait their turn behind running code, which takes as long as it takes.
        return (self._api.timeout[0], None)


def _execute_request(
    code: str, inputs: Mapping[str, object] | None, outputs: Sequence[str], *, typed: bool
) -> models.ExecuteRequest:
    given = inputs or {}
    return models.ExecuteRequest(
        code=code,
        input_parameters=[
            models.WorkspaceObject(
                name=name, value=value, type=_type_of(given[name]) if typed else UNSET
            )
            for name, value in plain_values(given).items()
        ],
        output_parameters=list(outputs),
    )


def _type_of(value: object) -> str | UnsetType:
    return "data.frame" if type(value).__name__ == "DataFrame" else UNSET


_COLUMNS: Final[Sequence[looks.Column]] = (
    ("name", lambda session: session.name),
    ("runtime", lambda session: session.runtime_type),
    ("state", lambda session: session.state),
    ("memory", lambda session: looks.size(session.memory_bytes) if session.memory_bytes else ""),
    ("created", lambda session: looks.moment(session.creation_time)),
    ("last activity", lambda session: looks.moment(session.last_activity)),
    ("closes in", lambda session: looks.duration(session.lease_seconds)),
    ("id", lambda session: session.id),
)

_EXECUTION_COLUMNS: Final[Sequence[looks.Column]] = (
    ("code", lambda execution: execution.code),
    ("state", lambda execution: execution.state),
    ("started", lambda execution: looks.moment(execution.start_time)),
    ("ended", lambda execution: looks.moment(execution.end_time)),
    ("error", lambda execution: execution.error_message),
    ("id", lambda execution: execution.execution_id),
)
