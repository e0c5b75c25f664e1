"""One session: an interpreter on the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from jupyter_mlsvc.client import looks
from jupyter_mlsvc.client.differences import WorkspaceDiff
from jupyter_mlsvc.client.following import Follower, OnEvent
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.results import ExecutionResult
from jupyter_mlsvc.client.transfer import Progress, no_progress
from jupyter_mlsvc.errors import MlsvcError, NotFound
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.inventory import take

if TYPE_CHECKING:
    from jupyter_mlsvc.client.sessions import Sessions


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
        sessions: Sessions,
        session_id: str,
        name: str,
        *,
        runtime_type: str = "Python",
        owner: str | None = None,
        state: str | None = None,
        creation_time: str | None = None,
        last_activity: str | None = None,
    ) -> None:
        self._sessions = sessions
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
    def of(cls, sessions: Sessions, row: models.Session) -> Session:
        """Make one from a row of the server's list."""
        session = cls(
            sessions,
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

    def execute(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        *,
        timeout: float | None = None,
    ) -> ExecutionResult:
        """Run code in one call and wait for its end.

        Raises
        ------
        RemoteExecutionError
            The code raised. ``client.sessions.execute`` tells it by its result instead.
        """
        result = self._sessions.execute(
            self.id, code, inputs, outputs, timeout=timeout, typed=self.is_r
        )
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
        follower = Follower(self._sessions, self.id, self.name, on_event, typed=self.is_r)
        result = follower.run(code, inputs, outputs)
        result.raise_for_error(self.name)
        return result

    def cancel(self) -> None:
        """Interrupt the running code."""
        self._sessions.cancel(self.id)

    def close(self, *, force: bool = False) -> None:
        """Close the session; closing it twice is harmless."""
        try:
            self._sessions.close(self.id, force=force)
        except NotFound:
            return

    def console_output(self) -> str:
        """Text that the running or last code printed."""
        return self._sessions.console_output(self.id)

    def executions(self) -> looks.Listing[models.Execution]:
        """List the executions that are still kept, oldest first, with state, times and errors."""
        return self._sessions.executions(self.id)

    def history(self) -> list[str]:
        """Code executed so far, oldest first."""
        return self._sessions.history(self.id)

    def list_files(self) -> list[str]:
        """Names of the files in the working directory."""
        return self._sessions.list_files(self.id)

    def upload_file(
        self, path: str | Path, name: str | None = None, progress: Progress = no_progress
    ) -> None:
        """Put a local file into the working directory; it is read while it is sent."""
        self._sessions.send_file(self.id, path, name, progress)

    def save_file(
        self, name: str, path: str | Path | None = None, progress: Progress = no_progress
    ) -> Path:
        """Save a file of the working directory under a local path, by default its name."""
        return self._sessions.save_file(self.id, name, path or name, progress)

    def download_file(self, name: str) -> bytes:
        """Read a file of the working directory."""
        return self._sessions.download_file(self.id, name)

    def delete_file(self, name: str) -> None:
        """Delete a file of the working directory."""
        self._sessions.delete_file(self.id, name)

    def list_objects(self) -> list[str]:
        """Names in the workspace."""
        return self._sessions.list_objects(self.id)

    def put_object(
        self,
        name: str,
        value: object,
        namespace: dict[str, Any] | None = None,
        progress: Progress = no_progress,
    ) -> int:
        """Set a variable to a Python object; gives the bytes that were sent.

        In a session of R it travels as JSON, a DataFrame as a data.frame.
        """
        if self.is_r:
            return self._put_in_r(name, value)
        return self._sessions.put_object(self.id, name, value, namespace, progress)

    def get_object(
        self,
        name: str,
        namespace: dict[str, Any] | None = None,
        progress: Progress = no_progress,
    ) -> Any:
        """Read a variable as a Python object.

        From a session of R it travels as JSON, a data.frame as a DataFrame.
        """
        if self.is_r:
            return self._get_from_r(name)
        return self._sessions.get_object(self.id, name, namespace, progress)

    def diff(self, namespace: Mapping[str, object]) -> WorkspaceDiff:
        """Compare the session's workspace with objects of this process.

        Parameters
        ----------
        namespace : mapping
            The objects here, by name.
        """
        return WorkspaceDiff(self.name, take(namespace), self._sessions.inventory(self.id))

    def delete_object(self, name: str) -> None:
        """Delete a variable."""
        self._sessions.delete_object(self.id, name)

    def _put_in_r(self, name: str, value: object) -> int:
        result = self._sessions.execute(self.id, "", {name: value}, typed=True)
        result.raise_for_error(self.name)
        return len(msgspec.json.encode(plain_values({name: value})))

    def _get_from_r(self, name: str) -> Any:
        result = self._sessions.execute(self.id, "", outputs=[name])
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
        return looks.text_card(f"Session {self.name!r}", self._rows())

    def _repr_html_(self) -> str:
        return looks.html_card(f"Session {self.name}", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("runtime", self.runtime_type),
            ("state", self.state or ""),
            ("memory", looks.size(self.memory_bytes) if self.memory_bytes else ""),
            ("created", looks.moment(self.creation_time)),
            ("id", self.id),
        ]
