"""The objects of a service are those that the notebook shows when it is published."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.publishing import publish, suggest

from .conftest import Run

pytestmark = pytest.mark.kernel

Publish = Callable[[str], Any]
"""Publishes a cell anew and gives what the service answers as ``y``."""

CHANGES: Final = [
    # What the notebook runs first, what it runs then, and what the service answers.
    ("model = Fit().fit(1)", "model = Fit().fit(2)", "model.value"),
    ("import numpy\nw = {'w': numpy.zeros(3)}", "w['w'][1] = 5", "float(w['w'].sum())"),
    ("big = numpy.zeros(8_500_000)", "big[1_000_001] = 5", "float(big.sum())"),
    ("def f(): return 1", "def f(): return 2", "f()"),
    ("RATE = 1", "RATE = 2", "RATE * 10"),
    ("class A:\n  def run(self): return 1", "class A:\n  def run(self): return 2", "A().run()"),
    ("def inner(): return 1\ndef outer(): return inner()", "def inner(): return 2", "outer()"),
    ("L1 = 1\nclass B:\n  def run(self): return L1", "L1 = 2", "B().run()"),
    ("L2 = 1\nclass C:\n  def run(self): return L2\nc = [C()]", "L2 = 2", "c[0].run()"),
    ("def make(n):\n  def g(): return n\n  return g\ng = make(1)", "g = make(2)", "g()"),
    (
        "import functools\nk = 1\ndef base(x): return x + k\nh = functools.partial(base, 0)",
        "k = 2",
        "h()",
    ),
    ("lam = lambda x: x", "lam = lambda x, n=7: x + n", "lam(1)"),
    ("sum = lambda values: 1", "sum = lambda values: 2", "sum([0])"),
    (
        "from builtins import max\ndef least(): return max([3, 4])",
        "def max(v): return 9",
        "least()",
    ),
    ("words = {'b', 'a'}", "words.add('c')", "len(words)"),
]
CELL: Final = "y = [\n" + "".join(f"    {answer},\n" for _, _, answer in CHANGES) + "]\n"
_FIT: Final = """class Fit:
    def fit(self, value):
        self.value = value
        return self
"""

_numbers = itertools.count()


@pytest.fixture(params=["magic", "dialog", "update"])
def publish_anew(request: pytest.FixtureRequest, run: Run, on_server: InteractiveShell) -> Publish:
    name = f"Anew{next(_numbers)}"

    def by_magic(cell: str) -> Any:
        run(f"%%publish {name} -i '' -o y:vector\n{cell}").result.raise_error()
        return run(f"%consume {name}").value.y

    def by_dialog(cell: str) -> Any:
        found = suggest(f"%%publish {name} -i '' -o y:vector\n{cell}")
        session = found["session"]
        answer = publish(
            **{key: found[key] for key in ("name", "version", "code", "inputs", "outputs")},
            session=session["name"],
            send=found["otherNames"]["notebook"],
        )
        assert answer["error"] is None
        return run(f"%consume {name}").value.y

    def by_update(cell: str) -> Any:
        if not [each for each in run("%mlsvc services").value if each.name == name]:
            return by_magic(cell)
        sessions = run("%mlsvc sessions").value
        place = f"--session {sessions[0].name}" if sessions else "--objects"
        run(f"%mlsvc update {name} V1.0 {place}").result.raise_error()
        return run(f"%consume {name}").value.y

    return {"magic": by_magic, "dialog": by_dialog, "update": by_update}[request.param]


@pytest.mark.parametrize("has_session", [True, False], ids=["session", "no session"])
def test_a_service_has_the_objects_that_the_notebook_has_now(
    run: Run, publish_anew: Publish, *, has_session: bool
) -> None:
    run(_FIT + "\n".join(first for first, _, _ in CHANGES)).result.raise_error()
    if has_session:
        run("%remote_exec pass").result.raise_error()
    before = run(CELL + "y").value
    assert publish_anew(CELL) == before
    run("\n".join(then for _, then, _ in CHANGES)).result.raise_error()
    after = run(CELL + "y").value
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert publish_anew(CELL) == after


def test_a_module_that_was_edited_and_not_reloaded_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"edited{next(_numbers)}"
    file = tmp_path / f"{name}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = "RATE = 2\nKEPT = 1\ndef f(): return RATE\ndef g(): return 1\n"
    file.write_text(source)
    run(f"import {name}").result.raise_error()
    cell = f"y = {name}.f() + {name}.g()"
    published = run(f"%publish Edited -i '' -o y:numeric {cell}")
    assert "was edited" not in published.stdout

    # A line more above them changes no function.
    file.write_text("# A rate.\n" + source)
    assert "was edited" not in run(f"%publish Edited -i '' -o y:numeric {cell}").stdout

    file.write_text("RATE = 30\nKEPT = 1\ndef f(): return RATE\ndef g(): return 10\n")
    published = run(f"%publish Edited -i '' -o y:numeric {cell}")
    assert f"{name}.py was edited after it was imported here: RATE and g differ." in (
        published.stdout
    )
    assert run("%consume Edited").value.y == 40
    run(f"import importlib\nimportlib.reload({name})").result.raise_error()
    assert "was edited" not in run(f"%publish Edited -i '' -o y:numeric {cell}").stdout
    sys.modules.pop(name, None)


@pytest.mark.parametrize("has_session", [True, False], ids=["session", "no session"])
def test_modules_beside_the_notebook_go_along_as_they_are_now(
    run: Run,
    publish_anew: Publish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_session: bool,
) -> None:
    one, two, three = (f"{stem}{next(_numbers)}" for stem in ("alone", "inner", "package"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / three).mkdir()
    (tmp_path / f"{one}.py").write_text(f"import {two}\ndef f(): return {two}.g() + 1\n")
    (tmp_path / f"{two}.py").write_text("def g(): return 10\n")
    (tmp_path / three / "__init__.py").write_text("")
    (tmp_path / three / "part.py").write_text("class Rule:\n    def run(self): return 1\n")
    run(f"import {one}\nfrom {three}.part import Rule\nrule = Rule()").result.raise_error()
    if has_session:
        run("%remote_exec pass").result.raise_error()
    cell = f"import {two} as other\ny = [{one}.f(), rule.run(), other.g()]\n"
    assert publish_anew(cell) == [11, 1, 10]
    # Compiled code of the same second and the same length would be taken for that of the file.
    (tmp_path / f"{two}.py").write_text("def g(): return 10 * 20\n")
    (tmp_path / three / "part.py").write_text("class Rule:\n    def run(self): return 2 + 0\n")
    run(
        f"import importlib, {two}, {three}.part\n"
        f"importlib.reload({two}); importlib.reload({three}.part)\n"
        f"rule = {three}.part.Rule()\ndel importlib"
    ).result.raise_error()
    assert publish_anew(cell) == [201, 2, 200]
    for name in (one, two, three, f"{three}.part"):
        sys.modules.pop(name, None)
