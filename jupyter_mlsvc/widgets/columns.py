"""A field for each column of a data.frame, for one row; several rows are typed as a table."""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import ipywidgets

from jupyter_mlsvc.widgets.fields import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition

MAX_COLUMNS: Final = 40
"""Columns that get a field each."""


def column_fields(item: ParameterDefinition, area: ipywidgets.Textarea) -> ipywidgets.Widget | None:
    """Make fields that write one row into the text of a table, and show it; None for none."""
    columns = item.columns or []
    if item.type != "data.frame" or not 0 < len(columns) <= MAX_COLUMNS:
        return None
    return _ColumnFields(columns, area).box


class _ColumnFields:
    """Fields of one row, beside the text that is sent."""

    def __init__(self, columns: list[ColumnDefinition], area: ipywidgets.Textarea) -> None:
        self._area = area
        self._is_writing = False
        self._fields = {column.name: _field(column) for column in columns}
        self.box = ipywidgets.GridBox(
            list(self._fields.values()),
            layout=ipywidgets.Layout(grid_template_columns="repeat(auto-fill, minmax(220px, 1fr))"),
        )
        for field in self._fields.values():
            field.observe(self._write, "value")
        area.observe(self._read, "value")
        self._read({})

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._is_writing = True
        try:
            yield
        finally:
            self._is_writing = False

    def _write(self, _: dict[str, Any]) -> None:
        """Write the row into the text."""
        if self._is_writing:
            return
        values = {name: field.value for name, field in self._fields.items()}
        text = io.StringIO()
        if any(values.values()):
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(values)
            writer.writerow(values.values())
        with self._writing():
            self._area.value = text.getvalue().rstrip("\n")

    def _read(self, _: dict[str, Any]) -> None:
        """Show the row of the text, where it has just one; else the fields are out of the way."""
        if self._is_writing:
            return
        rows: list[list[str]] = []
        with suppress(ValueError, IndexError):
            rows = read_rows(self._area.value)
        is_empty = not self._area.value.strip()
        is_row = len(rows) == 2 and set(rows[0]) <= set(self._fields)
        self.box.layout.display = None if is_empty or is_row else "none"
        given = dict(zip(rows[0], rows[1], strict=False)) if is_row else {}
        with self._writing():
            for name, field in self._fields.items():
                value = given.get(name, "")
                field.value = value if _takes(field, value) else ""


def _field(column: ColumnDefinition) -> ipywidgets.Widget:
    common = {
        "description": column.name,
        "tooltip": column.description or column.type or column.name,
        "style": {"description_width": "8em"},
        "layout": ipywidgets.Layout(width="auto"),
    }
    choices = column.categories or (["true", "false"] if column.type.startswith("bool") else [])
    if choices:
        options = [("", ""), *((str(each), str(each)) for each in choices)]
        return ipywidgets.Dropdown(options=options, value="", **common)
    return ipywidgets.Text(placeholder=column.description or column.type, **common)


def _takes(field: ipywidgets.Widget, value: str) -> bool:
    if not isinstance(field, ipywidgets.Dropdown):
        return True
    return value in {choice for _, choice in field.options}
