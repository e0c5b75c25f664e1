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
from itertools import chain
from types import NoneType
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.plain import ValueProblem, describe, member, require_text, to_plain

__all__ = ["TYPES", "ValueProblem", "check_input", "decode_input", "encode_output", "plain_input"]

TYPES: Final = ("logical", "numeric", "integer", "character", "vector", "matrix", "data.frame")
"""The type names that the contract defines; others are taken as they are."""

_SCALAR_TYPES: Final = frozenset({"logical", "numeric", "integer", "character"})
_SCALAR: Final = "a number, a string, true, false or null"
_SCALARS: Final = {int, float, str, bool, NoneType}
_EXACT: Final = 2**53
"""Below it every integer is exact as a float."""

_LONG: Final = 64
"""From here on it pays to look at a list as a whole."""

_MSGPACK: Final = msgspec.msgpack.Encoder()
_FLOAT_SIZE: Final = 9
_FLOAT_MARK: Final = b"\xcb"
_HEADER_SIZES: Final = ((2**4, 1), (2**16, 3), (2**32, 5))
"""How msgpack writes floats, and how many bytes it puts before lists of fewer elements."""


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


def plain_input(type_name: str, value: Any, name: str = "value") -> Any:
    """Check JSON data for a language whose scalars are vectors of one, such as R.

    Returns
    -------
    Any
        JSON data: a list of one is the scalar that is declared, records are columns.

    Raises
    ------
    ValueProblem
        The value is not of the declared type.
    """
    if type(value) is list:
        if type_name in _SCALAR_TYPES and len(value) == 1:
            (value,) = value
        elif type_name == "data.frame":
            value = _from_records(value, name)
    check_input(type_name, value, name)
    return value


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


def _character(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise ValueProblem(path, "a string (character)", describe(value))
    return value


def _vector(value: Any, path: str) -> Any:
    if type(value) is list and len(value) >= _LONG and (floats := _floats(value)) is not None:
        return floats
    kinds = _check_vector(value, path)
    return _one_dimensional(value, kinds)


def _check_vector(value: Any, path: str) -> frozenset[type]:
    """Check a vector and give the kinds of its elements."""
    if not isinstance(value, list):
        raise ValueProblem(path, "an array (vector)", describe(value))
    kinds = frozenset(map(type, value))
    if not kinds <= _SCALARS:
        _refuse_nested(value, path)
    return kinds


def _matrix(value: Any, path: str) -> Any:
    _check_rows(value, path)
    elements = list(chain.from_iterable(value))
    array = _floats(elements) if len(elements) >= _LONG else None
    if array is None:
        array = _one_dimensional(elements, _check_elements(value, path), missing=math.nan)
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
    if not kinds <= _SCALARS:
        for i, row in enumerate(rows):
            _refuse_nested(row, f"{path}[{i}]")
    return kinds


def _data_frame(value: Any, path: str) -> Any:
    columns = _columns(value, path, _cells)
    import pandas

    arrays = list(columns.values())
    kinds = {array.dtype for array in arrays}
    if len(kinds) == 1 and kinds.pop().kind in "bif":
        # The same frame, without pandas looking at each column.
        import numpy

        return pandas.DataFrame(numpy.array(arrays).T, columns=list(columns), copy=False)
    try:
        return pandas.DataFrame(columns)
    except UnicodeEncodeError:  # half a character, where pandas keeps text as Arrow does
        require_text(value, path)
        raise


def _check_data_frame(value: Any, path: str) -> None:
    _columns(value, path, lambda column, _: column)


def _cells(column: list[Any], _: str) -> Any:
    """Make an array of a column, whose cells may be of any kind."""
    if len(column) >= _LONG and (floats := _floats(column)) is not None:
        return floats
    return _one_dimensional(column, frozenset(map(type, column)), missing=math.nan)


def _from_records(value: list[Any], path: str) -> dict[str, list[Any]]:
    """Make columns of records, in the order in which their names come up; gaps are null."""
    names: dict[str, None] = {}
    for i, record in enumerate(value):
        if not isinstance(record, dict):
            raise ValueProblem(
                f"{path}[{i}]", "a record, which is an object (data.frame)", describe(record)
            )
        names.update(dict.fromkeys(record))
    return {name: [record.get(name) for record in value] for name in names}


def _columns(value: Any, path: str, take: Callable[[Any, str], Any]) -> dict[str, Any]:
    """Check a data.frame and give what each of its columns is taken for."""
    if isinstance(value, list):
        value = _from_records(value, path)
    if not isinstance(value, dict):
        raise ValueProblem(
            path, "an object of columns or an array of records (data.frame)", describe(value)
        )
    taken: dict[str, Any] = {}
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
        taken[label] = take(column, where)
    return taken


def _refuse_nested(values: list[Any], path: str) -> None:
    for i, item in enumerate(values):
        if type(item) not in _SCALARS:
            raise ValueProblem(f"{path}[{i}]", _SCALAR, describe(item))


def _floats(values: list[Any]) -> Any:
    """Make a 1-D array of a list that has floats only; None of any other.

    As msgpack such a list is a header and a row of nine bytes for each element, a mark and the
    number. These bytes are several times as quick to look through as the objects.
    """
    if type(values[0]) is not float:
        return None
    count = len(values)
    header = next(size for most, size in _HEADER_SIZES if count < most)
    try:
        packed = _MSGPACK.encode(values)
    except (OverflowError, RecursionError, ValueError):  # an integer or a text that it can't write
        return None
    if (
        len(packed) != header + count * _FLOAT_SIZE
        or packed[header::_FLOAT_SIZE].count(_FLOAT_MARK) != count
    ):
        return None
    import numpy

    stored: Any = numpy.ndarray(count, ">f8", packed, header + len(_FLOAT_MARK), (_FLOAT_SIZE,))
    return stored.astype(numpy.float64)


def _one_dimensional(values: list[Any], kinds: frozenset[type], missing: Any = None) -> Any:
    """Make a 1-D array: float64, int64 or bool where that loses nothing, else of objects.

    Among numbers null is NaN; elsewhere it is what ``missing`` says. Text is kept as objects:
    numpy's own text type takes the longest string's room for each element and drops trailing NULs.
    """
    import numpy

    type_name = _NUMBERS.get(kinds)
    if type_name is None:
        return _objects(numpy, _filled(values, missing) if NoneType in kinds else values)
    try:
        array = numpy.array(values, type_name)
    except OverflowError:
        return _objects(numpy, _filled(values, math.nan))
    if int in kinds and len(kinds) > 1 and _is_inexact(numpy, values, array):
        return _objects(numpy, _filled(values, math.nan))
    return array


_NUMBERS: Final = {
    frozenset[type](): "f8",
    frozenset({float}): "f8",
    frozenset({NoneType}): "f8",
    frozenset({bool}): "?",
    frozenset({int}): "i8",
    frozenset({int, float}): "f8",
    frozenset({int, NoneType}): "f8",
    frozenset({float, NoneType}): "f8",
    frozenset({int, float, NoneType}): "f8",
}
"""The type of an array with elements of such kinds; others are arrays of objects."""


def _is_inexact(numpy: Any, values: list[Any], array: Any) -> bool:
    """Whether an integer among values lost digits when it became a float."""
    if len(values) >= _LONG and not (numpy.abs(array) >= _EXACT).any():
        return False
    for value in values:  # noqa: SIM110  # a generator costs a lone sample three times as much
        if type(value) is int and not -_EXACT <= value <= _EXACT:
            return True
    return False


def _filled(values: list[Any], missing: Any) -> list[Any]:
    return [missing if value is None else value for value in values]


def _objects(numpy: Any, values: list[Any]) -> Any:
    # An assignment would look into lists; a column may have some.
    return numpy.fromiter(values, dtype=object, count=len(values))


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
    "numeric": _unboxed(_number),
    "integer": _unboxed(_integer),
    "character": _unboxed(_character),
    "vector": _as_vector,
    "matrix": _as_matrix,
    "data.frame": _as_data_frame,
}
