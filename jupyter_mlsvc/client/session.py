"""One session: an interpreter on the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.differences import WorkspaceDiff
from jupyter_mlsvc.client.events import AnyEvent
from jupyter_mlsvc.client.execution_stream import Follower, OnEvent
from jupyter_mlsvc.client.executions import Executions
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.results import ExecutionResult
from jupyter_mlsvc.client.transfer import Bytes, FileForm, Progress, no_progress, read, save
from jupyter_mlsvc.client.transport import ApiResponse, Upload
from jupyter_mlsvc.errors import MlsvcError, NotFound
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.inventory import take
from jupyter_mlsvc.wire.objects import dumps, loads

_OCTETS: Final = "application/octet-stream"


class Session:
    """One session. As a context manager it closes itself at the end.

    Attributes
    ----------
    id, name, runtime_type : str
    owner, state, creation_time, last_activity : str or None
        Known where the session came from a list, as is what follows. The state is ``starting``,
        ``idle`` or ``busy``.
    memory_bytes : int or None
        What its processes take.
    idle_seconds, lease_seconds : float or None
        Since it was used last, and until it is closed if nobody uses it; None: it never is.
    execution_id : str or None
        Of what runs, else of what ran last.
    queued : int
        How many executions wait.
    notebook : str or None
        Path of the notebook whose own session it is.
    """

    def __init__(
        self,
        api: Api,
        session_id: str,
        name: str,
        *,
        runtime_type: str = "Python",
        owner: str | None = None,
        state: str | None = None,
        creation_time: str | None = None,
        last_activity: str | None = None,
    ) -> None:
        self._api = api
        self._executions = Executions(api, session_id, typed=runtime_type == "R")
        self.id = session_id
        self.name = name
        self.runtime_type = runtime_type
        self.owner = owner
        self.state = state
        self.creation_time = creation_time
        self.last_activity = last_activity
        self.memory_bytes: int | None = None
        self.idle_seconds: float | None = None
        self.lease_seconds: float | None = None
        self.execution_id: str | None = None
        self.queued = 0
        self.notebook: str | None = None

    @classmethod
    def of(cls, api: Api, row: models.Session) -> Session:
        """Make one from a row of the server's list."""
        session = cls(
            api,
            row.id,
            row.name,
            runtime_type=row.runtime_type,
            owner=row.owner,
            state=row.state,
            creation_time=row.creation_time,
            last_activity=row.last_activity,
        )
        session.memory_bytes = row.memory_bytes
        session.idle_seconds = row.idle_seconds
        session.lease_seconds = row.lease_seconds
        session.execution_id = row.execution_id
        session.queued = row.queued
        session.notebook = row.notebook
        return session

    @property
    def is_r(self) -> bool:
        """Whether the session runs R."""
        return self.runtime_type == "R"

    # --- running code ------------------------------------------------------------------------

    def execute(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        *,
        timeout: float | None = None,
        check: bool = True,
    ) -> ExecutionResult:
        """Run code in one call and wait for its end (contract: ``executeCode``).

        Parameters
        ----------
        inputs : mapping, optional
            Values to set before, sent as JSON; arrays and frames become lists and columns.
        outputs : sequence of str
            Names to read afterwards, as JSON.
        timeout : float, optional
            Seconds to wait for the answer; None waits as long as it takes.
        check : bool
            Whether code that raises is an error here, too; else the result says so
            (``success``, ``raise_for_error``).

        Raises
        ------
        RemoteExecutionError
            The code raised, and ``check`` is true.
        """
        result = self._executions.execute(code, inputs, outputs, timeout=timeout)
        if check:
            result.raise_for_error(self.name)
        return result

    def run(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        *,
        on_event: OnEvent | None = None,
    ) -> ExecutionResult:
        """Run code and get its output while it runs; interrupting this interrupts the code.

        Parameters
        ----------
        on_event : callable, optional
            Called with each event as it comes.

        Raises
        ------
        RemoteExecutionError
            The code raised; has its traceback.
        RemoteInterrupted
            A KeyboardInterrupt came here and was passed on.
        """
        follower = Follower(self._executions, self.name, on_event)
        result = follower.run(code, inputs, outputs)
        result.raise_for_error(self.name)
        return result

    def attach(self, execution_id: str, *, on_event: OnEvent | None = None) -> ExecutionResult:
        """Follow code that runs, or ran, from its beginning on; interrupting this stops nothing.

        :meth:`executions` has the ids. :meth:`cancel` interrupts the code.

        Parameters
        ----------
        on_event : callable, optional
            Called with each event: at once with those that came before.

        Raises
        ------
        RemoteExecutionError
            The code raised; has its traceback.
        Detached
            A KeyboardInterrupt came here; the code runs on.
        """
        result = Follower(self._executions, self.name, on_event).attach(execution_id)
        result.raise_for_error(self.name)
        return result

    def start_execution(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        execution_id: str | None = None,
    ) -> str:
        """Start code without waiting; :meth:`events` follows it. Returns the execution's id.

        Parameters
        ----------
        execution_id : str, optional
            An id of your own, by which the code can be cancelled before the answer has come.
        """
        return self._executions.start(code, inputs, outputs, execution_id)

    def events(self, execution_id: str, since: int = 0) -> Iterator[AnyEvent]:
        """Follow an execution; ends after its ``Finished`` event.

        A broken connection is taken up again where it broke.

        Parameters
        ----------
        since : int
            Number of the first event to get.
        """
        return self._executions.events(execution_id, since)

    def cancel(self, execution_id: str | None = None) -> None:
        """Interrupt the running code; the session stays usable (contract: ``cancelSession``).

        Parameters
        ----------
        execution_id : str, optional
            Cancel this execution only, whether it runs or waits; others are left alone.
        """
        self._executions.cancel(execution_id)

    def executions(self) -> formatting.Listing[models.Execution]:
        """List the executions that are still kept, oldest first (our addition).

        Each has ``execution_id``, ``code``, ``state`` (``queued``, ``running``, ``succeeded``,
        ``failed``, ``cancelled``), ``start_time``, ``end_time`` and ``error_message``.
        """
        return self._executions.list()

    def console_output(self) -> str:
        """Text that the running or last code printed (contract: ``getSessionConsoleOutput``)."""
        path = ("sessions", self.id, "console-output")
        return self._api.get(models.ConsoleOutputResponse, *path).console_output

    def history(self) -> list[str]:
        """Code executed so far, oldest first (contract: ``listSessionHistory``)."""
        return self._api.get(list[str], "sessions", self.id, "history")

    # --- life --------------------------------------------------------------------------------

    def renew(self) -> None:
        """Renew the lease of a session that was created with one (our addition)."""
        self._api.call("POST", "sessions", self.id, "renew").read()

    def close(self, *, force: bool = False) -> None:
        """Close the session (``closeSession``, ``closeSessionByForce``); twice is harmless."""
        try:
            self._api.delete("sessions", self.id, *(["force"] if force else []))
        except NotFound:
            return

    # --- files -------------------------------------------------------------------------------

    def list_files(self) -> list[str]:
        """Names of the files in the working directory (contract: ``listSessionFiles``)."""
        return self._api.get(list[str], "sessions", self.id, "files")

    def upload_file(
        self, path: str | Path, name: str | None = None, progress: Progress = no_progress
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
        self._call("POST", "files", body=form, content_type=form.content_type).read()

    def save_file(
        self, name: str, path: str | Path | None = None, progress: Progress = no_progress
    ) -> Path:
        """Save a file of the working directory, however large (contract: ``getSessionFile``).

        Parameters
        ----------
        path : str or pathlib.Path, optional
            Local path; the file's name by default.

        Returns
        -------
        pathlib.Path
            The local file; it exists only if all of the content arrived.
        """
        return save(self._call("GET", "files", name), Path(path or name), progress)

    def download_file(self, name: str) -> bytes:
        """Read a file of the working directory (contract: ``getSessionFile``)."""
        return self._call("GET", "files", name).read()

    def delete_file(self, name: str) -> None:
        """Delete a file of the working directory (contract: ``deleteSessionFile``)."""
        self._api.delete("sessions", self.id, "files", name)

    # --- workspace ---------------------------------------------------------------------------

    def list_objects(self) -> list[str]:
        """Names in the workspace (contract: ``listWorkspaceObjects``)."""
        return self._api.get(list[str], "sessions", self.id, "workspace")

    def put_object(
        self,
        name: str,
        value: object,
        namespace: dict[str, Any] | None = None,
        progress: Progress = no_progress,
    ) -> int:
        """Set a variable to a Python object (contract: ``setWorkspaceObject``).

        In a session of R it travels as JSON, a DataFrame as a data.frame.

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
        if self.is_r:
            return self._put_in_r(name, value)
        data = dumps(value, {} if namespace is None else namespace)
        body = data if progress is no_progress else Bytes(data, progress)
        self._call("POST", "workspace", name, body=body).read()
        return len(data)

    def get_object(
        self,
        name: str,
        namespace: dict[str, Any] | None = None,
        progress: Progress = no_progress,
    ) -> Any:
        """Read a variable as a Python object (contract: ``getWorkspaceObject``).

        What comes is a pickle: do this only with servers and sessions that you trust. From a
        session of R it travels as JSON, a data.frame as a DataFrame.
        """
        if self.is_r:
            return self._get_from_r(name)
        data = read(self._call("GET", "workspace", name), progress)
        return loads(data, {} if namespace is None else namespace)

    def delete_object(self, name: str) -> None:
        """Delete a variable (contract: ``deleteWorkspaceObject``)."""
        self._api.delete("sessions", self.id, "workspace", name)

    def diff(self, namespace: Mapping[str, object]) -> WorkspaceDiff:
        """Compare the session's workspace with objects of this process.

        Parameters
        ----------
        namespace : mapping
            The objects here, by name.
        """
        return WorkspaceDiff(self.name, take(namespace), self.inventory())

    def inventory(self) -> models.SessionInventory:
        """Describe the workspace so that another can be compared with it (our addition)."""
        return self._api.decode(models.SessionInventory, self._call("GET", "inventory"))

    def summary(self) -> models.SessionInventory:
        """Describe the workspace's objects: types, sizes, and values that are short.

        Raises
        ------
        ConnectionFailed
            No answer in the client's time: the session is busy.
        """
        path = ("sessions", self.id, "inventory")
        return self._api.get(models.SessionInventory, *path, query={"view": "summary"})

    def comparison(self, names: Iterable[str]) -> models.SessionInventory:
        """Describe some objects, with exact digests; names that are not there are left out.

        It waits for what the session is running.
        """
        query = {"view": "comparison", "names": ",".join(names)}
        return self._api.decode(
            models.SessionInventory, self._call("GET", "inventory", query=query)
        )

    def _call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | Upload | None = None,
        content_type: str = _OCTETS,
    ) -> ApiResponse:
        """Send a request that waits its turn behind running code, which may take long."""
        return self._api.call(
            method,
            "sessions",
            self.id,
            *path,
            query=query,
            body=body,
            content_type=content_type,
            timeout=(self._api.timeout[0], None),
        )

    def _put_in_r(self, name: str, value: object) -> int:
        result = self._executions.execute("", {name: value})
        result.raise_for_error(self.name)
        return len(msgspec.json.encode(plain_values({name: value})))

    def _get_from_r(self, name: str) -> Any:
        result = self._executions.execute("", outputs=[name])
        if result.success:
            return result.outputs[name]
        if name not in self.list_objects():
            raise NotFound(result.error_message, status=404, exception_type="NotFoundException")
        raise MlsvcError(
            f"{result.error_message} Write it to a file in the session, as saveRDS({name}, "
            f'"{name}.rds") does, and download that.'
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return formatting.text_card(f"Session {self.name!r}", self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(f"Session {self.name}", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("runtime", self.runtime_type),
            ("state", self.state or ""),
            ("memory", formatting.size(self.memory_bytes) if self.memory_bytes else ""),
            ("created", formatting.moment(self.creation_time)),
            ("id", self.id),
        ]
