"""Which estimators treat each row by itself, and which take a matrix as well as a frame."""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.decomposition import NMF
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import all_estimators

from jupyter_mlsvc_server.worker.estimators import for_matrices, is_row_wise

IRIS = load_iris(as_frame=True)


def doubled(rows: Any) -> Any:
    return rows * 2


class Better(SVC):  # type: ignore[misc]  # scikit-learn is untyped
    """A class of somebody's."""


def with_method() -> SVC:
    model = SVC()
    model.predict = types.MethodType(lambda self, rows: rows, model)
    return model


BY_ROW = {
    "a classifier": SVC(),
    "a pipeline": make_pipeline(StandardScaler(), SelectKBest(f_classif, k=2), SVC()),
    "elementwise": make_pipeline(FunctionTransformer(numpy.log1p), SVC()),
    "boosting": GradientBoostingClassifier(n_estimators=2),
    "votes": VotingClassifier([("a", SVC()), ("b", LogisticRegression(max_iter=500))]),
    "a search": GridSearchCV(SVC(), {"C": [1, 2]}, cv=2),
    "columns": make_pipeline(ColumnTransformer([("x", StandardScaler(), slice(2))]), SVC()),
    "a logarithm": TransformedTargetRegressor(LinearRegression(), func=numpy.log1p,
                                              inverse_func=numpy.expm1),
}  # fmt: skip

NOT_BY_ROW = {
    "a class of somebody's": Better(),
    "a method of somebody's": with_method(),
    "inside a pipeline": make_pipeline(StandardScaler(), Better()),
    "inside a search": GridSearchCV(Better(), {"C": [1, 2]}, cv=2),
    "a function": make_pipeline(FunctionTransformer(doubled), SVC()),
    "a function of numpy's": make_pipeline(FunctionTransformer(numpy.cumsum), SVC()),
    "a partial function": make_pipeline(
        FunctionTransformer(functools.partial(numpy.cumsum, axis=0)), SVC()
    ),
    "weights": KNeighborsClassifier(weights=lambda distances: distances),
    "a kernel": SVC(kernel=lambda a, b: a @ b.T),
    "rows that are factored together": make_pipeline(NMF(n_components=2, max_iter=500), SVC()),
    "random": DummyClassifier(strategy="stratified"),
}


def fitted(estimator: Any) -> Any:
    return estimator.fit(IRIS.data, IRIS.target)


@pytest.mark.parametrize("name", BY_ROW)
def test_what_is_of_known_libraries_is_row_wise(name: str) -> None:
    assert is_row_wise(fitted(BY_ROW[name]))


@pytest.mark.parametrize("name", NOT_BY_ROW)
def test_what_may_look_at_other_rows_is_not(name: str) -> None:
    estimator = NOT_BY_ROW[name]
    if name != "a method of somebody's":
        fitted(estimator)
    assert not is_row_wise(estimator)


def all_fitted() -> Iterator[tuple[str, Any]]:
    """Every estimator of scikit-learn that learns from numbers and can be made without more."""
    for name, kind in all_estimators():
        needs = inspect.signature(kind).parameters.values()
        if not hasattr(kind, "predict") or any(
            each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD for each in needs
        ):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                estimator = kind().fit(IRIS.data[::5], IRIS.target[::5])
                estimator.predict(IRIS.data)
            except (ValueError, AttributeError):  # of multiple targets, of one column, …
                continue
        yield name, estimator


@pytest.mark.process
def test_what_is_said_of_the_estimators_of_scikit_learn_is_so() -> None:
    rows = IRIS.data.iloc[::30]
    looked_at = set[str]()
    for name, estimator in all_fitted():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*feature names")
            together = numpy.asarray(estimator.predict(rows))
            if is_row_wise(estimator):
                looked_at.add(name)
                for i, prediction in enumerate(together):
                    alone = estimator.predict(rows.iloc[i : i + 1])[0]
                    assert alone == pytest.approx(prediction, rel=1e-6), name
            other = for_matrices(estimator)
            if other is not None:
                assert (other.predict(rows.to_numpy()) == together).all(), name
                assert hasattr(estimator, "feature_names_in_"), "the original has lost its names"
    assert {"SVC", "LinearRegression", "KNeighborsClassifier", "MLPClassifier"} <= looked_at
    assert len(looked_at) > 70


@pytest.mark.parametrize(
    "estimator",
    [
        SVC(),
        RandomForestClassifier(3),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    ],
    ids=["alone", "a forest", "a pipeline"],
)
def test_names_of_columns_are_left_away_where_nothing_asks_for_them(estimator: Any) -> None:
    estimator.fit(IRIS.data, IRIS.target)
    other = for_matrices(estimator)
    assert other is not None
    assert (other.predict(IRIS.data.to_numpy()) == estimator.predict(IRIS.data)).all()
    assert list(estimator.feature_names_in_) == list(IRIS.data)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(ColumnTransformer([("x", StandardScaler(), list(IRIS.data)[:2])]), SVC()),
        make_pipeline(FunctionTransformer(doubled), SVC()),
        make_pipeline(StandardScaler().set_output(transform="pandas"), SVC()),
        Better(),
    ],
    ids=["columns by name", "a function", "frames between steps", "a class of somebody's"],
)
def test_a_frame_stays_a_frame_where_somebody_may_look_at_its_columns(estimator: Any) -> None:
    assert for_matrices(estimator.fit(IRIS.data, IRIS.target)) is None
