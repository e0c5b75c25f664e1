"""Properties of an estimator that are known without calling it.

The rows of several callers may be predicted in one call only where no row's prediction depends on
the others. Nothing but knowledge of the library shows that, so what is not known here counts as
dependent.
"""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

_LIBRARIES: Final = frozenset(
    {"sklearn", "xgboost", "lightgbm", "catboost", "numpy", "scipy", "pandas"}
)
"""Whose estimators predict each row by itself."""

_INNER: Final = frozenset({"builtins", "collections", "ctypes", "_catboost"})
"""Where the types of values are from that those estimators keep."""

_DEPENDENT: Final = {
    # Iterates on all rows until they are good enough together.
    "sklearn.decomposition": {"NMF", "MiniBatchNMF"},
    # May draw random numbers for one row after the other.
    "sklearn.impute": {"IterativeImputer"},
}

_RANDOM: Final = {"stratified", "uniform"}
"""Strategies of a DummyClassifier that draw random numbers."""

_CALLS: Final = {
    "sklearn.preprocessing": {"FunctionTransformer"},
    "sklearn.compose": {"TransformedTargetRegressor"},
}
"""Estimators that hand all rows to a function of anybody's."""

_MATRIX: Final = {
    "sklearn.cluster": {"KMeans", "MiniBatchKMeans"},
    "sklearn.decomposition": {"PCA", "IncrementalPCA", "TruncatedSVD", "FactorAnalysis"},
    "sklearn.discriminant_analysis": None,
    "sklearn.ensemble": {
        "RandomForestClassifier",
        "RandomForestRegressor",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
    },
    "sklearn.gaussian_process": None,
    "sklearn.linear_model": None,
    "sklearn.mixture": None,
    "sklearn.naive_bayes": None,
    "sklearn.neighbors": None,
    "sklearn.neural_network": None,
    "sklearn.preprocessing": {
        "MaxAbsScaler",
        "MinMaxScaler",
        "Normalizer",
        "PolynomialFeatures",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    },
    "sklearn.svm": None,
    "sklearn.tree": None,
}  # fmt: skip
"""Estimators that make one matrix of a DataFrame first; None stands for all of a package."""

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, slice, range})


def is_row_wise(estimator: object) -> bool:
    """Return whether an estimator is known to predict each row without regard to the others.

    That is so for what is of well-known libraries through and through: its parameters, its parts
    and the functions that it calls.
    """
    waiting, seen = [estimator], set[int]()
    while waiting:
        value = waiting.pop()
        if type(value) in _ATOMS or id(value) in seen:
            continue
        seen.add(id(value))
        inner = _inner(value)
        if inner is None:
            return False
        waiting.extend(inner)
    return True


def _inner(value: Any) -> Iterable[Any] | None:
    """Give what a value consists of; None if it may depend on more than a row."""
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
        return () if _top(value) in _LIBRARIES | {"builtins"} else None
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, functools.partial):
        return value.func, *value.args, *value.keywords.values()
    if not _is_known(value):
        return None
    if _top(type(value)) in {"numpy", "pandas"}:
        # Of these only an array may have estimators in it.
        return value.flat if getattr(value, "dtype", None) == "O" and hasattr(value, "flat") else ()
    attributes = getattr(value, "__dict__", {}).values()
    if isinstance(value, Mapping):
        return chain(value.values(), attributes)
    if isinstance(value, list | tuple | set | frozenset):
        return chain(value, attributes)
    return attributes


def _is_known(value: Any) -> bool:
    """Return whether a value itself, without its parts, treats rows one by one."""
    kind = type(value)
    if _top(kind) not in _LIBRARIES | _INNER or _is_one_of(kind, _DEPENDENT):
        return False
    if kind.__name__ == "DummyClassifier":
        return value.strategy not in _RANDOM
    return not _is_one_of(kind, _CALLS) or all(
        _is_elementwise(getattr(value, name, None)) for name in ("func", "inverse_func")
    )


def _is_elementwise(function: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return function is None or (numpy is not None and isinstance(function, numpy.ufunc))


def _top(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "").partition(".")[0]


def _is_one_of(kind: type, packages: Mapping[str, set[str] | None]) -> bool:
    # Classes say the private module that they are in, such as sklearn.svm._classes.
    package = ".".join(kind.__module__.split(".")[:2])
    if package not in packages:
        return False
    names = packages[package]
    return names is None or kind.__name__ in names


def for_matrices(estimator: Any) -> Any | None:
    """Give an estimator that predicts for a matrix of numbers what another does for a DataFrame.

    It shares all that was learnt. Of names it knows none, so that scikit-learn does not compare
    them: that takes longer than most predictions.

    Returns
    -------
    object or None
        None where the columns of the DataFrame may be looked at one by one.
    """
    steps = getattr(estimator, "steps", None)
    if type(estimator).__module__ == "sklearn.pipeline" and steps:
        (name, first), *rest = steps
        # Some transformers give frames, and the next step wants to see their names again.
        if any(hasattr(step, "feature_names_in_") for _, step in rest):
            return None
        first = for_matrices(first)
        if first is None:
            return None
        pipeline = copy.copy(estimator)
        pipeline.steps = [(name, first), *rest]
        return pipeline
    if not _is_one_of(type(estimator), _MATRIX) or "feature_names_in_" not in vars(estimator):
        return None
    unnamed = copy.copy(estimator)
    del unnamed.feature_names_in_
    return unnamed
