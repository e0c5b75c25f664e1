"""Any value of user code as plain JSON data, for outputs and workspace objects.

NaN, infinities and missing values become null, dates ISO strings, bytes base64. numpy and pandas
are never imported here: a value of theirs can only exist where they are loaded already.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import numbers
import pathlib
import sys
import types
import uuid
from collections import deque
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.tables import Column, UnreadableTable, read_table

CARRIED: Final = (
    "something that JSON can carry (a number, string, list, dict, date, bytes, array, Series or "
    "DataFrame)"
)
_SHOWN: Final = 40
_DEEPEST: Final = 200
_AS_IT_IS: Final = {str, int, bool, type(None)}
_SCALARS: Final = {*_AS_IT_IS, float}


WITHOUT_POINT: Final = "a whole number that is written without '.0' and exponent from 2**53 on"
_EXACT_FLOATS: Final = 2**53
"""From here on a float may stand for several whole numbers."""


class ValueProblem(ValueError):
    """A value that does not fit its declared type, or that JSON can't carry.

    Attributes
    ----------
    path : str
        Where the value is, such as ``flower_data[2]`` or ``frame["a"][0]``.
    expected : str
        What would have fitted.
    got : str
        What was there.
    """

    def __init__(self, path: str, expected: str, got: str) -> None:
        super().__init__(f"{path} must be {expected}, got {got}.")
        self.path = path
        self.expected = expected
        self.got = got


def to_plain(value: Any, name: str = "value") -> Any:
    """Turn a value into None, bool, int, float, str, list and dict.

    Raises
    ------
    ValueProblem
        A part of the value is of a type that JSON can't carry, or the value contains itself.
    """
    return _plain(value, name, 0)


def require_text(plain: Any, name: str = "value") -> None:
    """Make sure that plain data can be written as JSON text.

    Parameters
    ----------
    plain : Any
        What :func:`to_plain` made.
    name : str
        Name of the value, for messages.

    Raises
    ------
    ValueProblem
        There is an integer of thousands of digits in it, or half a character (a lone surrogate).
    """
    try:
        json.dumps(plain, ensure_ascii=False).encode()
    except ValueError:
        for path, leaf in _leaves(plain, name):
            _require_leaf(leaf, path)
        raise


def is_exact(number: float) -> bool:
    """Tell whether a whole number that JSON wrote as a float is certain to have all its digits."""
    return type(number) is not float or abs(number) < _EXACT_FLOATS or not number.is_integer()


def describe(value: Any) -> str:
    """Name a value for a message: JSON words for what JSON can say, else the type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {_short(_digits(value))}"
    if isinstance(value, str):
        return f"the string {_short(repr(value))}"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, type):
        return f"the class {_type_name(value)}"
    if isinstance(value, types.ModuleType):
        return f"the module {value.__name__}"
    return f"an object of type {_type_name(type(value))}"


def _leaves(plain: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(plain, dict):
        for key, item in plain.items():
            yield f"a key of {path}", key
            yield from _leaves(item, member(path, key))
    elif isinstance(plain, list):
        for i, item in enumerate(plain):
            yield from _leaves(item, f"{path}[{i}]")
    else:
        yield path, plain


def _require_leaf(leaf: Any, path: str) -> None:
    try:
        json.dumps(leaf, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueProblem(
            path, "text of whole characters", f"the string {_short(repr(leaf))}"
        ) from None
    except ValueError:
        raise ValueProblem(
            path, f"an integer of at most {sys.get_int_max_str_digits():,} digits", "a longer one"
        ) from None


def _type_name(kind: type) -> str:
    if kind.__module__ in {"builtins", "__main__"}:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def member(path: str, key: str) -> str:
    """Path of a member of an object."""
    return f'{path}["{_short(key)}"]'


def _digits(value: float) -> str:
    try:
        return repr(value)
    except ValueError:  # Python refuses to spell integers of thousands of digits
        return "of thousands of digits"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _plain(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if depth > _DEEPEST:
        raise ValueProblem(
            path.partition("[")[0],
            f"nested at most {_DEEPEST} levels deep",
            "a deeper value, or one that contains itself",
        )
    if kind is list or kind is tuple:
        return _list(value, path, depth)
    if kind is dict:
        return _dict(value, path, depth)
    foreign = _foreign(value, path, depth)
    if foreign is not _NOT_FOREIGN:
        return foreign
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value, path, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _object(members, path, depth)
    raise ValueProblem(path, CARRIED, describe(value))


# Flat lists and objects are common, and long: no call for each element, and no path to it.


def _list(value: list[Any] | tuple[Any, ...], path: str, depth: int) -> list[Any]:
    flat = _flat(value)
    return _items(value, path, depth) if flat is None else flat


def _dict(value: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
    flat = _flat(value.values()) if set(map(type, value)) <= {str} else None
    return _object(value, path, depth) if flat is None else dict(zip(value, flat, strict=True))


def _flat(values: Collection[Any]) -> list[Any] | None:
    """Convert values that are all scalars; None where there is anything else."""
    kinds = set(map(type, values))
    if kinds <= _AS_IT_IS:
        return list(values)
    if not kinds <= _SCALARS:
        return None
    # A sum that is finite has none but finite summands.
    if kinds == {float} and math.isfinite(sum(values)):
        return list(values)
    return [
        None if type(value) is float and not math.isfinite(value) else value for value in values
    ]


def _object(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        text = key if type(key) is str else _key(key, path)
        if text in plain:
            raise ValueProblem(
                path, "an object with distinct keys", f"the key {_short(text)!r} twice"
            )
        plain[text] = _plain(item, member(path, text), depth + 1)
    return plain


def _key(key: Any, path: str) -> str:
    """JSON has string keys only; scalars are spelt as JSON spells them."""
    plain = _plain(key, f"{path}'s key", 0)
    if plain is None or isinstance(plain, list | dict):
        raise ValueProblem(
            path,
            "an object with strings, numbers or dates as keys",
            f"a key that is {describe(key)}",
        )
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return str(plain)


def _items(value: Iterable[Any], path: str, depth: int) -> list[Any]:
    return [_plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]


def _set(value: AbstractSet[Any], path: str, depth: int) -> list[Any]:
    # Sorted where that is possible: an answer should not change with the hash seed of a worker.
    try:
        ordered: list[Any] = sorted(value)
    except TypeError:
        ordered = list(value)
    return _items(ordered, path, depth)


def _real(value: numbers.Real, path: str, depth: int) -> Any:
    try:
        return _plain(float(value), path, depth)
    except (OverflowError, ValueError):  # beyond a float's range, a signaling NaN
        return None


_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any, str, int], Any]], ...]] = (
    (enum.Enum, lambda value, path, depth: _plain(value.value, path, depth + 1)),
    (str, lambda value, path, depth: str.__str__(value)),
    (int, lambda value, path, depth: int(value)),
    (float, lambda value, path, depth: _plain(float(value), path, depth)),
    ((decimal.Decimal, numbers.Real), _real),
    ((datetime.date, datetime.time), lambda value, path, depth: value.isoformat()),
    (datetime.timedelta, lambda value, path, depth: msgspec.to_builtins(value)),
    (
        (bytes, bytearray, memoryview),
        lambda value, path, depth: base64.b64encode(value).decode("ascii"),
    ),
    ((uuid.UUID, pathlib.PurePath), lambda value, path, depth: str(value)),
    (Mapping, _object),
    ((KeysView, ValuesView, list, tuple, deque, range), _items),
    (AbstractSet, _set),
)
"""Types of the standard library, the first that fits wins (an IntEnum is an Enum first)."""

_NOT_FOREIGN: Final = object()


def _foreign(value: Any, path: str, depth: int) -> Any:
    """Convert a value of numpy or pandas, or of a library with a protocol for tables or arrays."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return _array(numpy, value, path, depth)
        if isinstance(value, numpy.generic):
            return _numpy_scalar(numpy, value, path, depth)
    pandas = sys.modules.get("pandas")
    if pandas is not None and any(
        base.__module__.startswith("pandas.") for base in type(value).__mro__
    ):
        plain = _pandas(pandas, value, path, depth)
        if plain is not _NOT_FOREIGN:
            return plain
    plain = _tabular(value, path, depth)
    if plain is not _NOT_FOREIGN or numpy is None or not hasattr(type(value), "__array__"):
        return plain
    if hasattr(type(value), "columns") and getattr(value, "ndim", 0) == 2:
        # A frame of whatever library: an array of it would have no names.
        return _columns(((name, value[name]) for name in value.columns), path, depth)
    return _array(numpy, numpy.asarray(value), path, depth)


def _tabular(value: Any, path: str, depth: int) -> Any:
    """Convert a table, a column or a scalar of polars, pyarrow or another library like them."""
    try:
        table = read_table(value)
    except UnreadableTable:
        raise ValueProblem(
            path, "a table that can be read here (install pyarrow)", describe(value)
        ) from None
    if isinstance(table, Column):
        return _list(table.values, path, depth)
    if table is not None:
        return _columns(zip(table.names, table.columns, strict=True), path, depth)
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(value, arrow.Scalar):
        return _plain(value.as_py(), path, depth + 1)
    return _NOT_FOREIGN


def _columns(columns: Iterable[tuple[Any, Any]], path: str, depth: int) -> dict[str, Any]:
    """Convert columns of a table, whose names have to differ."""
    plain: dict[str, Any] = {}
    for name, values in columns:
        text = name if type(name) is str else column_name(name)
        if text in plain:
            raise ValueProblem(
                path, "a table with distinct column names", f"the column {_short(text)!r} twice"
            )
        plain[text] = _plain(values, member(path, text), depth + 1)
    return plain


def _pandas(pandas: Any, value: Any, path: str, depth: int) -> Any:
    if value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, pandas.DataFrame):
        columns: dict[str, Any] = {}
        for label, column in value.items():
            text = label if type(label) is str else column_name(label)
            if text in columns:
                raise ValueProblem(
                    path,
                    "a DataFrame with distinct column names",
                    f"the column {_short(text)!r} twice",
                )
            columns[text] = _series(pandas, column, member(path, text), depth + 1)
        return columns
    if isinstance(value, pandas.MultiIndex):
        return _items(value.tolist(), path, depth)
    if isinstance(value, pandas.Series | pandas.Index | pandas.api.extensions.ExtensionArray):
        series = value if type(value) is pandas.Series else pandas.Series(value)
        return _series(pandas, series, path, depth)
    if isinstance(value, pandas.Timestamp):
        return value.isoformat()
    if isinstance(value, pandas.Timedelta):
        return value.isoformat()
    if isinstance(value, pandas.Period | pandas.Interval):
        return str(value)
    return _NOT_FOREIGN


def column_name(label: Any) -> str:
    """Spell the label of a column, which may be of several parts."""
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _series(pandas: Any, series: Any, path: str, depth: int) -> list[Any]:
    """Values of a column; labels of a categorical, null for what pandas calls missing."""
    numpy = sys.modules["numpy"]
    if isinstance(series.dtype, numpy.dtype) and series.dtype.kind in "biuf":
        numbers_only: list[Any] = _array(numpy, series.to_numpy(), path, depth)
        return numbers_only
    return _list(series.astype(object).tolist(), path, depth)


def _numpy_scalar(numpy: Any, value: Any, path: str, depth: int) -> Any:
    kind = value.dtype.kind
    if kind in "Mm":
        return _time(numpy, numpy.asarray(value), path).item()
    if kind == "f":
        return _plain(float(value), path, depth)
    if kind == "c":
        raise ValueProblem(path, CARRIED, describe(value))
    if kind == "V" and value.dtype.names:
        return _object({name: value[name] for name in value.dtype.names}, path, depth)
    return _plain(value.item(), path, depth + 1)


def _array(numpy: Any, array: Any, path: str, depth: int) -> Any:
    if isinstance(array, numpy.ma.MaskedArray):
        return _plain(array.tolist(), path, depth + 1)
    kind = array.dtype.kind
    if kind in "biuU":
        return array.tolist()
    if kind == "f":
        if array.dtype.itemsize > 8:
            array = array.astype(numpy.float64)
        if numpy.isfinite(array).all():
            return array.tolist()
        return numpy.where(numpy.isfinite(array), array.astype(object), None).tolist()
    if kind in "Mm":
        return _time(numpy, array, path).tolist()
    if kind == "c":
        raise ValueProblem(path, CARRIED, f"an array of {array.dtype} numbers")
    if kind == "V" and array.dtype.names and array.ndim:
        return _items(list(array), path, depth)
    values = array.tolist()
    if array.ndim == 1 and set(map(type, values)) == {numpy.str_}:
        return list(map(str, values))  # labels of a classifier, ten times as fast as one by one
    return _plain(values, path, depth + 1)


def _time(numpy: Any, array: Any, path: str) -> Any:
    """Dates and durations of numpy as ISO text, NaT as None."""
    if array.dtype.kind == "M":
        text = numpy.datetime_as_string(array).astype(object)
    else:
        try:
            seconds = array.astype("timedelta64[us]").astype(object)
        except OverflowError:  # says numpy 2.5
            raise ValueProblem(path, "at most 292,000 years", "a longer duration") from None
        text = numpy.frompyfunc(
            lambda item: (
                msgspec.to_builtins(item) if isinstance(item, datetime.timedelta) else None
            ),
            1,
            1,
        )(seconds)
    return numpy.where(numpy.isnat(array), None, text)
