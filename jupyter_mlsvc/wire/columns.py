"""A data.frame as JSON: its columns by name, and the dtypes that code gets them back with.

JSON has no dates, categories or nullable integers. Where the dtypes of the columns are known, a
frame is decoded with them. A number stays a number and a text a text: what a dtype can't hold is
refused and named, and nothing becomes missing that was not null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jupyter_mlsvc.wire.arrays import cells, filled, objects
from jupyter_mlsvc.wire.cells import (
    WORDS,
    MissingColumns,
    check_of,
    key,
    listed_text,
    require,
    require_each,
    require_word,
)
from jupyter_mlsvc.wire.json_values import (
    WITHOUT_POINT,
    ValueProblem,
    column_name,
    describe,
    is_exact,
    member,
    require_text,
    to_plain,
)
from jupyter_mlsvc.wire.models import ColumnDefinition

ReadColumn = Callable[[list[Any], str], Any]
"""Makes of a list of JSON values, which has a path, what pandas takes as a column."""

_EXACT: Final = 2**53
_DATE: Final = r"\d{4}-\d{2}-\d{2}"
_TIME: Final = r"\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_OFFSET: Final = r"(Z|[+-]\d{2}:?\d{2})"
_LOCAL: Final = re.compile(rf"{_DATE}([T ]{_TIME})?", re.ASCII)
_INSTANT: Final = re.compile(rf"{_DATE}[T ]{_TIME}{_OFFSET}", re.ASCII)
_DURATION: Final = re.compile(
    r"-?P(?=.)(-?\d+W)?(-?\d+D)?(T(-?\d+H)?(-?\d+M)?(-?\d+(\.\d{1,9})?S)?)?"
    r"|-?(\d+ days? ?)?[+-]?(\d{1,2}:\d{2}:\d{2}(\.\d{1,9})?)?",
    re.ASCII,
)
_PLAIN_OBJECTS: Final = frozenset(
    {"string", "empty", "boolean", "integer", "floating", "mixed-integer-float", "mixed-integer"}
)
"""Kinds of objects, as pandas calls them, that are in JSON what they are in Python."""


_PLAIN_WORDS: Final = frozenset(WORDS) - {"string", "boolean"}
"""Types that are no dtypes: pandas has the other two words for its own."""


class UnsupportedColumn(ValueError):
    """A column that can't be had from JSON; the message names it and its dtype."""


# --- of all frames ---------------------------------------------------------------------------


def from_records(value: list[Any], path: str) -> dict[str, list[Any]]:
    """Make columns of records, in the order in which their names come up; gaps are null.

    Raises
    ------
    ValueProblem
        One of them is no object.
    """
    names: dict[str, None] = {}
    for i, record in enumerate(value):
        if not isinstance(record, dict):
            raise ValueProblem(
                f"{path}[{i}]", "a record, which is an object (data.frame)", describe(record)
            )
        names.update(dict.fromkeys(record))
    return {name: [record.get(name) for record in value] for name in names}


def read_columns(value: Any, path: str, take: ReadColumn) -> dict[str, Any]:
    """Check a data.frame and give what each of its columns is taken for.

    Raises
    ------
    ValueProblem
        It is neither columns of one length nor records.
    """
    if isinstance(value, list):
        value = from_records(value, path)
    if not isinstance(value, dict):
        raise ValueProblem(
            path, "an object of columns or an array of records (data.frame)", describe(value)
        )
    taken: dict[str, Any] = {}
    first: tuple[str, int] | None = None
    for name, column in value.items():
        where = member(path, name)
        if not isinstance(column, list):
            raise ValueProblem(where, "a column, which is an array (data.frame)", describe(column))
        first = first or (name, len(column))
        if len(column) != first[1]:
            raise ValueProblem(
                where,
                f"a column of {first[1]} values like {first[0]!r} (data.frame)",
                f"one of {len(column)}",
            )
        taken[name] = take(column, where)
    return taken


def make_frame(columns: dict[str, Any], value: Any, path: str) -> Any:
    """Make a DataFrame of columns that were read from a value."""
    import numpy
    import pandas

    arrays = list(columns.values())
    kinds = {array.dtype for array in arrays}
    if len(kinds) == 1 and isinstance(kind := kinds.pop(), numpy.dtype) and kind.kind in "biuf":
        # The same frame, without pandas looking at each column.
        return pandas.DataFrame(numpy.array(arrays).T, columns=list(columns), copy=False)
    try:
        return pandas.DataFrame(columns)
    except UnicodeEncodeError:  # half a character, where pandas keeps text as Arrow does
        require_text(value, path)
        raise


def exact_column(column: Any) -> Any:
    """Keep whole numbers that no float holds, where pandas would make floats for a null."""
    if not isinstance(column, list) or None not in column:
        return column
    if not any(type(item) is int and abs(item) > _EXACT for item in column):
        return column
    import pandas

    return pandas.Series(column, dtype=object)


# --- of frames whose columns are known -------------------------------------------------------


def frame_reader(columns: Sequence[ColumnDefinition]) -> Callable[[Any, str], Any]:
    """Give what makes of JSON a DataFrame with such columns, in this order; others come after them.

    Raises
    ------
    UnsupportedColumn
        A dtype is none that there is, or none that JSON can carry.
    """
    reader_of = column_readers(columns)

    def read(value: Any, path: str) -> Any:
        given = in_order(read_columns(value, path, as_given), columns, value, path)
        taken = {
            name: reader_of(name)(column, member(path, name)) for name, column in given.items()
        }
        return make_frame(taken, value, path)

    return read


def column_readers(columns: Sequence[ColumnDefinition]) -> Callable[[str], ReadColumn]:
    """Give what finds the reader of a column by its name, also of one that is not known.

    Raises
    ------
    UnsupportedColumn
        As :func:`frame_reader`.
    """
    readers = {column.name: _checked(column) for column in columns}
    return lambda name: readers.get(name, cells)


def in_order(
    given: dict[str, Any], columns: Sequence[ColumnDefinition], value: Any, path: str
) -> dict[str, Any]:
    """Put the columns of a value that are known before the others, in their order.

    Raises
    ------
    ValueProblem
        One is not there.
    """
    if not columns:
        return given
    if value == []:  # no records, so nobody can tell what they have
        return {column.name: [] for column in columns}
    missing = [column.name for column in columns if column.name not in given]
    if missing:
        known = {column.name for column in columns}
        raise MissingColumns(path, missing, [name for name in given if name not in known])
    return {column.name: given[column.name] for column in columns} | given


def as_given(column: list[Any], _: str) -> list[Any]:
    """Take a column as it is."""
    return column


def columns_of(frame: Any, *, strict: bool = False) -> list[ColumnDefinition]:
    """Describe the columns of a DataFrame of pandas, so that code gets their dtypes back.

    Parameters
    ----------
    frame : pandas.DataFrame
        Such as the value that an input has in a notebook.
    strict : bool
        Whether a column that JSON can't give back is an error; else it has no type.

    Returns
    -------
    list of ColumnDefinition
        Empty where two columns have one name.

    Raises
    ------
    UnsupportedColumn
        JSON can't give a column back.
    """
    names = [column_name(label) for label in frame.columns]
    if len(set(names)) < len(names):
        return []
    described = []
    for number, name in enumerate(names):
        try:
            column = _described(name, frame.iloc[:, number])
            _reader(column)
        except UnsupportedColumn:
            if strict:
                raise
            column = ColumnDefinition(name=name)
        described.append(column)
    return described


def is_text(column: ColumnDefinition) -> bool:
    """Tell whether the cells of a column are texts in JSON, also where they look like numbers."""
    if column.type == "category":
        return all(isinstance(each, str) for each in column.categories or [])
    return column.type.startswith(("str", "datetime64", "timedelta64", "period"))


def _described(name: str, series: Any) -> ColumnDefinition:
    import pandas

    dtype = series.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        categories = dtype.categories
        inner = _described(name, pandas.Series(categories))
        return ColumnDefinition(
            name=name,
            type="category",
            categories=to_plain(categories, name),
            category_type=inner.type,
            ordered=bool(dtype.ordered),
        )
    if dtype.kind == "O" and not _is_extension(dtype):
        kind = pandas.api.types.infer_dtype(series, skipna=True)
        if kind not in _PLAIN_OBJECTS and not (kind == "mixed" and _is_plain(series)):
            raise UnsupportedColumn(
                f"The column {name!r} has objects in it ({kind}) that JSON can't give back."
            )
    return ColumnDefinition(name=name, type=str(dtype))


def _is_plain(series: Any) -> bool:
    """Tell whether objects, such as lists, are what JSON would make of them."""
    try:
        values = series.dropna().tolist()
        return bool(to_plain(values) == values)
    except (ValueError, TypeError):
        return False


def _checked(column: ColumnDefinition) -> ReadColumn:
    """Give what reads a column, once its values are what is declared of them."""
    read, check = _reader(column), check_of(column)
    if check is None:
        return read

    def read_checked(values: list[Any], path: str) -> Any:
        check(values, path)
        return read(values, path)

    return read_checked


def _words(word: str) -> ReadColumn:
    """Give what reads a column whose type is a word of JSON Schema."""

    def read(values: list[Any], path: str) -> Any:
        require_word(word, values, path)
        return cells(values)

    return read


def _reader(column: ColumnDefinition) -> ReadColumn:
    """Give what reads a column."""
    if not column.type:
        return cells
    if column.type in _PLAIN_WORDS:
        return _words(column.type)
    import pandas

    if column.type == "category":
        return _category(column)
    try:
        dtype = pandas.api.types.pandas_dtype(column.type)
    except Exception as error:  # whatever the libraries raise that read the word
        raise UnsupportedColumn(
            f"The column {column.name!r} has the type {column.type!r}, which is no dtype that "
            "pandas has here."
        ) from error
    make = _maker(dtype)
    if make is None:
        raise UnsupportedColumn(
            f"The column {column.name!r} has the dtype {column.type}, whose values JSON can't give "
            "back. Make text or numbers of it, and convert them in the code."
        )
    return make(dtype)


# --- columns by their dtypes -----------------------------------------------------------------


def _bools(dtype: Any) -> ReadColumn:
    def read(values: list[Any], path: str) -> Any:
        require(values, {bool}, path, f"true or false ({dtype})")
        return _array(values, dtype) if _is_extension(dtype) else cells(values)

    return read


def _integers(dtype: Any) -> ReadColumn:
    import numpy

    limits = numpy.iinfo(getattr(dtype, "numpy_dtype", dtype))
    extension = _is_extension(dtype)
    what = "a whole number" if extension else "a number"
    expected = f"{what} from {limits.min} to {limits.max} ({dtype})"

    def fits(item: float) -> bool:
        return limits.min <= item <= limits.max and not (extension and type(item) is float)

    def read(values: list[Any], path: str) -> Any:
        kinds = require(values, {int, float}, path, expected)
        if float in kinds:
            require_each(values, is_exact, path, f"{WITHOUT_POINT} ({dtype})")
            values = [_whole(item) if type(item) is float else item for item in values]
            kinds = frozenset(map(type, values))
        require_each(values, fits, path, expected)
        if extension:
            return _array(values, dtype)
        # As in pandas, whole numbers among which one is missing or none are floats.
        return numpy.array(values, dtype) if kinds <= {int} else cells(values)

    return read


def _whole(item: float) -> float:
    return int(item) if item.is_integer() else item


def _floats(dtype: Any) -> ReadColumn:
    import numpy

    largest = float(numpy.finfo(getattr(dtype, "numpy_dtype", dtype)).max)
    expected = f"a number up to {largest:.2g} ({dtype})"

    def read(values: list[Any], path: str) -> Any:
        require(values, {int, float}, path, expected)
        require_each(values, lambda item: -largest <= item <= largest, path, expected)
        return _array(values, dtype) if _is_extension(dtype) else numpy.array(values, dtype)

    return read


def _texts(dtype: Any) -> ReadColumn:
    keep = _objects(dtype)

    def read(values: list[Any], path: str) -> Any:
        require(values, {str}, path, f"a string ({dtype})")
        try:
            return _array(values, dtype) if _is_extension(dtype) else keep(values, path)
        except UnicodeEncodeError:
            require_text(values, path)
            raise

    return read


def _objects(_dtype: Any) -> ReadColumn:
    import numpy
    import pandas

    def read(values: list[Any], _: str) -> Any:
        # Of a mere array pandas makes a column of text where it can.
        return pandas.Series(objects(numpy, filled(values, math.nan)), dtype=object)

    return read


def _datetimes(dtype: Any) -> ReadColumn:
    import pandas

    zone = getattr(getattr(dtype, "pyarrow_dtype", dtype), "tz", None)
    form = _LOCAL if zone is None else _INSTANT
    what = "without a time zone" if zone is None else "with an offset such as Z or +01:00"
    expected = f"an ISO date and time {what} ({dtype})"

    def convert(values: list[Any]) -> Any:
        found = pandas.to_datetime(values, format="ISO8601", utc=zone is not None)
        return _in_unit(found if zone is None else found.tz_convert(zone), dtype)

    def read(values: list[Any], path: str) -> Any:
        require(values, {str}, path, expected)
        require_each(values, form.fullmatch, path, expected)
        return _converted(convert, values, path, expected).array.astype(dtype)

    return read


def _durations(dtype: Any) -> ReadColumn:
    import pandas

    expected = f"an ISO duration such as PT1H30M ({dtype})"

    def convert(values: list[Any]) -> Any:
        return _in_unit(pandas.to_timedelta(values), dtype)

    def read(values: list[Any], path: str) -> Any:
        require(values, {str}, path, expected)
        require_each(values, _DURATION.fullmatch, path, expected)
        return _converted(convert, values, path, expected).array.astype(dtype)

    return read


def _periods(dtype: Any) -> ReadColumn:
    expected = f"a period as text ({dtype})"

    def read(values: list[Any], path: str) -> Any:
        require(values, {str}, path, expected)
        return _converted(lambda given: _array(given, dtype), values, path, expected)

    return read


def _category(column: ColumnDefinition) -> ReadColumn:
    import pandas

    listed = column.categories or []
    inner = ColumnDefinition(name=column.name, type=column.category_type)
    where = f"the categories of {column.name!r}"
    try:
        index = pandas.Index(_reader(inner)(listed, where))
        dtype = pandas.CategoricalDtype(index, column.ordered)
        codes = {key(item): code for code, item in enumerate(listed)}
    except UnsupportedColumn:
        raise UnsupportedColumn(
            f"The column {column.name!r} is a category of {column.category_type}, whose values "
            "JSON can't give back. Make text or numbers of the categories."
        ) from None
    except (ValueError, TypeError) as error:
        raise UnsupportedColumn(f"No category can have {where}: {error}") from error
    expected = f"{listed_text(column)} (category)"

    def read(values: list[Any], path: str) -> Any:
        require_each(values, lambda item: key(item) in codes, path, expected)
        found = [-1 if item is None else codes[key(item)] for item in values]
        return pandas.Categorical.from_codes(found, dtype=dtype)

    return read


_BY_CLASS: Final[Mapping[str, Callable[[Any], ReadColumn]]] = {
    "StringDtype": _texts,
    "PeriodDtype": _periods,
    "DatetimeTZDtype": _datetimes,
}
_BY_KIND: Final[Mapping[str, Callable[[Any], ReadColumn]]] = {
    "b": _bools,
    "i": _integers,
    "u": _integers,
    "f": _floats,
    "M": _datetimes,
    "m": _durations,
    "O": _objects,
    "U": _texts,
}


_UNITS: Final = frozenset({"s", "ms", "us", "ns"})


def _maker(dtype: Any) -> Callable[[Any], ReadColumn] | None:
    """Give what makes a reader of columns of a dtype; None for those that JSON can't give back."""
    if make := _BY_CLASS.get(type(dtype).__name__):
        return make
    # Of extension types, those have a type of numpy whose values are numbers, texts or times.
    if _is_extension(dtype) and (dtype.kind == "O" or not hasattr(dtype, "numpy_dtype")):
        return None
    if dtype.kind in "Mm" and _unit(dtype) not in _UNITS:
        return None
    return _BY_KIND.get(dtype.kind)


def _is_extension(dtype: Any) -> bool:
    import numpy

    return not isinstance(dtype, numpy.dtype)


def _unit(dtype: Any) -> Any:
    """Give the unit of a dtype of times, None for days of a calendar."""
    import numpy

    if isinstance(dtype, numpy.dtype):
        return numpy.datetime_data(dtype)[0]
    return getattr(getattr(dtype, "pyarrow_dtype", dtype), "unit", None)


def _in_unit(index: Any, dtype: Any) -> Any:
    """Give times the unit of a dtype.

    Raises
    ------
    ValueError
        One has more digits than that.
    """
    found = index.as_unit(_unit(dtype))
    if not (found[index.notna()] == index[index.notna()]).all():
        raise ValueError("more digits than the unit has")
    return found


def _converted(
    convert: Callable[[list[Any]], Any], values: list[Any], path: str, expected: str
) -> Any:
    """Convert texts, and name the first one that can't be."""
    try:
        found = convert(values)
        if found.isna().sum() == values.count(None):
            return found
    except (ValueError, OverflowError):  # a month 13, a year that the unit has not
        pass

    def fits(item: Any) -> bool:
        try:
            return not convert([item]).isna().any()
        except (ValueError, OverflowError):
            return False

    require_each(values, fits, path, expected)
    raise ValueProblem(path, expected, "values that no column can have together")


def _array(values: list[Any], dtype: Any) -> Any:
    import pandas

    return pandas.array(values, dtype=dtype)
