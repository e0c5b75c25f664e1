"""Results as markdown for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .bars import Bar


@dataclass(frozen=True)
class Table:
    """A markdown table; the first column is text, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Draw it, padded so that it also reads well as plain text."""
        lines = [list(self.columns), *(list(row) for row in self.rows)]
        for line in lines:
            if len(line) != len(self.columns):
                raise ValueError(f"{len(self.columns)} cells were expected, not {line!r}.")
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        rule = [
            "-" * width if i == 0 else "-" * max(width - 1, 1) + ":"
            for i, width in enumerate(widths)
        ]
        return "\n".join(_row(line, widths) for line in [lines[0], rule, *lines[1:]])


@dataclass(frozen=True)
class Section:
    """What one measure found.

    Parameters
    ----------
    title
        Its heading.
    tables
        Figures for people.
    data
        Figures for programs.
    notes
        How to read them.
    bars
        What the figures ought to be; shown together at the end of a run.
    faults
        What went wrong while measuring, so that the figures are not to be trusted.
    """

    title: str
    tables: Sequence[Table]
    data: dict[str, Any]
    notes: Sequence[str] = field(default_factory=tuple)
    bars: Sequence[Bar] = field(default_factory=tuple)
    faults: Sequence[str] = field(default_factory=tuple)

    def markdown(self) -> str:
        """Draw it under a heading."""
        tables = "\n\n".join(table.markdown() for table in self.tables)
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join(part for part in (f"### {self.title}", tables, notes) if part) + "\n"


def bar_table(bars: Iterable[Bar]) -> Table:
    """Lay bars out, in the order given."""
    return Table(["bar", "limit", "figure", "reached"], [bar.row() for bar in bars])


def as_json(environment: dict[str, Any], sections: Sequence[Section]) -> str:
    """All raw figures, indented."""
    document = {
        "environment": environment,
        "measures": {section.title: section.data for section in sections},
        "bars": [bar.data() for section in sections for bar in section.bars],
    }
    return json.dumps(document, indent=2, default=_plain) + "\n"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no place in the figures.")
