"""Digests are the same in two processes exactly where the values are."""

from __future__ import annotations

import datetime
import decimal
import itertools
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn import datasets, ensemble, pipeline, preprocessing, svm

from jupyter_mlsvc.wire.digests import SAMPLED_FROM, digests

SOURCE = """
import datetime, math
from dataclasses import dataclass
rate = 3
def score(x, *, factor=2):
    "Scores."
    def inner(y): return y * factor
    return inner(x) * rate
def counter():
    count = 5
    return lambda: count
count = counter()
@dataclass
class Flower:
    petals: list
    @property
    def size(self): return len(self.petals)
    @staticmethod
    def of(n): return Flower([0] * n)
flower = Flower.of(3)
class Slotted:
    __slots__ = ("a",)
slotted = Slotted(); slotted.a = 1
loop = [1]; loop.append(loop)
"""


def the_iris() -> Any:
    iris = datasets.load_iris()
    return pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC()).fit(
        iris.data, iris.target
    )


def the_forest() -> Any:
    iris = datasets.load_iris()
    return ensemble.RandomForestClassifier(5, random_state=0).fit(iris.data, iris.target)


VALUES: dict[str, Any] = {
    "nothing": None,
    "number": 7,
    "float": float("nan"),
    "text": "größe\ud800",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"x"),
    "list": [1, "a", None, 2.5],
    "nested": {"a": [{"b": (1, {2, 3})}], "c": {"x", "y", "z", "longer"}},
    "shared": [shared := ["a" * 10], shared],
    "set": {"red", "green", "blue", ("a", 1)},
    "dates": [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1)],
    "decimal": decimal.Decimal("1.10"),
    "containers": (Counter("abca"), OrderedDict(a=1), deque([1], 5), range(3), slice(1, 2)),
    "array": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(20)[::2],
    "empty": np.zeros((0, 3)),
    "padded": np.array([(1, 2.0)], dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True)),
    "objects": np.array([{"a": 1}, None], dtype=object),
    "times": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "scalar": np.float32(1.5),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}),
    "lists in cells": pd.DataFrame({"a": [[1], [2]]}),
    "series": pd.Series([1.5, None], index=["x", "y"], name="s"),
    "index": pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
    "pipeline": the_iris(),
    "forest": the_forest(),
    "module": np,
    "function": pd.concat,
    "class": svm.SVC,
    "builtin": len,
}

CHILD = """
import pickle, sys
from jupyter_mlsvc.wire.digests import digests
values = pickle.load(sys.stdin.buffer)
exec(values.pop("source"), globals())
own = "score count Flower flower slotted loop".split()
print(digests(values | {name: globals()[name] for name in own}, 60))
"""


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, str | None]:
    """Digests of the values in another process, to which they went as pickles."""
    sent = cloudpickle.dumps(VALUES | {"source": SOURCE})
    child = subprocess.run(
        [sys.executable, "-c", CHILD], input=sent, capture_output=True, check=True, timeout=100
    )
    made: dict[str, str | None] = eval(child.stdout)
    return made


@pytest.mark.process
@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_went_to_another_process_has_the_same_digest(
    elsewhere: dict[str, str | None], name: str
) -> None:
    here = digests({name: VALUES[name]}, 60)[name]
    assert here is not None
    assert elsewhere[name] == here


@pytest.mark.process
def test_code_that_was_run_in_two_processes_has_the_same_digest(
    elsewhere: dict[str, str | None],
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD.replace("exec(", "\n\n\nexec(")],
        input=cloudpickle.dumps({"source": "\n\n" + SOURCE}),
        capture_output=True,
        check=True,
        timeout=100,
    )
    made = eval(child.stdout)
    assert None not in made.values()
    assert made == {name: elsewhere[name] for name in made}


def test_values_that_differ_have_different_digests() -> None:
    values = [*VALUES.values(), [1], [1, 1], [[1]], (1,), {1}, {1: 1}, 1, 1.0, True, "1", b"1"]
    values += [[1, [1]], [[1], 1], {"a": 1}, {"a": 2}, {"b": 1}, np.arange(3), np.arange(3.0)]
    values += [np.arange(3).astype("i4"), np.zeros(4), np.zeros((2, 2)), [0.0, 0.0]]
    values += [pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), pd.DataFrame({"a": [2]})]
    values += [pd.DataFrame({"a": [1]}, index=[5]), svm.SVC(), svm.SVC(C=2), svm.LinearSVC()]
    found = digests({str(number): value for number, value in enumerate(values)}, 60)
    same_values = {VALUES["array"].tobytes(): ("array", "fortran")}
    assert None not in found.values()
    # An array in another memory order has the same values.
    assert len(set(found.values())) == len(values) - len(same_values)


def test_functions_that_do_something_else_differ() -> None:
    names: dict[str, dict[str, Any]] = {}
    for body in ("x + 1", "x + 2", "x - 1", "y + 1"):
        names[body] = {"__name__": "__main__"}
        exec(f"def f(x, y=1): return {body}", names[body])
    made = digests({body: namespace["f"] for body, namespace in names.items()})
    assert None not in made.values()
    assert len(set(made.values())) == 4


@dataclass
class Unruly:
    """Raises whatever is done with it."""

    error: type[BaseException] = RuntimeError
    parts: list[int] = field(default_factory=list)

    def __reduce_ex__(self, _: Any) -> Any:
        raise self.error("no")


def test_functions_of_single_dispatch_are_compared_by_what_they_do() -> None:
    defined = "import functools\n@functools.singledispatch\ndef kind(x): return 'other'\n"
    more = "@kind.register\ndef _(x: int): return 'int'\n"
    used = more + "kind(1); kind('')\n"
    made = []
    for source in (defined + more, defined + used, defined, defined + more.replace("'int'", "'i'")):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(source, namespace)
        made.append(digests({"kind": namespace["kind"]})["kind"])
    assert made[0] == made[1] is not None
    assert len(set(made)) == 3


def test_what_cannot_be_taken_apart_has_no_digest_and_never_raises() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    values = {
        "unruly": Unruly(),
        "lock": threading.Lock(),
        "generator": (x for x in "a"),
        "deep": deep,
        "big": 10**5000,
    }
    assert digests(values) == dict.fromkeys(values)


def test_it_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    large = {number: [[number]] for number in range(50_000)}
    looks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 0.02 * next(looks))
    monkeypatch.setattr("jupyter_mlsvc.wire.digests.time", clock)
    assert digests({"large": large, "after": [object]}, 0.05) == {"large": None, "after": None}
    assert 3 <= next(looks) < 10


def test_a_large_array_is_compared_by_samples() -> None:
    array = np.zeros(SAMPLED_FROM + 2**20, dtype="u1")
    before = digests({"array": array})["array"]
    array[-1] = 1
    assert before != digests({"array": array})["array"]
    # One that would have to be copied for it is not compared.
    assert digests({"array": np.broadcast_to(array[:1], SAMPLED_FROM + 1)}) == {"array": None}
