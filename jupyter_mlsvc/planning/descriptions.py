"""What is said of inputs and outputs: columns and elements, descriptions, and examples.

Names, types and gaps are read from what the notebook has, or from the estimator that an input goes
to. Values are data: labels and incomes are values, and so are categories. They are shown to callers
where somebody says so, and never else.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.planning.request import Parameter, Request
from jupyter_mlsvc.planning.sources import Here
from jupyter_mlsvc.wire.columns import columns_of
from jupyter_mlsvc.wire.json_values import to_plain
from jupyter_mlsvc.wire.kinds import example_of, parameter_type
from jupyter_mlsvc.wire.model_input import (
    UnknownCategories,
    estimator_input,
    known_columns,
    learnt,
)
from jupyter_mlsvc.wire.models import ColumnDefinition, ItemsDefinition, ParameterDefinition
from jupyter_mlsvc.wire.suggestions import did_you_mean

_CALLS: Final = frozenset(
    {"predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score"}
)
"""Methods of estimators whose first argument has the columns that they were fitted with."""

_KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys("iuf", "number"),
    "b": "boolean",
    **dict.fromkeys("UT", "string"),
}
"""Types of elements by the kinds of dtypes."""


# --- values that somebody gives --------------------------------------------------------------


def evaluated(request: Request, namespace: dict[str, Any]) -> Request:
    """Return a request whose inputs have the values of their expressions.

    Raises
    ------
    InvalidInput
        An expression raises, or its value is none that JSON carries.
    """
    if not any(each.expression for each in request.inputs or ()):
        return request
    inputs = [_evaluated(each, namespace) for each in request.inputs or ()]
    return replace(request, inputs=inputs)


def _evaluated(given: Parameter, namespace: dict[str, Any]) -> Parameter:
    if not given.expression:
        return given
    try:
        value = eval(given.expression, namespace)  # noqa: S307  # as if it stood in a cell
    except Exception as error:
        raise InvalidInput(
            f"The example of {given.name!r}, {given.expression}, raises "
            f"{type(error).__name__}: {error}"
        ) from error
    return with_value(given, value)


def with_value(given: Parameter, value: object) -> Parameter:
    """Return an input with a value that callers may see.

    Raises
    ------
    InvalidInput
        JSON does not carry it.
    """
    kind = parameter_type(value)
    if kind is None:
        raise InvalidInput(
            f"The example of {given.name!r} is a {type(value).__name__}, which is none of the "
            "types of inputs."
        )
    return replace(
        given,
        type=given.type or kind,
        value=value,
        example=example_of(value),
        source="notebook",
        is_shown=True,
    )


# --- columns and elements --------------------------------------------------------------------


def declared_columns(
    each: Parameter, here: Here, code: str, *, shows_values: bool, ranges: bool
) -> list[ColumnDefinition] | UnsetType:
    """Describe the columns of a frame, so that the code gets their dtypes back.

    Parameters
    ----------
    each
        An input.
    code
        That of the service, for the estimator that the input goes to.
    shows_values
        Whether callers may see categories.
    ranges
        Whether numbers have to be in the range of those here.
    """
    if each.type != "data.frame":
        return UNSET
    if each.columns is not UNSET:
        return each.columns or UNSET
    value = live_value(each, here)
    if value is None or parameter_type(value) != "data.frame" or not hasattr(value, "iloc"):
        return _of_estimator(each.name, here, code, shows_values=shows_values) or UNSET
    return [
        _described(column, value.iloc[:, place], shows_values=shows_values, ranges=ranges)
        for place, column in enumerate(columns_of(value))
    ] or UNSET


def _described(
    column: ColumnDefinition, values: Any, *, shows_values: bool, ranges: bool
) -> ColumnDefinition:
    # Whole numbers are what the values of a sample happen to be; those of others need not.
    changes: dict[str, Any] = {"type": "number"} if column.type == "int64" else {}
    with suppress(TypeError, ValueError):
        if bool(values.isna().any()):
            changes["nullable"] = True
    if column.type == "category" and not shows_values:
        changes["hide_categories"] = True
    if ranges and values.dtype.kind in "iuf" and len(values):
        low, high = (to_plain(limit, column.name) for limit in (values.min(), values.max()))
        if low is not None and high is not None:
            changes |= {"minimum": low, "maximum": high}
    return msgspec.structs.replace(column, **changes)


def estimator_of(name: str, here: Here, code: str) -> Any:
    """Return the fitted estimator of the notebook that code gives an input to; None without one.

    Where the code does anything else with the input, it may have other columns than the estimator.
    """
    nodes: list[ast.AST] = []
    with suppress(SyntaxError, ValueError):
        nodes = list(ast.walk(ast.parse(code)))
    models = [model for node in nodes if (model := _model_called_with(node, name)) is not None]
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in nodes)
    if not models or uses != len(models):
        return None
    found = here.objects.get(models[0])
    return found if learnt(found, "feature_names_in_") is not None else None


def _model_called_with(node: ast.AST, name: str) -> str | None:
    """Name what a call such as ``model.predict(name)`` calls."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=model), attr=method),
            args=[ast.Name(id=given), *_],
        ) if given == name and method in _CALLS:
            return model
    return None


def _of_estimator(
    name: str, here: Here, code: str, *, shows_values: bool
) -> list[ColumnDefinition]:
    """Describe the columns that the estimator was fitted with to which an input goes."""
    estimator = estimator_of(name, here, code)
    if estimator is None:
        return []
    try:
        columns = known_columns(estimator)
    except UnknownCategories:
        return []
    columns = columns or [
        ColumnDefinition(name=each.name, type=each.type)
        for each in estimator_input(estimator).columns
    ]
    return [
        msgspec.structs.replace(each, hide_categories=True)
        if each.categories is not None and not shows_values
        else each
        for each in columns
    ]


def declared_items(each: Parameter, here: Here) -> ItemsDefinition | UnsetType:
    """Describe the elements of a vector or matrix by the values that it has here."""
    value = live_value(each, here)
    if value is None or parameter_type(value) != each.type:
        return UNSET
    word = _word_of(value) if each.type in {"vector", "matrix"} else ""
    return ItemsDefinition(type=word) if word else UNSET


def _word_of(value: Any) -> str:
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        # Objects, dates and categories say nothing of their form in JSON here.
        return _KINDS.get(getattr(dtype, "kind", ""), "")
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, list | tuple) or not value:
        return ""
    with suppress(TypeError, ValueError):
        return _KINDS.get(numpy.asarray(value).dtype.kind, "")
    return ""


def live_value(each: Parameter, here: Here) -> Any:
    """Return what an input is here: the value that was given for it, or that of its name."""
    return here.objects.get(each.name) if each.value is UNSET else each.value


# --- texts -----------------------------------------------------------------------------------


def described(
    inputs: Sequence[ParameterDefinition],
    outputs: Sequence[ParameterDefinition],
    texts: Mapping[str, str],
) -> tuple[list[ParameterDefinition], list[ParameterDefinition]]:
    """Return inputs and outputs with descriptions, of themselves and of their columns.

    Parameters
    ----------
    texts
        Descriptions by the names of inputs and outputs, of columns, or of both with a dot.

    Raises
    ------
    InvalidInput
        There is no such input, output or column.
    """
    left = dict(texts)
    found = (
        [_with_texts(each, texts, left) for each in inputs],
        [_with_texts(each, texts, left) for each in outputs],
    )
    if left:
        name = next(iter(left))
        known = [*_names(inputs), *_names(outputs)]
        raise InvalidInput(
            f"There is no input, output or column {name!r} to describe."
            f"{did_you_mean(name, known)} {_listed_names(known)}"
        )
    return found


def _with_texts(
    definition: ParameterDefinition, texts: Mapping[str, str], left: dict[str, str]
) -> ParameterDefinition:
    changes: dict[str, Any] = {}
    if definition.name in texts:
        changes["description"] = texts[definition.name]
        left.pop(definition.name, None)
    if definition.columns:
        columns = []
        for column in definition.columns:
            for key in (f"{definition.name}.{column.name}", column.name):
                if key in texts:
                    left.pop(key, None)
                    column = msgspec.structs.replace(column, description=texts[key])  # noqa: PLW2901
                    break
            columns.append(column)
        changes["columns"] = columns
    return msgspec.structs.replace(definition, **changes) if changes else definition


def _names(definitions: Iterable[ParameterDefinition]) -> Iterable[str]:
    for each in definitions:
        yield each.name
        for column in each.columns or ():
            yield column.name


def _listed_names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10]) + ", …" * (len(names) > 10)
    return f"There are {shown}." if names else "None are known."
