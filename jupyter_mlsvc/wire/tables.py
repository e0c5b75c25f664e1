"""Tables and columns of other libraries than pandas, by what they say of themselves.

Libraries such as polars and pyarrow give what they hold by the Arrow PyCapsule interface, older
ones by the data frame interchange protocol. Both keep names and whole numbers, which numpy's
protocol for arrays would drop. polars and pyarrow are asked themselves; what others have, pyarrow
reads, or polars or pandas where it is not installed.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any, NamedTuple


class Table(NamedTuple):
    """Names of columns and their values, in their order; two columns may have one name."""

    names: list[str]
    columns: list[list[Any]]


class Column(NamedTuple):
    """Values without a name."""

    values: list[Any]


class UnreadableTable(TypeError):
    """Nothing that is installed can read it."""


def read_table(value: Any) -> Table | Column | None:
    """Read what has an interface of tables; None of anything else.

    Raises
    ------
    UnreadableTable
        No library is there to read it with.
    """
    kind = type(value)
    if hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__arrow_c_array__"):
        return _of_polars(value) or _of_arrow(value) or _by_arrow(value)
    if hasattr(kind, "__dataframe__"):
        return _by_interchange(value)
    return None


def is_table(value: Any) -> bool:
    """Tell whether a value of polars, pyarrow or with the interchange protocol is a table."""
    polars, arrow = sys.modules.get("polars"), sys.modules.get("pyarrow")
    if polars is not None and isinstance(value, polars.DataFrame):
        return True
    if arrow is not None and isinstance(value, arrow.Table | arrow.RecordBatch):
        return True
    return hasattr(type(value), "__dataframe__")


def is_column(value: Any) -> bool:
    """Tell whether a value is a column of polars or pyarrow."""
    polars, arrow = sys.modules.get("polars"), sys.modules.get("pyarrow")
    if polars is not None and isinstance(value, polars.Series):
        return True
    return arrow is not None and isinstance(value, arrow.Array | arrow.ChunkedArray)


def _of_polars(value: Any) -> Table | Column | None:
    polars = sys.modules.get("polars")
    if polars is None:
        return None
    if isinstance(value, polars.DataFrame):
        columns = value.get_columns()
        return Table([each.name for each in columns], [each.to_list() for each in columns])
    return Column(value.to_list()) if isinstance(value, polars.Series) else None


def _of_arrow(value: Any) -> Table | Column | None:
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return None
    if isinstance(value, arrow.RecordBatchReader):
        value = value.read_all()
    if isinstance(value, arrow.Table | arrow.RecordBatch):
        columns = [value.column(i).to_pylist() for i in range(value.num_columns)]
        return Table(list(value.schema.names), columns)
    if isinstance(value, arrow.Array | arrow.ChunkedArray):
        return Column(value.to_pylist())
    return None


def _by_arrow(value: Any) -> Table | Column | None:
    """Have another library read what a third one holds."""
    try:
        import pyarrow
    except ImportError:
        polars = sys.modules.get("polars")
        if polars is None:
            raise UnreadableTable from None
        return _of_polars(polars.from_arrow(value))
    try:
        return _of_arrow(pyarrow.table(value))
    except (pyarrow.ArrowInvalid, TypeError, ValueError):
        # A lone column. One of records can't be told from a table.
        if hasattr(type(value), "__arrow_c_stream__"):
            return _of_arrow(pyarrow.chunked_array(value))
        return _of_arrow(pyarrow.array(value))


def _by_interchange(value: Any) -> Table | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is old in it is not the user's doing
        try:
            from pyarrow.interchange import from_dataframe
        except ImportError:
            return _by_pandas(value)
        table = _of_arrow(from_dataframe(value))
    assert isinstance(table, Table)
    return table


def _by_pandas(value: Any) -> Table:
    try:
        from pandas.api.interchange import from_dataframe
    except ImportError:
        raise UnreadableTable from None
    frame = from_dataframe(value)
    described = value.__dataframe__()
    names, columns = [], []
    for number, name in enumerate(described.column_names()):
        values = frame.iloc[:, number].astype(object).tolist()
        if int(described.get_column(number).dtype[0]) <= 1:
            # A whole number is one, whatever pandas makes of it where one beside it is missing.
            values = [None if item != item else int(item) for item in values]  # noqa: PLR0124
        names.append(str(name))
        columns.append(values)
    return Table(names, columns)
