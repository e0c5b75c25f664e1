from __future__ import annotations

import pytest

from jupyter_mlsvc.capture import assigned_names, needed_names
from jupyter_mlsvc.config import Environment, default_session_name

SET = [
    ("a = b = 1", {"a", "b"}),
    ("a, *b = x", {"a", "b"}),
    ("import os.path, sys as s", {"os", "s"}),
    ("def f(): y = 1", {"f"}),
    ("class C: z = 1", {"C"}),
    ("for i in x: pass", {"i"}),
    ("with x as w: pass", {"w"}),
    ("[v for v in x]", set()),
    ("def f():\n global g\n g = 1", {"f", "g"}),
    ("if (n := 1): pass", {"n"}),
    ("a.b = 1\na[0] = 2", set()),
    ("this is no code", set()),
]
NEEDED = [
    (
        "iris_species = [names[x] for x in clf.predict(flower_data)]",
        {"names", "clf", "flower_data"},
    ),
    ("def f(): return model + 1\nout = f()", {"model"}),
    ("import numpy as np\nout = np.array(x)", {"x"}),
    ("print(len(x))", {"x"}),
    ("this is no code", set()),
]


@pytest.mark.parametrize(("code", "names"), SET)
def test_names_that_code_sets(code: str, names: set[str]) -> None:
    assert assigned_names(code) == names


@pytest.mark.parametrize(("code", "names"), NEEDED)
def test_names_that_code_needs(code: str, names: set[str]) -> None:
    assert needed_names(code) == names


def test_names_of_the_notebook_hide_builtins() -> None:
    assert needed_names("y = sum(x) + len(x)", {"sum", "other"}) == {"sum", "x"}
    assert needed_names("sum = 1\ny = sum", {"sum"}) == set()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("work/Iris model.ipynb", "Iris model"),
        ("a\\b.ipynb", "b"),
        ("", "default"),
        (None, "default"),
    ],
)
def test_a_session_is_named_after_the_notebook(path: str | None, name: str) -> None:
    assert default_session_name({} if path is None else {"JPY_SESSION_NAME": path}) == name


def test_the_environment_hides_its_token() -> None:
    environment = Environment.read({"MLSVC_URL": "http://x", "MLSVC_TOKEN": "sesame"})
    assert environment.token == "sesame"
    assert "sesame" not in repr(environment)
