"""The seven parameter types and JSON: inputs to Python objects, outputs to plain JSON data.

The contract leaves the Python side open. Ours: a ``vector`` is a 1-D numpy array (object dtype
when it holds text or is mixed), a ``matrix`` a 2-D one, a ``data.frame`` a pandas DataFrame, the
others are Python scalars. A type name that is none of the seven passes JSON through.

A row is treated alone as it is among others. So null is NaN in a ``numeric``, in matrices, in data
frames and in vectors of numbers, also where nothing else is there; it is None elsewhere. numpy and
pandas are imported when a value needs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any, Final

from jupyter_mlsvc.wire.arrays import LONG, SCALARS, cells, floats_of, one_dimensional
from jupyter_mlsvc.wire.cells import WORDS, check_of, items_check, require_word
from jupyter_mlsvc.wire.columns import (
    as_given,
    frame_reader,
    from_records,
    in_order,
    make_frame,
    read_columns,
)
from jupyter_mlsvc.wire.json_values import (
    WITHOUT_POINT,
    ValueProblem,
    describe,
    is_exact,
    member,
    to_plain,
)
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition

__all__ = [
    "TYPES",
    "ValueProblem",
    "check_input",
    "decode_input",
    "encode_output",
    "input_decoder",
    "plain_input",
]

ReadInput = Callable[[Any, str], Any]
"""Takes the JSON data and the name of an input; raises a ``ValueProblem``."""

TYPES: Final = ("logical", "numeric", "integer", "character", "vector", "matrix", "data.frame")
"""The type names that the contract defines; others are taken as they are."""

TABLE_TYPES: Final = frozenset({"vector", "matrix", "data.frame"})
"""Types whose default may be null: code gets None for what was left out, never for a null."""

_SCALAR_TYPES: Final = frozenset({"logical", "numeric", "integer", "character"})
_SCALAR: Final = "a number, a string, true, false or null"


def decode_input(type_name: str, value: Any, name: str = "value") -> Any:
    """Turn JSON data into what user code sees as an input.

    Parameters
    ----------
    type_name : str
        Declared type of the parameter.
    value : Any
        Decoded JSON: None, bool, int, float, str, list or dict.
    name : str
        Name of the parameter, for messages.

    Raises
    ------
    ValueProblem
        The value is not of the declared type.
    """
    if value is None:
        return math.nan if type_name == "numeric" else None
    decode = _DECODERS.get(type_name)
    return value if decode is None else decode(value, name)


def input_decoder(definition: ParameterDefinition) -> ReadInput:
    """Give what decodes an input as it is declared, with the dtypes of columns that are known.

    Raises
    ------
    UnsupportedColumn
        A column is of a dtype that is not served, or of none that there is.
    """
    if definition.type == "data.frame" and definition.columns:
        read = frame_reader(definition.columns)
        return lambda value, name: None if value is None else read(value, name)
    check = items_check(definition)
    if check is None:
        return partial(decode_input, definition.type)

    def decode(value: Any, name: str) -> Any:
        decoded = decode_input(definition.type, value, name)
        if value is not None:
            check(value, name)
        return decoded

    return decode


def check_input(type_name: str, value: Any, name: str = "value") -> None:
    """See to it that JSON data is of a declared type, without making anything of it.

    Raises
    ------
    ValueProblem
        It is not.
    """
    check = _CHECKS.get(type_name)
    if value is not None and check is not None:
        check(value, name)


def plain_input(definition: ParameterDefinition, value: Any, name: str = "value") -> Any:
    """Check JSON data for a language whose scalars are vectors of one, such as R.

    Returns
    -------
    Any
        JSON data: a list of one is the scalar that is declared, records are columns, and
        columns that are known are in their order.

    Raises
    ------
    ValueProblem
        The value is not of the declared type.
    """
    if definition.type == "data.frame" and value is not None:
        columns = definition.columns or ()
        plain = in_order(read_columns(value, name, as_given), columns, value, name)
        for column in columns:
            _check_plain(column, plain[column.name], member(name, column.name))
        return plain
    if type(value) is list and len(value) == 1 and definition.type in _SCALAR_TYPES:
        (value,) = value
    check_input(definition.type, value, name)
    check = None if value is None else items_check(definition)
    if check is not None:
        check(value, name)
    return value


def _check_plain(column: ColumnDefinition, values: list[Any], path: str) -> None:
    """Check what can be told of a column without pandas."""
    if column.type in WORDS:
        require_word(column.type, values, path)
    check = check_of(column)
    if check is not None:
        check(values, path)


def encode_output(type_name: str, value: Any, name: str = "value") -> Any:
    """Turn a value of user code into JSON data of the declared type.

    A scalar declared ``vector`` becomes a list of one, an array of one element declared as a
    scalar is unboxed. None is null for every type.

    Raises
    ------
    ValueProblem
        The value is not of the declared type, or JSON can't carry it.
    """
    if type_name == "data.frame" and hasattr(type(value), "to_frame"):
        value = value.to_frame()  # a Series keeps its name as the column's
    plain = to_plain(value, name)
    if plain is None:
        # Of an object that is there, null means "missing" (NaN): a vector of one missing value.
        return [None] if type_name == "vector" and value is not None else None
    encode = _ENCODERS.get(type_name)
    return plain if encode is None else encode(plain, name)


# --- inputs ----------------------------------------------------------------------------------


def _logical(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise ValueProblem(path, "true or false (logical)", describe(value))
    return value


def _numeric(value: Any, path: str) -> float:
    if type(value) is float:
        return value
    number = _number(value, path)
    try:
        return float(number)
    except OverflowError:
        raise ValueProblem(path, "a number below 1.8e308 (numeric)", describe(number)) from None


def _number(value: Any, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueProblem(path, "a number (numeric)", describe(value))
    return value


def _integer(value: Any, path: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueProblem(path, "a whole number (integer)", describe(value))
    return value


def _integer_input(value: Any, path: str) -> int:
    if isinstance(value, float) and not is_exact(value):
        raise ValueProblem(path, f"{WITHOUT_POINT} (integer)", describe(value))
    return _integer(value, path)


def _character(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise ValueProblem(path, "a string (character)", describe(value))
    return value


def _vector(value: Any, path: str) -> Any:
    if type(value) is list and len(value) >= LONG and (floats := floats_of(value)) is not None:
        return floats
    kinds = _check_vector(value, path)
    return one_dimensional(value, kinds)


def _check_vector(value: Any, path: str) -> frozenset[type]:
    """Check a vector and give the kinds of its elements."""
    if not isinstance(value, list):
        raise ValueProblem(path, "an array (vector)", describe(value))
    kinds = frozenset(map(type, value))
    if not kinds <= SCALARS:
        _refuse_nested(value, path)
    return kinds


def _matrix(value: Any, path: str) -> Any:
    _check_rows(value, path)
    elements = list(chain.from_iterable(value))
    array = floats_of(elements) if len(elements) >= LONG else None
    if array is None:
        array = one_dimensional(elements, _check_elements(value, path), missing=math.nan)
    return array.reshape(len(value), len(value[0]) if value else 0)


def _check_matrix(value: Any, path: str) -> None:
    _check_rows(value, path)
    _check_elements(value, path)


def _check_rows(value: Any, path: str) -> None:
    """See to it that a matrix has rows of one length."""
    if not isinstance(value, list):
        raise ValueProblem(path, "an array of rows (matrix)", describe(value))
    for i, row in enumerate(value):
        if not isinstance(row, list):
            raise ValueProblem(f"{path}[{i}]", "a row, which is an array (matrix)", describe(row))
        if len(row) != len(value[0]):
            raise ValueProblem(
                f"{path}[{i}]",
                f"a row of {len(value[0])} values like the first (matrix)",
                f"one of {len(row)}",
            )


def _check_elements(rows: list[list[Any]], path: str) -> frozenset[type]:
    """Check the elements of a matrix and give their kinds."""
    kinds = frozenset(map(type, chain.from_iterable(rows)))
    if not kinds <= SCALARS:
        for i, row in enumerate(rows):
            _refuse_nested(row, f"{path}[{i}]")
    return kinds


def _data_frame(value: Any, path: str) -> Any:
    return make_frame(read_columns(value, path, cells), value, path)


def _check_data_frame(value: Any, path: str) -> None:
    read_columns(value, path, as_given)


def _refuse_nested(values: list[Any], path: str) -> None:
    for i, item in enumerate(values):
        if type(item) not in SCALARS:
            raise ValueProblem(f"{path}[{i}]", _SCALAR, describe(item))


_DECODERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "logical": _logical,
    "numeric": _numeric,
    "integer": _integer_input,
    "character": _character,
    "vector": _vector,
    "matrix": _matrix,
    "data.frame": _data_frame,
}

_CHECKS: Final[dict[str, Callable[[Any, str], object]]] = {
    **_DECODERS,
    "vector": _check_vector,
    "matrix": _check_matrix,
    "data.frame": _check_data_frame,
}


# --- outputs ---------------------------------------------------------------------------------


def _unboxed(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Take a scalar, or the one element of an array of one, however nested."""

    def encode(plain: Any, name: str) -> Any:
        inner = plain
        while isinstance(inner, list) and len(inner) == 1:
            inner = inner[0]
        if inner is None:
            return None
        return check(plain if isinstance(inner, list) else inner, name)

    return encode


def _as_vector(plain: Any, name: str) -> list[Any]:
    if isinstance(plain, dict):
        raise ValueProblem(name, "an array or a scalar (vector)", "an object or a DataFrame")
    return plain if isinstance(plain, list) else [plain]


def _as_matrix(plain: Any, name: str) -> list[list[Any]]:
    if (
        isinstance(plain, dict)
        and plain
        and all(isinstance(column, list) for column in plain.values())
    ):
        return [list(row) for row in zip(*_as_data_frame(plain, name).values(), strict=True)]
    if not isinstance(plain, list) or not all(isinstance(row, list) for row in plain):
        raise ValueProblem(name, "two-dimensional (matrix)", describe(plain))
    for i, row in enumerate(plain):
        if len(row) != len(plain[0]):
            raise ValueProblem(
                f"{name}[{i}]",
                f"a row of {len(plain[0])} values like the first (matrix)",
                f"one of {len(row)}",
            )
    return plain


def _as_data_frame(plain: Any, name: str) -> dict[str, list[Any]]:
    if isinstance(plain, list) and plain and all(isinstance(row, dict) for row in plain):
        return from_records(plain, name)
    if isinstance(plain, list) and plain and all(isinstance(row, list) for row in plain):
        rows = _as_matrix(plain, name)
        return {str(i): list(column) for i, column in enumerate(zip(*rows, strict=True))}
    if not isinstance(plain, dict):
        raise ValueProblem(
            name,
            "a DataFrame, a dict of columns, records or two-dimensional (data.frame)",
            describe(plain),
        )
    columns: dict[str, list[Any]] = plain
    if columns and not any(isinstance(column, list) for column in columns.values()):
        columns = {label: [item] for label, item in columns.items()}
    first: tuple[str, int] | None = None
    for label, column in columns.items():
        if not isinstance(column, list):
            raise ValueProblem(
                member(name, label), "a column, which is an array (data.frame)", describe(column)
            )
        first = first or (label, len(column))
        if len(column) != first[1]:
            raise ValueProblem(
                member(name, label),
                f"a column of {first[1]} values like {first[0]!r} (data.frame)",
                f"one of {len(column)}",
            )
    return columns


_ENCODERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "logical": _unboxed(_logical),
    "numeric": _unboxed(_number),
    "integer": _unboxed(_integer),
    "character": _unboxed(_character),
    "vector": _as_vector,
    "matrix": _as_matrix,
    "data.frame": _as_data_frame,
}
