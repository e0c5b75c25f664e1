"""What the signature, the annotations and the docstring of a function say about its service."""

from __future__ import annotations

import datetime
import functools
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy
import pandas
import pytest
from msgspec import UNSET

from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.planning.functions import call_of, call_of_source, is_defined_by, type_of_hint


def types(rows: Sequence[Any]) -> dict[str, str | None]:
    return {row.name: row.type for row in rows}


@pytest.mark.parametrize(
    ("hint", "kind"),
    [
        (bool, "logical"),
        (int, "integer"),
        (float, "numeric"),
        (str, "character"),
        (list, "vector"),
        (list[float], "vector"),
        (Sequence[int], "vector"),
        (list[list[float]], "matrix"),
        (numpy.ndarray, "vector"),
        (numpy.float64, "numeric"),
        (pandas.Series, "vector"),
        (pandas.DataFrame, "data.frame"),
        (float | None, "numeric"),
        (typing.Optional[int], "integer"),  # noqa: UP045 - an old spelling
        (int | float, "numeric"),
        (int | str, None),
        (Annotated[float, "in euros"], "numeric"),
        (Literal["a", "b"], "character"),
        (dict, None),
        (datetime.datetime, None),
        (None, None),
        ("float", "numeric"),
        ("pd.DataFrame", "data.frame"),
        ("np.ndarray | None", "vector"),
        ("list[list[int]]", "matrix"),
        ("Optional['int']", "integer"),
        ("no python", None),
    ],
    ids=str,
)
def test_annotations_stand_for_types(hint: Any, kind: str | None) -> None:
    assert type_of_hint(hint, is_input=True) == kind


def score(income: float, age: int = 40, *, tags: list[str] | None = None) -> float:
    """Score an applicant
    by income and age.

    Nobody reads this.
    """
    return income + age + len(tags or [])


def label(row: numpy.ndarray) -> tuple[str, float]:
    name, share = "a", 1.0
    if len(row) > 3:
        return name, share
    return name, share


def pair(row: list[Any]) -> tuple[str, float]:
    return str(row), 1.0


def untyped(a, b=2.5, c="x", d=object()):  # noqa: ANN001, ANN201, B008
    return a, b, c, d


def merged(
    left: pandas.DataFrame, right: pandas.DataFrame | None = None, w: numpy.ndarray | None = None
) -> list[bool]:
    return [right is None, w is None]


def only(a: int, /, b: int) -> None:
    assert a < b


def test_a_function_says_what_its_service_takes_and_gives() -> None:
    call = call_of("score", score)
    assert types(call.inputs) == {"income": "numeric", "age": "integer", "tags": "json"}
    assert [each.default for each in call.inputs] == [UNSET, 40, None]
    assert types(call.outputs) == {"answer": "numeric"}
    assert call.code(call.outputs) == "answer = score(income=income, age=age, tags=tags)\n"
    assert call.description == "Score an applicant by income and age."


@pytest.mark.parametrize(
    ("function", "outputs"),
    [
        (label, {"name": "character", "share": "numeric"}),
        (pair, {"answer_1": "character", "answer_2": "numeric"}),
        (untyped, {"a": None, "b": None, "c": None, "d": None}),
        (only, {}),
    ],
)
def test_what_a_function_returns_has_names(
    function: Callable[..., Any], outputs: dict[str, str | None]
) -> None:
    call = call_of(function.__name__, function)
    assert types(call.outputs) == outputs
    assert call.code(call.outputs).count("=") == len(call.inputs) + bool(outputs) - (
        function is only
    )


def test_defaults_tell_types_and_those_that_json_lacks_stay_in_the_function() -> None:
    call = call_of("untyped", untyped)
    assert types(call.inputs) == {"a": None, "b": "numeric", "c": "character"}
    assert call.expression == "untyped(a=a, b=b, c=c)"


def test_frames_and_arrays_that_may_be_none_may_be_left_out() -> None:
    call = call_of("merged", merged)
    assert types(call.inputs) == {"left": "data.frame", "right": "data.frame", "w": "vector"}
    assert [each.default for each in call.inputs] == [UNSET, None, None]


def test_positional_parameters_are_passed_by_their_place() -> None:
    assert call_of("only", only).expression == "only(a, b=b)"


SOURCE = '''
import os
RATE = os.getenv("RATE")

def helper(x): return x

@decorated
def score(income: "float", age: int = 40, seen=set(), *rest, how: pd.DataFrame = None, **more):
    """Score an applicant."""
    return helper(income)
'''


def test_a_definition_is_read_without_running_it() -> None:
    call = call_of_source(SOURCE)
    assert call is not None
    assert types(call.inputs) == {"income": "numeric", "age": "integer", "how": "data.frame"}
    assert call.expression == "score(income=income, age=age, how=how)"
    assert call.description == "Score an applicant."
    assert call_of_source("def f(): pass\ny = 1") is None
    assert call_of_source("def f(:") is None


def test_a_function_is_known_by_its_source() -> None:
    namespace: dict[str, Any] = {}
    exec("def f(x):\n    return x + 1", namespace)
    assert is_defined_by(namespace["f"], "# more\n\ndef f(x):\n    return x + 1")
    assert not is_defined_by(namespace["f"], "def f(x):\n    return x + 2")
    assert not is_defined_by(len, "def len(x):\n    return x + 1")


async def later() -> int:
    return 1


def one_by_one(count: int) -> Iterator[int]:
    yield from range(count)


class Scorer:
    """Score applicants."""

    def __call__(self, age: float) -> int:
        return int(age)


def test_what_is_called_like_a_function_has_its_annotations() -> None:
    for called in (Scorer(), functools.partial(Scorer(), age=2.0)):
        call = call_of("f", called)
        assert (types(call.inputs), types(call.outputs)) == (
            {"age": "numeric"},
            {"answer": "integer"},
        )
        assert call.description == "Score applicants."


def test_function_that_yields_has_an_output_of_all_its_items() -> None:
    for call in (
        call_of("f", one_by_one),
        call_of_source("def f(count: int) -> 'Iterator[int]':\n    yield from range(count)"),
    ):
        assert call is not None
        assert types(call.outputs) == {"answer": "vector"}


def test_an_asynchronous_function_is_awaited() -> None:
    assert call_of("later", later).expression == "await later()"
    source = "async def later(x: int) -> float:\n    return x * 2.5\n"
    call = call_of_source(source)
    assert call is not None
    assert call.code(call.outputs) == "answer = await later(x=x)\n"
    assert (types(call.inputs), types(call.outputs)) == ({"x": "integer"}, {"answer": "numeric"})


@pytest.mark.parametrize(
    ("function", "words"),
    [(dict, "not known")],
)
def test_what_no_service_can_call_is_refused(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        call_of("f", function)
