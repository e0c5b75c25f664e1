"""Lines of the log: as text or JSON, each with the request that it belongs to.

Whoever answers a request opens a :class:`RequestScope`. What is logged while the request is being
answered, by whatever part of the server, gets its id. Tasks that go on after the answer log without
it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from pythonjsonlogger.json import JsonFormatter

from jupyter_mlsvc.wire.harmless import harmless_lines

if TYPE_CHECKING:
    from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest

TEXT: Final = "text"
JSON: Final = "json"

_TEXT_TEMPLATE: Final = "[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s] %(message)s"
_NEXT_LINE: Final = "\n    "
_JSON_FIELDS: Final = "%(levelname)s%(name)s%(message)s"

access_log: Final = logging.getLogger("jupyter_mlsvc_server.access")


class _Request:
    """The request that is being answered; nothing once it has its answer."""

    def __init__(self, request_id: str) -> None:
        self.id = request_id


_current: ContextVar[_Request | None] = ContextVar("mlsvc_request", default=None)
_trace: ContextVar[str] = ContextVar("mlsvc_trace", default="")


@contextlib.contextmanager
def request_scope(request_id: str) -> Iterator[None]:
    """Have all that is logged in the block get the id of a request."""
    request = _Request(request_id)
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)
        # Tasks that were begun here have a copy of the context.
        request.id = ""


@contextlib.contextmanager
def trace_scope(trace_id: str) -> Iterator[None]:
    """Have all that is logged in the block get the id of a trace."""
    token = _trace.set(trace_id)
    try:
        yield
    finally:
        _trace.reset(token)


def current_trace() -> str:
    """Return the id of the trace of what is being done; empty where there is none."""
    return _trace.get()


def request_of(record: logging.LogRecord) -> str:
    """Return the id of the request that a line belongs to; empty for none."""
    named = getattr(record, "request", "")
    if named:
        return str(named)
    request = _current.get()
    return "" if request is None else request.id


class TextLines(logging.Formatter):
    """Writes lines for people."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging names it
        """Write the line, and the request's id at its end."""
        # Names and paths of others are in it: a line end in one must not begin a line of ours.
        record.message = harmless_lines(record.message).replace("\n", _NEXT_LINE)
        line = super().formatMessage(record)
        if request := request_of(record):
            trace = current_trace()
            line += f" (request {request}, trace {trace})" if trace else f" (request {request})"
        return line


class JsonLines(JsonFormatter):
    """Writes an object a line, for programs."""

    def __init__(self) -> None:
        super().__init__(
            _JSON_FIELDS,
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "trace"},
        )

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Add the request's id, where there is a request."""
        super().add_fields(log_data, record, message_dict)
        if request := request_of(record):
            log_data["request"] = request
        if trace := current_trace():
            log_data["trace_id"] = trace


def formatter(log_format: str, datefmt: str) -> dict[str, Any]:
    """Describe a formatter for ``logging.config``.

    Parameters
    ----------
    log_format
        ``text``, ``json``, or a template of Python's ``logging``.
    datefmt
        How times are written in a text.
    """
    if log_format == JSON:
        return {"()": JsonLines}
    template = _TEXT_TEMPLATE if log_format == TEXT else log_format
    return {"()": TextLines, "fmt": template, "datefmt": datefmt}


def note_access(request: AnsweredRequest) -> None:
    """Write a request into the access log."""
    access_log.info(
        '%s "%s %s" %d %.1f ms',
        request.user or "-",
        request.method,
        request.path,
        request.status,
        request.seconds * 1000,
        extra={
            "request": request.id,
            "method": request.method,
            "path": request.path,
            "route": request.route,
            "status": request.status,
            "seconds": round(request.seconds, 6),
            "user": request.user,
        },
    )
