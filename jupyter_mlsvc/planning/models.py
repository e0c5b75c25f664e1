"""Fitted models as services of their own."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def is_fitted_model(value: object) -> bool:
    """Whether a value is a model that can predict now; never raises."""
    if isinstance(value, type) or not callable(getattr(type(value), "predict", None)):
        return False
    sklearn = sys.modules.get("sklearn.base")
    if sklearn is None or not isinstance(value, sklearn.BaseEstimator):
        return True
    validation: Any = sys.modules.get("sklearn.utils.validation")
    try:
        validation.check_is_fitted(value)
    except Exception:  # noqa: BLE001  # estimators of the user raise whatever they like
        return False
    return True


def model_of(code: str, objects: Mapping[str, Any]) -> str | None:
    """Name the fitted model of the notebook that a cell ends with; None where it ends otherwise.

    That is ``model`` or ``model.fit(X, y)`` as the last line, or an assignment to ``model``.
    """
    with suppress(SyntaxError, ValueError):
        body = ast.parse(code).body
        name = _name_at_end(body[-1]) if body else None
        if name is not None and name in objects and is_fitted_model(objects[name]):
            return name
    return None


def _name_at_end(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(value=ast.Name(id=name)):
            return name
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="fit"))):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None
