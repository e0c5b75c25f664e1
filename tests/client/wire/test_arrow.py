"""Tables in Arrow's format: what JSON would give for the same data, and nothing else."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_mlsvc.wire.arrow_columns import (
    Columns,
    frame_columns,
    plain_column,
    reader_of_columns,
    vector_column,
)
from jupyter_mlsvc.wire.arrow_stream import UnreadableArrow, read_stream, write_stream
from jupyter_mlsvc.wire.columns import columns_of
from jupyter_mlsvc.wire.models import ColumnDefinition, ItemsDefinition, ParameterDefinition
from jupyter_mlsvc.wire.values import ValueProblem, encode_output, input_decoder

from .test_columns import FRAME

YEAR = datetime.datetime.fromisoformat("2024-01-01")
ZONES = st.sampled_from([None, "UTC", "Europe/Berlin", "+05:30"])
MOMENTS = st.datetimes(YEAR.replace(year=1700), YEAR.replace(year=2200))
CENTURY = datetime.timedelta(36_500)
BIG = 2**63 - 1


def over_the_wire(columns: Columns) -> Columns:
    body = write_stream(pa.table(dict(columns.columns)), {})
    table = read_stream(body)
    found = dict(zip(table.schema.names, table.columns, strict=True))
    return Columns(found, is_vector=columns.is_vector)


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(encode_output("", value)))


def outcome(read: Any, value: Any) -> Any:
    """What reading gives, or says is wrong."""
    try:
        return read(value, "df")
    except ValueProblem as problem:
        return str(problem)


def assert_same(got: Any, expected: Any) -> None:
    assert type(got) is type(expected), f"{got} is not {expected}"
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(got, expected)
    elif isinstance(expected, np.ndarray):
        assert got.dtype == expected.dtype
        assert got.flags.writeable
        np.testing.assert_array_equal(got, expected)
    else:
        assert got == expected


def assert_as_json(columns: Columns, plain: Any, definition: ParameterDefinition) -> None:
    read = input_decoder(definition)
    got = outcome(reader_of_columns(definition, read), columns)
    assert_same(got, outcome(read, plain))


def frame_of(*columns: ColumnDefinition) -> ParameterDefinition:
    return ParameterDefinition(name="df", type="data.frame", columns=list(columns) or None)


VALUES: Sequence[tuple[str, Any]] = [
    ("float64", st.floats()),
    ("float64", st.one_of(st.none(), st.floats())),
    ("float32", st.floats(width=32)),
    ("int64", st.integers(-BIG, BIG)),
    ("int8", st.integers(-128, 127)),
    ("uint64", st.integers(0, 2**64 - 1)),
    ("Int64", st.one_of(st.none(), st.integers(-BIG, BIG))),
    ("Float64", st.one_of(st.none(), st.floats(allow_nan=False))),
    ("bool", st.booleans()),
    ("boolean", st.one_of(st.none(), st.booleans())),
    ("str", st.one_of(st.none(), st.text())),
    ("string", st.one_of(st.none(), st.text())),
    ("category", st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))),
    ("datetime64[us]", st.one_of(st.none(), MOMENTS)),
    ("datetime64[ns]", st.one_of(st.none(), MOMENTS)),
    ("datetime64[s]", st.one_of(st.none(), MOMENTS.map(lambda at: at.replace(microsecond=0)))),
    ("timedelta64[us]", st.one_of(st.none(), st.timedeltas(-CENTURY, CENTURY))),
    ("int64[pyarrow]", st.one_of(st.none(), st.integers(-BIG, BIG))),
]


@st.composite
def series(draw: st.DrawFn) -> pd.Series[Any]:
    dtype, values = draw(st.sampled_from(VALUES))
    found: Any = pd.Series(draw(st.lists(values, max_size=5)), dtype=dtype)
    zone = draw(ZONES)
    if zone is not None and dtype.startswith("datetime64"):
        found = found.dt.tz_localize("UTC").dt.tz_convert(zone)
    column: pd.Series[Any] = found
    return column


@given(sent=series(), declared=st.one_of(st.none(), series()), limits=st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_column_is_what_json_makes_of_it(
    sent: pd.Series[Any], declared: pd.Series[Any] | None, limits: bool
) -> None:
    frame = pd.DataFrame({"x": sent})
    columns = frame_columns(frame)
    assert columns is not None
    received = over_the_wire(columns)
    plain = as_json(frame)
    assert received.plain("df") == plain
    definition = frame_of()
    if declared is not None:
        (column,) = columns_of(pd.DataFrame({"x": declared}))
        if limits:
            column = ColumnDefinition(name="x", type=column.type, minimum=-5, nullable=False)
        if column.type != "category" or column.categories:
            definition = frame_of(column)
    assert_as_json(received, plain, definition)


@given(sent=series())
@settings(max_examples=30, deadline=None)
def test_a_vector_is_what_json_makes_of_it(sent: pd.Series[Any]) -> None:
    columns = vector_column("df", sent)
    assert columns is not None
    plain = as_json(sent)
    received = over_the_wire(columns)
    assert received.plain("df") == plain
    for items in (None, ItemsDefinition(type="number", nullable=False)):
        definition = ParameterDefinition(name="df", type="vector", items=items)
        assert_as_json(received, plain, definition)


def test_a_frame_with_all_dtypes_comes_back_with_them() -> None:
    frame = FRAME.drop(columns=["tags", "mixed", "month", "since"])
    columns = frame_columns(frame)
    assert columns is not None
    definition = frame_of(*columns_of(frame))
    read = reader_of_columns(definition, input_decoder(definition))
    pd.testing.assert_frame_equal(read(over_the_wire(columns), "df"), frame)


ODD: dict[str, Any] = {
    "decimals": (pa.array([decimal.Decimal("1.50"), None]), [1.5, None]),
    "dates": (pa.array([datetime.date(2024, 2, 29), None]), ["2024-02-29", None]),
    "times": (pa.array([datetime.time(1, 2, 3)]), ["01:02:03"]),
    "bytes": (pa.array([b"\x00\xff"]), ["AP8="]),
    "large text": (pa.array(["a", None], pa.large_string()), ["a", None]),
    "views of text": (pa.array(["a", None], pa.string_view()), ["a", None]),
    "nulls": (pa.nulls(2), [None, None]),
    "lists": (pa.array([[1, 2], None]), [[1, 2], None]),
    "objects": (pa.array([{"a": 1}]), [{"a": 1}]),
    "half floats": (pa.array(np.array([0.5, 1.5], "float16")), [0.5, 1.5]),
    "a category of dates": (
        pa.array([datetime.date(2024, 1, 1), None]).dictionary_encode(),
        ["2024-01-01", None],
    ),
    "nanoseconds": (pa.array([1], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001"]),
    "whole numbers, some missing": (pa.array([2**60, None]), [2**60, None]),
    "empty objects": (pa.array([{}, None], pa.struct([])), [{}, None]),
    "infinities": (pa.array([1.5, float("inf")]), [1.5, None]),
}


@pytest.mark.parametrize("what", ODD)
def test_other_types_are_what_they_are_in_json(what: str) -> None:
    array, plain = ODD[what]
    received = over_the_wire(Columns({"x": pa.chunked_array([array])}))
    assert received.plain("df") == {"x": plain}
    assert_as_json(received, {"x": plain}, frame_of())


def test_chunks_of_a_category_may_have_dictionaries_of_their_own() -> None:
    chunks = [pa.array(values).dictionary_encode() for values in (["b", "a"], ["c", None, "b"])]
    column = ColumnDefinition(name="x", type="category", categories=["a", "b", "c"])
    received = Columns({"x": pa.chunked_array(chunks)})
    plain = {"x": ["b", "a", "c", None, "b"]}
    assert received.plain("df") == plain
    assert_as_json(received, plain, frame_of(column))
    assert_as_json(received, plain, frame_of(ColumnDefinition(**_but(column, categories=["a"]))))


def _but(column: ColumnDefinition, **changes: Any) -> dict[str, Any]:
    return {"name": column.name, "type": column.type, **changes}


def test_columns_that_are_missing_are_named_as_for_json() -> None:
    definition = frame_of(ColumnDefinition(name="age"), ColumnDefinition(name="income"))
    plain = {"agee": [1], "income": [2]}
    columns = frame_columns(pd.DataFrame(plain))
    assert columns is not None
    read = input_decoder(definition)
    assert "did you mean it by 'agee'?" in outcome(read, plain)
    assert_as_json(columns, plain, definition)


def _list_of(values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def _dictionary_of(values: Any) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), values)


def _empty_objects(count: int) -> Any:
    return pa.StructArray.from_buffers(pa.struct([]), count, [None], children=[])


def bodies() -> dict[str, tuple[bytes, str]]:
    table = pa.table({"x": [1, 2]})
    whole = bytes(write_stream(table, {}))
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    text = bytearray(write_stream(pa.table({"x": ["abc", "def"]}), {}))
    text[text.index(b"abcdef") - 8] = 255  # an offset of a text that ends beyond its buffer
    rows = pa.RecordBatch.from_arrays([pa.nulls(10**9)], ["x"])
    twice = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    uuids = pa.table({"x": pa.array([b"0" * 16], pa.binary(16)).cast(pa.uuid())})
    return {
        "nothing": (b"", "no Arrow stream"),
        "text": (b'{"x": 1}', "no Arrow stream"),
        "half of one": (whole[: len(whole) // 2], "no Arrow stream"),
        "a damaged message": (whole[:12] + b"\xff" * 24 + whole[36:], "no Arrow stream"),
        "an offset beyond the end": (bytes(text), "no Arrow stream"),
        "compressed": (sink.getvalue().to_pybytes(), "compressed buffers"),
        "rows without bytes": (
            bytes(write_stream(pa.Table.from_batches([rows]), {})),
            "1,000,000,000 values",
        ),
        "lists of nulls": (
            bytes(write_stream(pa.table({"x": _list_of(pa.nulls(10**6))}), {})),
            "1,000,000 values",
        ),
        "a dictionary of empty objects": (
            bytes(write_stream(pa.table({"x": _dictionary_of(_empty_objects(10**6))}), {})),
            "1,000,000 values",
        ),
        "dictionaries in lists": (
            bytes(write_stream(pa.table({"x": _list_of(_dictionary_of(pa.array(["a"])))}), {})),
            "a dictionary inside",
        ),
        "two of a name": (bytes(write_stream(twice, {})), "two columns 'x'"),
        "an extension": (bytes(write_stream(uuids, {})), "an extension that is not read"),
    }


@pytest.mark.parametrize("what", bodies())
def test_a_body_that_can_do_harm_is_refused(what: str) -> None:
    body, words = bodies()[what]
    with pytest.raises(UnreadableArrow, match=words):
        read_stream(body)


@given(at=st.integers(0, 600), byte=st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_whatever_is_changed_in_a_body_it_is_refused_or_read(at: int, byte: int) -> None:
    frame = FRAME.drop(columns=["tags", "mixed", "month", "since", "arrow", "big"])
    columns = frame_columns(frame)
    assert columns is not None
    body = bytearray(write_stream(pa.table(dict(columns.columns)), {}))
    body[at % len(body)] = byte
    try:
        table = read_stream(bytes(body))
        for column in table.columns:
            plain_column(column, "x")
    except (UnreadableArrow, ValueProblem):
        pass


def test_a_long_column_without_any_value_goes_over_the_wire() -> None:
    frame = pd.DataFrame({"x": [None] * 100_000})
    columns = frame_columns(frame)
    assert columns is not None
    assert over_the_wire(columns).plain("df") == {"x": [None] * 100_000}


def test_the_index_of_pandas_is_no_column() -> None:
    frame = pd.DataFrame({"x": [1, 2]}, index=["a", "b"])
    body = write_stream(pa.Table.from_pandas(frame), {})
    assert read_stream(body).schema.names == ["x"]


@pytest.mark.parametrize(
    "value",
    [
        [1, "a"],
        [{"a": 1}],
        [decimal.Decimal(1)],
        [YEAR],
        np.array(["2024-01-01"], "datetime64[D]"),
        np.array([1 + 2j]),
        pd.period_range("2024", periods=2, freq="M").to_series(),
    ],
    ids=str,
)
def test_what_json_spells_in_its_own_way_stays_json(value: Any) -> None:
    assert vector_column("x", value) is None
    assert frame_columns(pd.DataFrame({"x": pd.Series(value, dtype=object)})) is None
