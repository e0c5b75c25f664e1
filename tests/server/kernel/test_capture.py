"""What a workspace is like after it went through a capture and a restore in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.process

Write = Callable[[str], Any]


def test_functions_see_what_is_assigned_after_restoring(write: Write) -> None:
    written = write("def score(): return weight * factor\nfactor = 2")
    written.read("weight = 5\nassert score() == 10\nassert score.__globals__ is globals()")


def test_functions_call_each_other_and_themselves(write: Write) -> None:
    written = write(
        """
        import functools
        def is_even(n): return n == 0 or is_odd(n - 1)
        def is_odd(n): return n != 0 and is_even(n - 1)
        factorial = lambda n: 1 if n == 0 else n * factorial(n - 1)
        @functools.lru_cache(maxsize=7)
        def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
        def twice(function):
            @functools.wraps(function)
            def run(x): return function(function(x))
            return run
        @twice
        def grow(x): return x + step
        step = 3
        """
    )
    assert written.names(kept=False) == set()
    written.read(
        """
        assert is_even(10) and factorial(5) == 120 and fibonacci(30) == 832040
        assert fibonacci.cache_parameters() == {"maxsize": 7, "typed": False}
        step = 4
        assert grow(1) == 9
        """
    )


def test_closures_keep_their_own_variables(write: Write) -> None:
    written = write(
        """
        def counter(start):
            def add(n):
                nonlocal start
                start += n
                return start
            return add
        add = counter(10)
        add(5)
        """
    )
    written.read("assert add(1) == 16\nassert counter(0)(2) == 2")


def test_classes_keep_their_methods_and_their_instances_belong_to_them(write: Write) -> None:
    written = write(
        """
        import dataclasses, enum, functools, typing
        class Base:
            def __init__(self): self.x = 2
            def value(self): return self.x * SCALE
            @classmethod
            def make(cls): return cls()
            @functools.cached_property
            def cached(self): return self.x + SCALE
        class Child(Base):
            def value(self): return super().value() + 1
        child = Child()
        @dataclasses.dataclass(frozen=True)
        class Point:
            x: int
            tags: list = dataclasses.field(default_factory=list)
        point = Point(3)
        class Colour(enum.Enum):
            RED = 1
        red = Colour.RED
        class Row(typing.NamedTuple):
            a: int
            b: str = "b"
        row = Row(1)
        UserId = typing.NewType("UserId", int)
        """
    )
    assert written.names(kept=False) == set()
    written.read(
        """
        SCALE = 10
        assert type(child) is Child and child.value() == 21 and child.cached == 12
        assert Child.make().value() == 21
        assert type(point) is Point and point == Point(3, [])
        assert red is Colour.RED and row == Row(1) and UserId(4) == 4
        """
    )


def test_what_two_names_share_stays_shared(write: Write) -> None:
    written = write(
        """
        import numpy as np
        a = np.arange(100_000.0)
        same = a
        holder = {"array": a, "rest": [1, 2]}
        rest = holder["rest"]
        everything = globals()
        """
    )
    written.read(
        """
        assert same is a and holder["array"] is a and rest is holder["rest"]
        assert everything is globals()
        """
    )


def test_modules_come_back_with_the_submodules_that_were_imported(write: Write) -> None:
    written = write("import xml.etree.ElementTree\nimport json as j\nfrom os import path")
    written.read(
        """
        assert xml.etree.ElementTree.fromstring("<a/>").tag == "a"
        assert j.loads("1") == 1 and path.join("a", "b") == "a/b"
        """
    )


def test_a_module_of_the_working_directory_is_imported_from_there(
    write: Write, tmp_path: Any
) -> None:
    (tmp_path / "mine.py").write_text("OFFSET = 1\ndef shift(x): return x + OFFSET\n")
    written = write("import mine\nfrom mine import shift")
    written.read("assert shift(1) == 2 and mine.__file__.endswith('mine.py')")


def test_a_module_that_cannot_be_imported_elsewhere_is_explained(
    write: Write, tmp_path: Any
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "remote.py").write_text("class Model: pass\n")
    written = write(
        """
        import sys
        ELSEWHERE = ["elsewhere"]
        sys.path.append("elsewhere")
        import remote
        model = remote.Model()
        fine = 1
        """
    )
    assert written.names(kept=False) == {"remote", "model"}
    reason = written.row("model")["reason"]
    assert "module 'remote'" in reason
    assert "working directory" in reason


@pytest.mark.parametrize(
    ("source", "kind", "place"),
    [
        ("import threading; bad = threading.Lock()", "a thread lock", "bad is"),
        ("import threading; bad = [1, {'l': threading.Lock()}]", "a thread lock", "bad[1]['l']"),
        ("bad = (i for i in range(3))", "a generator", "bad is"),
        ("bad = open(__import__('os').devnull)", "an open file", "bad is"),
        ("bad = open(__import__('os').devnull, 'rb')", "an open file", "bad is"),
        ("bad = open(__import__('os').devnull, 'w')", "an open file", "bad is"),
        ("bad = {'log': open(__import__('os').devnull, 'w')}", "an open file", "bad['log'] is"),
        ("import socket; bad = socket.socket()", "a network socket", "bad is"),
        ("import sqlite3; bad = sqlite3.connect(':memory:')", "a connection", "bad is"),
        (
            "import threading\nclass C: pass\nbad = C(); bad.lock = threading.RLock()",
            "a thread lock",
            "bad.lock",
        ),
        (
            "import threading\ndef make(lock):\n  def f(): return lock\n  return f\n"
            "bad = make(threading.Lock())",
            "a thread lock",
            "the variable lock that bad closes over",
        ),
        (
            "import functools, threading\nbad = functools.partial(print, threading.Lock())",
            "a thread lock",
            "bad.args[0]",
        ),
        (
            "bad = []\nfor _ in range(100_000): bad = [bad]\ndel _",
            "nested too deeply",
            "bad is",
        ),
        (
            "class C:\n  def __reduce__(self): raise ValueError('not me')\nbad = C()",
            "ValueError: not me",
            "bad cannot be saved",
        ),
        (
            "class C:\n  @property\n  def __class__(self): raise RuntimeError('unbound')\n"
            "  def __reduce_ex__(self, _): raise RuntimeError('unbound')\nbad = C()",
            "unbound",
            "bad cannot be saved",
        ),
        (
            "class E(Exception):\n  def __str__(self): raise OSError\n"
            "class C:\n  def __reduce__(self): raise E\nbad = C()",
            "E",
            "bad cannot be saved",
        ),
    ],
    ids=[
        *("lock", "nested lock", "generator", "text file", "binary file", "file to write"),
        *("nested file", "socket", "database"),
        *("attribute", "closure", "partial", "deep", "reduce raises", "proxy", "error raises"),
    ],
)
def test_what_cannot_be_saved_is_left_out_and_explained(
    write: Write, source: str, kind: str, place: str
) -> None:
    written = write("before = [1, 2]\nimport warnings; warnings.simplefilter('ignore')\n" + source)
    row = written.row("bad")
    assert not row["kept"]
    assert row["size"] == 0
    assert kind in row["reason"]
    assert place in row["reason"]
    written.read("assert before == [1, 2]\nassert 'bad' not in globals()")


def test_what_is_left_out_spoils_nothing_that_it_shares_parts_with(write: Write) -> None:
    written = write(
        """
        import threading
        import numpy as np
        shared = {"array": np.arange(50_000.0), "list": [1]}
        bad = [shared, threading.Lock(), np.arange(30_000.0)]
        after = [shared, np.arange(40_000.0)]
        last = shared["list"]
        """
    )
    assert written.names(kept=False) == {"bad"}
    assert len(written.report["buffer_sizes"]) == 2
    written.read(
        """
        assert after[0] is shared and last is shared["list"]
        assert after[1].sum() == sum(range(40_000)) and shared["array"][-1] == 49_999
        """
    )


def test_a_function_that_only_names_what_is_left_out_is_kept(write: Write) -> None:
    written = write(
        """
        import threading
        lock = threading.Lock()
        def guarded():
            with lock: return helper()
        def helper(): return 1
        class Service:
            def run(self): return guarded()
        service = Service()
        """
    )
    assert written.names(kept=False) == {"lock"}
    assert written.row("guarded")["uses"] == ["helper", "lock"]
    assert written.row("service")["uses"] == ["guarded"]


def test_an_object_that_cannot_be_read_costs_itself_and_what_shares_it_only(write: Write) -> None:
    written = write(
        """
        import numpy as np
        class Picky(Exception):
            def __init__(self, a, b):
                super().__init__("no")
                self.data = [1, 2]
        first = np.arange(20_000.0)
        picky = Picky(1, 2)
        holder = [picky, np.arange(30_000.0)]
        sharing = picky.data
        again = [first, np.arange(40_000.0)]
        again_2 = again
        """
    )
    output = written.read(
        """
        assert set(restored.lost) == {"picky", "holder"}, restored.lost
        assert sharing == [1, 2]
        assert "Picky.__init__() missing" in restored.lost["picky"]
        assert "'picky'" in restored.lost["holder"]
        assert again[0] is first and again_2 is again and again[1][-1] == 39_999
        print(restored.names)
        """
    )
    assert "picky" not in output


def test_reasons_say_which_function_failed_and_what_it_misses(write: Write) -> None:
    written = write(
        """
        import threading
        class Model:
            def __setstate__(self, state): self.read(state)
            def read(self, state): self.lock = guard
        model = Model()
        model.x = 1
        holder = {"model": model}
        guard = threading.Lock()
        def unrelated(): return guard
        """
    )
    assert written.names(kept=False) == {"guard"}
    written.read(
        """
        assert set(restored.lost) == {"model", "holder"}, restored.lost
        reason = restored.lost["model"]
        assert "Model.read raised NameError: name 'guard' is not defined." in reason, reason
        assert "does not hold 'guard'. guard is a thread lock" in reason, reason
        assert "shares data with 'model'" in restored.lost["holder"], restored.lost
        assert "Model.read raised NameError" in restored.lost["holder"], restored.lost
        assert unrelated.__globals__ is globals() and Model
        """
    )


def test_what_fails_first_takes_nothing_with_it_that_it_does_not_hold(write: Write) -> None:
    written = write(
        """
        class Broken:
            def __setstate__(self, state): raise ValueError("never")
        def first(it=Broken()): return it
        first.__defaults__[0].x = 1
        class Second:
            def go(self): return helper(1)
        def helper(x): return x + 1
        third = Second()
        """
    )
    written.read(
        """
        assert set(restored.lost) == {"first"}, restored.lost
        assert third.go() == 2 and Broken
        """
    )


def test_arrays_are_writable_unless_they_were_not(write: Write) -> None:
    written = write(
        """
        import numpy as np
        large, small = np.arange(1_000_000.0), np.arange(3)
        locked = np.arange(100_000)
        locked.flags.writeable = False
        empty = np.empty((0, 3))
        columns = np.asfortranarray(np.random.rand(300, 300))
        strided = np.arange(200_000)[::2]
        """
    )
    written.read(
        """
        large[0] = small[0] = strided[1] = columns[0, 0] = 7
        assert large[0] == small[0] == strided[1] == 7
        assert not locked.flags.writeable and locked[-1] == 99_999
        assert empty.shape == (0, 3) and columns.flags.f_contiguous
        """
    )


def test_memory_mapped_arrays_need_their_file_no_longer(write: Write) -> None:
    written = write(
        """
        import numpy as np
        np.arange(40_000.0).tofile("data.bin")
        fixed = np.memmap("data.bin", dtype=float, mode="r", shape=(200, 200))
        changing = np.memmap("data.bin", dtype=float, mode="c")
        again = [changing, changing[:5]]
        """
    )
    assert written.report["buffer_sizes"] == [320_000, 320_000]
    written.read(
        """
        Path("data.bin").unlink()
        assert fixed.shape == (200, 200) and fixed[-1, -1] == 39_999
        assert not fixed.flags.writeable
        changing[3] = -1
        assert again[0] is changing and changing[3] == -1 and list(again[1]) == [0, 1, 2, 3, 4]
        """
    )


def test_data_frames_come_back_with_their_types(write: Write) -> None:
    written = write(
        """
        import numpy as np, pandas as pd
        frame = pd.DataFrame({
            "number": np.arange(50_000.0),
            "text": [f"row {n}" for n in range(50_000)],
            "kind": pd.Categorical(["a", "b"] * 25_000),
            "day": pd.date_range("2020-01-01", periods=50_000, freq="min"),
            "maybe": pd.array([1, None] * 25_000, dtype="Int64"),
        })
        types = frame.dtypes.astype(str).to_dict()
        column = frame["number"]
        """
    )
    written.read(
        """
        assert frame.dtypes.astype(str).to_dict() == types
        assert frame["text"].iloc[-1] == "row 49999" and frame["maybe"].isna().sum() == 25_000
        frame.loc[0, "number"] = -1.0
        assert frame["number"].iloc[0] == -1.0
        """
    )


def test_a_trained_model_predicts_the_same(write: Write) -> None:
    written = write(
        """
        from sklearn.datasets import load_iris
        from sklearn.ensemble import RandomForestClassifier
        iris = load_iris()
        forest = RandomForestClassifier(20, random_state=1).fit(iris.data, iris.target)
        expected = forest.predict_proba(iris.data)
        """
    )
    versions = written.report["workspace"]["packages"]
    assert {"numpy", "scikit-learn"} <= versions.keys()
    written.read("assert (forest.predict_proba(iris.data) == expected).all()")


def test_processes_share_the_memory_of_restored_arrays(write: Write) -> None:
    written = write("import numpy as np\nweights = np.ones(8_000_000)")  # 64 MB
    output = written.read(
        """
        import os, re
        def private_copies():
            text = open("/proc/self/smaps_rollup").read()
            return int(re.search(r"Anonymous:\\s+(\\d+)", text)[1]) * 1024
        import numpy as np
        before = private_copies()
        assert weights.sum() == 8_000_000
        read = private_copies() - before
        weights[:4_000_000] = 2
        print(read, private_copies() - before)
        """
    )
    read, written_to = output.split()
    assert int(read) < 4_000_000
    assert int(written_to) > 30_000_000
    # What one process writes is its own: the file has not changed.
    written.read("assert weights[0] == 1")


def test_restoring_many_arrays_opens_no_files_and_gives_their_memory_back(write: Write) -> None:
    written = write(
        """
        import numpy as np
        many = [np.full(10_000, number) for number in range(400)]
        """
    )
    written.read(
        """
        import os
        def mappings(): return Path("/proc/self/maps").read_text().count("staging/buffers")
        assert len(os.listdir("/proc/self/fd")) < 50
        assert [int(part[-1]) for part in many] == list(range(400))
        many[7][0] = -1  # the file stays as it is
        assert Path("staging/buffers/7").read_bytes()[0] == 7
        view = many[5][1:]
        del many, restored
        assert mappings() == 1 and view.sum() == 5 * 9_999
        del view
        assert mappings() == 0
        """
    )


def test_another_minor_version_of_python_is_refused_and_sets_nothing(write: Write) -> None:
    written = write("x = 1")
    written.report["workspace"]["python_version"] = "3.9.1"
    with pytest.raises(AssertionError, match=r"taken with Python 3\.9\.1"):
        written.read("")


def test_names_of_the_interpreter_are_not_the_users(write: Write) -> None:
    written = write("__secret__ = 1\n_own = 2")
    assert written.names(kept=True) == {"_own"}
