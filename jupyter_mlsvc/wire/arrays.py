"""Lists of JSON as numpy arrays."""

from __future__ import annotations

import math
from types import NoneType
from typing import Any, Final

import msgspec

SCALARS: Final = {int, float, str, bool, NoneType}
"""Types of all JSON values but arrays and objects."""

_EXACT: Final = 2**53
"""Below it every integer is exact as a float."""

LONG: Final = 64
"""From here on it pays to look at a list as a whole."""

_MSGPACK: Final = msgspec.msgpack.Encoder()
_FLOAT_SIZE: Final = 9
_FLOAT_MARK: Final = b"\xcb"
_HEADER_SIZES: Final = ((2**4, 1), (2**16, 3), (2**32, 5))
"""How msgpack writes floats, and how many bytes it puts before lists of fewer elements."""


def cells(column: list[Any], _: str = "") -> Any:
    """Make an array of a column, whose cells may be of any kind; null is NaN."""
    if len(column) >= LONG and (floats := floats_of(column)) is not None:
        return floats
    return one_dimensional(column, frozenset(map(type, column)), missing=math.nan)


def floats_of(values: list[Any]) -> Any:
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


def one_dimensional(values: list[Any], kinds: frozenset[type], missing: Any = None) -> Any:
    """Make a 1-D array: float64, int64 or bool where that loses nothing, else of objects.

    Among numbers null is NaN; elsewhere it is what ``missing`` says. Text is kept as objects:
    numpy's own text type takes the longest string's room for each element and drops trailing NULs.
    """
    import numpy

    type_name = _NUMBERS.get(kinds)
    if type_name is None:
        return objects(numpy, filled(values, missing) if NoneType in kinds else values)
    try:
        array = numpy.array(values, type_name)
    except OverflowError:
        return objects(numpy, filled(values, math.nan))
    if int in kinds and len(kinds) > 1 and _is_inexact(numpy, values, array):
        return objects(numpy, filled(values, math.nan))
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
    if len(values) >= LONG and not (numpy.abs(array) >= _EXACT).any():
        return False
    for value in values:  # noqa: SIM110  # a generator costs a lone sample three times as much
        if type(value) is int and not -_EXACT <= value <= _EXACT:
            return True
    return False


def filled(values: list[Any], missing: Any) -> list[Any]:
    """Put a value in the place of each None."""
    return [missing if value is None else value for value in values]


def objects(numpy: Any, values: list[Any]) -> Any:
    """Make a 1-D array of objects, each of them as it is."""
    # An assignment would look into lists; a column may have some.
    return numpy.fromiter(values, dtype=object, count=len(values))
