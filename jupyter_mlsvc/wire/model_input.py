"""What columns a model takes, as far as it tells."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_NUMERIC: Final = frozenset(
    {
        "sklearn.discriminant_analysis",
        "sklearn.linear_model",
        "sklearn.naive_bayes",
        "sklearn.neighbors",
        "sklearn.neural_network",
        "sklearn.svm",
        "sklearn.tree",
    }
)
"""Packages whose estimators take numbers and nothing else."""

_NUMERIC_CLASSES: Final = frozenset(
    {
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        "MaxAbsScaler",
        "MinMaxScaler",
        "PCA",
        "RandomForestClassifier",
        "RandomForestRegressor",
        "RobustScaler",
        "StandardScaler",
    }
)


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column: its name, and its type as JSON Schema names it (empty: not known)."""

    name: str
    type: str = ""


class ModelInput(msgspec.Struct, frozen=True, omit_defaults=True):
    """The columns of a data.frame that a model takes.

    Attributes
    ----------
    columns : tuple of Column
        Those that are taken by name; empty where they go by their order.
    width : int or None
        How many are taken by their order; None where that is not known.
    type : str
        What is in those that go by their order, as for :class:`Column`.
    """

    columns: tuple[Column, ...] = ()
    width: int | None = None
    type: str = ""


def estimator_input(model: Any) -> ModelInput:
    """Tell what columns a fitted estimator takes."""
    kind = "number" if _takes_numbers(model) else ""
    names = learnt(model, "feature_names_in_")
    if names is not None:
        return ModelInput(columns=tuple(Column(str(name), kind) for name in names))
    width = learnt(model, "n_features_in_")
    return ModelInput(width=width if isinstance(width, int) else None, type=kind)


def _takes_numbers(model: Any) -> bool:
    first = first_step(model)
    package, _, rest = type(first).__module__.partition(".")
    name = f"{package}.{rest.partition('.')[0]}"
    return name in _NUMERIC or (package == "sklearn" and type(first).__name__ in _NUMERIC_CLASSES)


def learnt(model: Any, name: str) -> Any:
    """Read what an estimator may or may not know of its training; None where it does not."""
    try:
        return getattr(model, name, None)
    except Exception:  # noqa: BLE001  # estimators raise whatever they like when they don't know
        return None


def first_step(model: Any) -> Any:
    """Give what the rows go to first: of a pipeline its first step, else the model itself."""
    while steps := getattr(model, "steps", None):
        model = steps[0][1]
    return model
