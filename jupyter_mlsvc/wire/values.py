"""The seven parameter types and JSON: inputs to Python objects, outputs to plain JSON data.

The contract leaves the Python side open. Ours: a ``vector`` is a 1-D numpy array (object dtype
when it holds text or is mixed), a ``matrix`` a 2-D one, a ``data.frame`` a pandas DataFrame, the
others are Python scalars. null is None, and NaN inside an array of numbers. A type name that is
none of the seven passes JSON through. numpy and pandas are imported when a value needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from jupyter_mlsvc.wire.plain import ValueProblem, describe, member, to_plain

__all__ = ["TYPES", "ValueProblem", "check_input", "decode_input", "encode_output"]

TYPES: Final = ("logical", "numeric", "integer", "character", "vector", "matrix", "data.frame")
"""The type names that the contract defines; others are taken as they are."""

_SCALAR: Final = "a number, a string, true, false or null"
_SCALARS: Final = {int, float, str, bool, type(None)}
_EXACT: Final = 2**53
"""Up to here every integer is exact as a float."""


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
        return None
    decode = _DECODERS.get(type_name)
    return value if decode is None else decode(value, name)


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


def _numeric(value: Any, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueProblem(path, "a number (numeric)", describe(value))
    return value


def _integer(value: Any, path: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueProblem(path, "a whole number (integer)", describe(value))
    return value


def _character(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise ValueProblem(path, "a string (character)", describe(value))
    return value


def _vector(value: Any, path: str) -> Any:
    return _one_dimensional(value, _check_vector(value, path))


def _check_vector(value: Any, path: str) -> set[type]:
    """Check a vector and give the kinds of its elements."""
    if not isinstance(value, list):
        raise ValueProblem(path, "an array (vector)", describe(value))
    kinds = set(map(type, value))
    if not kinds <= _SCALARS:
        _refuse_nested(value, path)
    return kinds


def _matrix(value: Any, path: str) -> Any:
    kinds = _check_matrix(value, path)
    shape = (len(value), len(value[0]) if value else 0)
    return _one_dimensional(list(chain.from_iterable(value)), kinds).reshape(shape)


def _check_matrix(value: Any, path: str) -> set[type]:
    """Check a matrix and give the kinds of its elements."""
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
    kinds = set(map(type, chain.from_iterable(value)))
    if not kinds <= _SCALARS:
        for i, row in enumerate(value):
            _refuse_nested(row, f"{path}[{i}]")
    return kinds


def _data_frame(value: Any, path: str) -> Any:
    kinds = _check_data_frame(value, path)
    import pandas

    return pandas.DataFrame(
        {label: _one_dimensional(column, kinds[label]) for label, column in value.items()}
    )


def _check_data_frame(value: Any, path: str) -> dict[str, set[type]]:
    """Check a data.frame and give the kinds of each column's elements."""
    if not isinstance(value, dict):
        raise ValueProblem(path, "an object of columns (data.frame)", describe(value))
    kinds: dict[str, set[type]] = {}
    first: tuple[str, int] | None = None
    for label, column in value.items():
        where = member(path, label)
        if not isinstance(column, list):
            raise ValueProblem(where, "a column, which is an array (data.frame)", describe(column))
        first = first or (label, len(column))
        if len(column) != first[1]:
            raise ValueProblem(
                where,
                f"a column of {first[1]} values like {first[0]!r} (data.frame)",
                f"one of {len(column)}",
            )
        kinds[label] = _check_vector(column, where)
    return kinds


def _refuse_nested(values: list[Any], path: str) -> None:
    for i, item in enumerate(values):
        if type(item) not in _SCALARS:
            raise ValueProblem(f"{path}[{i}]", _SCALAR, describe(item))


def _one_dimensional(values: list[Any], kinds: set[type]) -> Any:
    """Make a 1-D array: float64, int64 or bool where that loses nothing, else of objects.

    Text is kept as objects: numpy's own text type takes the longest string's room for each
    element and drops trailing NULs.
    """
    import numpy

    if kinds == {float} or not kinds:
        return numpy.array(values, dtype=numpy.float64)
    if kinds == {bool}:
        return numpy.array(values, dtype=numpy.bool_)
    if kinds == {int}:
        try:
            return numpy.array(values, dtype=numpy.int64)
        except OverflowError:
            return _objects(numpy, values)
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        if any(type(item) is int and not -_EXACT <= item <= _EXACT for item in values):
            return _objects(numpy, [numpy.nan if item is None else item for item in values])
        return numpy.array(values, dtype=numpy.float64)
    return _objects(numpy, values)


def _objects(numpy: Any, values: list[Any]) -> Any:
    array = numpy.empty(len(values), dtype=object)
    array[:] = values
    return array


_DECODERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "logical": _logical,
    "numeric": _numeric,
    "integer": _integer,
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
    if isinstance(plain, list) and plain and all(isinstance(row, list) for row in plain):
        rows = _as_matrix(plain, name)
        return {str(i): list(column) for i, column in enumerate(zip(*rows, strict=True))}
    if not isinstance(plain, dict):
        raise ValueProblem(
            name, "a DataFrame, a dict of columns or two-dimensional (data.frame)", describe(plain)
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
    "numeric": _unboxed(_numeric),
    "integer": _unboxed(_integer),
    "character": _unboxed(_character),
    "vector": _as_vector,
    "matrix": _as_matrix,
    "data.frame": _as_data_frame,
}
