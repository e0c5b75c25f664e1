"""Values of a column, or elements of a vector or matrix, checked against what is declared of them.

The check is made before the code runs. It costs nothing where nothing is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from types import NoneType
from typing import Any, Final

from jupyter_mlsvc.wire.arrays import SCALARS
from jupyter_mlsvc.wire.json_values import ValueProblem, describe, is_exact
from jupyter_mlsvc.wire.models import ColumnDefinition, ItemsDefinition, ParameterDefinition
from jupyter_mlsvc.wire.suggestions import closest

Check = Callable[[list[Any], str], object]
"""Takes JSON values and their path; raises a ``ValueProblem``."""

SHOWN: Final = 10
"""Names or categories that a message lists."""

_NUMBERS: Final = frozenset({int, float, NoneType})
_KINDS: Final[dict[str, tuple[set[type], str]]] = {
    "number": ({int, float}, "a number"),
    "integer": ({int, float}, "a whole number"),
    "string": ({str}, "a string"),
    "boolean": ({bool}, "true or false"),
}

WORDS: Final = tuple(_KINDS)
"""Types of values by the words of JSON Schema."""


class MissingColumns(ValueProblem):
    """A data.frame lacks columns; the message names them, and what may be meant for each."""

    def __init__(self, path: str, missing: Sequence[str], unknown: Iterable[str]) -> None:
        super().__init__(path, "", "")
        self.args = (f"{path} lacks {missing_text(missing, list(unknown))}.",)


def missing_text(missing: Sequence[str], others: Sequence[str]) -> str:
    """Name columns that are missing, each with the one of the others that may be meant for it."""
    named = [_with_meant(name, others) for name in missing[:SHOWN]]
    noun = "column" if len(missing) == 1 else "columns"
    more = f", … ({len(missing):,} in all)" if len(missing) > SHOWN else ""
    return f"the {noun} {', '.join(named)}{more}"


def _with_meant(name: str, others: Sequence[str]) -> str:
    meant = closest(name, others)
    return repr(name) if meant is None else f"{name!r} (did you mean it by {meant!r}?)"


def require(values: list[Any], allowed: set[type], path: str, expected: str) -> frozenset[type]:
    """Give the kinds of values, which have to be allowed or null."""
    kinds = frozenset(map(type, values))
    if not kinds <= allowed | {NoneType}:
        require_each(values, lambda item: type(item) in allowed, path, expected)
    return kinds


def require_each(
    values: Iterable[Any], fits: Callable[[Any], object], path: str, expected: str
) -> None:
    """Raise for the first value that does not fit; null fits always."""
    for i, item in enumerate(values):
        if item is not None and not fits(item):
            raise ValueProblem(f"{path}[{i}]", expected, describe(item))


def key(item: Any) -> tuple[bool, Any]:
    """Tell 1 and true apart, which are equal in Python."""
    return type(item) is bool, item if type(item) in SCALARS else None


def require_word(word: str, values: list[Any], path: str) -> None:
    """Check that values are of a type of JSON Schema, or null."""
    allowed, expected = _KINDS[word]
    kinds = require(values, allowed, path, expected)
    if word == "integer" and float in kinds:
        require_each(
            values, lambda item: type(item) is int or _is_whole(item), path, "a whole number"
        )


def _is_whole(item: float) -> bool:
    return item.is_integer() and is_exact(item)


def check_of(cells: ColumnDefinition | ItemsDefinition) -> Check | None:
    """Return the check of what is declared besides the type; None where nothing is."""
    checks: list[Check] = []
    if cells.nullable is False:
        checks.append(_require_values)
    if cells.minimum is not None or cells.maximum is not None:
        checks.append(_range(cells.minimum, cells.maximum))
    if cells.categories is not None and getattr(cells, "type", "") != "category":
        checks.append(_listed(cells))
    if not checks:
        return None

    def check(values: list[Any], path: str) -> None:
        for each in checks:
            each(values, path)

    return check


def items_check(definition: ParameterDefinition) -> Callable[[Any, str], object] | None:
    """Return the check of a vector or matrix in JSON; None where nothing is declared of it."""
    items, shape = definition.items or None, definition.shape or None
    if items is None and shape is None:
        return None
    is_matrix = definition.type == "matrix"
    more = None if items is None else check_of(items)
    word = "" if items is None else items.type

    def check_elements(elements: list[Any], path: str) -> None:
        if word:
            require_word(word, elements, path)
        if more is not None:
            more(elements, path)

    def check(value: Any, path: str) -> None:
        if shape is not None:
            _require_shape(value, shape, path, is_matrix=is_matrix)
        if not is_matrix:
            check_elements(value, path)
            return
        try:
            check_elements(list(chain.from_iterable(value)), path)
        except ValueProblem:
            # Look at each row only where something is wrong.
            for i, row in enumerate(value):
                check_elements(row, f"{path}[{i}]")

    return check


def _require_shape(
    value: list[Any], shape: Sequence[int | None], path: str, *, is_matrix: bool
) -> None:
    if not is_matrix:
        (length,) = shape
        if length is not None and len(value) != length:
            raise ValueProblem(path, f"a vector of {_values(length)}", f"one of {len(value)}")
        return
    rows, columns = shape
    if rows is not None and len(value) != rows:
        raise ValueProblem(path, f"a matrix of {_rows(rows)}", f"one of {len(value)}")
    width = len(value[0]) if value else columns
    if columns is not None and width != columns:
        raise ValueProblem(path, f"a matrix with rows of {_values(columns)}", f"of {width}")


def _values(number: int) -> str:
    return "1 value" if number == 1 else f"{number} values"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"


def _require_values(values: list[Any], path: str) -> None:
    if None in values:
        raise ValueProblem(f"{path}[{values.index(None)}]", "a value", "null")


def _range(minimum: float | None, maximum: float | None) -> Check:
    words = [
        *([] if minimum is None else [f"from {minimum:g}"]),
        *([] if maximum is None else [f"up to {maximum:g}"]),
    ]
    expected = f"a number {' '.join(words)}"
    low = float("-inf") if minimum is None else minimum
    high = float("inf") if maximum is None else maximum

    def check(values: list[Any], path: str) -> None:
        kinds = require(values, {int, float}, path, expected)
        numbers = [item for item in values if item is not None] if NoneType in kinds else values
        if numbers and not (low <= min(numbers) and max(numbers) <= high):
            require_each(values, lambda item: low <= item <= high, path, expected)

    return check


def _listed(cells: ColumnDefinition | ItemsDefinition) -> Check:
    known = {key(item) for item in cells.categories or ()}
    expected = listed_text(cells)

    def check(values: list[Any], path: str) -> None:
        require_each(values, lambda item: key(item) in known, path, expected)

    return check


def listed_text(cells: ColumnDefinition | ItemsDefinition) -> str:
    """Say which values there are, unless they are for the publisher only."""
    listed = cells.categories or []
    if getattr(cells, "hide_categories", False):
        return "one of the values that the column takes"
    if not listed:
        return "null, as there are no values that it takes"
    return f"one of {', '.join(map(repr, listed[:SHOWN]))}" + ", …" * (len(listed) > SHOWN)
