"""Schemas of inputs and outputs, as far as a service says what their values are.

Both documents of a service are made with these. Swagger 2.0 has no unions, so that a value which
may be null is told there by an extension, and it has one example where OpenAPI 3.1 has several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.cells import WORDS
from jupyter_mlsvc.wire.model_input import ModelInput

Json = dict[str, Any]

_CELLS: Final = (
    ("bool", "boolean"),
    # A column that had whole numbers takes others as well.
    *((word, "number") for word in ("int", "uint", "float", "double")),
    *((word, "string") for word in ("str", "datetime", "timedelta", "period")),
)
"""How dtypes begin whose values are of one type in JSON; intervals are none that is served."""


def model_schema(model: ModelInput, any_value: Json, *, may_be_null: bool = False) -> Json:
    """Describe the columns of the data.frame that a model takes, over what is said of all.

    Parameters
    ----------
    model
        What it takes.
    any_value
        Schema of a value of no known type.
    may_be_null
        Whether the format can say that a number may be missing.
    """

    def array(kind: str) -> Json:
        if not kind:
            return {"type": "array", "items": any_value}
        can_be = [kind, "null"] if may_be_null and kind == "number" else kind
        return {"type": "array", "items": {"type": can_be}}

    if model.columns:
        return {
            "properties": {column.name: array(column.type) for column in model.columns},
            "required": [column.name for column in model.columns],
        }
    if model.width is None:
        return {}
    return {
        "description": f"data.frame of {model.width} columns, whose order counts",
        "additionalProperties": array(model.type),
        "minProperties": model.width,
        "maxProperties": model.width,
    }


def parameter_schema(
    definition: models.ParameterDefinition, of_type: Mapping[str, Any], *, may_be_null: bool = False
) -> Json:
    """Describe an input or output.

    Parameters
    ----------
    definition
        The parameter.
    of_type
        What is said of its type.
    may_be_null
        Whether the format is OpenAPI 3.1, which can say that a value may be missing.
    """
    schema = {**of_type, **columns_schema(definition, may_be_null=may_be_null)}
    if definition.items or definition.shape:
        schema |= _elements(definition, schema, may_be_null=may_be_null)
    if definition.default is not UNSET:
        schema["default"] = definition.default
    if definition.example is not UNSET:
        schema |= _example(definition.example, is_list=may_be_null)
    kind = definition.type
    schema["description"] = f"{definition.description} ({kind})" if definition.description else kind
    return schema


def columns_schema(definition: models.ParameterDefinition, *, may_be_null: bool = False) -> Json:
    """Describe the columns of a parameter that are known, over what is said of its type.

    Parameters
    ----------
    definition
        The parameter.
    may_be_null
        Whether the format can say that a value may be missing.
    """
    if not definition.columns:
        return {}
    return {
        "properties": {
            column.name: {"type": "array", "items": _column(column, may_be_null=may_be_null)}
            for column in definition.columns
        },
        "required": [column.name for column in definition.columns],
    }


def examples_of(service: models.WebService) -> list[models.ServiceExample]:
    """Return the examples of a service: its own, or one made of those of its inputs and outputs."""
    if service.examples:
        return service.examples
    inputs = service.input_parameter_definitions
    needed = [each for each in inputs if each.default is UNSET]
    shown = {each.name: each.example for each in inputs if each.example is not UNSET}
    if not shown or any(each.name not in shown for each in needed):
        return []
    outputs = {
        each.name: each.example
        for each in service.output_parameter_definitions
        if each.example is not UNSET
    }
    return [models.ServiceExample(inputs=shown, outputs=outputs)]


def _elements(definition: models.ParameterDefinition, schema: Json, *, may_be_null: bool) -> Json:
    """Describe the elements of a vector or matrix, and how many there are."""
    is_matrix = definition.type == "matrix"
    inner = schema.get("items", {})
    cell = inner.get("items", {}) if is_matrix else inner
    if definition.items:
        cell = _cell(definition.items, may_be_null=may_be_null) or cell
    lengths = definition.shape or [None] * (1 + is_matrix)
    found: Json = cell
    for length in reversed(lengths):
        found = {"type": "array", "items": found}
        if length is not None:
            found |= {"minItems": length, "maxItems": length}
    del found["type"]
    return found


def _column(column: models.ColumnDefinition, *, may_be_null: bool) -> Json:
    schema = _cell(column, may_be_null=may_be_null)
    if column.description:
        kind = f" ({column.type})" if column.type else ""
        schema["description"] = f"{column.description}{kind}"
    elif column.type and column.type not in WORDS:
        schema["description"] = column.type
    if column.type.startswith("datetime64[") and "," in column.type:
        schema["format"] = "date-time"
    return schema


def _cell(cells: models.ColumnDefinition | models.ItemsDefinition, *, may_be_null: bool) -> Json:
    schema: Json = {}
    may_be_null = may_be_null and cells.nullable is not False
    kind = _json_type(cells.type)
    if kind:
        schema["type"] = [kind, "null"] if may_be_null else kind
    if cells.nullable is True and not may_be_null:
        schema["x-nullable"] = True
    if cells.categories is not None:
        schema["enum"] = cells.categories + [None] * may_be_null
    if cells.minimum is not None:
        schema["minimum"] = cells.minimum
    if cells.maximum is not None:
        schema["maximum"] = cells.maximum
    return schema


def _json_type(dtype: str) -> str:
    if dtype in WORDS:
        return dtype
    return next((kind for start, kind in _CELLS if dtype.lower().startswith(start)), "")


def _example(value: Any, *, is_list: bool) -> Json:
    return {"examples": [value]} if is_list else {"example": value}
