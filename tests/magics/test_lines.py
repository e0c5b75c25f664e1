"""How the option lines are read; the code in them has to survive."""

from __future__ import annotations

import re
from argparse import Namespace
from typing import Any

import pytest
from IPython.core.error import UsageError

from jupyter_mlsvc.magics.consume import (
    EXPRESSION,
    ConsumeMagics,
    split_inputs,
    take_expression,
    value_of,
)
from jupyter_mlsvc.magics.options import LineParser, read_word
from jupyter_mlsvc.magics.publish import PublishMagics, note_on_version, request_of
from jupyter_mlsvc.magics.remote_exec import RemoteExecMagics

ARTICLE = "iris_species = [names[x] for x in clf.predict(flower_data)]"


def publish(line: str) -> Namespace:
    return LineParser(PublishMagics.publish.parser, "FORM", words=2).parse(line)


def execute(line: str) -> Namespace:
    return LineParser(RemoteExecMagics.remote_exec.parser, "FORM", words=0).parse(line)


CODES = [
    (ARTICLE, ARTICLE),
    (f'"{ARTICLE}"', ARTICLE),
    (f"'{ARTICLE}'", ARTICLE),
    (f'"""{ARTICLE}"""', ARTICLE),
    ("x = {'a': 1}['a']", "x = {'a': 1}['a']"),
    ("x = f'{a}' + \"b\"", "x = f'{a}' + \"b\""),
    ("'a' + 'b'", "'a' + 'b'"),
    ('"a" "b"', '"a" "b"'),
    ("x = 'it''s'", "x = 'it''s'"),
    ("x = 5  # don't", "x = 5  # don't"),
    ("-x", "-x"),
    ("-x + 1 - -y", "-x + 1 - -y"),
    ("a --b", "a --b"),
    ("$PATH + {x}", "$PATH + {x}"),
    (r'"a = 1\nb = 2"', "a = 1\nb = 2"),
    (r'"x = \"q\""', 'x = "q"'),
    (r'"re.sub(\"\d\", 0)"', r're.sub("\d", 0)'),
    ("x  =  1", "x  =  1"),
    ("-- --description", "--description"),
]


@pytest.mark.parametrize(("written", "code"), CODES)
def test_code_of_publish_survives(written: str, code: str) -> None:
    assert publish(f"Iris V1.0 -i a:vector -o b:vector {written}").code == code


@pytest.mark.parametrize(("written", "code"), CODES)
def test_code_of_remote_exec_survives(written: str, code: str) -> None:
    assert execute(f"--session s1 {written}").code == code


def test_options_may_stand_anywhere_before_the_code() -> None:
    read = publish('-i a:vector Iris --description "two words" V1.0 -o b:vector x = a')
    assert (read.name, read.version, read.code) == ("Iris", "V1.0", "x = a")
    assert read.description == "two words"
    assert [(item.name, item.type) for item in read.inputs] == [("a", "vector")]


def test_options_may_follow_quoted_code() -> None:
    read = publish('Iris V1.0 "x = a" -i a:vector --description "it\'s"')
    assert (read.code, read.description) == ("x = a", "it's")
    assert [item.name for item in read.inputs] == ["a"]


@pytest.mark.parametrize("option", ['--description="two words"', '-d "two words"'])
def test_a_value_may_follow_an_equal_sign(option: str) -> None:
    assert publish(f"Iris V1.0 {option} x").description == "two words"
    assert publish(f"{option} Iris V1.0 x").description == "two words"


def test_lists_may_have_spaces_after_commas() -> None:
    read = execute("-i a, b -o c,d x = 1")
    assert (read.inputs, read.outputs, read.code) == (["a", "b"], ["c", "d"], "x = 1")


def test_an_option_of_several_names_may_come_again() -> None:
    read = execute("-i a -i b -o c -o d x = 1")
    assert (read.inputs, read.outputs) == (["a", "b"], ["c", "d"])
    made = publish("I V -i a:vector -i b --files p.png --files q.csv -o c -o d x")
    assert [item.name for item in made.inputs] == ["a", "b"]
    assert [item.name for item in made.outputs] == ["c", "d"]
    assert made.files == ["p.png", "q.csv"]
    # What one line was given is nothing to the next.
    assert execute("x = 1").inputs == []


def test_a_type_that_is_left_out_is_found_out_later() -> None:
    assert [(item.name, item.type) for item in publish("I V -i a x").inputs] == [("a", None)]


def test_names_with_spaces_are_quoted() -> None:
    assert publish('"My service" "1 beta" x').name == "My service"


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("House price", True),
        ("-i area House price", True),
        ("House V1.0", False),
        ("House V", False),
        ("House 1 -i price", False),
        ("House", False),
        ('House "price"', False),
        ('"House price"', False),
        ('"House price" V1', False),
    ],
)
def test_version_that_may_be_a_word_of_the_name_has_a_note(line: str, note: bool) -> None:
    text = note_on_version(line, request_of(publish(line), "y = 1"))
    assert bool(text) is note
    if note:
        assert "'price' is taken as the version of 'House'" in text
        assert '%publish "House price"' in text


def test_init_code_is_read_like_code() -> None:
    assert publish(r'I V --init-code "import math\nk = 2" x').init_code == "import math\nk = 2"


WRONG = [
    ("Iris V1.0 --snapshat s1 x = 1", "unknown option --snapshat"),
    ("Iris V1.0 -i", "-i needs a value"),
    ('Iris V1.0 --description "open x = 1', 'A " is not closed: "open x = 1'),
    ("Iris V1.0 -i 'two words:vector' x", "'two words' is no valid name"),
    ("Iris V1.0 -i a:vector,a:matrix x", "'a' is declared twice"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_wrong_line_says_what_is_wrong_and_shows_the_form(line: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        publish(line)
    assert message in str(raised.value)
    assert str(raised.value).endswith("\nUse: FORM")


def test_words_are_quoted_as_in_a_shell() -> None:
    line, at = """a 'b c' "d\\"e" f"g h"i""", 0
    words = []
    while (word := read_word(line, at)) is not None:
        words.append(word.text)
        at = word.end
    assert words == ["a", "b c", 'd"e', "fg hi"]


INPUTS = [
    ("Iris V1.0 flower_data=[7,3.2,4.7,1.4]", "Iris V1.0", {"flower_data": "[7,3.2,4.7,1.4]"}),
    ("Iris flower_data=[7, 3.2, 4.7, 1.4]", "Iris", {"flower_data": "[7, 3.2, 4.7, 1.4]"}),
    ("S V a=1 b='x y' c={'k': [1, 2]}", "S V", {"a": "1", "b": "'x y'", "c": "{'k': [1, 2]}"}),
    ("S V a=1, b=2", "S V", {"a": "1", "b": "2"}),
    ("S a = 1 b = row", "S", {"a": "1", "b": "row"}),
    ("S a='b=1' c=dict(d=1)", "S", {"a": "'b=1'", "c": "dict(d=1)"}),
    ("S größe=1", "S", {"größe": "1"}),
    ("Cars V1.0 new.cars=cars .n=2", "Cars V1.0", {"new.cars": "cars", ".n": "2"}),
    ("S V", "S V", {}),
    (r"S a='it\'s' b=1", "S", {"a": r"'it\'s'", "b": "1"}),
]


@pytest.mark.parametrize(("line", "words", "inputs"), INPUTS)
def test_inputs_are_distinguished_from_words(line: str, words: str, inputs: dict[str, str]) -> None:
    before, found = split_inputs(line)
    assert before.strip() == words
    assert dict(found) == inputs


NAMESPACE = {"row": [1, 2], "x": 3}
VALUES = [
    ("[7, 3.2]", [7, 3.2]),
    ("-1.5", -1.5),
    ("None", None),
    ("'a'", "a"),
    ("{'a': (1,)}", {"a": (1,)}),
    ("row", [1, 2]),
    ("row[0]", 1),
    ("x + 1", 4),
    ("[n * x for n in row]", [3, 6]),
    ("max(row, key=lambda n: -n)", 1),
    ("dict(a=x)['a']", 3),
    ("f'{x} \"q\" = {row[1]}'", '3 "q" = 2'),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_value_is_a_literal_or_an_expression_of_the_notebook(text: str, value: object) -> None:
    assert value_of(text, NAMESPACE) == value
    assert split_inputs(f"S V a={text} b=1") == ("S V ", [("a", text), ("b", "1")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing", "there is no variable 'missing' here"),
        ("exi", "there is no variable 'exi' here."),
        ("rows", "there is no variable 'rows' here. Did you mean 'row'?"),
        ("row[5]", "IndexError: list index out of range"),
        ("", "no Python expression"),
        ("[1, 2", "no Python expression: '[' was never closed"),
    ],
)
def test_a_value_that_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        value_of(text, NAMESPACE)


def test_an_expression_leaves_no_names_behind() -> None:
    namespace = dict(NAMESPACE)
    assert value_of("(y := x + 1)", namespace) == 4
    assert namespace == NAMESPACE


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("Iris V1 flowers", None),
        ("Iris V1 flowers.head(3) -o y", "flowers.head(3)"),
        ("Iris flowers[flowers['a b'] > 2]", "flowers[flowers['a b'] > 2]"),
        ("'My (iris)' flowers", None),
    ],
)
def test_an_expression_of_batch_is_taken_as_it_stands(line: str, expression: str | None) -> None:
    rest, found = take_expression(line)
    assert found == expression
    assert rest == (line if expression is None else line.replace(expression, EXPRESSION))


@pytest.mark.parametrize(
    "magic", [PublishMagics.publish, RemoteExecMagics.remote_exec, ConsumeMagics.consume]
)
def test_help_has_examples_and_no_doubled_percent_signs(magic: Any) -> None:
    assert "Examples::" in magic.__doc__
    assert "%%%" not in magic.__doc__


def test_names_of_consume_are_read_in_any_spelling() -> None:
    split = "cafe\N{COMBINING ACUTE ACCENT}"
    micro = "\N{MICRO SIGN}"
    assert split_inputs(f"Iris {split}=1 {micro}={micro}") == (
        "Iris ",
        [(split, "1"), (micro, micro)],
    )
    assert value_of(micro, {"\N{GREEK SMALL LETTER MU}": 5}) == 5


def test_names_of_variables_are_as_python_has_them() -> None:
    assert execute("-i \N{MICRO SIGN},b -o \N{MICRO SIGN} 1").inputs == [
        "\N{GREEK SMALL LETTER MU}",
        "b",
    ]
