"""The protocol of connections whose calls are noted, for the access log or the audit log.

It is another class, so that calls which are not logged cost nothing for it.
"""

from __future__ import annotations

from time import monotonic
from typing import cast
from urllib.parse import unquote

from jupyter_mlsvc_server.api.authentication import kind_of_token
from jupyter_mlsvc_server.api.head_cache import CallHead
from jupyter_mlsvc_server.api.protocol import Protocol
from jupyter_mlsvc_server.api.score import CALL_ROUTE
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer


class LoggedProtocol(Protocol):
    """A connection that notes each call that goes the short way."""

    __slots__ = ("_answering", "_began")

    _answering: CallHead | None
    _began: float

    def _ended(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        head, call = self._running, self._call
        # What is refused is noted where the refusal is logged.
        is_answer = isinstance(head, CallHead) and isinstance(outcome, ScoringAnswer)
        self._answering = cast(CallHead, head) if is_answer else None
        self._began = 0.0 if call is None else call.arrived
        super()._ended(outcome)

    def _write(self, status: int, number: int, headers: bytes, body: Body) -> None:
        head, self._answering = getattr(self, "_answering", None), None
        super()._write(status, number, headers, body)
        if head is not None:
            path = head.url.partition(b"?")[0].decode("latin-1")
            answered = AnsweredRequest(
                id=self._server.id_of(number),
                method="POST",
                path=path,
                route=CALL_ROUTE,
                status=status,
                seconds=monotonic() - self._began if self._began else 0.0,
                user=self._score.user_of(head.token),
                credential=kind_of_token(head.token),
                address="" if self.client is None else self.client[0],
                subject=unquote(path.partition("/api/")[2]),
            )
            for observe in self._server.call_observers:
                observe(answered)
