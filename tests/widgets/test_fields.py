"""What people type into a form, and how they see what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.widgets.fields import html_outputs, read_field, write_field
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition, WebServiceResult

READ: list[tuple[str, str, Any]] = [
    ("numeric", "1.5", 1.5),
    ("numeric", " -2 ", -2),
    ("numeric", "1e3", 1000.0),
    ("numeric", "-.5E-1", -0.05),
    ("integer", "7", 7),
    ("integer", "null", None),
    ("logical", "True", True),
    ("character", "", ""),
    ("character", " a, b ", " a, b "),
    ("vector", "7, 3.2, 4.7, 1.4", [7, 3.2, 4.7, 1.4]),
    ("vector", "[7, 3.2]", [7, 3.2]),
    ("vector", '"a, b", c', ["a, b", "c"]),
    ("vector", '"1", 2, true, null', ["1", 2, True, None]),
    ("vector", "red, green", ["red", "green"]),
    ("vector", "1\t2\t3", [1, 2, 3]),
    ("vector", "1\n2\n3", [1, 2, 3]),
    ("vector", "12_34, inf, infinity, 5", ["12_34", "inf", "infinity", 5]),
    ("data.frame", "id,n\n1_2,3\n3_4,5", {"id": ["1_2", "3_4"], "n": [3, 5]}),
    ("matrix", "1, 2\n3, 4", [[1, 2], [3, 4]]),
    ("matrix", "1\t2\r\n3\t4\r\n", [[1, 2], [3, 4]]),
    ("matrix", "1 2\n3 4", [[1, 2], [3, 4]]),
    ("matrix", "[[1, 2]]", [[1, 2]]),
    ("data.frame", "a,b\n1,x\n2,y", {"a": [1, 2], "b": ["x", "y"]}),
    ("data.frame", "a\tb\n1\t\n2\t5", {"a": [1, 2], "b": [None, 5]}),
    ("data.frame", "a;b\n1;2", {"a": [1], "b": [2]}),
    ("data.frame", "a\n7\nx", {"a": ["7", "x"]}),
    ("data.frame", '[{"a": 1}, {"a": 2, "b": 3}]', {"a": [1, 2], "b": [None, 3]}),
    ("data.frame", '{"a": [1]}', {"a": [1]}),
    ("string", '{"any": [1]}', {"any": [1]}),
]
WRONG = [
    ("numeric", "seven", "'seven' is no number."),
    ("numeric", "1_0", "'1_0' is no number."),
    ("numeric", "inf", "'inf' is no number."),
    ("numeric", "1e999", "'1e999' is too large."),
    ("numeric", "", "Enter a number, such as 1.5."),
    ("integer", "1.5", "x must be a whole number (integer), got the number 1.5."),
    ("logical", "maybe", "Enter true or false."),
    ("matrix", "1, 2\n3", "Line 2 has 1 values and line 1 has 2."),
    ("matrix", "[1, 2", "This is no JSON"),
    ("vector", "[[1]]", "x[0] must be"),
    ("data.frame", "a,b\n1", "Line 2 has 1 values and the line of names has 2."),
    ("data.frame", "a,b", "There is a line of names, but no line of values."),
    ("data.frame", "a,a\n1,2", "The column 'a' is there twice."),
    ("string", "{", "This is no JSON"),
]


@pytest.mark.parametrize(("kind", "text", "value"), READ)
def test_text_becomes_the_value_that_is_sent(kind: str, text: str, value: Any) -> None:
    assert read_field(ParameterDefinition(name="x", type=kind), text) == value


@pytest.mark.parametrize(("kind", "text", "message"), WRONG)
def test_invalid_text_of_a_field_is_an_error(kind: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_field(ParameterDefinition(name="x", type=kind), text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("numeric", 1.5),
        ("logical", True),
        ("character", 'a "b"'),
        ("vector", [7, "a, b", None, True]),
        ("matrix", [[1, 2.5], [3, 4]]),
        ("matrix", [["a, b", None]]),
        ("data.frame", {"id": ["007", "8"], "n": [1, None]}),
        ("data.frame", {"a": ["", "x"]}),
        ("data.frame", {"a": [1, 2], "b, c": ["x", 'y "z"']}),
        ("string", {"a": 1}),
    ],
)
def test_an_example_is_written_so_that_it_can_be_read(kind: str, value: Any) -> None:
    assert read_field(ParameterDefinition(name="x", type=kind), write_field(kind, value)) == value


def shown(kind: str, value: Any, **more: Any) -> str:
    answer = WebServiceResult(
        success=True,
        error_message="",
        output_parameters={"y": value},
        output_files=more.get("files", {}),
        console_output=more.get("console", ""),
        changed_files=[],
    )
    outputs = [ParameterDefinition(name="y", type=kind)]
    return html_outputs(outputs, ServiceResult("A V1", answer))


def test_a_vector_is_shown_as_a_list() -> None:
    assert "<code>I. setosa, I. virginica</code>" in shown("vector", ["I. setosa", "I. virginica"])


def test_a_frame_is_shown_as_a_table_and_cut_when_it_is_long() -> None:
    found = shown("data.frame", {"a": list(range(60))})
    assert found.count("<tr>") == 51
    assert "and 10 more rows" in found


def test_a_matrix_is_shown_as_a_table() -> None:
    assert shown("matrix", [[1, 2], [3, 4]]).count("<tr>") == 3


def test_an_image_is_shown_as_one_and_another_file_by_its_size() -> None:
    found = shown("numeric", 1, files={"plot.png": "aGk=", "a.csv": "aGk=", "b.csv": None})
    assert 'src="data:image/png;base64,aGk="' in found
    assert "<b>a.csv</b>: a file of 2 B" in found
    assert "<b>b.csv</b>: not written" in found


def test_nothing_of_a_service_becomes_markup() -> None:
    bad = "<script>alert(1)</script>"
    found = shown("character", bad, files={f'"{bad}.png': "aGk="}, console=bad)
    assert "<script" not in found
    assert "<script" not in shown("data.frame", {bad: [bad]})


def test_texts_that_look_like_numbers_stay_texts_where_the_column_is_known_to_have_them() -> None:
    columns = [
        ColumnDefinition(name="code", type="str"),
        ColumnDefinition(name="day", type="datetime64[us]"),
        ColumnDefinition(name="size", type="category", categories=["1", "2"]),
        ColumnDefinition(name="year", type="category", categories=[2023, 2024]),
    ]
    definition = ParameterDefinition(name="df", type="data.frame", columns=columns)
    assert read_field(definition, "code,day,size,year\n007,2024-02-29,1,2024\n,,,") == {
        "code": ["007", None],
        "day": ["2024-02-29", None],
        "size": ["1", None],
        "year": [2024, None],
    }
    with pytest.raises(ValueError, match="one of '1', '2'"):
        read_field(definition, "code,day,size,year\n7,2024-02-29,3,2024")
