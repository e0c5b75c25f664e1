"""Frames whose columns are known: code gets them back as they were."""

from __future__ import annotations

import datetime
import json
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc.wire.columns import UnsupportedColumn, columns_of
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition
from jupyter_mlsvc.wire.values import ValueProblem, encode_output, input_decoder

# Its stubs know only of some of these columns.
pandas: Any = pd
BERLIN = "Europe/Berlin"
MOMENT = pd.Timestamp("2024-02-29 23:59:59.123456")
FRAME = pd.DataFrame(
    {
        "flag": [True, False, True],
        "count": [1, 2, 3],
        "small": np.array([1, 2, 3], "int8"),
        "share": [0.5, None, 1.0],
        "single": np.array([0.5, 1.5, 2.5], "float32"),
        "code": ["007", None, "8"],
        "many": pd.array([2**60, None, 3], "Int64"),
        "maybe": pd.array([True, None, False], "boolean"),
        "text": pd.array(["a", None, "1"], "string"),
        "day": pandas.to_datetime(["2024-01-31", None, "2020-02-29"]),
        "local": pd.Series([MOMENT, None, MOMENT]),
        "instant": pd.Series([MOMENT, None, MOMENT]).dt.tz_localize(BERLIN),
        "utc": pandas.to_datetime(["2024-01-31T00:00Z", None, "2020-02-29T12:00Z"]),
        "wait": pd.to_timedelta(["1 days 02:03:04.5", None, "-1 s"]),
        "month": pd.PeriodIndex(["2024-01", "2024-02", "2023-12"], freq="M"),
        "region": pd.Categorical(["north", None, "south"], ["south", "west", "north"]),
        "size": pd.Categorical(["S", "L", "M"], ["S", "M", "L"], ordered=True),
        "year": pd.Categorical([2024, 2023, None], [2022, 2023, 2024]),
        "since": pandas.Categorical(pandas.to_datetime(["2024-01-01", "2023-01-01", None])),
        "tags": [["a"], [], ["b", "c"]],
        "mixed": pd.Series([1, "a", np.nan], dtype=object),
        "big": pd.array([1, None, 3], "int64[pyarrow]"),
        "arrow": pd.array([MOMENT, None, MOMENT], "timestamp[us][pyarrow]"),
    }
)


def over_the_wire(definition: ParameterDefinition) -> ParameterDefinition:
    return msgspec.json.decode(msgspec.json.encode(definition), type=ParameterDefinition)


def decoder_of(frame: pd.DataFrame, name: str = "df") -> Any:
    definition = ParameterDefinition(name=name, type="data.frame", columns=columns_of(frame))
    assert over_the_wire(definition) == definition
    return input_decoder(over_the_wire(definition))


def sent(frame: pd.DataFrame) -> dict[str, list[Any]]:
    plain: dict[str, list[Any]] = json.loads(json.dumps(encode_output("data.frame", frame)))
    return plain


def test_a_frame_comes_back_with_its_dtypes() -> None:
    back = decoder_of(FRAME)(sent(FRAME), "df")
    pd.testing.assert_frame_equal(back, FRAME)
    assert back["region"].cat.categories.tolist() == ["south", "west", "north"]
    assert back["size"].cat.ordered
    assert back["since"].cat.categories.dtype == FRAME["since"].cat.categories.dtype


@pytest.mark.parametrize("number", range(len(FRAME)))
def test_a_row_alone_has_the_dtypes_of_the_whole(number: int) -> None:
    decode = decoder_of(FRAME)
    row = FRAME.iloc[[number]].reset_index(drop=True)
    alone = decode(sent(row), "df")
    record = {name: column[0] for name, column in sent(row).items()}
    pd.testing.assert_frame_equal(decode([record], "df"), alone)
    # In pandas too a column of bool or int is another one if what is in it is missing.
    pd.testing.assert_frame_equal(alone, row)


def test_a_column_of_nulls_alone_has_its_dtype() -> None:
    decode = decoder_of(FRAME)
    nothing = decode({name: [None] for name in FRAME}, "df")
    assert nothing.isna().all(axis=None)
    like_pandas = FRAME.reindex([-1])
    for name in FRAME:
        assert nothing[name].dtype == ("float64" if name == "flag" else like_pandas[name].dtype), (
            name
        )


def test_columns_have_the_order_that_is_known_and_others_come_after() -> None:
    frame = pd.DataFrame({"b": [1], "a": ["x"]})
    back = decoder_of(frame)({"z": [1.5], "a": ["y"], "b": [2]}, "df")
    assert list(back.columns) == ["b", "a", "z"]
    assert list(decoder_of(frame)([], "df").columns) == ["b", "a"]
    assert decoder_of(frame)(None, "df") is None


def test_a_whole_number_is_one_of_its_column_however_it_is_spelt() -> None:
    frame = pd.DataFrame({"i": [1], "n": pd.array([1], "Int64"), "f": [0.5]})
    back = decoder_of(frame)({"i": [2.0], "n": [2.0], "f": [2]}, "df")
    assert back.dtypes.map(str).tolist() == ["int64", "Int64", "float64"]
    # A fraction is no error in a column that only happened to have none.
    assert decoder_of(frame)({"i": [2, 2.5], "n": [1, 2], "f": [1, 2]}, "df")["i"].dtype == float


WRONG: dict[str, list[Any]] = {
    "flag": [1, "true"],
    "count": ["1", True, 2**63, [1]],
    "small": [128, -129],
    "share": ["0.5", False, 10**400],
    "single": [1e39],
    "code": [7, True, ["7"]],
    "many": [2.5, "2", 2**63],
    "maybe": [0, "yes"],
    "text": [1],
    "day": [
        *("2024-13-01", "2024-02-30", "yesterday", "today", "now", "NaT", "", "nan", 20240101),
        *("2024-01-01T00:00:00Z", "01/02/2024", "2024", True, "2024-01-01T00:00:00.1234567"),
    ],
    "instant": ["2024-01-01", "2024-01-01T00:00:00", "2024-01-01T00:00:00+99:00", "NaT"],
    "wait": ["soon", "", "NaT", "5", 5, "P", "PT"],
    "month": ["spring", "", "NaT", 5],
    "region": ["east", "North", "", 1, ["north"]],
    "year": [2021, "2024", True, 2024.5],
    "since": ["2025-01-01", "NaT"],
    "arrow": ["2024-13-01"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_what_a_column_cannot_hold_is_refused_by_name_and_never_missing(
    name: str, value: Any
) -> None:
    good = sent(FRAME)[name]
    decode = decoder_of(FRAME[[name]])
    with pytest.raises(ValueProblem) as caught:
        decode({name: [*good, value, None]}, "df")
    assert caught.value.path == f'df["{name}"][{len(good)}]'


def test_a_missing_column_is_named() -> None:
    decode = decoder_of(pd.DataFrame({"a": [1], "b": [1], "c": [1]}))
    for value in ({"a": [1], "c": [1]}, [{"a": 1, "c": 1}]):
        with pytest.raises(ValueProblem) as caught:
            decode(value, "df")
        assert str(caught.value) == "df lacks the column 'b'."
    # In records among which one has it, it is null where it is not.
    assert decode([{"a": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}], "df")["b"].isna().tolist() == [
        *(True, False)
    ]


def test_unknown_category_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueProblem) as caught:
        decoder_of(FRAME[["region"]])({"region": ["east"]}, "df")
    assert str(caught.value) == (
        "df[\"region\"][0] must be one of 'south', 'west', 'north' (category), "
        "got the string 'east'."
    )


UNSUPPORTED = {
    "intervals": pd.Series(pd.interval_range(0, 3)),
    "categories of intervals": pd.Series(pd.cut([1, 2, 3], 2)),
    "complex numbers": pd.Series([1j]),
    "dates": pd.Series([datetime.date(2024, 1, 1)]),
    "bytes": pd.Series([b"a"]),
    "sparse": pd.Series(pd.arrays.SparseArray([1.0, 0.0])),
    "tuples": pd.Series([(1, 2)]),
    "objects": pd.Series([object()]),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_column_that_json_cannot_give_back_has_no_type_or_is_an_error(name: str) -> None:
    frame = pd.DataFrame({"a": UNSUPPORTED[name]})
    assert columns_of(frame) == [ColumnDefinition(name="a")]
    with pytest.raises(UnsupportedColumn, match="'a'"):
        columns_of(frame, strict=True)


@pytest.mark.parametrize("kind", ["int46", "interval[int64, right]", "datetime64[Y]", "x y", ","])
def test_a_type_that_is_none_is_refused(kind: str) -> None:
    column = ColumnDefinition(name="a", type=kind)
    with pytest.raises(UnsupportedColumn, match="'a'"):
        input_decoder(ParameterDefinition(name="df", type="data.frame", columns=[column]))


def test_columns_of_one_name_are_not_described() -> None:
    assert columns_of(pd.DataFrame([[1, 2]], columns=["a", "a"])) == []


ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "Int32": st.none() | st.integers(-(2**31), 2**31 - 1),
    "boolean": st.none() | st.booleans(),
    "bool": st.booleans(),
    "str": st.none() | st.text(st.characters(codec="utf-8")),
    "datetime64[us]": st.none() | st.datetimes(),
    "datetime64[us, UTC]": st.none() | st.datetimes(timezones=st.just(datetime.UTC)),
    "timedelta64[us]": st.none()
    | st.timedeltas(datetime.timedelta(-99999), datetime.timedelta(99999)),
    "category": st.none() | st.sampled_from(["a", "b", ""]),
}


@given(
    st.sampled_from(sorted(ELEMENTS)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.lists(ELEMENTS[kind], min_size=1, max_size=5))
    )
)
def test_each_row_of_any_column_alone_is_as_it_is_in_its_frame(case: tuple[str, list[Any]]) -> None:
    kind, values = case
    frame = pd.DataFrame({"a": pandas.Series(values).astype(kind)})
    decode = decoder_of(frame)
    together = decode(sent(frame), "df")
    pd.testing.assert_frame_equal(together, frame)
    for i in range(len(frame)):
        alone = decode({"a": [sent(frame)["a"][i]]}, "df")
        pd.testing.assert_frame_equal(alone, together.iloc[[i]].reset_index(drop=True))
