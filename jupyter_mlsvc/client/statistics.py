"""How a service does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.wire import models

_BARS: Final = "▁▂▃▄▅▆▇█"
_SHOWN_BARS: Final = 60


class ServiceStatistics:
    """How a service version is, and what it did since the server started.

    Attributes
    ----------
    name, version : str
    state : str
        ``idle`` (no process; the next call starts one), ``starting``, ``ready``, ``busy`` (all
        workers at work) or ``failing`` (its processes keep ending; ``message`` says why).
    message : str
    workers, waiting : int
        Processes that answer, and calls that wait for one of them.
    calls, errors : int
        All calls, and those that failed: code that raised, passed deadlines, faults.
    rejected : int
        Calls that did not fit, so that the code never ran; they are no errors.
    calls_per_minute : int
        Calls of the last 60 seconds.
    p50_milliseconds, p99_milliseconds : float or None
        What half and 99 of 100 of the newest calls stayed within.
    last_call : str or None
        When the last call ended: UTC, as ``2017-10-05T22:49:33.7832670``.
    retired : int
        Workers that were replaced because a call had changed what can't be put back.
    retired_for : str
        What the last of these had changed.
    lost_workers : int
        Workers that ended unexpectedly.
    note : str
        A sentence for the publisher where most calls do that.
    memory_bytes : int or None
        What its processes take; None in a list.
    interval_seconds : int or None
        Length of an interval of ``history``; None in a list.
    history : list of StatisticsInterval
        The last intervals, oldest first, each with ``time``, ``calls``, ``errors``, ``rejected``,
        ``p50_milliseconds`` and ``p99_milliseconds``; the last one is not over. Empty in a list.
    """

    def __init__(self, row: models.ServiceStatistics) -> None:
        self.name = row.name
        self.version = row.version
        self.state = row.state
        self.message = row.message
        self.workers = row.workers
        self.waiting = row.waiting
        self.calls = row.calls
        self.errors = row.errors
        self.calls_per_minute = row.calls_per_minute
        self.p50_milliseconds = row.p50_milliseconds
        self.p99_milliseconds = row.p99_milliseconds
        self.last_call = row.last_call
        self.rejected = row.rejected
        self.retired = row.retired
        self.note = row.note
        self.retired_for = row.retired_for
        self.lost_workers = row.lost_workers
        self.memory_bytes: int | None = None
        self.interval_seconds: int | None = None
        self.history: list[models.StatisticsInterval] = []
        if isinstance(row, models.ServiceStatisticsWithHistory):
            self.memory_bytes = row.memory_bytes
            self.interval_seconds = row.interval_seconds
            self.history = row.history

    def __repr__(self) -> str:
        return formatting.text_card(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(self._title(), self._rows())

    def _title(self) -> str:
        return f"Statistics of {self.name} {self.version}"

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("state", f"{self.state}: {self.message}" if self.message else self.state),
            ("workers", str(self.workers)),
            ("waiting", str(self.waiting)),
            ("calls", str(self.calls)),
            ("errors", str(self.errors)),
            ("rejected", str(self.rejected) if self.rejected else ""),
            ("retired workers", self._retired()),
            ("lost workers", str(self.lost_workers) if self.lost_workers else ""),
            ("note", self.note),
            ("calls a minute", str(self.calls_per_minute)),
            ("p50", milliseconds(self.p50_milliseconds)),
            ("p99", milliseconds(self.p99_milliseconds)),
            ("last call", formatting.moment(self.last_call)),
            *self._past(),
            ("memory", "" if self.memory_bytes is None else formatting.size(self.memory_bytes)),
        ]

    def _retired(self) -> str:
        """Show how many workers were replaced, and why the last one was."""
        reason = f"; {formatting.line(self.retired_for)}" if self.retired_for else ""
        return f"{self.retired}{reason}" if self.retired else ""

    def _past(self) -> list[tuple[str, str]]:
        """Show the calls of the past as bars, and how many there were."""
        calls = [each.calls for each in self.history]
        if not any(calls) or self.interval_seconds is None:
            return []
        span = _span(len(calls) * self.interval_seconds)
        errors = sum(each.errors for each in self.history)
        failed = f", {errors:,} failed" if errors else ""
        return [(f"last {span}", f"{sum(calls):,} calls{failed}\n{bars(calls)}")]


def bars(values: Sequence[int]) -> str:
    """Draw numbers as bars, at most 60 of them: each is as high as the greatest that it has."""
    width = -(-len(values) // _SHOWN_BARS)
    shown = [max(values[i : i + width]) for i in range(0, len(values), width)]
    most = max(shown, default=0) or 1
    # What is not nothing has a height.
    return "".join(_BARS[-(-each * (len(_BARS) - 1) // most)] for each in shown)


def _span(seconds: int) -> str:
    for name, length in (("week", 604_800), ("day", 86_400), ("hour", 3_600)):
        if seconds >= length:
            return name
    return f"{seconds // 60} minutes"


def milliseconds(value: float | None) -> str:
    """Show a time for people; nothing where there is none."""
    return "" if value is None else f"{value:.3g} ms" if value < 100 else f"{value:,.0f} ms"


COLUMNS: Final[tuple[formatting.Column, ...]] = (
    ("name", lambda row: row.name),
    ("version", lambda row: row.version),
    ("state", lambda row: row.state),
    ("workers", lambda row: row.workers),
    ("calls", lambda row: row.calls),
    ("errors", lambda row: row.errors),
    ("rejected", lambda row: row.rejected),
    ("retired", lambda row: row.retired),
    ("a minute", lambda row: row.calls_per_minute),
    ("p50", lambda row: milliseconds(row.p50_milliseconds)),
    ("p99", lambda row: milliseconds(row.p99_milliseconds)),
    ("last call", lambda row: formatting.moment(row.last_call)),
    ("message", lambda row: row.message or row.note),
)
