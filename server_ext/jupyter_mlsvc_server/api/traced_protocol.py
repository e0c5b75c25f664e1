"""The protocol, the entry for calls and the application of a server that makes traces.

They are classes of their own, so that a server without traces has nothing to do for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jupyter_mlsvc_server.api.head_cache import CallHead
from jupyter_mlsvc_server.api.logged_protocol import LoggedProtocol
from jupyter_mlsvc_server.api.protocol import Protocol
from jupyter_mlsvc_server.api.score import CALL_ROUTE, ScoreEntry
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
from jupyter_mlsvc_server.monitoring.logs import current_trace
from jupyter_mlsvc_server.monitoring.traces import Carrier, Traces, carrier_of
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer

TRACE_ID: Final = "X-Trace-Id"
"""Header of an answer with the id of its trace."""


@dataclass(frozen=True, slots=True)
class TracedCallHead(CallHead):
    """The head of a plain call with the trace that it belongs to."""

    carrier: Carrier


class TracedScoreEntry(ScoreEntry):
    """Takes calls of services, and adds their spans to those of their requests."""

    def __init__(self, *, traces: Traces, **others: Any) -> None:
        super().__init__(**others)
        self.traces = traces

    def read(self, url: bytes, headers: Any) -> CallHead | None:
        """Read the head of a call; see :class:`ScoreEntry`."""
        head = super().read(url, headers)
        if head is None:
            return None
        return TracedCallHead(
            head.key, head.url, head.token, head.length, head.origin, carrier_of(headers)
        )

    def identified(self, answer: ScoringAnswer, request_id: str) -> Body:
        """Put the ids where they belong; see :class:`ScoreEntry`."""
        if answer.times is not None:
            has_failed = answer.status == 200 and not answer.success
            self.traces.note_call(answer.times, has_failed=has_failed)
        if answer.entry is not None:
            answer.entry.trace_id = current_trace()
        return super().identified(answer, request_id)


class TracedProtocol(Protocol):
    """A connection that makes a span of each call that goes the short way."""

    _came_at: float = 0.0
    _trace_header: bytes = b""
    _call_head: TracedCallHead

    def data_received(self, data: bytes) -> None:
        """Note when a request came."""
        if self._running is None:
            self._came_at = monotonic()
        super().data_received(data)

    def _ended(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        head = self._running
        if not isinstance(head, TracedCallHead):
            super()._ended(outcome)
            return
        with cast(TracedScoreEntry, self._score).traces.request(
            head.carrier, self._came_at
        ) as request:
            self._trace_header = f"{TRACE_ID}: {request.trace_id}\r\n".encode()
            self._call_head = head
            super()._ended(outcome)

    def _write(self, status: int, number: int, headers: bytes, body: Body) -> None:
        added, self._trace_header = self._trace_header, b""
        super()._write(status, number, headers + added, body)
        if added:
            path = self._call_head.url.partition(b"?")[0].decode("latin-1")
            cast(TracedScoreEntry, self._score).traces.note(
                AnsweredRequest(
                    id=self._server.id_of(number),
                    method="POST",
                    path=path,
                    route=CALL_ROUTE,
                    status=status,
                    seconds=0.0,
                )
            )


class TracedLoggedProtocol(TracedProtocol, LoggedProtocol):
    """A connection whose calls are traced, and in the access log."""


class TracedApp:
    """An application whose requests each have a span.

    Parameters
    ----------
    app
        Answers the requests.
    traces
        Makes the spans.
    """

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        with self._traces.request(carrier_of(scope["headers"])) as request:
            added = (TRACE_ID.lower().encode(), request.trace_id.encode())

            async def send_with_id(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], added]
                await send(message)

            await self._app(scope, receive, send_with_id)
