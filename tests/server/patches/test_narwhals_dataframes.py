"""Lists and arrays are known to be no data frames, and everything else is asked about as before."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

QUESTIONS = "narwhals.stable.v2.dependencies"

PROGRAM = """
import json, sys
from jupyter_mlsvc_server.patches import narwhals_dataframes
if "late" in sys.argv:
    import sklearn.svm
narwhals_dataframes.install()
narwhals_dataframes.install()

import narwhals.stable.v2 as narwhals, numpy as np, pandas as pd, scipy.sparse
from sklearn.svm import SVC
from sklearn.utils import validation

asked = narwhals.dependencies
quick = [asked.is_into_dataframe, asked.is_into_series]
slow = [getattr(ask, "__wrapped__", None) for ask in quick]
out = {"replaced": None not in slow, "once": not any(hasattr(ask, "__wrapped__") for ask in slow)}

class Matrix(np.ndarray): pass
class Rows(list): __narwhals_dataframe__ = True
class Kind(type):
    def __eq__(self, other): return self is other
class Odd(metaclass=Kind): pass
class Frame:
    def __narwhals_dataframe__(self): return self
frame = pd.DataFrame({"a": [1.0, 2.0]})
values = [
    [[1.0]], [], ((1.0,),), (), np.zeros((2, 2)), np.array(["a"], dtype=object), None, 3, "a", {},
    frame, frame["a"], frame.index, narwhals.from_native(frame),
    narwhals.from_native(frame["a"], series_only=True), frame.to_numpy().view(Matrix), Rows(),
    Odd(), Frame(), scipy.sparse.eye(2), np.matrix([[1]]), np.ma.array([1]), list, np.ndarray,
]
out["named"] = [quick[0](native_dataframe=frame), quick[1](native_series=frame["a"])]
if out["replaced"]:
    out["answers"] = [[bool(ask(value)) for value in values] for ask in quick]
    out["expected"] = [[bool(ask(value)) for value in values] for ask in slow]

model = SVC().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
calls = []
asked._is_native_dataframe = lambda value: calls.append(type(value).__name__)
asked._is_native_series = lambda value: calls.append(type(value).__name__)
out["predicted"] = [model.predict(X).tolist() for X in ([[3.0]], np.array([[0.0]]))]
out["calls"] = calls
print(json.dumps(out))
"""

PLUGIN = """
NATIVE_PACKAGE = "numpy"
def is_native(native): return False
"""

pytestmark = pytest.mark.skipif(
    not hasattr(import_module("sklearn.utils.validation"), "nw"),
    reason="this scikit-learn does not ask narwhals",
)


def run(folder: Path, *arguments: str) -> Any:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    return json.loads(subprocess.check_output([sys.executable, str(program), *arguments]))


@pytest.mark.process
@pytest.mark.parametrize("order", ["early", "late"])
def test_every_answer_is_narwhals_own(tmp_path: Path, order: str) -> None:
    out = run(tmp_path, order)
    assert out["replaced"]
    assert out["once"]
    assert out["answers"] == out["expected"]
    assert out["named"] == [True, True]
    assert True in out["answers"][0]
    assert True in out["answers"][1]


@pytest.mark.process
def test_an_estimator_does_not_look_for_frames_in_lists_and_arrays(tmp_path: Path) -> None:
    out = run(tmp_path, "early")
    assert out["predicted"] == [[1], [0]]
    assert out["calls"] == []


@pytest.mark.process
def test_with_a_plugin_narwhals_is_asked_about_everything(tmp_path: Path) -> None:
    info = tmp_path / "narwhals_arrays-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: narwhals-arrays\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[narwhals.plugins]\narrays = arrays\n")
    (tmp_path / "arrays.py").write_text(PLUGIN)
    out = run(tmp_path, "early")
    assert not out["replaced"]
    assert "list" in out["calls"]
