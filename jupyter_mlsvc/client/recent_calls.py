"""The newest calls of a service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UNSET

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.statistics import milliseconds
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.harmless import harmless_lines


class RecentCall:
    """One of the newest calls of a service.

    Attributes
    ----------
    id : int
        Greater than those of the calls before it.
    time : str
        When it was over.
    caller : str
        Name of the person or of the service key; of a batch that of its owner.
    caller_kind : str or None
        ``person``, ``key`` or ``batch``.
    status : int
        Status of the answer.
    success : bool
        False where the code raised, too.
    milliseconds : float or None
        From its arrival to its answer; None where it came into no queue.
    first_item_milliseconds : float or None
        The same to the first item of an answer that was sent item by item.
    request_id : str
        What the caller got as ``X-Request-Id``.
    request_bytes, answer_bytes : int
    problem : str
        What went wrong, in a line; empty where nothing did.
    text : str or None
        What the code printed, with the traceback. None in a list.
    request, answer : str or None
        Beginnings of the bodies, where the version keeps them. None in a list.
    """

    def __init__(self, row: models.ServiceCall) -> None:
        self.id = row.id
        self.time = row.time
        self.caller = row.caller
        self.caller_kind = None if row.caller_kind is UNSET else row.caller_kind
        self.status = row.status
        self.success = row.success
        self.milliseconds = row.milliseconds
        first = row.first_item_milliseconds
        self.first_item_milliseconds = None if first is UNSET else first
        self.request_id = row.request_id
        self.request_bytes = row.request_bytes
        self.answer_bytes = row.answer_bytes
        self.problem = row.problem
        self.text: str | None = None
        self.request: str | None = None
        self.answer: str | None = None
        if isinstance(row, models.ServiceCallDetails):
            self.text = row.text
            self.request = None if row.request is UNSET else row.request
            self.answer = None if row.answer is UNSET else row.answer

    def __repr__(self) -> str:
        card = formatting.text_card(f"Call {self.id}", self._rows())
        texts = [("printed", self.text), ("request", self.request), ("answer", self.answer)]
        shown = [f"{title}:\n{harmless_lines(text.rstrip())}" for title, text in texts if text]
        return "\n\n".join([card, *shown])

    def _rows(self) -> list[tuple[str, str]]:
        sizes = f"{formatting.size(self.request_bytes)}, {formatting.size(self.answer_bytes)}"
        return [
            ("time", formatting.moment(self.time)),
            ("caller", _caller(self)),
            ("status", _status(self)),
            ("took", milliseconds(self.milliseconds)),
            ("first item after", _first(self)),
            ("request id", self.request_id),
            ("request, answer", sizes),
            ("problem", self.problem),
        ]


class RecentCalls(formatting.Listing[RecentCall]):
    """Calls, the newest first; shows itself as a table.

    Parameters
    ----------
    rows : iterable of ServiceCall
        What the server answered.
    """

    def __init__(self, rows: Iterable[models.ServiceCall]) -> None:
        super().__init__(map(RecentCall, rows), _COLUMNS, "No calls are kept.")


def _caller(call: RecentCall) -> str:
    is_person = call.caller_kind in {None, "person"}
    return call.caller if is_person else f"{call.caller_kind} {call.caller}"


def _first(call: RecentCall) -> str:
    first = call.first_item_milliseconds
    return "" if first is None else milliseconds(first)


def _status(call: RecentCall) -> str:
    return str(call.status) if call.success or call.status != 200 else f"{call.status}, raised"


_COLUMNS: Final[Sequence[formatting.Column]] = (
    ("id", lambda call: call.id),
    ("time", lambda call: formatting.moment(call.time)),
    ("caller", _caller),
    ("status", _status),
    ("took", lambda call: milliseconds(call.milliseconds)),
    ("request", lambda call: formatting.size(call.request_bytes)),
    ("answer", lambda call: formatting.size(call.answer_bytes)),
    ("problem", lambda call: call.problem),
)
