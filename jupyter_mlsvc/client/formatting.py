"""Looks of results, in plain text and in HTML; everything from outside is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from jupyter_mlsvc.wire.harmless import harmless, harmless_lines

T = TypeVar("T")

Column = tuple[str, Callable[[Any], object]]
"""Heading of a column and how to read its cell from an item."""

_MAX_CELL_LENGTH: Final = 60
_MAX_LINE_LENGTH: Final = 200
_MAX_VALUE_LENGTH: Final = 2000
_MAX_ROWS: Final = 20
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_ROUNDED_UP: Final = 999.5
"""From here on three digits of a unit are one of the next."""
_UNBROKEN: Final = 24  # characters of a cell that stand on one line, such as those of a time
_CODE: Final = frozenset({"code", "init code", "key", "call"})


class Listing(list[T], Generic[T]):
    """A list that shows itself as a table.

    Parameters
    ----------
    items : iterable
        The items.
    columns : sequence of Column
        Headings and how to read the cells.
    empty : str
        Sentence that stands for an empty list.
    """

    def __init__(self, items: Iterable[T], columns: Sequence[Column], empty: str) -> None:
        super().__init__(items)
        self._columns = columns
        self._empty = empty

    def __repr__(self) -> str:
        return text_table(self._headings(), self._cells()) if self else self._empty

    def _repr_html_(self) -> str:
        return (
            html_table(self._headings(), self._cells())
            if self
            else f"<p>{html.escape(self._empty)}</p>"
        )

    def _headings(self) -> list[str]:
        return [heading for heading, _ in self._columns]

    def _cells(self) -> list[list[str]]:
        return [[cell(read(item)) for _, read in self._columns] for item in self]


class Document(dict[str, Any]):
    """A JSON document that shows itself indented, as a tree where the front end has one."""

    def __repr__(self) -> str:
        return json.dumps(self, indent=2, ensure_ascii=False)

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return {"text/plain": repr(self), "application/json": dict(self)}


def cell(value: object) -> str:
    """Text of a cell: one line, cut when it is long."""
    text = harmless(" ".join(str("" if value is None else value).split()))
    return text if len(text) <= _MAX_CELL_LENGTH else f"{text[: _MAX_CELL_LENGTH - 1]}…"


def line(text: str) -> str:
    """Text on one line, cut when it is long."""
    words = " ".join(text.split())
    return words if len(words) <= _MAX_LINE_LENGTH else f"{words[: _MAX_LINE_LENGTH - 1]}…"


def short(value: object) -> str:
    """Repr of a value, cut when it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}…"


def size(count: int) -> str:
    """Bytes for people, with three digits at most, as the side panel and Jupyter show them."""
    amount, unit = float(count), _UNITS[0]
    for larger in _UNITS[1:]:
        if amount < _ROUNDED_UP:
            break
        amount, unit = amount / 1000, larger
    digits = 0 if amount >= 100 or amount.is_integer() else 1 if amount >= 10 else 2
    return f"{float(f'{amount:.{digits}f}'):g} {unit}"


def moment(stamp: str | None) -> str:
    """Show a time stamp of the wire (UTC, no zone) without its fractions."""
    return f"{stamp[:19].replace('T', ' ')} UTC" if stamp else ""


def duration(seconds: float | None) -> str:
    """Show a length of time in its largest unit, rounded down; nothing where there is none."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def text_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay a table out in plain text."""
    rows = [[harmless(text) for text in row] for row in rows]
    widths = [max(len(line[i]) for line in [headings, *rows]) for i in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay a table out in HTML."""
    head = "".join(f'<th style="text-align:left">{html.escape(text)}</th>' for text in headings)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_cell_style(text)}">{_escaped(text)}</td>' for text in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _escaped(text: str) -> str:
    return html.escape(harmless_lines(text))


def _cell_style(text: str) -> str:
    is_short = len(text) <= _UNBROKEN
    return f"text-align:left;white-space:{'nowrap' if is_short else 'normal'}"


def text_card(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Show one thing in plain text: a title, and a line a property that is not empty."""
    shown = [(name, text) for name, text in rows if text]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [harmless(title)]
    for name, text in shown:
        first, *others = harmless_lines("\n".join(text.splitlines())).split("\n")
        lines.append(f"  {name.ljust(width)}  {first}")
        lines.extend(f"  {' ' * width}  {line}" for line in others)
    return "\n".join(lines)


def html_card(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Show one thing in HTML."""
    body = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{html.escape(name)}</th>'
        f'<td style="text-align:left;white-space:pre-wrap{_font(name)}">'
        f"{_escaped(text)}</td></tr>"
        for name, text in rows
        if text
    )
    return f"<strong>{html.escape(harmless(title))}</strong><table><tbody>{body}</tbody></table>"


def _font(name: str) -> str:
    return ";font-family:monospace" if name in _CODE else ""


def text_result(rows: Sequence[tuple[str, str]], console: str, tables: Sequence[str] = ()) -> str:
    """Show the outputs of a service in plain text, what it printed first."""
    printed = [console.rstrip("\n")] if console.strip() else []
    lines = [*printed, *(f"{name} = {value}" for name, value in rows), *tables]
    return "\n".join(lines) or "no outputs"


def html_result(rows: Sequence[tuple[str, str]], console: str, tables: Sequence[str] = ()) -> str:
    """Show the outputs of a service in HTML, what it printed first."""
    printed = f"<pre>{html.escape(console.rstrip(chr(10)))}</pre>" if console.strip() else ""
    values = html_table(["output", "value"], [list(row) for row in rows]) if rows else ""
    return printed + values + "".join(tables) or "<p>no outputs</p>"


def is_frame(value: object) -> bool:
    """Whether a value is a pandas DataFrame, without loading pandas to find out."""
    return type(value).__name__ == "DataFrame" and hasattr(value, "to_html")


def text_frame(frame: Any) -> str:
    """Show a DataFrame in plain text, its middle left out where it is long."""
    text: str = frame.to_string(max_rows=_MAX_ROWS, show_dimensions="truncate")
    return text


def html_frame(name: str, frame: Any) -> str:
    """Show a DataFrame in HTML under its name; pandas escapes what is in it."""
    table: str = frame.to_html(max_rows=_MAX_ROWS, border=0, show_dimensions=len(frame) > _MAX_ROWS)
    return f"<p><strong>{html.escape(name)}</strong></p>{table}"
