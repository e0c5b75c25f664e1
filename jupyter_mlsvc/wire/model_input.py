"""What columns a model takes, as far as it tells."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.json_values import to_plain
from jupyter_mlsvc.wire.models import ColumnDefinition

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
        kinds = _kinds_of_parts(model)
        return ModelInput(
            columns=tuple(Column(str(name), kinds.get(str(name), kind)) for name in names)
        )
    width = learnt(model, "n_features_in_")
    return ModelInput(width=width if isinstance(width, int) else None, type=kind)


def _kinds_of_parts(model: Any) -> dict[str, str]:
    """Tell which columns a ColumnTransformer gives to estimators that take numbers only."""
    first = first_step(model)
    if type(first).__name__ != "ColumnTransformer":
        return {}
    found: dict[str, str] = {}
    for _, part, names in learnt(first, "transformers_") or ():
        numbers = getattr(first_step(part), "strategy", "") in {"mean", "median"}
        if (numbers or _takes_numbers(part)) and not isinstance(names, str | slice):
            found |= {str(name): "number" for name in names if isinstance(name, str)}
    return found


def known_columns(model: Any) -> list[ColumnDefinition]:
    """Describe the columns of a fitted estimator that keeps the categories it was fitted with.

    Returns
    -------
    list of ColumnDefinition
        All that it takes, or none where it keeps no categories, or none that it can be told of.

    Raises
    ------
    UnknownCategories
        It can't predict without categories, and does not say which they are.
    """
    first = first_step(model)
    names = learnt(first, "feature_names_in_")
    if names is None:
        return []
    categories = _of_histograms(first) or _of_lightgbm(first)
    if not categories:
        _require_no_categories(first)
        return []
    return [_column(str(name), categories.get(str(name))) for name in names]


class UnknownCategories(TypeError):
    """A model takes categories that it can't tell; the message says what to do."""

    def __init__(self, model: Any) -> None:
        super().__init__(
            f"The {type(model).__name__} was fitted with categories of pandas, and does not tell "
            "which. Give some rows of what it was fitted with: like=frame."
        )


def _column(name: str, categories: Any) -> ColumnDefinition:
    if categories is None:
        return ColumnDefinition(name=name)
    listed = to_plain([item for item in categories if item == item], name)  # noqa: PLR0124
    return ColumnDefinition(name=name, type="category", categories=listed)


def _of_histograms(model: Any) -> dict[str, Any]:
    """Give the categories that a HistGradientBoosting estimator was fitted with."""
    if not type(model).__name__.startswith("HistGradientBoosting"):
        return {}
    encoders = learnt(learnt(model, "_preprocessor"), "named_transformers_") or {}
    encoder = encoders.get("encoder")
    names, categories = learnt(encoder, "feature_names_in_"), learnt(encoder, "categories_")
    if names is None or categories is None:
        return {}
    return dict(zip(map(str, names), categories, strict=True))


def _of_lightgbm(model: Any) -> dict[str, Any]:
    """Give the categories that a model of lightgbm was fitted with."""
    booster = learnt(model, "booster_")
    categories = learnt(booster, "pandas_categorical")
    if not categories:
        return {}
    infos = booster.dump_model()["feature_infos"]
    # Those of numbers have limits only; those that never changed are not there.
    names = [name for name in booster.feature_name() if infos.get(name, {}).get("values")]
    if len(names) != len(categories):
        raise UnknownCategories(model)
    return dict(zip(names, categories, strict=True))


def _require_no_categories(model: Any) -> None:
    """Refuse a model of xgboost that was fitted with categories, as it has no names for them."""
    if not type(model).__module__.startswith("xgboost."):
        return
    booster = learnt(model, "get_booster")
    kinds = learnt(booster(), "feature_types") if callable(booster) else None
    if kinds and "c" in kinds:
        raise UnknownCategories(model)


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
