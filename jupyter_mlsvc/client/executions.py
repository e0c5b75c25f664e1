"""Executions of one session: code that runs there, and its events while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import UNSET, UnsetType

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.events import AnyEvent, Finished, decode_event
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.results import ExecutionResult
from jupyter_mlsvc.errors import ConnectionFailed, UnexpectedAnswer
from jupyter_mlsvc.wire import models

_RECONNECTS: Final = 5
_QUICK_SECONDS: Final = 5.0


class Executions:
    """Executions of one session.

    Parameters
    ----------
    api : Api
        Sends the requests.
    session_id : str
        Id of the session.
    typed : bool
        Whether a DataFrame is to be a data frame there, too, as in sessions of R.
    """

    def __init__(self, api: Api, session_id: str, *, typed: bool) -> None:
        self._api = api
        self._session_id = session_id
        self._typed = typed

    def execute(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        *,
        timeout: float | None = None,
    ) -> ExecutionResult:
        """Run code and wait for its end; the result tells whether it raised."""
        answer = self._api.post(
            models.ExecuteResponse,
            "sessions",
            self._session_id,
            "execute",
            json=self._request(code, inputs, outputs),
            timeout=(self._api.timeout[0], timeout),
        )
        return ExecutionResult.of(answer)

    def start(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (),
        execution_id: str | None = None,
    ) -> str:
        """Start code without waiting and return the execution's id."""
        request = self._request(code, inputs, outputs)
        answer = self._api.post(
            models.StartExecutionResponse,
            "sessions",
            self._session_id,
            "executions",
            json=models.StartExecutionRequest(
                code=request.code,
                input_parameters=request.input_parameters,
                output_parameters=request.output_parameters,
                execution_id=execution_id,
            ),
        )
        return answer.execution_id

    def list(self) -> formatting.Listing[models.Execution]:
        """List the executions that are still kept, oldest first."""
        rows = self._api.get(list[models.Execution], "sessions", self._session_id, "executions")
        return formatting.Listing(rows, _COLUMNS, "No executions.")

    def events(self, execution_id: str, since: int = 0) -> Iterator[AnyEvent]:
        """Follow an execution until its ``Finished`` event, through broken connections."""
        failures = 0
        while True:
            opened = time.monotonic()
            try:
                for event in self._events_once(execution_id, since):
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

    def cancel(self, execution_id: str | None = None) -> None:
        """Interrupt what runs, or one execution only, whether it runs or waits."""
        query = {} if execution_id is None else {"executionId": execution_id}
        self._api.call("POST", "sessions", self._session_id, "cancel", query=query).read()

    def _events_once(self, execution_id: str, since: int) -> Iterator[AnyEvent]:
        response = self._api.call(
            "GET",
            "sessions",
            self._session_id,
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

    def _request(
        self, code: str, inputs: Mapping[str, object] | None, outputs: Sequence[str]
    ) -> models.ExecuteRequest:
        given = inputs or {}
        self._api.require_room(given)
        return models.ExecuteRequest(
            code=code,
            input_parameters=[
                models.WorkspaceObject(
                    name=name, value=value, type=_type_of(given[name]) if self._typed else UNSET
                )
                for name, value in plain_values(given).items()
            ],
            output_parameters=list(outputs),
        )


def _type_of(value: object) -> str | UnsetType:
    return "data.frame" if type(value).__name__ == "DataFrame" else UNSET


_COLUMNS: Final[Sequence[formatting.Column]] = (
    ("code", lambda execution: execution.code),
    ("state", lambda execution: execution.state),
    ("started", lambda execution: formatting.moment(execution.start_time)),
    ("ended", lambda execution: formatting.moment(execution.end_time)),
    ("error", lambda execution: execution.error_message),
    ("id", lambda execution: execution.execution_id),
)
