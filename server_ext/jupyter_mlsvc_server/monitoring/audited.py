"""Which requests are in the audit log, and what their records say."""

from __future__ import annotations

import re
import time
from typing import Final

from jupyter_mlsvc.wire.operations import OPERATIONS
from jupyter_mlsvc_server.audit.log import AuditLog
from jupyter_mlsvc_server.audit.record import AuditRecord, Result
from jupyter_mlsvc_server.monitoring.answered import CLIENT_LEFT, AnsweredRequest
from jupyter_mlsvc_server.storage.clock import Clock

_CALL: Final = "POST /api/{name}/{version}"
_CONSUME: Final = "consume"
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NOT_ALLOWED: Final = frozenset({401, 403})
_PARAMETER: Final = re.compile(r"\{\w+\}")

_PERIOD: Final = 10.0
_MOST_UNKNOWN: Final = 30
"""Records of nobody known in a period: whoever sends nonsense is not to push out the others."""
_MOST_TEXT: Final = 256
"""Characters of what a caller wrote, for the same reason."""


class AuditObserver:
    """Notes requests that changed something, or were not allowed to.

    Parameters
    ----------
    log
        Gets the records.
    clock
        Seconds that have passed.
    """

    def __init__(self, log: AuditLog, *, clock: Clock = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._period_ends = 0.0
        self._unknown = 0
        self._ids = {
            f"{each.method.upper()} {_shape(each.path)}": each.id for each in OPERATIONS
        } | {_shape(_CALL): _CONSUME}

    def note(self, request: AnsweredRequest) -> None:
        """Take note of a request."""
        refused = request.status in _NOT_ALLOWED
        if not refused and (request.method not in _CHANGES or not request.route):
            return
        operation = self._operation(request)
        is_done = request.status < 400
        if operation == _CONSUME and not refused and not (is_done and self._log.calls):
            return
        if not request.user and not is_done and not self._has_room():
            return
        self._log.note(
            AuditRecord(
                operation=_short(operation),
                object=_short(request.subject),
                who=request.user,
                id=request.user_id,
                by=request.credential,
                address=request.address,
                result=_result(request.status),
                status=request.status,
                request=request.id,
            )
        )

    def _operation(self, request: AnsweredRequest) -> str:
        if not request.route:
            return f"{request.method} {request.path}"
        name = f"{request.method} {request.route}"
        return self._ids.get(_shape(name), name)

    def _has_room(self) -> bool:
        now = self._clock()
        if now >= self._period_ends:
            if self._unknown > _MOST_UNKNOWN:
                self._log.note(
                    AuditRecord(
                        operation="more of nobody known",
                        object=f"{self._unknown - _MOST_UNKNOWN} requests",
                        result="refused",
                    )
                )
            self._period_ends, self._unknown = now + _PERIOD, 0
        self._unknown += 1
        return self._unknown <= _MOST_UNKNOWN


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _shape(path: str) -> str:
    """Return a path without the names of its parameters."""
    return _PARAMETER.sub("{}", path)


def _result(status: int) -> Result:
    if status < 400:
        return "done"
    return "failed" if status >= 500 or status == CLIENT_LEFT else "refused"
