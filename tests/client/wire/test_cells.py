"""What is declared of columns and elements, checked before the code runs."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc.wire.models import ColumnDefinition, ItemsDefinition, ParameterDefinition
from jupyter_mlsvc.wire.values import input_decoder, plain_input

FRAME = ParameterDefinition(
    name="applicant",
    type="data.frame",
    columns=[
        ColumnDefinition(name="age", type="number", minimum=18, maximum=99.5),
        ColumnDefinition(name="income", type="float64", nullable=False),
        ColumnDefinition(name="region", type="string", categories=["north", "south"]),
        ColumnDefinition(name="rooms", type="integer", nullable=True),
    ],
)
ROW: dict[str, Any] = {"age": 40, "income": 2500.5, "region": "north", "rooms": 3}
MATRIX = ParameterDefinition(
    name="m", type="matrix", shape=[None, 2], items=ItemsDefinition(type="number", minimum=0)
)
VECTOR = ParameterDefinition(
    name="v", type="vector", shape=[2], items=ItemsDefinition(categories=["a", 1], nullable=False)
)


def test_rows_that_fit_reach_the_code() -> None:
    frame = input_decoder(FRAME)([ROW, ROW | {"age": None, "rooms": 2.0}], "applicant")
    assert frame["rooms"].tolist() == [3, 2.0]
    assert frame["income"].tolist() == [2500.5, 2500.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": "old"}, r'applicant\["age"\]\[0\] must be a number.*, got the string'),
        ({"age": 17}, r'\["age"\]\[0\] must be a number from 18 up to 99.5, got the number 17'),
        ({"age": True}, r'\["age"\]\[0\] must be a number'),
        ({"income": None}, r'\["income"\]\[0\] must be a value, got null'),
        ({"region": "nort"}, r"must be one of 'north', 'south', got the string"),
        ({"rooms": 2.5}, r'\["rooms"\]\[0\] must be a whole number'),
        ({"rooms": "two"}, r'\["rooms"\]\[0\] must be a whole number'),
    ],
)
@pytest.mark.parametrize("read", [input_decoder(FRAME), lambda *each: plain_input(FRAME, *each)])
def test_a_row_that_does_not_fit_is_refused(
    read: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueProblem, match=message):
        read([ROW | change], "applicant")


def test_missing_columns_are_named_with_what_may_be_meant() -> None:
    row = {"age": 1, "incom": 1, "region": "north", "rooms": 1, "more": 1}
    with pytest.raises(ValueProblem) as caught:
        input_decoder(FRAME)([row], "applicant")
    assert str(caught.value) == (
        "applicant lacks the column 'income' (did you mean it by 'incom'?)."
    )
    with pytest.raises(ValueProblem, match=r"lacks the columns 'age', 'income', 'region', 'rooms'"):
        input_decoder(FRAME)([{"x": 1}], "applicant")
    many = [ColumnDefinition(name=f"column {number}") for number in range(12)]
    wide = ParameterDefinition(name="df", type="data.frame", columns=many)
    with pytest.raises(ValueProblem, match=r"'column 9', … \(12 in all\)\.$"):
        input_decoder(wide)([{}], "df")


def test_values_that_are_the_publishers_own_are_not_told() -> None:
    listed = ColumnDefinition(name="c", type="category", categories=["x"], hide_categories=True)
    definition = ParameterDefinition(name="df", type="data.frame", columns=[listed])
    assert input_decoder(definition)([{"c": "x"}], "df")["c"].tolist() == ["x"]
    with pytest.raises(ValueProblem, match="must be one of the values that the column takes"):
        input_decoder(definition)([{"c": "y"}], "df")


@pytest.mark.parametrize(
    ("definition", "value", "message"),
    [
        (MATRIX, [[1, 2, 3]], r"m must be a matrix with rows of 2 values, got of 3"),
        (MATRIX, [[1, 2], [3, -1]], r"m\[1\]\[1\] must be a number from 0"),
        (MATRIX, [[1, "a"]], r"m\[0\]\[1\] must be a number, got the string"),
        (VECTOR, ["a"], r"v must be a vector of 2 values, got one of 1"),
        (VECTOR, ["a", None], r"v\[1\] must be a value, got null"),
        (VECTOR, ["a", True], r"v\[1\] must be one of 'a', 1"),
    ],
)
def test_elements_that_do_not_fit_are_refused(
    definition: ParameterDefinition, value: Any, message: str
) -> None:
    for read in (input_decoder(definition), lambda *each: plain_input(definition, *each)):
        with pytest.raises(ValueProblem, match=message):
            read(value, definition.name)


def test_elements_that_fit_reach_the_code() -> None:
    assert input_decoder(MATRIX)([[1, 2], [None, 4]], "m").shape == (2, 2)
    assert input_decoder(MATRIX)([], "m").shape == (0, 0)
    assert input_decoder(VECTOR)(["a", 1], "v").tolist() == ["a", 1]
    assert input_decoder(VECTOR)(None, "v") is None
