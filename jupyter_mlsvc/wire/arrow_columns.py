"""Columns of Arrow and values of code: the same values that JSON would give, without the text.

What the same table in JSON would come to is the measure of all here. A column of plain numbers,
times or categories is converted as a whole where nothing speaks against it. Any other is made JSON
data first, and then read as if it had come so: the same checks, in the same words.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jupyter_mlsvc.wire.cells import WORDS, key
from jupyter_mlsvc.wire.columns import column_readers, exact_column, in_order, make_frame
from jupyter_mlsvc.wire.json_values import ValueProblem, column_name, member, to_plain
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition
from jupyter_mlsvc.wire.values import ReadInput

Convert = Callable[[Any], Any]
"""Makes an array of a column of Arrow; None where it has to be looked at value by value."""

_UNCONVERTED: Final = (ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError)
"""What the libraries raise for a value that they can't convert; pyarrow has its own besides."""


class Columns:
    """Columns of Arrow that stand for a value of JSON.

    Parameters
    ----------
    columns
        By name, each a ``pyarrow.ChunkedArray``; the one of a vector has the vector's name.
    is_vector
        Whether they are a vector, and no data.frame.
    """

    def __init__(self, columns: Mapping[str, Any], *, is_vector: bool = False) -> None:
        self.columns = columns
        self.is_vector = is_vector

    @property
    def only(self) -> Any:
        """The column of a vector."""
        return next(iter(self.columns.values()))

    def plain(self, name: str) -> Any:
        """Return the JSON data that they stand for."""
        if self.is_vector:
            return plain_column(self.only, name)
        return {each: plain_column(one, member(name, each)) for each, one in self.columns.items()}


def reader_of_columns(definition: ParameterDefinition, read: ReadInput) -> ReadInput:
    """Give what reads an input that comes as :class:`Columns`, or else as JSON.

    Parameters
    ----------
    read
        What reads it as JSON.
    """
    if definition.type == "data.frame":
        return _frame_or(read, _frame_reader(definition.columns or ()))
    has_check = bool(definition.items or definition.shape)

    def read_any(value: Any, name: str) -> Any:
        if not isinstance(value, Columns):
            return read(value, name)
        if definition.type == "vector" and value.is_vector and not has_check:
            numbers = numbers_of(value.only)
            if numbers is not None:
                return numbers.copy()  # it is the code's own now
        return read(value.plain(name), name)

    return read_any


def _frame_or(read: ReadInput, frame: ReadInput) -> ReadInput:
    def read_any(value: Any, name: str) -> Any:
        if not isinstance(value, Columns):
            return read(value, name)
        return read(value.plain(name), name) if value.is_vector else frame(value, name)

    return read_any


def _frame_reader(columns: Sequence[ColumnDefinition]) -> ReadInput:
    plain_readers = column_readers(columns)
    converters = {column.name: _converter(column) for column in columns}

    def read(value: Columns, path: str) -> Any:
        given = in_order(dict(value.columns), columns, None, path)
        taken = {}
        for name, column in given.items():
            try:
                array = converters.get(name, numbers_of)(column)
            except _UNCONVERTED:  # as a value by itself will say
                array = None
            if array is None:
                where = member(path, name)
                array = plain_readers(name)(plain_column(column, where), where)
            taken[name] = array
        return make_frame(taken, None, path)

    return read


# --- to JSON ---------------------------------------------------------------------------------


class Decoded:
    """The values of the dictionary that was decoded last: chunks and slices may share one."""

    def __init__(self) -> None:
        self._dictionary: Any = None
        self._values: list[Any] = []

    def values(self, dictionary: Any, path: str) -> list[Any]:
        """Return the values of a dictionary as JSON data."""
        if self._dictionary is None or _place(self._dictionary) != _place(dictionary):
            import pyarrow

            self._values = plain_column(pyarrow.chunked_array([dictionary]), path)
            self._dictionary = dictionary  # kept, so that no other one takes its place
        return self._values


def _place(array: Any) -> tuple[Any, ...]:
    """Tell where the values of an array are in memory."""
    buffers = [None if buffer is None else buffer.address for buffer in array.buffers()]
    return array.type, array.offset, len(array), buffers


def plain_column(column: Any, path: str, decoded: Decoded | None = None) -> list[Any]:
    """Return the values of a column as JSON data.

    Parameters
    ----------
    column
        A ``pyarrow.ChunkedArray``.
    path
        Where it is, for messages.
    decoded
        Dictionary of the same column, which other parts of it may share.

    Raises
    ------
    ValueProblem
        They are none that Python has, such as a time in the year 20,000.
    """
    import pyarrow

    numbers = numbers_of(column)
    if numbers is not None:
        plain: list[Any] = to_plain(numbers)
        return plain
    types, kind = pyarrow.types, column.type
    try:
        if types.is_dictionary(kind):
            decoded = Decoded() if decoded is None else decoded
            return [item for chunk in column.chunks for item in _items(chunk, path, decoded)]
        if types.is_timestamp(kind) or types.is_duration(kind):
            plain = to_plain(column.to_pandas(use_threads=False), path)
        else:
            plain = to_plain(column.to_pylist(), path)
    except (pyarrow.ArrowException, *_UNCONVERTED) as error:
        if isinstance(error, ValueProblem):
            raise
        raise ValueProblem(path, f"of values that can be read ({kind})", str(error)) from error
    return plain


def _items(chunk: Any, path: str, decoded: Decoded) -> list[Any]:
    # Not by pyarrow, which would make each value anew: a long one may come a million times.
    values = decoded.values(chunk.dictionary, path)
    return [None if code is None else values[code] for code in chunk.indices.to_pylist()]


# --- numbers ---------------------------------------------------------------------------------


def numbers_of(column: Any) -> Any:
    """Return what JSON would give for a column of numbers or truth values; None for any other.

    As there, integers have 64 bits, floats too, and there are no infinities.
    """
    import numpy
    import pyarrow

    types, kind = pyarrow.types, column.type
    if not len(column):
        return None
    if types.is_floating(kind):
        if column.null_count == len(column):
            return None
        array = column.to_numpy().astype(numpy.float64, copy=False)
        with numpy.errstate(over="ignore", invalid="ignore"):
            is_usual = math.isfinite(array.sum())
        if not is_usual and (endless := numpy.isinf(array)).any():
            array = numpy.where(endless, numpy.nan, array)
        return array
    if column.null_count:
        return None
    if types.is_boolean(kind):
        return column.to_numpy()
    if not types.is_integer(kind):
        return None
    array = column.to_numpy()
    if array.dtype == numpy.uint64 and array.max() > numpy.iinfo(numpy.int64).max:
        return None
    return array.astype(numpy.int64, copy=False)


def frame_of(columns: Columns) -> Any:
    """Return the DataFrame that pandas makes of the same columns in JSON."""
    import pandas

    taken = {}
    for name, column in columns.columns.items():
        numbers = numbers_of(column)
        taken[name] = exact_column(plain_column(column, name)) if numbers is None else numbers
    return pandas.DataFrame(taken)


# --- columns whose dtypes are known ----------------------------------------------------------


def _converter(column: ColumnDefinition) -> Convert:
    """Give what converts a column as a whole where its values are as declared."""
    if column.categories is not None and column.type != "category":
        return _by_value
    kinds = _KINDS_OF_WORDS.get(column.type)
    if column.type in _PLAIN_WORDS:
        return _within(column, _of_kinds(kinds)) if kinds else _by_value
    if not column.type:
        return _within(column, numbers_of)
    if column.type == "category":
        return _by_value if _is_limited(column) else _category(column)
    import pandas

    return _converter_of(column, pandas.api.types.pandas_dtype(column.type))


def _converter_of(column: ColumnDefinition, dtype: Any) -> Convert:
    """Give what converts a column whose dtype is one of pandas'."""
    import pandas

    if isinstance(dtype, pandas.StringDtype):
        return _by_value if _is_limited(column) else _texts(dtype)
    if isinstance(dtype, pandas.DatetimeTZDtype) or (_is_numpy(dtype) and dtype.kind in "Mm"):
        return _by_value if _is_limited(column) else _times(dtype)
    if not _is_numpy(dtype):
        return _by_value
    makers: dict[str, Callable[[Any], Convert]]
    makers = {"i": _integers, "u": _integers, "f": _floats, "b": lambda _: _of_kinds("b")}
    return _within(column, makers[dtype.kind](dtype)) if dtype.kind in makers else _by_value


def _is_numpy(dtype: Any) -> bool:
    import numpy

    return isinstance(dtype, numpy.dtype)


def _is_limited(column: ColumnDefinition) -> bool:
    """Tell whether something is declared that a column's values have to keep to."""
    limits = (column.minimum, column.maximum)
    return column.nullable is False or any(each is not None for each in limits)


_PLAIN_WORDS: Final = frozenset(WORDS) - {"string", "boolean"}
_KINDS_OF_WORDS: Final = {"number": "if", "integer": "i"}


def _by_value(_: Any) -> None:
    return None


def _of_kinds(kinds: str) -> Convert:
    def convert(column: Any) -> Any:
        array = numbers_of(column)
        return array if array is not None and array.dtype.kind in kinds else None

    return convert


def _within(column: ColumnDefinition, convert: Convert) -> Convert:
    """Have a column looked at value by value where one is out of its limits or missing."""
    if not _is_limited(column):
        return convert
    low, high = column.minimum, column.maximum

    def convert_within(values: Any) -> Any:
        array = convert(values)
        if array is None or array.dtype.kind not in "iuf":
            return None
        if array.dtype.kind == "f" and (array != array).any():  # noqa: PLR0124  # NaN
            return None
        is_within = (low is None or array.min() >= low) and (high is None or array.max() <= high)
        return array if is_within else None

    return convert_within


def _integers(dtype: Any) -> Convert:
    import numpy

    limits = numpy.iinfo(dtype)

    def convert(column: Any) -> Any:
        array = numbers_of(column)
        if array is None or array.dtype.kind != "i":
            return None
        fits = limits.min <= int(array.min()) and int(array.max()) <= limits.max
        return array.astype(dtype, copy=False) if fits else None

    return convert


def _floats(dtype: Any) -> Convert:
    import numpy

    largest = float(numpy.finfo(dtype).max)

    def convert(column: Any) -> Any:
        array = numbers_of(column)
        if array is None or array.dtype.kind not in "if":
            return None
        if dtype != numpy.float64 and (abs(array) > largest).any():
            return None
        return array.astype(dtype, copy=False)

    return convert


def _texts(dtype: Any) -> Convert:
    def convert(column: Any) -> Any:
        import pyarrow

        types, kind = pyarrow.types, column.type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            return None
        return dtype.__from_arrow__(column)

    return convert


def _times(dtype: Any) -> Convert:
    """Give what converts moments and durations that have no more digits than the dtype has."""
    import numpy
    import pandas

    zone = getattr(dtype, "tz", None)
    unit = dtype.unit if zone is not None else numpy.datetime_data(dtype)[0]
    is_duration = dtype.kind == "m"

    def convert(column: Any) -> Any:
        import pyarrow

        types, kind = pyarrow.types, column.type
        is_alike = types.is_duration(kind) if is_duration else types.is_timestamp(kind)
        if not is_alike:
            return None
        if not is_duration and (kind.tz is None) is not (zone is None):
            return None
        if kind.unit != unit or not len(column):
            return None
        try:
            index = pandas.Index(column.to_pandas(use_threads=False))
        except (pyarrow.ArrowException, *_UNCONVERTED):  # a zone that nobody knows
            return None
        return (index if zone is None else index.tz_convert(zone)).array.astype(dtype)

    return convert


def _category(definition: ColumnDefinition) -> Convert:
    """Give what converts a dictionary whose values are all categories."""
    listed = {key(item): code for code, item in enumerate(definition.categories or [])}
    empty = column_readers([definition])(definition.name)([], definition.name)

    def convert(column: Any) -> Any:
        import numpy
        import pandas
        import pyarrow

        if not pyarrow.types.is_dictionary(column.type):
            return None
        pieces = []
        for chunk in column.chunks:
            try:
                values = plain_column(pyarrow.chunked_array([chunk.dictionary]), "")
            except ValueProblem:
                return None
            codes = [listed.get(key(item), -1) for item in values]
            indices = chunk.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
            found = numpy.array([*codes, -1])[indices]
            if (found < 0).sum() != chunk.null_count:
                return None  # one is no category, or null
            pieces.append(found)
        found = numpy.concatenate(pieces) if pieces else numpy.array([], int)
        return pandas.Categorical.from_codes(found, dtype=empty.dtype)

    return convert


# --- values of code --------------------------------------------------------------------------


def frame_columns(value: Any) -> Columns | None:
    """Return a frame, or arrays by name, as columns of Arrow; None where Arrow can't carry it."""
    named: dict[str, Any] = {}
    if _is_of(value, "pandas", "DataFrame"):
        for label, column in value.items():
            named[column_name(label)] = column
        if len(named) < len(value.columns):
            return None
    elif type(value) is dict and value and all(map(_is_one_dimensional, value.values())):
        named = {column_name(label): column for label, column in value.items()}
        if len(named) < len(value) or len(set(map(len, named.values()))) > 1:
            return None
    else:
        return None
    columns = {}
    for name, column in named.items():
        columns[name] = _arrow(column)
        if columns[name] is None:
            return None
    return Columns(columns)


def vector_column(name: str, value: Any) -> Columns | None:
    """Return an array, a Series or a list as a column; None where Arrow can't carry it."""
    column = _arrow(value) if type(value) is list or _is_one_dimensional(value) else None
    return None if column is None else Columns({name: column}, is_vector=True)


def _is_of(value: Any, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _is_one_dimensional(value: Any) -> bool:
    if _is_of(value, "numpy", "ndarray"):
        return bool(value.ndim == 1) and not isinstance(value, sys.modules["numpy"].ma.MaskedArray)
    return _is_of(value, "pandas", "Series")


def _arrow(value: Any) -> Any:
    """Return values as a ``pyarrow.ChunkedArray``; missing ones and infinities are null."""
    import numpy
    import pyarrow

    dtype = getattr(value, "dtype", None)
    if type(value) is numpy.ndarray and value.dtype.kind in "Mm":
        return None  # JSON spells these in another way than those of pandas
    try:
        if isinstance(dtype, numpy.dtype) and dtype.kind in "biuf":
            array = numpy.asarray(value)
            if dtype.kind == "f" and array.size:
                with numpy.errstate(over="ignore", invalid="ignore"):
                    is_usual = math.isfinite(array.sum())
                if not is_usual:
                    array = numpy.where(numpy.isfinite(array), array, numpy.nan)
            found = pyarrow.array(array, from_pandas=True)
        else:
            found = pyarrow.array(value, from_pandas=True)
    except (pyarrow.ArrowException, *_UNCONVERTED):
        return None
    found = found if isinstance(found, pyarrow.ChunkedArray) else pyarrow.chunked_array([found])
    if pyarrow.types.is_null(found.type):
        # Nulls without a type take no bytes, and no reader takes any number of them.
        found = found.cast(pyarrow.bool_())
    is_of_objects = dtype is None or dtype.kind == "O"
    return found if _is_as_json(pyarrow, found.type, is_of_objects=is_of_objects) else None


def _is_as_json(pyarrow: Any, kind: Any, *, is_of_objects: bool) -> bool:
    """Tell whether values of a type are the same when they come back as JSON data."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        return _is_as_json(pyarrow, kind.value_type, is_of_objects=False)
    if types.is_timestamp(kind) or types.is_duration(kind):
        return not is_of_objects  # each object may have a zone of its own
    return bool(
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_null(kind)
    )
