"""Inputs as people type them, and outputs as people read them; no widgets in here.

A vector is a list with commas, a matrix a table without a heading, and a data.frame one with a
heading, both as CSV or as a spreadsheet copies them. JSON is understood everywhere.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.wire.columns import is_text
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.values import ValueProblem, input_decoder

_MISSING: Final = frozenset({"", "na", "nan", "null", "none"})
_TRUTHS: Final = {"true": True, "false": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
# What float() takes besides, as 1_000 or infinity, is text in a table, and no number in JSON.
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_MAX_ROWS: Final = 50
_MAX_TEXT: Final = 5000
_IMAGES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How a type of parameter is typed in.

    Attributes
    ----------
    hint : str
        Shown while the field is empty.
    is_table : bool
        Whether it takes several lines.
    """

    hint: str
    is_table: bool = False


_KINDS: Final[Mapping[str, Kind]] = {
    "logical": Kind(""),
    "numeric": Kind("a number, such as 1.5"),
    "integer": Kind("a whole number"),
    "character": Kind("text"),
    "vector": Kind("values with commas, such as 7, 3.2, 4.7"),
    "matrix": Kind("a row a line, such as 1, 2, 3; or paste cells of a spreadsheet", is_table=True),
    "data.frame": Kind(
        "CSV with the names of the columns first; or paste cells of a spreadsheet", is_table=True
    ),
}


def kind_of(type_name: str) -> Kind:
    """Tell how a type is typed in; one that the contract does not know is JSON."""
    return _KINDS.get(type_name, Kind("JSON", is_table=True))


# --- reading -----------------------------------------------------------------------------------


def read_field(definition: ParameterDefinition, text: str) -> Any:
    """Read what somebody typed, as the JSON value that is sent.

    Raises
    ------
    ValueError
        It is not of the type; the message says what is wrong, for somebody who sees the field.
    """
    reader = _READERS.get(definition.type, _json)
    if definition.columns:
        texts = frozenset(column.name for column in definition.columns if is_text(column))
        reader = partial(_data_frame, texts=texts)
    if not text.strip() and definition.type != "character":
        raise ValueError(f"Enter {kind_of(definition.type).hint or 'a value'}.")
    value = reader(text)
    try:
        # As the service reads it; what would fail there is said here.
        input_decoder(definition)(value, definition.name)
    except ValueProblem as problem:
        raise ValueError(str(problem)) from None
    return value


def _number(text: str) -> float | int | None:
    cell = text.strip()
    if cell.lower() in _MISSING:
        return None
    if _WHOLE.fullmatch(cell):
        return int(cell)
    if not _DECIMAL.fullmatch(cell):
        raise ValueError(f"{_short(cell)} is no number.")
    value = float(cell)
    if math.isinf(value):
        raise ValueError(f"{_short(cell)} is too large.")
    return value


def _logical(text: str) -> bool | None:
    word = text.strip().lower()
    if word in _MISSING:
        return None
    if word not in _TRUTHS:
        raise ValueError("Enter true or false.")
    return _TRUTHS[word]


def _vector(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, list):
        return value
    try:
        found: list[Any] = json.loads(f"[{text}]")
    except ValueError:
        pass
    else:
        return found
    rows = _rows(text)
    cells = rows[0] if len(rows) == 1 else [cell for row in rows for cell in row]
    return [_cell(cell) for cell in cells]


def _matrix(text: str) -> list[Any]:
    value = _json_or_none(text)
    if isinstance(value, list):
        return value
    rows = _rows(text, or_spaces=True)
    _check_lengths(rows, "line 1")
    return [[_cell(cell) for cell in row] for row in rows]


def _data_frame(text: str, texts: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Read a table; columns that are known to be texts stay what was typed."""
    value = _json_or_none(text)
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        names = list(dict.fromkeys(name for row in value for name in row))
        return {name: [row.get(name) for row in value] for name in names}
    rows = _rows(text)
    heading = [name.strip() for name in rows[0]]
    if twice := {name for name in heading if heading.count(name) > 1}:
        raise ValueError(f"The column {min(twice)!r} is there twice.")
    if len(rows) == 1:
        raise ValueError("There is a line of names, but no line of values.")
    _check_lengths(rows, "the line of names")
    columns = {name: [row[number] for row in rows[1:]] for number, name in enumerate(heading)}
    return {
        name: [cell.strip() or None for cell in cells] if name in texts else _column(cells)
        for name, cells in columns.items()
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"This is no JSON: {error}.") from None


def _json_or_none(text: str) -> Any:
    if text.lstrip()[:1] not in {"[", "{"}:
        return None
    return _json(text)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "logical": _logical,
    "numeric": _number,
    "integer": _number,
    "character": str,
    "vector": _vector,
    "matrix": _matrix,
    "data.frame": _data_frame,
}


def read_rows(text: str) -> list[list[str]]:
    """Read the lines of a table as cells, the names of its columns first; JSON has none."""
    return [] if not text.strip() or text.lstrip()[0] in "[{" else _rows(text)


def _rows(text: str, *, or_spaces: bool = False) -> list[list[str]]:
    """Split text into cells: by tabs as a spreadsheet copies them, else by ; or commas."""
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = next((each for each in "\t;" if each in lines[0]), ",")
    if or_spaces and delimiter not in lines[0]:
        return [line.split() for line in lines]
    return list(
        csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, skipinitialspace=True)
    )


def _check_lengths(rows: Sequence[Sequence[str]], first: str) -> None:
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise ValueError(f"Line {number} has {len(row)} values and {first} has {len(rows[0])}.")


def _column(cells: Sequence[str]) -> list[Any]:
    """Read the cells of a column alike, so that a 7 among texts stays a text."""
    values = [_cell(cell) for cell in cells]
    if any(isinstance(value, str) for value in values):
        return [None if not cell.strip() else cell for cell in cells]
    return values


def _cell(text: str) -> Any:
    word = text.strip().lower()
    if word in _MISSING:
        return None
    if word in _TRUTHS:
        return _TRUTHS[word]
    try:
        return _number(text)
    except ValueError:
        return text.strip()


def write_field(type_name: str, value: Any) -> str:
    """Write a JSON value as somebody would type it; what :func:`read_field` reads again."""
    if value is None:
        return ""
    try:
        text = _typed(type_name, value)
        if _READERS.get(type_name, _json)(text) == value:
            return text
    except (ValueError, TypeError, IndexError):  # such as columns of different lengths
        pass
    return json.dumps(value, ensure_ascii=False)


def _typed(type_name: str, value: Any) -> str:
    if type_name == "character" and isinstance(value, str):
        return value
    if type_name == "vector" and isinstance(value, list):
        return ", ".join(json.dumps(item, ensure_ascii=False) for item in value)
    if type_name == "matrix" and isinstance(value, list):
        return "\n".join(
            ", ".join("" if cell is None else str(cell) for cell in row) for row in value
        )
    if type_name == "data.frame" and isinstance(value, dict) and value:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(value)
        writer.writerows(zip(*value.values(), strict=True))
        return file.getvalue().rstrip("\n")
    return json.dumps(value, ensure_ascii=False)


# --- showing -----------------------------------------------------------------------------------


def html_outputs(outputs: Sequence[ParameterDefinition], result: ServiceResult) -> str:
    """Show a result: each output by its type, then files (images as such), then what it printed."""
    types = {item.name: item.type for item in outputs}
    parts = [
        f"<div><b>{html.escape(name)}</b>: {_html_value(types.get(name, ''), value)}</div>"
        for name, value in result.outputs.items()
    ]
    parts += [_html_file(name, data) for name, data in result.files.items()]
    if result.console_output.strip():
        parts.append(f"<pre>{html.escape(result.console_output.rstrip()[:_MAX_TEXT])}</pre>")
    return "".join(parts) or "<div>The service has no outputs.</div>"


def _html_value(type_name: str, value: Any) -> str:
    if type_name == "data.frame" and isinstance(value, dict) and _are_columns(value):
        rows = [list(row) for row in zip(*value.values(), strict=False)]
        return _html_table(list(value), rows)
    if type_name == "matrix" and isinstance(value, list) and value and isinstance(value[0], list):
        return _html_table([str(number) for number in range(len(value[0]))], value)
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        text = ", ".join(_text(item) for item in value)
    else:
        text = _text(value)
    return f"<code>{html.escape(text[:_MAX_TEXT])}{'…' if len(text) > _MAX_TEXT else ''}</code>"


def _are_columns(value: Mapping[str, Any]) -> bool:
    return bool(value) and all(isinstance(column, list) for column in value.values())


def _html_table(heading: list[str], rows: Sequence[Sequence[Any]]) -> str:
    shown = [[_text(cell) for cell in row] for row in rows[:_MAX_ROWS]]
    more = len(rows) - len(shown)
    note = f"<div>and {more:,} more rows</div>" if more else ""
    return formatting.html_table(heading, shown) + note


def _html_file(name: str, data: bytes | None) -> str:
    label = html.escape(name)
    if data is None:
        return f"<div><b>{label}</b>: not written</div>"
    kind = _IMAGES.get(name.rpartition(".")[2].lower())
    if kind is None:
        return f"<div><b>{label}</b>: a file of {formatting.size(len(data))}</div>"
    encoded = base64.b64encode(data).decode()
    return (
        f"<div><b>{label}</b><br>"
        f'<img alt="{label}" style="max-width:100%" src="data:{kind};base64,{encoded}"></div>'
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
