"""One sample as a plain list, as scikit-learn took it until 0.19.

``clf.predict([7, 3.2, 4.7, 1.4])`` is an error today. While this is installed, one-dimensional
input of as many values as the estimator has features counts as one sample, in ``predict`` and all
other methods that use a fitted estimator, with a ``DeprecationWarning`` at the line that called.
Fitting is not touched, nor is input of any other shape.

The hook sits on scikit-learn's own ``validate_data`` (scikit-learn 1.6 and later), and on a few
methods that count the rows of what they were given by themselves. It does its work when
scikit-learn is imported, so it costs nothing where that does not happen.
"""

from __future__ import annotations

import io
import os
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, Final

import wrapt

SWITCH: Final = "MLSVC_SKLEARN_1D"
"""Environment variable; ``0`` leaves scikit-learn as it is."""

_MODULE: Final = "sklearn.utils.validation"
_FUNCTION: Final = "validate_data"
# Methods that validate their input in a method they call, and then use it as it was given.
_METHODS: Final = {
    "sklearn.neighbors._classification": (
        "KNeighborsClassifier.predict",
        "KNeighborsClassifier.predict_proba",
        "RadiusNeighborsClassifier.predict",
        "RadiusNeighborsClassifier.predict_proba",
    ),
    "sklearn.calibration": ("CalibratedClassifierCV.predict_proba",),
}
# Where the places that were warned about are kept, in the globals of the code that called.
_WARNED: Final = "__mlsvc_warned_1d__"
# Frames of these packages lie between the user's call and the hook.
_BETWEEN: Final = frozenset(
    {"sklearn", "joblib", "numpy", "scipy", "wrapt", "jupyter_mlsvc_server"}
)

_SHOW: Final = warnings.showwarning
_MAX_SHOWN: Final = 1000
# What was shown for an estimator and a place, and under which filters.
_SHOWN: Final[dict[tuple[str, tuple[str, int]], tuple[list[Any], str]]] = {}
_BETWEEN_MODULES: Final[dict[object, bool]] = {}


def install() -> None:
    """Read one-dimensional input as one sample from now on; doing it twice is harmless."""
    if os.environ.get(SWITCH) == "0":
        return
    for name, patch in {
        _MODULE: _patch_function,
        **dict.fromkeys(_METHODS, _patch_methods),
    }.items():
        if name in sys.modules:
            patch(sys.modules[name])
        else:
            wrapt.register_post_import_hook(patch, name)


def _patch_function(validation: types.ModuleType) -> None:
    """Replace ``validate_data`` in its module, and in those that have imported it already."""
    original = getattr(validation, _FUNCTION, None)
    if original is None or isinstance(original, _Reader):
        return
    reader = _Reader(original, _read)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "sklearn" and vars(module).get(_FUNCTION) is original:
            setattr(module, _FUNCTION, reader)


def _patch_methods(module: types.ModuleType) -> None:
    """Replace methods of a module's classes."""
    for path in _METHODS[module.__name__]:
        kind, _, method = path.partition(".")
        owner = getattr(module, kind, None)
        original = vars(owner).get(method) if owner is not None else None
        if original is not None and not isinstance(original, _Reader):
            setattr(owner, method, _Reader(original, _read_in_method))


class _Reader(wrapt.FunctionWrapper[..., Any]):
    """Marks what was replaced."""


def _read(
    validate_data: Callable[..., Any],
    _instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call ``validate_data(estimator, X, y, …)`` with X in two dimensions where it is a sample."""
    estimator = args[0]
    given = args[1] if len(args) > 1 else kwargs.get("X")
    if getattr(given, "ndim", None) == 2:  # most often, and seen at once
        return validate_data(*args, **kwargs)
    labels = args[2] if len(args) > 2 else kwargs.get("y")
    fits = kwargs.get("reset", True) or not (labels is None or isinstance(labels, str))
    if fits or not _is_one_sample(given, getattr(estimator, "n_features_in_", None)):
        return validate_data(*args, **kwargs)
    _warn(type(estimator).__name__)
    row = _as_row(given, estimator)
    if len(args) > 1:
        return validate_data(estimator, row, *args[2:], **kwargs)
    return validate_data(estimator, **{**kwargs, "X": row})


def _read_in_method(
    method: Callable[..., Any],
    estimator: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call ``method(X)`` with X in two dimensions where it is a sample."""
    given = args[0] if args else kwargs.get("X")
    if not _is_one_sample(given, getattr(estimator, "n_features_in_", None)):
        return method(*args, **kwargs)
    _warn(type(estimator).__name__)
    row = _as_row(given, estimator)
    return method(row, *args[1:], **kwargs) if args else method(**{**kwargs, "X": row})


def _is_one_sample(given: Any, features: object) -> bool:
    if isinstance(given, (list, tuple)):  # twice as fast as a union
        return len(given) == features and not any(
            hasattr(item, "__len__") and not isinstance(item, str) for item in given
        )
    return getattr(given, "ndim", None) == 1 and len(given) == features


def _as_row(given: Any, estimator: Any) -> Any:
    import numpy as np

    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and hasattr(given, "to_frame") and list(given.index) == list(names):
        return given.to_frame().T.infer_objects()
    return np.asarray(given).reshape(1, -1)


def _warn(estimator: str) -> None:
    """Warn once for each place in the user's code."""
    frame: types.FrameType | None = sys._getframe(2)  # noqa: SLF001  # the only way to the caller
    known = _BETWEEN_MODULES
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if not (known[module] if module in known else _is_between(module)):
            break
        frame = frame.f_back
    if frame is None:
        return
    place = frame.f_code.co_filename, frame.f_lineno
    # Python's own memory of what was shown is lost whenever filters change, as scikit-learn's do
    # in every call. This one lives and dies with the user's namespace.
    warned = frame.f_globals.setdefault(_WARNED, set())
    if place not in warned:
        warned.add(place)
        _show(estimator, place)


def _show(estimator: str, place: tuple[str, int]) -> None:
    """Give the warning as Python would; where nothing else has changed, as the last time.

    Finding the filter, the line of code and the words takes longer than a call of a small model.
    """
    known = _SHOWN.get((estimator, place))
    is_usual = warnings.showwarning is _SHOW
    if known is not None and is_usual and known[0] == warnings.filters:
        sys.stderr.write(known[1])
        return
    text = (
        f"{estimator} got one-dimensional input and takes it for one sample. Wrap it in a "
        "list, as in predict([x]): scikit-learn itself refuses it."
    )
    filters = [*warnings.filters]
    shown, stderr = io.StringIO(), sys.stderr
    sys.stderr = shown
    try:
        # The filter that shows deprecations looks for __main__; modules of the user's count, too.
        warnings.warn_explicit(text, DeprecationWarning, *place, module="__main__")
    finally:
        sys.stderr = stderr
        stderr.write(shown.getvalue())
    if is_usual and len(_SHOWN) < _MAX_SHOWN:
        _SHOWN[estimator, place] = filters, shown.getvalue()


def _is_between(module: object) -> bool:
    is_between = str(module).partition(".")[0] in _BETWEEN
    if len(_BETWEEN_MODULES) < _MAX_SHOWN:
        _BETWEEN_MODULES[module] = is_between
    return is_between
