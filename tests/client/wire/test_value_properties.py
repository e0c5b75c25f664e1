"""What holds for every value that goes over the wire, whatever it is."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from hypothesis.extra import pandas as pdst

from jupyter_mlsvc.wire.values import ValueProblem, decode_input, encode_output

SCALARS = {
    "logical": st.booleans(),
    "numeric": st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False),
    "integer": st.integers(),
    "character": st.text(),
}
NOT_FINITE = st.sampled_from([math.nan, math.inf, -math.inf])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.decimals(allow_nan=False, allow_infinity=False, places=2)
    | st.binary()
    | npst.arrays(npst.scalar_dtypes(), ()).map(lambda array: array[()])
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def over_the_wire(value: Any) -> Any:
    """Plain data as the other side reads it."""
    text = msgspec.json.encode(value)
    assert json.loads(text) == msgspec.json.decode(text)
    return json.loads(text)


@given(st.sampled_from(sorted(SCALARS)).flatmap(lambda n: st.tuples(st.just(n), SCALARS[n])))
def test_a_scalar_comes_back_as_it_went(typed: tuple[str, Any]) -> None:
    type_name, value = typed
    decoded = decode_input(type_name, over_the_wire(value), "x")
    back = over_the_wire(encode_output(type_name, decoded, "x"))
    # A number that no float has becomes the nearest one.
    assert back == (float(value) if type_name == "numeric" else value)
    assert isinstance(back, bool) == isinstance(value, bool)


@given(st.integers(min_value=2**53) | st.integers(max_value=-(2**53)))
def test_a_big_integer_loses_no_digit_in_any_place(number: int) -> None:
    for type_name, value in (
        ("integer", number),
        ("vector", [number, 1]),
        ("matrix", [[number], [1]]),
        ("data.frame", {"a": [number, 1]}),
    ):
        back = encode_output(type_name, decode_input(type_name, value, "x"), "x")
        assert over_the_wire(back) == value, type_name


@given(st.lists(NOT_FINITE | st.floats(), min_size=1), st.sampled_from([list, np.array, pd.Series]))
def test_numbers_that_json_lacks_are_null_wherever_they_are(
    values: list[float], make: Callable[[Any], Any]
) -> None:
    plain = [value if math.isfinite(value) else None for value in values]
    assert encode_output("vector", make(values)) == plain
    assert encode_output("matrix", [values]) == [plain]
    assert encode_output("data.frame", {"a": make(values)}) == {"a": plain}
    # And null comes in as NaN, also where nothing else is there.
    vector = decode_input("vector", plain)
    assert [math.isnan(value) for value in vector] == [value is None for value in plain]


@given(NESTED)
def test_any_nested_value_becomes_json_that_stays_the_same(value: Any) -> None:
    try:
        plain = encode_output("", value, "x")
    except ValueProblem as problem:
        assert problem.path.startswith("x")  # noqa: PT017 - either it works or it is named
        return
    assert over_the_wire(plain) == plain
    assert encode_output("", plain, "x") == plain


@given(npst.arrays(npst.scalar_dtypes(), npst.array_shapes(min_dims=1, max_dims=2, max_side=4)))
def test_an_array_of_any_type_gives_its_elements_or_is_named(array: Any) -> None:
    type_name = "vector" if array.ndim == 1 else "matrix"
    try:
        plain = encode_output(type_name, array, "x")
    except ValueProblem as problem:
        assert problem.path.startswith("x")  # noqa: PT017
        # Complex numbers, and dates that no calendar has.
        assert array.dtype.kind in "cMm"
        return
    assert np.shape(plain) == array.shape
    assert over_the_wire(plain) == plain
    if array.dtype.kind in "iub":
        assert plain == array.tolist()


EXTENSION_TYPES = {
    "Int8": st.none() | st.integers(-128, 127),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "UInt64": st.none() | st.integers(0, 2**64 - 1),
    "Float64": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.none() | st.booleans(),
    "string": st.none() | st.text(),
    "category": st.none() | st.sampled_from(["a", "b", "ü"]),
}


@given(
    st.sampled_from(sorted(EXTENSION_TYPES)).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(EXTENSION_TYPES[n], max_size=5))
    )
)
def test_columns_of_pandas_own_types_keep_their_values(typed: tuple[str, list[Any]]) -> None:
    dtype, values = typed
    series = pd.Series(values, dtype=dtype, name="a")
    assert over_the_wire(encode_output("vector", series)) == values
    assert over_the_wire(encode_output("data.frame", pd.DataFrame(series))) == {"a": values}


@given(st.lists(st.none() | st.datetimes(), max_size=5))
def test_dates_are_iso_strings_and_missing_ones_null(
    values: list[datetime.datetime | None],
) -> None:
    plain = encode_output("vector", list(values))
    assert [
        None if text is None else datetime.datetime.fromisoformat(text) for text in plain
    ] == values


@given(
    pdst.data_frames(
        [
            pdst.column("n", dtype=float),
            pdst.column("t", elements=st.text()),
            pdst.column("i", dtype=int),
        ],
        index=pdst.indexes(elements=st.text(), max_size=5),
    )
)
def test_a_frame_is_its_columns_without_its_index(frame: pd.DataFrame) -> None:
    plain = over_the_wire(encode_output("data.frame", frame))
    assert list(plain) == ["n", "t", "i"]
    assert {len(column) for column in plain.values()} == {len(frame)}
    assert plain["t"] == list(frame["t"])
    back = decode_input("data.frame", plain)
    assert list(back["i"]) == list(frame["i"])


@given(
    st.lists(
        st.integers(0, 3) | st.text(st.characters(categories=["L"]), min_size=1, max_size=20),
        max_size=5,
    ),
    st.sampled_from([1j, object(), json, map(int, ())]),
)
def test_the_path_to_what_cannot_be_carried_is_named(steps: list[Any], wrong: Any) -> None:
    value, path = wrong, ""
    for step in reversed(steps):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]
        path = (f'["{step}"]' if isinstance(step, str) else f"[{step}]") + path
    with pytest.raises(ValueProblem) as caught:
        encode_output("", value, "out")
    assert caught.value.path == f"out{path}"


WRONG = {
    "logical": st.integers() | st.text() | st.floats() | st.lists(st.booleans()),
    "numeric": st.booleans() | st.text() | st.dictionaries(st.text(), st.integers()),
    "integer": st.booleans() | st.text() | st.floats().filter(lambda x: not x.is_integer()),
    "character": st.booleans() | st.integers() | st.lists(st.text()),
    "vector": st.text() | st.integers() | st.dictionaries(st.text(), st.integers()),
    "matrix": st.text() | st.lists(st.integers(), min_size=1),
    "data.frame": st.text() | st.lists(st.integers(), min_size=1) | st.integers(),
}


@given(st.sampled_from(sorted(WRONG)).flatmap(lambda n: st.tuples(st.just(n), WRONG[n])))
def test_an_input_of_another_type_is_refused_by_name(typed: tuple[str, Any]) -> None:
    type_name, value = typed
    with pytest.raises(ValueProblem) as caught:
        decode_input(type_name, value, "x")
    assert caught.value.path.startswith("x")
    assert type_name in caught.value.expected


CELLS = {
    "logical": st.booleans(),
    "integers": st.integers(-(2**63), 2**63 - 1),
    "numbers": st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    "texts": st.text(),
    "mixed": st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
}
KINDS = st.sampled_from(sorted(CELLS))


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Columns of any kind, with nulls in any place."""
    height = draw(st.integers(1, 5))
    kinds = draw(st.lists(KINDS, min_size=1, max_size=4))
    return {
        f"{kind}{i}": draw(st.lists(st.none() | CELLS[kind], min_size=height, max_size=height))
        for i, kind in enumerate(kinds)
    }


def seen(value: Any) -> tuple[str, Any]:
    """What code that looks at a cell gets to know."""
    if value is None or isinstance(value, list):
        return type(value).__name__, value
    if isinstance(value, str | bool | np.bool_):
        return "bool" if value in (True, False) else "text", value
    return "number", "missing" if math.isnan(value) else float(value)


@given(tables())
def test_a_row_alone_is_what_it_is_among_others(columns: dict[str, list[Any]]) -> None:
    together = decode_input("data.frame", columns)
    for i in range(len(together)):
        row = {name: [column[i]] for name, column in columns.items()}
        record = {name: column[i] for name, column in columns.items()}
        for alone in (decode_input("data.frame", row), decode_input("data.frame", [record])):
            for name in columns:
                assert seen(alone[name].iloc[0]) == seen(together[name].iloc[i])
    rows = [list(cells) for cells in zip(*columns.values(), strict=True)]
    matrix = decode_input("matrix", rows)
    for i, cells in enumerate(rows):
        alone = decode_input("matrix", [cells])
        assert list(map(seen, alone[0])) == list(map(seen, matrix[i]))


@given(st.integers(0, 5), st.integers(0, 5))
def test_error_names_the_place_of_a_wrong_value_in_a_matrix(row: int, column: int) -> None:
    rows: list[list[Any]] = [[0] * 6 for _ in range(6)]
    rows[row][column] = {"no": "scalar"}
    with pytest.raises(ValueProblem) as caught:
        decode_input("matrix", rows, "m")
    assert caught.value.path == f"m[{row}][{column}]"
