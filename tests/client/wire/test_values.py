"""Inputs and outputs of services: JSON to Python values and back."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc.wire.json_values import require_text
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.values import ValueProblem, decode_input, encode_output, plain_input

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
ALL_TYPES = [
    "logical",
    "numeric",
    "integer",
    "character",
    "vector",
    "matrix",
    "data.frame",
    "string",
]


def declared(type_name: str) -> ParameterDefinition:
    return ParameterDefinition(name="p", type=type_name)


# --- inputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", ALL_TYPES)
def test_null_is_none_but_for_a_numeric(type_name: str) -> None:
    decoded = decode_input(type_name, None)
    assert math.isnan(decoded) if type_name == "numeric" else decoded is None
    assert encode_output(type_name, decoded) is None
    assert encode_output(type_name, None) is None


@pytest.mark.parametrize(
    ("type_name", "value", "kind"),
    [
        ("logical", True, bool),
        ("numeric", 3, float),
        ("numeric", -0.0, float),
        ("numeric", 2**1000, float),
        ("numeric", 3.5, float),
        ("integer", 3, int),
        ("integer", 3.0, int),
        ("integer", 2**80, int),
        ("integer", float(2**53 - 1), int),
        ("character", "setosa", str),
    ],
)
def test_scalars_are_python_scalars(type_name: str, value: object, kind: type) -> None:
    decoded = decode_input(type_name, value)
    assert decoded == value
    assert type(decoded) is kind


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([7, 3.2, 4.7, 1.4], "float64"),
        ([1, 2, 3], "int64"),
        ([True, False], "bool"),
        ([1, None], "float64"),
        ([], "float64"),
        (["a", "b"], "object"),
        (["a", 1, None, True], "object"),
        ([None], "float64"),
        ([None] * 200, "float64"),
        ([2**70, 1], "object"),
        ([2**53 + 1, 0.5], "object"),
    ],
)
def test_a_vector_is_a_one_dimensional_array(values: list[Any], dtype: str) -> None:
    vector = decode_input("vector", values)
    assert vector.shape == (len(values),)
    assert vector.dtype == dtype


def test_null_in_a_vector_is_nan_among_numbers_and_none_elsewhere() -> None:
    assert math.isnan(decode_input("vector", [1, None])[1])
    assert math.isnan(decode_input("vector", [2**70, None])[1])
    assert decode_input("vector", ["a", None])[1] is None


def test_a_matrix_is_a_two_dimensional_array() -> None:
    matrix = decode_input("matrix", [[1, 2, 3], [4, None, 6]])
    assert matrix.shape == (2, 3)
    assert math.isnan(matrix[1, 1])
    assert decode_input("matrix", []).shape == (0, 0)
    assert decode_input("matrix", [[], []]).shape == (2, 0)


def test_a_data_frame_is_a_pandas_one_with_the_columns_in_order() -> None:
    frame = decode_input("data.frame", {"b": [1.5, None], "a": ["x", None]})
    assert list(frame.columns) == ["b", "a"]
    assert frame["b"].dtype == "float64"
    assert frame.isna().sum().tolist() == [1, 1]


def test_null_in_frames_and_matrices_is_nan_whatever_is_beside_it() -> None:
    for column in ([None], [None, 1], [None, True], [None, "a", 1], [None, [1]]):
        first = decode_input("data.frame", {"a": column})["a"].iloc[0]
        assert isinstance(first, float), column
        assert math.isnan(first), column
    for row in ([None], [None, 1], [None, True], [None, "a"]):
        first = decode_input("matrix", [row])[0, 0]
        assert isinstance(first, float), row
        assert math.isnan(first), row


def test_records_are_a_data_frame_with_null_for_what_is_not_there() -> None:
    records = [{"b": 1, "a": "x"}, {"c": True, "b": None}, {}]
    columns = {"b": [1, None, None], "a": ["x", None, None], "c": [None, True, None]}
    frame = decode_input("data.frame", records)
    assert list(frame.columns) == ["b", "a", "c"]
    pd.testing.assert_frame_equal(frame, decode_input("data.frame", columns))
    assert plain_input(declared("data.frame"), records) == columns
    assert decode_input("data.frame", []).shape == (0, 0)


def test_columns_of_lists_go_in_as_they_come_out() -> None:
    frame = pd.DataFrame(
        {"a": [[1, 2], [], [3]], "b": [{"x": [1]}, None, {}], "c": [[1], [2], [3]]}
    )
    plain = encode_output("data.frame", frame)
    back = decode_input("data.frame", plain)
    assert back["a"].tolist() == [[1, 2], [], [3]]
    assert back["c"].tolist() == [[1], [2], [3]]
    assert encode_output("data.frame", back) == plain


@given(st.lists(st.text(), unique=True, min_size=1), st.randoms())
def test_the_order_of_keys_is_kept_on_every_way(names: list[str], random: Any) -> None:
    random.shuffle(names)
    value = {name: [i] for i, name in enumerate(names)}
    assert list(encode_output("", value)) == names
    assert list(encode_output("data.frame", value)) == names
    assert list(decode_input("data.frame", value).columns) == names
    assert list(decode_input("data.frame", [dict.fromkeys(names, 1)]).columns) == names
    assert list(plain_input(declared("data.frame"), [dict.fromkeys(names, 1)])) == names


@pytest.mark.parametrize(
    ("type_name", "value", "plain"),
    [
        ("numeric", [2], 2),
        ("integer", [2.0], 2.0),
        ("logical", [True], True),
        ("character", ["a"], "a"),
        ("character", [None], None),
        ("vector", [2], [2]),
        ("string", [2], [2]),
    ],
)
def test_a_list_of_one_is_a_scalar_for_languages_without_scalars(
    type_name: str, value: Any, plain: Any
) -> None:
    assert plain_input(declared(type_name), value) == plain


@pytest.mark.parametrize("value", [[], [1, 2], [[1]], ["a"]])
def test_other_lists_are_no_scalar(value: Any) -> None:
    with pytest.raises(ValueProblem, match="numeric"):
        plain_input(declared("numeric"), value)


@given(JSON)
def test_a_free_type_passes_json_through(value: Any) -> None:
    assert decode_input("string", value) == value


@pytest.mark.parametrize(
    ("type_name", "value", "message"),
    [
        ("logical", 1, "p must be true or false (logical), got the number 1."),
        ("numeric", "7", "p must be a number (numeric), got the string '7'."),
        ("numeric", True, "p must be a number (numeric), got true."),
        ("integer", 3.5, "p must be a whole number (integer), got the number 3.5."),
        ("integer", False, "p must be a whole number (integer), got false."),
        (
            "integer",
            9007199254740993.0,
            "p must be a whole number that is written without '.0' and exponent from 2**53 on "
            "(integer), got the number 9007199254740992.0.",
        ),
        ("character", 1, "p must be a string (character), got the number 1."),
        ("vector", 7, "p must be an array (vector), got the number 7."),
        ("vector", {"a": 1}, "p must be an array (vector), got an object."),
        (
            "vector",
            [1, 2, [3]],
            "p[2] must be a number, a string, true, false or null, got an array.",
        ),
        ("matrix", [1], "p[0] must be a row, which is an array (matrix), got the number 1."),
        (
            "matrix",
            [[1, 2], [3]],
            "p[1] must be a row of 2 values like the first (matrix), got one of 1.",
        ),
        (
            "matrix",
            [[1], [{}]],
            "p[1][0] must be a number, a string, true, false or null, got an object.",
        ),
        (
            "numeric",
            10**400,
            f"p must be a number below 1.8e308 (numeric), got the number {'1' + '0' * 39}….",
        ),
        (
            "data.frame",
            7,
            "p must be an object of columns or an array of records (data.frame), got the number 7.",
        ),
        (
            "data.frame",
            [{"a": 1}, [1]],
            "p[1] must be a record, which is an object (data.frame), got an array.",
        ),
        (
            "data.frame",
            {"a": 1},
            'p["a"] must be a column, which is an array (data.frame), got the number 1.',
        ),
        (
            "data.frame",
            {"a": [1], "b": [1, 2]},
            "p[\"b\"] must be a column of 1 values like 'a' (data.frame), got one of 2.",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(
    type_name: str, value: object, message: str
) -> None:
    with pytest.raises(ValueProblem) as caught:
        decode_input(type_name, value, "p")
    assert str(caught.value) == message


def test_a_problem_knows_its_parts() -> None:
    with pytest.raises(ValueProblem) as caught:
        decode_input("vector", [1, {}], "flower_data")
    problem = caught.value
    assert (problem.path, problem.got) == ("flower_data[1]", "an object")
    assert problem.expected == "a number, a string, true, false or null"


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(ValueProblem) as caught:
        decode_input("numeric", "x" * 10_000, "p")
    assert len(str(caught.value)) < 120


@given(st.sampled_from(ALL_TYPES), JSON)
def test_any_json_decodes_or_is_a_problem(type_name: str, value: Any) -> None:
    problem = ""
    try:
        decode_input(type_name, value, "p")
    except ValueProblem as error:
        problem = str(error)
    assert not problem or problem.startswith("p")


# --- there and back --------------------------------------------------------------------------


@given(st.lists(SCALARS))
def test_a_vector_comes_back_as_it_went(values: list[Any]) -> None:
    assert encode_output("vector", decode_input("vector", values)) == values


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(SCALARS, min_size=n, max_size=n))))
def test_a_matrix_comes_back_as_it_went(rows: list[list[Any]]) -> None:
    assert encode_output("matrix", decode_input("matrix", rows)) == rows


@given(
    st.integers(0, 4).flatmap(
        lambda n: st.dictionaries(
            st.text(),
            st.lists(
                st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=n, max_size=n
            )
            | st.lists(st.none() | st.text(), min_size=n, max_size=n)
            | st.lists(st.integers(), min_size=n, max_size=n),
        )
    )
)
def test_a_data_frame_comes_back_as_it_went(columns: dict[str, list[Any]]) -> None:
    assert encode_output("data.frame", decode_input("data.frame", columns)) == columns


# --- outputs ---------------------------------------------------------------------------------


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Score:
    label: str
    weight: float


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "a", np.int64(2): "b", False: "c"}, {"1": "a", "2": "b", "false": "c"}),
        (Point(1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (Colour.RED, "red"),
        (Score("a", math.nan), {"label": "a", "weight": None}),
        (decimal.Decimal("1.5"), 1.5),
        (2**80, 2**80),
        (b"abc", "YWJj"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC), "2020-01-02T03:00:00+00:00"),
        (datetime.timedelta(days=1), "P1D"),
        (np.float32(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.int64(3), 3),
        (np.datetime64("2020-01-02"), "2020-01-02"),
        (np.datetime64("NaT", "ns"), None),
        (np.array([1.0, np.nan, np.inf]), [1.0, None, None]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5), 5),
        (np.array(["2020-01-02", "NaT"], dtype="M8[D]"), ["2020-01-02", None]),
        (np.array([1, None, "x", np.nan], dtype=object), [1, None, "x", None]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.array([(1, "a")], dtype=[("n", int), ("s", "U1")]), [{"n": 1, "s": "a"}]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series(["a", None]), ["a", None]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.MultiIndex.from_tuples([(1, "a")]), [[1, "a"]]),
        (pd.Categorical(["a", None, "b"]), ["a", None, "b"]),
        (pd.Timestamp("2020-01-02"), "2020-01-02T00:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.array([True, None], dtype="boolean"), [True, None]),
        (
            pd.DataFrame({"a": [1, 2], "t": pd.Series([pd.Timestamp("2020-01-02"), pd.NaT])}),
            {"a": [1, 2], "t": ["2020-01-02T00:00:00", None]},
        ),
        (pd.DataFrame(np.eye(2)), {"0": [1.0, 0.0], "1": [0.0, 1.0]}),
        ({"deep": [np.array([1.5]), (pd.NaT,)]}, {"deep": [[1.5], [None]]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_becomes_plain_json(value: Any, plain: Any) -> None:
    encoded = encode_output("", value)
    assert encoded == plain
    assert json.loads(json.dumps(encoded, allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("type_name", "value", "plain"),
    [
        ("logical", np.array([True]), True),
        ("numeric", np.array([[3.5]]), 3.5),
        ("numeric", [4], 4),
        ("numeric", math.nan, None),
        ("integer", np.float64(3), 3),
        ("integer", 2.0**60, 2**60),
        ("character", np.array(["a"]), "a"),
        ("vector", 3, [3]),
        ("vector", "a", ["a"]),
        ("vector", math.nan, [None]),
        ("vector", {2, 1}, [1, 2]),
        ("vector", pd.Series([1.5]), [1.5]),
        ("matrix", np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        ("matrix", pd.DataFrame({"a": [1, 2], "b": [3, 4]}), [[1, 3], [2, 4]]),
        ("data.frame", {"a": (1, 2)}, {"a": [1, 2]}),
        ("data.frame", {"a": 1, "b": "x"}, {"a": [1], "b": ["x"]}),
        ("data.frame", np.array([[1, 2]]), {"0": [1], "1": [2]}),
        ("data.frame", pd.Series([1], name="n"), {"n": [1]}),
        ("string", ["as", {"it": "is"}], ["as", {"it": "is"}]),
    ],
)
def test_an_output_takes_the_shape_of_its_type(type_name: str, value: Any, plain: Any) -> None:
    assert encode_output(type_name, value) == plain


@pytest.mark.parametrize(
    ("type_name", "value", "message"),
    [
        ("numeric", "x", "y must be a number (numeric), got the string 'x'."),
        ("numeric", np.bool_(True), "y must be a number (numeric), got true."),
        ("numeric", [1, 2], "y must be a number (numeric), got an array."),
        ("integer", 2.5, "y must be a whole number (integer), got the number 2.5."),
        ("logical", 0, "y must be true or false (logical), got the number 0."),
        ("character", 1, "y must be a string (character), got the number 1."),
        (
            "vector",
            {"a": 1},
            "y must be an array or a scalar (vector), got an object or a DataFrame.",
        ),
        ("matrix", [1, 2], "y must be two-dimensional (matrix), got an array."),
        (
            "matrix",
            [[1], [1, 2]],
            "y[1] must be a row of 1 values like the first (matrix), got one of 2.",
        ),
        (
            "data.frame",
            {"a": [1], "b": [1, 2]},
            "y[\"b\"] must be a column of 1 values like 'a' (data.frame), got one of 2.",
        ),
        (
            "data.frame",
            7,
            "y must be a DataFrame, a dict of columns, records or two-dimensional (data.frame), "
            "got the number 7.",
        ),
    ],
)
def test_an_output_of_another_type_is_named(type_name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        encode_output(type_name, value, "y")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (1j, "an object of type complex"),
        (np.array([1j]), "an array of complex128 numbers"),
        (object(), "an object of type object"),
        (Score, "the class test_values.Score"),
        (json, "the module json"),
        (map(int, ()), "an object of type map"),
    ],
    ids=["complex", "complex array", "object", "class", "module", "iterator"],
)
def test_what_json_cannot_carry_is_named_with_its_type(value: Any, got: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        encode_output("vector", {"in": [value]}, "y")
    assert caught.value.path == 'y["in"][0]'
    assert caught.value.got.endswith(got.rpartition(".")[2])


def test_a_value_that_contains_itself_is_a_problem() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueProblem, match=r"^y must be nested at most 200"):
        encode_output("vector", loop, "y")


@pytest.mark.parametrize(
    "value",
    [{1: "a", "1": "b"}, pd.DataFrame([[1, 2]], columns=["a", "a"])],
    ids=["dict", "DataFrame"],
)
def test_two_members_of_one_name_are_a_problem(value: Any) -> None:
    with pytest.raises(ValueProblem, match="twice"):
        encode_output("data.frame", value, "y")


@pytest.mark.parametrize(
    ("value", "path", "got"),
    [
        ({"a": ["x", "\ud800"]}, 'y["a"][1]', "the string"),
        ({"\ud800": 1}, "a key of y", "the string"),
        ([1, {"b": 10**5000}], 'y[1]["b"]', "a longer one"),
    ],
)
def test_data_that_is_no_json_text_is_named_with_its_place(value: Any, path: str, got: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        require_text(encode_output("", value, "y"), "y")
    assert caught.value.path == path
    assert caught.value.got.startswith(got)
    require_text({"a": ["größe", 2**80, None, 1.5]}, "y")
