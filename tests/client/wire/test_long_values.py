"""Long and wide values take shorter ways than short ones, and come out the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc.wire.json_values import to_plain
from jupyter_mlsvc.wire.values import ValueProblem, check_input, decode_input, encode_output

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**54), 2**54) | st.integers()
ODD_ONES = st.none() | st.booleans() | INTEGERS | st.text() | st.just("\ud800") | FLOATS
NESTED = st.sampled_from([[], {}, [1.5], {"a": 1.5}, [[[]]]])
# One that has to be looked at number by number, after the longest header, and below it.
LENGTHS = st.sampled_from([0, 1, 15, 16, 63, 64, 65, 300])


@st.composite
def long_lists(draw: st.DrawFn, length: int | None = None) -> list[Any]:
    """Lists of one kind or two, with up to two odd ones in any place."""
    if length is None:
        length = draw(LENGTHS)
    few = draw(st.lists(draw(st.sampled_from([FLOATS, INTEGERS, FLOATS | INTEGERS])), min_size=1))
    values: list[Any] = [few[i % len(few)] for i in range(length)]
    for _ in range(draw(st.integers(0, 2)) if length else 0):
        values[draw(st.integers(0, length - 1))] = draw(ODD_ONES)
    return values


def as_promised(values: list[Any], missing: float | None = None) -> Any:
    """What a vector is to be, element by element; in other arrays null is missing everywhere."""
    kinds = set(map(type, values))
    in_range = all(-(2**63) <= x < 2**63 for x in values if type(x) is int)
    exact = all(-(2**53) <= x <= 2**53 for x in values if type(x) is int)
    if kinds == {bool}:
        return np.array(values, np.bool_)
    if kinds == {int} and in_range:
        return np.array(values, np.int64)
    if kinds <= {int, float, type(None)}:
        missing = math.nan
    filled: list[Any] = [missing if x is None else x for x in values]
    if kinds <= {int, float, type(None)} and kinds != {int} and exact:
        return np.array([float(x) for x in filled], np.float64)
    array = np.empty(len(values), object)
    for i, value in enumerate(filled):
        array[i] = value
    return array


def assert_same(found: Any, promised: Any) -> None:
    assert (found.dtype, found.shape) == (promised.dtype, promised.shape)
    # By their text: NaN is NaN, and -0.0 is not 0.0.
    assert repr(found.tolist()) == repr(promised.tolist())
    assert found.flags.writeable


@given(long_lists())
def test_a_vector_of_any_length_is_what_is_promised(values: list[Any]) -> None:
    assert_same(decode_input("vector", values), as_promised(values))


@pytest.mark.parametrize("count", [64, 2**16 - 1, 2**16, 2**16 + 1])
def test_a_long_vector_of_floats_has_every_one_in_its_place(count: int) -> None:
    values = [i + 0.5 for i in range(count)]
    assert decode_input("vector", values).tolist() == values


@pytest.mark.parametrize("place", [0, 1, 63, 64, 99])
@pytest.mark.parametrize("odd", [1, True, None, "a", -1, 2**53 + 1, 2**70, 10**400])
def test_one_odd_element_among_floats_is_seen_wherever_it_is(place: int, odd: Any) -> None:
    values: list[Any] = [0.5] * 100
    values[place] = odd
    assert_same(decode_input("vector", values), as_promised(values))


def test_text_that_looks_like_packed_floats_stays_text() -> None:
    # Eight bytes of text take nine of msgpack as well, and 0xCB may be among them.
    values = [0.5, *["ËËËË"] * 99]
    assert decode_input("vector", values).tolist() == values


@given(st.integers(1, 70).flatmap(lambda n: st.lists(long_lists(n), min_size=1, max_size=4)))
def test_a_matrix_of_any_size_is_its_elements_in_shape(rows: list[list[Any]]) -> None:
    found = decode_input("matrix", rows)
    flat = as_promised([item for row in rows for item in row], math.nan)
    assert_same(found, flat.reshape(len(rows), len(rows[0])))


@given(LENGTHS.flatmap(lambda n: st.dictionaries(st.text(), long_lists(n), max_size=4)))
def test_a_frame_of_any_size_is_what_pandas_makes_of_its_columns(
    columns: dict[str, list[Any]],
) -> None:
    arrays = {label: as_promised(column, math.nan) for label, column in columns.items()}
    try:
        promised = pd.DataFrame(arrays)
    except UnicodeEncodeError:  # Arrow keeps no half characters
        with pytest.raises(ValueProblem, match="text of whole characters"):
            decode_input("data.frame", columns)
        return
    found = decode_input("data.frame", columns)
    pd.testing.assert_frame_equal(found, promised, check_exact=True, check_column_type=True)
    assert type(found.index) is type(promised.index)
    for label in columns:
        assert repr(found[label].tolist()) == repr(promised[label].tolist())
    if columns and len(found):
        found.iloc[0, 0] = found.iloc[0, 0]  # as writable as any


@given(
    st.sampled_from(["vector", "matrix"]),
    st.sampled_from([2, 64, 200]).flatmap(
        lambda n: st.tuples(long_lists(n), st.integers(0, n - 1), NESTED)
    ),
)
def test_an_element_that_is_no_scalar_is_named_in_values_of_any_size(
    type_name: str, case: tuple[list[Any], int, Any]
) -> None:
    values, place, nested = case
    values[place] = nested
    value, path = {
        "vector": (values, f"p[{place}]"),
        "matrix": ([[0.5] * len(values), values], f"p[1][{place}]"),
    }[type_name]
    for read in (decode_input, check_input):
        with pytest.raises(ValueProblem) as caught:
            read(type_name, value, "p")
        assert caught.value.path == path


# --- outputs ---------------------------------------------------------------------------------

LEAVES = st.floats() | ODD_ONES


@given(st.lists(LEAVES) | st.lists(st.floats()), st.sampled_from([list, tuple]))
def test_a_flat_list_is_its_elements_one_by_one(values: list[Any], kind: type) -> None:
    plain = to_plain(kind(values))
    assert type(plain) is list
    assert repr(plain) == repr([to_plain(value) for value in values])
    assert plain is not values


@given(st.dictionaries(st.text() | st.integers(), LEAVES))
def test_a_flat_object_is_its_members_one_by_one(value: dict[Any, Any]) -> None:
    texts = [str(key) for key in value]
    if len(set(texts)) < len(texts):
        return
    plain = to_plain(value)
    assert repr(plain) == repr(dict(zip(texts, map(to_plain, value.values()), strict=True)))


def test_floats_whose_sum_is_beyond_all_floats_stay_as_they_are() -> None:
    assert to_plain([1e308, 1e308, -1e308]) == [1e308, 1e308, -1e308]
    assert to_plain([math.inf, -math.inf, 1.0]) == [None, None, 1.0]


@given(
    st.lists(
        st.none() | st.text() | st.floats() | st.integers() | st.booleans(), min_size=1, max_size=9
    )
)
def test_a_column_of_objects_is_its_elements_one_by_one(values: list[Any]) -> None:
    column = pd.Series(values, dtype=object, name="a")
    assert repr(encode_output("vector", column)) == repr([to_plain(value) for value in values])


def test_columns_of_one_name_are_a_problem_in_any_frame() -> None:
    with pytest.raises(ValueProblem, match="the column 'a' twice"):
        encode_output("data.frame", pd.DataFrame([[1.5, 2.5]], columns=["a", "a"]), "f")
