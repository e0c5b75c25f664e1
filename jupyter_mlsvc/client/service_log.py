"""What the calls of a service have printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import UNSET

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.wire import models

_INDENT: Final = "    "


class LogEntry:
    """What one call has printed, or how a process of the service has ended.

    Attributes
    ----------
    id : int
        Greater than those of the entries before it.
    time : str
    level : str
        ``error`` where the code has raised or a process has ended, else ``info``.
    problem : str
        What went wrong, in a line; empty where nothing did.
    text : str
        What was printed, with the traceback where the code has raised.
    request_id : str or None
        What the caller got as ``X-Request-Id``.
    trace_id : str or None
        Id of the request's trace, where the server makes traces.
    """

    def __init__(self, row: models.ServiceLogEntry) -> None:
        self.id = row.id
        self.time = row.time
        self.level = row.level
        self.problem = row.problem
        self.text = row.text
        self.request_id = None if row.request_id is UNSET else row.request_id
        self.trace_id = None if row.trace_id is UNSET else row.trace_id

    def __repr__(self) -> str:
        words = [
            formatting.moment(self.time),
            self.level.upper() if self.level == "error" else "",
            formatting.line(self.problem),
            f"(request {self.request_id})" if self.request_id else "",
        ]
        lines = [" ".join(word for word in words if word)]
        lines += [_INDENT + line for line in self.text.rstrip().splitlines()]
        return "\n".join(lines)


class ServiceLog(list[LogEntry]):
    """Entries, oldest first; shows itself as text.

    Parameters
    ----------
    rows : iterable of ServiceLogEntry
        What the server answered.
    """

    def __init__(self, rows: Iterable[models.ServiceLogEntry]) -> None:
        super().__init__(map(LogEntry, rows))

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "No call has printed anything."
