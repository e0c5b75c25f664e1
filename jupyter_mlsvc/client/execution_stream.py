"""Following a run of code to its end, through broken connections and interrupts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

from jupyter_mlsvc.client.events import AnyEvent, ErrorRaised, Finished
from jupyter_mlsvc.client.executions import Executions
from jupyter_mlsvc.client.results import ExecutionResult, RemoteError
from jupyter_mlsvc.errors import (
    ConnectionFailed,
    Detached,
    LostExecution,
    NotFound,
    RemoteInterrupted,
    UnexpectedAnswer,
)

OnEvent = Callable[[AnyEvent], None]


class Follower:
    """One run of code with its events, through interrupts."""

    def __init__(
        self,
        executions: Executions,
        session_name: str,
        on_event: OnEvent | None,
    ) -> None:
        self._executions = executions
        self._session_name = session_name
        self._on_event = on_event
        self._error: RemoteError | None = None
        self._next = 0

    def run(
        self, code: str, inputs: Mapping[str, object] | None, outputs: Sequence[str]
    ) -> ExecutionResult:
        """Start the code and follow it.

        Raises
        ------
        RemoteInterrupted
            A KeyboardInterrupt came here and was passed on.
        """
        # Of our own, so that an interrupt reaches it although the answer has not come yet.
        execution_id = str(uuid.uuid4())
        try:
            execution_id = self._executions.start(code, inputs, outputs, execution_id)
            return self._follow(execution_id)
        except KeyboardInterrupt:
            raise self._interrupt(execution_id) from None

    def attach(self, execution_id: str) -> ExecutionResult:
        """Follow code that was started elsewhere, from its first event on.

        Raises
        ------
        Detached
            A KeyboardInterrupt came here; the code runs on.
        """
        try:
            return self._follow(execution_id)
        except KeyboardInterrupt:
            raise Detached(self._session_name) from None

    def _follow(self, execution_id: str) -> ExecutionResult:
        for event in self._events(execution_id):
            # Counted before it is shown: an interrupt must not show an event twice.
            self._next = event.seq + 1
            if isinstance(event, ErrorRaised):
                self._error = RemoteError(
                    event.ename,
                    event.evalue,
                    event.traceback,
                    is_syntax_error=event.is_syntax_error,
                )
            if self._on_event is not None:
                self._on_event(event)
            if isinstance(event, Finished):
                return ExecutionResult.of(event.response, self._error)
        raise UnexpectedAnswer("The events of an execution ended without a result.")

    def _events(self, execution_id: str) -> Iterator[AnyEvent]:
        try:
            yield from self._executions.events(execution_id, self._next)
        except ConnectionFailed as error:
            raise LostExecution(error.url, error.reason, self._session_name) from error

    def _interrupt(self, execution_id: str) -> RemoteInterrupted:
        """Pass the interrupt on and read on until the code has stopped; a second one gives up.

        Other code in the session, such as that of another notebook, is not interrupted.
        """
        name = self._session_name
        try:
            self._executions.cancel(execution_id)
            self._follow(execution_id)
        except NotFound:
            # The interrupt came before the code was sent.
            return RemoteInterrupted(name)
        except KeyboardInterrupt:
            return RemoteInterrupted(name, is_stopping=True)
        return RemoteInterrupted(name)
