"""Code that yields at its top level."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

from jupyter_mlsvc_server.formats.concurrency import is_awaiting, usual_concurrency
from jupyter_mlsvc_server.formats.problems import CodeProblem
from jupyter_mlsvc_server.worker.yielding import (
    compile_yielding,
    name_of_stream,
    stream_of,
    yields,
)

CODE = """\
from __future__ import annotations
import math as m
total: int = 0
def add(n):
    global total
    total += n
    return total
class Seen: n = 3
squares = [i * i for i in range(3)]
for i, step in enumerate((1, 2)):
    add(step)
    yield total, i
try:
    1 / 0
except ZeroDivisionError as error:
    text = str(error)
if (found := m.floor(2.5)) > 1:
    yield from (add(Seen.n) for _ in range(2))
"""


def run(source: str, **names: Any) -> tuple[list[Any], dict[str, Any]]:
    code = compile_yielding(source, "<test>")
    assert code is not None
    assert yields(code)
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    stream: Any = stream_of(code, namespace)
    return [*stream], namespace


def test_names_of_code_that_yields_are_global() -> None:
    items, namespace = run(CODE)
    assert items == [(1, 0), (3, 1), 6, 9]
    own = {name for name in namespace if not name.startswith("__")}
    assert own == {
        *("annotations", "m", "total", "add", "Seen", "squares", "i", "step", "text", "found"),
    } - {"annotations"}
    assert namespace["total"] == 9
    assert namespace["squares"] == [0, 1, 4]


@pytest.mark.parametrize(
    "last", ["[await n(i) for i in (1, 2)]", "[*(i for i in await n([1, 2]))]"]
)
def test_code_that_yields_may_await_in_comprehensions_only(last: str) -> None:
    source = f"async def n(it): return it\nyield 1\nfound = {last}\nyield found"
    code = compile_yielding(source, "<test>")
    assert code is not None
    assert is_awaiting(code)
    assert usual_concurrency(source) > 1

    async def read() -> list[Any]:
        stream: Any = stream_of(code, {})
        return [item async for item in stream]

    assert asyncio.run(read()) == [1, [1, 2]]


def test_code_that_yields_runs_texts_among_its_names() -> None:
    items, namespace = run(
        "exec('q = x + 1')\nyield q\nlocals()['r'] = 5\nyield r + eval('q')", x=1
    )
    assert items == [2, 7]
    assert (namespace["q"], namespace["r"]) == (2, 5)


def test_code_that_awaits_and_yields_runs_texts_among_its_names() -> None:
    code = compile_yielding("exec('q = 1')\nawait n()\nyield q", "<test>")
    assert code is not None

    async def n() -> None: ...

    async def read() -> list[Any]:
        stream: Any = stream_of(code, {"n": n})
        return [item async for item in stream]

    assert asyncio.run(read()) == [1]


def test_code_that_yields_is_told_what_to_do_about_import_star() -> None:
    with pytest.raises(SyntaxError, match="name what it imports") as caught:
        compile_yielding("yield 1\nfrom math import *\n", "<test>")
    assert caught.value.lineno == 2


def test_traceback_of_code_that_yields_is_that_of_a_module() -> None:
    code = compile_yielding("yield 1\n\nx = 1 / 0\n", "<test>")
    assert code is not None
    stream: Any = stream_of(code, {})
    next(stream)
    with pytest.raises(ZeroDivisionError) as caught:
        next(stream)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.lineno, last.name) == (3, "<module>")


@pytest.mark.parametrize("source", ["def f():\n    yield 1\n", "x = 'yield'", "lambda: (yield)"])
def test_code_that_yields_in_functions_only_is_compiled_as_ever(source: str) -> None:
    assert compile_yielding(source, "<test>") is None


def test_return_beside_yield_is_refused_as_anywhere_at_top_level() -> None:
    with pytest.raises(SyntaxError, match="'return' outside function") as caught:
        compile_yielding("yield 1\nreturn\n", "<test>")
    assert caught.value.lineno == 2


@pytest.mark.parametrize(
    ("outputs", "written", "name"),
    [
        (["a"], set(), "a"),
        (["a"], {"a"}, "a"),
        (["a", "b"], {"a"}, "b"),
        (["a", "b"], set(), "'a' and 'b'"),
        (["a", "b"], {"a", "b"}, "no output is left"),
        ([], set(), "no output is left"),
    ],
)
def test_stream_is_the_output_that_the_code_does_not_set(
    outputs: list[str], written: set[str], name: str
) -> None:
    if len(name) == 1:
        assert name_of_stream(outputs, written) == name
    else:
        with pytest.raises(CodeProblem, match=name):
            name_of_stream(outputs, written)
