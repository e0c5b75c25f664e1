"""Tables and columns of polars, pyarrow and whatever has their interfaces."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.wire.kinds import example_of, parameter_type
from jupyter_mlsvc.wire.tables import Table, _by_pandas
from jupyter_mlsvc.wire.values import ValueProblem, encode_output

COLUMNS: dict[str, list[Any]] = {
    "b": [2**60 + 1, None, 3],
    "a": ["x", None, "7"],
    "f": [0.5, None, 1.0],
    "t": [True, None, False],
    "l": [[1, 2], [], None],
}


class Stream:
    """Has Arrow's interface, and nothing else."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._held.__arrow_c_stream__(requested_schema)


class Interchange:
    """Has the interchange protocol, and nothing else."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __dataframe__(self, *args: Any, **options: Any) -> object:
        return self._held.__dataframe__(*args, **options)


class Framed:
    """Has names of columns and the protocol of arrays."""

    ndim = 2
    columns = ("b", "a")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.array([[1, 2]])

    def __getitem__(self, name: str) -> list[int]:
        return {"b": [1], "a": [2]}[name]


TABLES: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "a batch of pyarrow": pa.RecordBatch.from_pydict,
    "a reader of pyarrow": lambda columns: pa.table(columns).to_reader(),
    "a stream": lambda columns: Stream(pa.table(columns)),
    "a stream of polars": lambda columns: Stream(pl.DataFrame(columns)),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("type_name", ["data.frame", "string", ""])
def test_a_table_keeps_names_order_and_whole_numbers(
    make: Callable[[Any], Any], type_name: str
) -> None:
    plain = encode_output(type_name, make(COLUMNS))
    assert repr(plain) == repr(COLUMNS)
    assert repr(plain_values({"x": make(COLUMNS)})["x"]) == repr(COLUMNS)


def test_the_interchange_protocol_keeps_them_as_well() -> None:
    columns = {"b": [2**53 + 1, None], "a": ["x", "y"], "f": [0.5, None]}
    table = Interchange(pa.table(columns))
    assert repr(encode_output("data.frame", table)) == repr(columns)
    assert parameter_type(table) == "data.frame"
    # Without pyarrow pandas reads it, whose whole numbers are floats where one is missing.
    small = {"b": [7, None], "f": [0.5, 1.5]}
    with pytest.warns(Warning, match="Interchange"):
        found = _by_pandas(Interchange(pa.table(small)))
    assert repr(found) == repr(Table(["b", "f"], [[7, None], [0.5, 1.5]]))


SERIES: dict[str, Callable[[list[Any]], Any]] = {
    "polars": pl.Series,
    "pyarrow": pa.array,
    "chunks of pyarrow": lambda values: pa.chunked_array([values]),
    "pandas": lambda values: pd.Series(values, dtype="Int64"),
    "an index": lambda values: pd.Index(values, dtype="Int64"),
    "a stream": lambda values: Stream(pl.Series(values)),
}


@pytest.mark.parametrize("make", SERIES.values(), ids=SERIES)
def test_a_column_keeps_whole_numbers(make: Callable[[list[Any]], Any]) -> None:
    values = [2**60 + 1, None, 3]
    for type_name in ("vector", "string", ""):
        assert repr(encode_output(type_name, make(values))) == repr(values)
    assert repr(plain_values({"x": make(values)})["x"]) == repr(values)


def test_a_column_of_polars_or_pandas_is_a_frame_under_its_name() -> None:
    for series in (pl.Series("a", [1, None]), pd.Series([1, None], name="a", dtype="Int64")):
        assert encode_output("data.frame", series) == {"a": [1, None]}


def test_what_has_names_of_columns_is_never_stripped_of_them() -> None:
    assert encode_output("", Framed()) == {"b": [1], "a": [2]}
    records = np.array([(1, 0.5), (2, 1.5)], dtype=[("i", "i8"), ("f", "f8")])
    assert encode_output("data.frame", records) == {"i": [1, 2], "f": [0.5, 1.5]}
    assert encode_output("data.frame", [{"a": 1}, {"b": 2}]) == {"a": [1, None], "b": [None, 2]}


def test_values_that_json_lacks_are_as_those_of_python() -> None:
    moment = datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.UTC)
    columns = {
        "when": [moment],
        "day": [moment.date()],
        "wait": [datetime.timedelta(seconds=90)],
        "price": [decimal.Decimal("1.50")],
        "raw": [b"\x01"],
        "part": [{"x": 1}],
    }
    expected = encode_output("", columns)
    assert encode_output("", pl.DataFrame(columns)) == expected
    assert encode_output("", pa.table(columns)) == expected
    assert encode_output("", pa.scalar(7)) == 7


def test_duplicate_column_names_are_refused() -> None:
    with pytest.raises(ValueProblem, match="the column 'a' twice"):
        encode_output("data.frame", pa.table([[1], [2]], names=["a", "a"]), "y")


def test_what_a_table_fits_as_a_parameter() -> None:
    for table in (pl.DataFrame(COLUMNS), pa.table(COLUMNS)):
        assert parameter_type(table) == "data.frame"
        assert example_of(table) == COLUMNS
    for column in (pl.Series([1, None]), pa.array([1, None])):
        assert parameter_type(column) == "vector"
        assert example_of(column) == [1, None]


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2),
        min_size=1,
    )
)
def test_tables_of_all_libraries_are_the_same_json(columns: dict[str, list[Any]]) -> None:
    of_pandas = pd.DataFrame({name: pd.array(each, "Int64") for name, each in columns.items()})
    expected = repr(columns)
    typed = pa.table({name: pa.array(each, pa.int64()) for name, each in columns.items()})
    for table in (of_pandas, typed, pl.from_arrow(typed), Stream(typed)):
        assert repr(encode_output("data.frame", table)) == expected


@pytest.mark.process
def test_polars_needs_no_other_library() -> None:
    code = (
        "import sys, polars\n"
        "from jupyter_mlsvc.wire.values import encode_output\n"
        "print(encode_output('', polars.DataFrame({'a': [1, None]})))\n"
        "assert not {'numpy', 'pandas', 'pyarrow'} & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "{'a': [1, None]}\n"
