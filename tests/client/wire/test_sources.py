"""Lines of a notebook's code, where it was defined and where it travels to."""

from __future__ import annotations

import inspect
import linecache
import traceback
import types
from textwrap import dedent
from typing import Any

import pytest

from jupyter_mlsvc.wire import objects
from jupyter_mlsvc.wire.sources import (
    MAX_CHARACTERS,
    Sources,
    let_inspect_find_classes,
    show_source,
)

CELL = dedent(
    """
    import dataclasses

    def inverse(v):
        w = 1 / v
        return w

    class Outer:
        class Inner:
            def fails(self):
                raise ValueError(len("line"))

    def make():
        class Local:
            x = 1
        return Local

    class Empty:
        note = "no method"

    @dataclasses.dataclass
    class Point:
        x: int

    def decorated(function):
        def run(*given):
            return function(*given)  # within
        return run

    @decorated
    def twice(x):
        return x + missing
    """
)
NAME = "/tmp/ipykernel_12345/67890.py"


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Names of a notebook whose cell linecache knows, as IPython sees to it."""
    monkeypatch.setattr(inspect, "getfile", inspect.getfile)
    monkeypatch.setattr(linecache, "cache", {})
    main = types.ModuleType("__main__")
    monkeypatch.setitem(__import__("sys").modules, "__main__", main)
    let_inspect_find_classes()
    show_source(NAME, CELL)
    exec(compile(CELL, NAME, "exec"), vars(main))
    return vars(main)


def elsewhere(data: bytes) -> dict[str, Any]:
    """Read an object where the cell is not known, and its classes neither."""
    linecache.cache.clear()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    namespace["it"] = objects.loads(data, namespace)
    return namespace


def test_traceback_shows_lines_of_a_function_that_travelled(notebook: dict[str, Any]) -> None:
    it = elsewhere(objects.dumps([notebook["inverse"], notebook["twice"]], notebook))["it"]
    for number, lines in enumerate([["w = 1 / v"], ["# within", "x + missing"]]):
        with pytest.raises((ZeroDivisionError, NameError)) as caught:
            it[number](0)
        shown = "".join(traceback.format_exception(caught.value))
        assert all(line in shown for line in lines)
        assert "ipykernel" not in shown


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("inverse", "def inverse(v):"),
        ("Outer", "class Outer:"),
        ("Outer.Inner", "    class Inner:"),
        ("Outer.Inner.fails", "        def fails(self):"),
        ("make()", "    class Local:"),
        ("Empty", "class Empty:"),
        ("Point", "@dataclasses.dataclass"),
        ("twice", "    def run(*given):"),
    ],
)
def test_inspect_finds_sources_there_and_elsewhere(
    notebook: dict[str, Any], expression: str, first: str
) -> None:
    value = eval(expression, notebook)
    assert inspect.getsource(value).splitlines()[0] == first
    there = inspect.getsource(value)
    it = elsewhere(objects.dumps(value, notebook))["it"]
    assert inspect.getsource(it) == there


def test_sources_travel_on(notebook: dict[str, Any]) -> None:
    namespace = elsewhere(objects.dumps(notebook["inverse"], notebook))
    once = namespace["it"].__code__.co_filename
    again = elsewhere(objects.dumps(namespace["it"], namespace))["it"]
    assert again.__code__.co_filename == once
    assert inspect.getsource(again).startswith("def inverse(v):")


def test_newest_cell_with_a_class_counts(notebook: dict[str, Any]) -> None:
    newer = "class Empty:\n    note = 'newer'\n"
    show_source("/tmp/ipykernel_12345/1.py", newer)
    exec(compile(newer, "/tmp/ipykernel_12345/1.py", "exec"), notebook)
    assert inspect.getsource(notebook["Empty"]) == newer


def test_source_is_written_once(notebook: dict[str, Any]) -> None:
    functions = [notebook["inverse"], notebook["make"], notebook["decorated"]]
    assert objects.dumps(functions, notebook).count(b"w = 1 / v") == 1


def test_cells_with_lines_for_ipython_are_read(notebook: dict[str, Any]) -> None:
    shown = "%matplotlib inline\nclass Drawn:\n    x = 1\n"
    show_source("/tmp/ipykernel_12345/2.py", shown)
    exec("class Drawn:\n    x = 1\n", notebook)
    found = Sources().of_class(notebook["Drawn"])
    assert found is not None
    assert found.text == shown


def test_files_of_libraries_and_large_ones_stay(notebook: dict[str, Any]) -> None:
    assert Sources().find(inspect.__file__) is None
    assert Sources().find("<string>") is None
    show_source("<large>", "x = 1\n" * MAX_CHARACTERS)
    assert Sources().find("<large>") is None


def test_what_has_no_source_is_refused_as_ever(notebook: dict[str, Any]) -> None:
    exec("class Typed: pass", notebook)
    values: list[Any] = [notebook["Typed"], int, 3]
    for value in values:
        with pytest.raises((OSError, TypeError)):
            inspect.getsource(value)
