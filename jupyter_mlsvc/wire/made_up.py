"""Made-up values of parameters: they have the right types, and are nobody's data."""

from __future__ import annotations

from typing import Any, Final

from jupyter_mlsvc.wire.models import ColumnDefinition, ItemsDefinition, ParameterDefinition

_CELLS: Final[tuple[tuple[str, Any], ...]] = (
    ("str", "text"),
    ("object", "text"),
    ("bool", True),
    ("timedelta64", "PT1H"),
    ("duration", "PT1H"),
    ("period", "2024-01"),
)


def made_up(definition: ParameterDefinition) -> Any:
    """Return a value of the type of a parameter that stands for nobody's data."""
    match definition.type:
        case "data.frame":
            columns = definition.columns or ()
            return {column.name: [_made_up_cell(column)] * 2 for column in columns} or {"x": [1.5]}
        case "vector":
            length = (definition.shape or [None])[0]
            return [_made_up_cell(definition.items or None)] * (3 if length is None else length)
        case "matrix":
            rows, columns_ = definition.shape or (None, None)
            row = [_made_up_cell(definition.items or None)] * (3 if columns_ is None else columns_)
            return [row] * (2 if rows is None else rows)
        case "logical":
            return True
        case "integer":
            return 1
        case "numeric":
            return 1.5
        case "character":
            return "text"
    return None


def _made_up_cell(cells: ColumnDefinition | ItemsDefinition | None) -> Any:
    if cells is None:
        return 1.5
    kind = cells.type
    if cells.categories and not getattr(cells, "hide_categories", False):
        return cells.categories[0]
    if kind == "category":
        # The values are for the publisher only.
        return None
    if kind.startswith(("datetime64", "timestamp")):
        return "2024-01-31T12:00:00Z" if "," in kind else "2024-01-31"
    found = next((value for start, value in _CELLS if kind.lower().startswith(start)), None)
    return _number(cells) if found is None else found


def _number(cells: ColumnDefinition | ItemsDefinition) -> float:
    low, high = cells.minimum, cells.maximum
    if low is not None and high is not None:
        middle = (low + high) / 2
        return round(middle) if low <= round(middle) <= high else middle
    if low is not None:
        return max(low, 1)
    return 1 if high is None else min(high, 1)
