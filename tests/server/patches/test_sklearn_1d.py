"""The article's ``clf.predict([7, 3.2, 4.7, 1.4])``, in a process of its own as in sessions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

_START = """
import json, sys
from jupyter_mlsvc_server.patches import sklearn_1d
if "late" in sys.argv:
    import sklearn.calibration, sklearn.neighbors, sklearn.svm
sklearn_1d.install()
sklearn_1d.install()
"""

_PROGRAM = """
import numpy as np, pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

iris = load_iris(as_frame=True)
X, y = iris.data.to_numpy(), iris.target.to_numpy()
ROW = [7, 3.2, 4.7, 1.4]
out = {"equal": {}, "errors": {}}
for model in (
    SVC(), RandomForestClassifier(10), LogisticRegression(max_iter=1000), KNeighborsClassifier(),
    make_pipeline(StandardScaler(), SVC()), HistGradientBoostingClassifier(max_iter=5),
    GridSearchCV(SVC(), {"C": [1, 2]}), CalibratedClassifierCV(SVC()),
):
    model.fit(X, y)
    same = [(model.predict(row) == model.predict([ROW])).all() and model.predict(row).shape == (1,)
            for row in (ROW, tuple(ROW), np.array(ROW), pd.Series(ROW))]
    out["equal"][type(model).__name__] = all(map(bool, same))
forest = RandomForestClassifier(10).fit(X, y)
out["proba"] = forest.predict_proba(ROW).shape
out["decision"] = SVC().fit(X, y).decision_function(ROW).shape
out["neighbors"] = KNeighborsClassifier().fit(X, y).predict_proba(ROW).shape
out["transform"] = StandardScaler().fit(X).transform(ROW).shape
named = make_pipeline(StandardScaler(), SVC()).fit(iris.data, y)
out["series"] = named.predict(iris.data.iloc[60]).tolist()
out["text"] = SVC().fit([[1.0], [2.0]], ["a", "b"]).predict([2.0]).tolist()

def error(function, *args):
    try:
        function(*args)
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    return "no error"

clf = SVC().fit(X, y)
out["errors"]["other length"] = error(clf.predict, [1, 2, 3])
out["errors"]["fit"] = error(SVC().fit, ROW, [0, 1, 0, 1])
sgd = SGDClassifier().fit(X, y)
out["errors"]["partial_fit"] = error(sgd.partial_fit, ROW, [0, 1, 0, 1])
out["two rows"] = clf.predict([ROW, ROW]).shape
for _ in range(3):
    clf.predict(ROW)  # the place that is warned about
print(json.dumps(out))
"""


@dataclass(frozen=True)
class Ran:
    """What a program printed as JSON, and what it wrote to the console's error stream."""

    out: dict[str, Any]
    errors: str


def run(folder: Path, program: str, *arguments: str, **environment: str) -> Ran:
    path = folder / "program.py"
    path.write_text(_START + program)
    done = subprocess.run(
        [sys.executable, str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "", **environment},
    )
    assert done.returncode == 0, done.stderr
    return Ran(json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="module", params=["early", "late"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The program, with the hook installed before or after scikit-learn was imported."""
    return run(tmp_path_factory.mktemp("compat"), _PROGRAM, request.param)


def test_one_dimension_is_one_sample_for_every_estimator(ran: Ran) -> None:
    assert len(ran.out["equal"]) == 8
    assert all(ran.out["equal"].values()), ran.out["equal"]


def test_other_methods_take_one_sample_as_well(ran: Ran) -> None:
    assert ran.out["proba"] == [1, 3]
    assert ran.out["decision"] == [1, 3]
    assert ran.out["neighbors"] == [1, 3]
    assert ran.out["transform"] == [1, 4]
    assert ran.out["text"] == ["b"]


def test_a_row_of_a_frame_keeps_the_names_of_its_features(ran: Ran) -> None:
    assert ran.out["series"] == [1]
    assert "X does not have valid feature names" not in ran.errors


def test_input_of_another_length_is_scikit_learns_own_error(ran: Ran) -> None:
    assert "Expected 2D array, got 1D array" in ran.out["errors"]["other length"]


def test_fitting_takes_two_dimensions_only(ran: Ran) -> None:
    assert "Expected 2D array, got 1D array" in ran.out["errors"]["fit"]
    assert "Expected 2D array, got 1D array" in ran.out["errors"]["partial_fit"]


def test_two_dimensions_stay_as_they_are(ran: Ran) -> None:
    assert ran.out["two rows"] == [2]


def test_each_place_is_warned_about_once_where_the_user_sees_it(ran: Ran) -> None:
    assert ran.errors.count("clf.predict(ROW)  # the place that is warned about") == 1
    assert "DeprecationWarning: SVC got one-dimensional input" in ran.errors


def test_the_environment_switches_it_off(tmp_path: Path) -> None:
    program = """
from sklearn.svm import SVC
try:
    SVC().fit([[1.0, 2.0], [2.0, 1.0]], [0, 1]).predict([1.0, 2.0])
except ValueError as problem:
    print(json.dumps({"error": str(problem)}))
"""
    assert "Expected 2D array" in run(tmp_path, program, MLSVC_SKLEARN_1D="0").out["error"]


def test_scikit_learn_is_not_imported_by_the_hook(tmp_path: Path) -> None:
    program = 'print(json.dumps({"loaded": "sklearn" in sys.modules}))'
    assert run(tmp_path, program).out == {"loaded": False}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_estimator_of_scikit_learn_answers_something_else_for_one_sample(
    tmp_path: Path,
) -> None:
    program = """
import warnings
import numpy as np
from sklearn.datasets import load_iris
from sklearn.utils import all_estimators
warnings.simplefilter("ignore")
X, y = load_iris(return_X_y=True)
X, y, ROW = X[::3], y[::3], [7, 3.2, 4.7, 1.4]
out = {"right": 0, "wrong": []}
for name, kind in all_estimators(type_filter=["classifier", "regressor"]):
    if name.startswith("Dummy"):
        continue  # takes anything, with or without the hook
    try:
        model = kind().fit(X, y)
    except Exception:
        continue  # needs parameters or other data
    for method in ("predict", "predict_proba", "decision_function"):
        try:
            expected = np.asarray(getattr(model, method)([ROW]))
        except Exception:
            continue
        got = np.asarray(getattr(model, method)(ROW))
        same = got.shape == expected.shape and np.allclose(got, expected)
        out["right"] += same
        if not same:
            out["wrong"].append(f"{name}.{method}")
print(json.dumps(out))
"""
    out = run(tmp_path, program).out
    assert out["wrong"] == []
    assert out["right"] > 80
