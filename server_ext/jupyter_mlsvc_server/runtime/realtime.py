"""Realtime services: a model without code of its user, called with columns.

Its content is like that of a snapshot with one object. The stream says only how to load the model;
the model's file is a buffer of it, so that the server stores bytes which it never looks into, and a
worker loads them on restoring.
"""

from __future__ import annotations

import io
import pickle
import platform
import re
import sys
from collections.abc import Callable
from typing import Any, Final

from jupyter_mlsvc.wire.model_file import read_model_file
from jupyter_mlsvc_server.runtime.manifest import ObjectEntry, Workspace
from jupyter_mlsvc_server.runtime.misfit import Misfit

RUNTIME: Final = "Realtime"
"""The ``runtimeType`` of realtime services and of their contents."""

INPUT: Final = "inputData"
OUTPUT: Final = "outputData"

_MODEL: Final = "model"
CODE: Final = f"{OUTPUT} = {_MODEL}({INPUT})"
"""What runs for each request."""

_RESPONSE: Final = "y"
_JOBLIB: Final = re.compile(rb"joblib\.numpy_pickle")
_COMPRESSED: Final = re.compile(rb"[^\x80]")


class NotAModel(Exception):
    """What was loaded can't be served; the message says why."""


# --- in the server ---------------------------------------------------------------------------


def workspace(size: int) -> Workspace:
    """Describe the content of a model's file of so many bytes."""
    return Workspace(
        python_version=platform.python_version(),
        objects=(ObjectEntry(name=_MODEL, type="model", size=size),),
    )


def stream(model_file: memoryview) -> bytes:
    """Write the stream whose only buffer is the model's file."""
    with io.BytesIO() as file:
        pickler = pickle.Pickler(file, protocol=5, buffer_callback=lambda _: None)
        pickler.dump(None)  # in the place of the namespace, which a model does not refer to
        pickler.dump([_MODEL, _Stored(model_file)])
        return file.getvalue()


class _Stored:
    """Is the loaded model when it is read."""

    def __init__(self, model_file: memoryview) -> None:
        self._buffer = pickle.PickleBuffer(model_file)

    def __reduce__(self) -> tuple[Callable[[memoryview], Model], tuple[pickle.PickleBuffer]]:
        return load_model, (self._buffer,)


# --- in a worker -----------------------------------------------------------------------------


def load_model(model_file: memoryview) -> Model:
    """Load a model from its file; stored contents refer to this function by its name.

    Raises
    ------
    NotAModel
        What is in it has no ``predict``, or is not fitted.
    Exception
        Whatever is raised when the object is built.
    """
    file = read_model_file(model_file)
    return Model(_load(file.pickle), file.header.response)


def _load(data: memoryview) -> object:
    if _COMPRESSED.match(data) or _JOBLIB.search(data):
        import joblib

        return joblib.load(io.BytesIO(data))
    return pickle.loads(data)  # noqa: S301  # only those who may publish code may publish a model


class Model:
    """An estimator that is called with a data.frame and gives one.

    Parameters
    ----------
    estimator
        Has a method ``predict``.
    response
        Names of what it predicts.
    """

    def __init__(self, estimator: Any, response: tuple[str, ...] = ()) -> None:
        if isinstance(estimator, type) or not callable(getattr(estimator, "predict", None)):
            kind = type(estimator)
            raise NotAModel(
                f"the object of type {kind.__module__}.{kind.__qualname__} has no method 'predict'"
            )
        _require_fitted(estimator)
        self._estimator = estimator
        self._response = response
        self._columns = _column_names(estimator)
        self._width = _attribute(estimator, "n_features_in_")
        self._takes_one_column = _takes_one_column(estimator)

    def __call__(self, frame: Any) -> dict[str, Any]:
        """Predict all rows at once.

        Raises
        ------
        Misfit
            A column is missing, or there are too many or too few.
        """
        if frame is None:
            raise Misfit(f"Input {INPUT!r} (data.frame) is null.")
        predicted = self._estimator.predict(self._rows(frame))
        columns = self._named(predicted)
        for name, column in columns.items():
            if len(column) != len(frame):
                raise ValueError(
                    f"The model gave {len(column)} values of {name!r} for {len(frame)} rows."
                )
        return columns

    def _rows(self, frame: Any) -> Any:
        """Give the estimator what it was fitted with: the same columns in the same order."""
        if self._columns is not None:
            missing = [name for name in self._columns if name not in frame.columns]
            if missing:
                raise Misfit(
                    f"Input {INPUT!r} lacks {_columns(missing)}; the model takes "
                    f"{_columns(self._columns)}."
                )
            return frame[self._columns]
        width = 1 if self._takes_one_column else self._width
        if width is not None and frame.shape[1] != width:
            raise Misfit(
                f"Input {INPUT!r} has {_count(frame.shape[1])}; the model takes {_count(width)}."
            )
        if self._takes_one_column:
            return frame.iloc[:, 0]
        return frame if width is None else frame.to_numpy()

    def _named(self, predicted: Any) -> dict[str, Any]:
        """Name the columns of a prediction ``<response>_Pred``."""
        import numpy

        if hasattr(predicted, "columns"):
            return {f"{name}_Pred": predicted[name] for name in predicted.columns}
        values = numpy.asarray(predicted)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 2:
            return {f"{(self._response or (_RESPONSE,))[0]}_Pred": values}
        count = values.shape[1]
        names = self._response
        if len(names) != count:
            names = tuple(f"{(names or (_RESPONSE,))[0]}{i + 1}" for i in range(count))
        return {f"{name}_Pred": values[:, i] for i, name in enumerate(names)}


def _require_fitted(estimator: Any) -> None:
    # Classes outside scikit-learn may keep what they learnt under names that it does not know.
    if not type(estimator).__module__.startswith("sklearn."):
        return
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise NotAModel(f"the {type(estimator).__name__} is not fitted") from error


def _attribute(estimator: Any, name: str) -> Any:
    """Read what an estimator may or may not know of its training."""
    try:
        return getattr(estimator, name, None)
    except Exception:  # noqa: BLE001  # estimators raise whatever they like when they don't know
        return None


def _column_names(estimator: Any) -> list[str] | None:
    names = _attribute(estimator, "feature_names_in_")
    return None if names is None else [str(name) for name in names]


def _takes_one_column(estimator: Any) -> bool:
    """Whether it reads texts or other single values, like a vectorizer before a classifier."""
    if "sklearn" not in sys.modules:
        return False
    from sklearn.utils import get_tags

    first = estimator
    while steps := getattr(first, "steps", None):
        first = steps[0][1]
    try:
        tags = get_tags(first).input_tags
    except Exception:  # noqa: BLE001  # an estimator of another library has no tags
        return False
    return not tags.two_d_array and bool(tags.one_d_array or tags.string)


def _columns(names: list[str]) -> str:
    noun = "the column" if len(names) == 1 else "the columns"
    return f"{noun} {', '.join(map(repr, names))}"


def _count(number: int) -> str:
    return "1 column" if number == 1 else f"{number} columns"
