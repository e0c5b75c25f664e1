"""Models of realtime services, loaded from the files that were published."""

from __future__ import annotations

import io
import pickle
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from jupyter_mlsvc.wire.model_file import read_model_file
from jupyter_mlsvc.wire.model_input import UnknownCategories, first_step, known_columns, learnt
from jupyter_mlsvc.wire.models import ColumnDefinition
from jupyter_mlsvc_server.worker.estimators import for_matrices, is_row_wise
from jupyter_mlsvc_server.worker.model import Model, NotAModel, named
from jupyter_mlsvc_server.worker.onnx_model import OnnxModel

FORMER_NAME: Final = "jupyter_mlsvc_server.runtime.realtime"
"""Where contents that were stored by older versions look for :func:`load_model`."""

_KNOWN: Final = frozenset({"sklearn", "numpy", "scipy"})
_KNOWN_OTHERS: Final = frozenset({
    ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "slice"), ("builtins", "range"),
    ("builtins", "complex"), ("builtins", "bytearray"), ("builtins", "object"),
    ("builtins", "int"), ("builtins", "float"), ("builtins", "str"), ("builtins", "bool"),
    ("collections", "OrderedDict"), ("collections", "defaultdict"), ("copyreg", "_reconstructor"),
    ("_codecs", "encode"),
})  # fmt: skip
"""What models consist of that are loaded beside those of others; see :func:`load_known_model`."""

_PLAIN_NUMBERS: Final = frozenset({"", "int64", "float64"})
_PICKLE: Final = b"\x80"
_JOBLIB: Final = re.compile(rb"joblib\.numpy_pickle")
_COMPRESSED: Final = re.compile(rb"[^\x80]")


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
    header = file.header
    if header.kind == "onnx":
        return OnnxModel(file.content, header.response, header.gather)
    return EstimatorModel(_load(file.content), header.response, header.gather, header.columns)


def load_known_model(model_file: memoryview) -> EstimatorModel:
    """Load an estimator of scikit-learn that has nothing of anybody else's in it.

    It predicts each row without regard to the others, starts no threads of Python, and runs no code
    but the library's.

    Raises
    ------
    NotAModel
        It is another model.
    Exception
        Whatever is raised when the object is built.
    """
    file = read_model_file(model_file)
    header = file.header
    if header.kind != "pickle" or header.gather is not None:
        raise NotAModel("It is not known how it predicts.")
    if bytes(file.content[:1]) != _PICKLE:
        raise NotAModel("It is compressed.")
    estimator = _KnownUnpickler(io.BytesIO(file.content)).load()
    if not type(estimator).__module__.startswith("sklearn."):
        raise NotAModel("It is no estimator of scikit-learn.")
    if any(
        name.endswith("n_jobs") and value not in {None, 1}
        for name, value in estimator.get_params().items()
    ):
        raise NotAModel("It starts threads or processes.")
    model = EstimatorModel(estimator, header.response, None, header.columns)
    if not model.is_row_wise:
        raise NotAModel("Its rows may depend on each other.")
    return model


class _KnownUnpickler(pickle.Unpickler):
    """Finds nothing but what known models consist of, before it imports anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] in _KNOWN or (module, name) in _KNOWN_OTHERS:
            return super().find_class(module, name)
        raise NotAModel(f"It has {module}.{name} in it.")


def _load(data: memoryview) -> object:
    if _COMPRESSED.match(data) or _JOBLIB.search(data):
        import joblib

        return joblib.load(io.BytesIO(data))
    return pickle.loads(data)  # noqa: S301  # only those who may publish code may publish a model


class EstimatorModel(Model):
    """An object with a method ``predict``.

    Parameters
    ----------
    estimator
        The object.
    response
        Names of what it predicts.
    gather
        Whether rows of several callers may be predicted in one call; None finds out.
    columns
        Its columns with their dtypes; the categories that the object knows where there are none.
    """

    def __init__(
        self,
        estimator: Any,
        response: tuple[str, ...] = (),
        gather: bool | None = None,
        columns: Sequence[ColumnDefinition] = (),
    ) -> None:
        if isinstance(estimator, type) or not callable(getattr(estimator, "predict", None)):
            kind = type(estimator)
            raise NotAModel(
                f"the object of type {kind.__module__}.{kind.__qualname__} has no method 'predict'"
            )
        _require_fitted(estimator)
        self._estimator = estimator
        self._response = response
        self._takes_one_column = _takes_one_column(estimator)
        names = _column_names(estimator)
        self._by_order = names is None and not columns
        self.dtypes = columns or _known_columns(estimator)
        self.columns = [column.name for column in columns] if names is None and columns else names
        self.width = 1 if self._takes_one_column else learnt(estimator, "n_features_in_")
        self.is_row_wise = is_row_wise(estimator) if gather is None else gather
        self._for_matrices = None
        if any(column.type not in _PLAIN_NUMBERS for column in self.dtypes):
            pass  # the columns are no matrix
        elif names is not None:
            self._for_matrices = for_matrices(estimator)
        elif columns:
            pass  # it wants a DataFrame
        elif self.width is not None and not self._takes_one_column:
            self._for_matrices = estimator
        self.takes_matrix = self._for_matrices is not None

    def __call__(self, frame: Any) -> dict[str, Any]:
        """Predict all rows at once; see the class above for what it raises."""
        rows = self.select(frame)
        # Give the estimator what it was fitted with.
        if self._by_order and self._takes_one_column:
            rows = rows.iloc[:, 0]
        elif self._by_order and self.width is not None:
            rows = rows.to_numpy()
        return named(self._estimator.predict(rows), self._response, len(frame))

    def predict_matrix(self, matrix: Any) -> dict[str, Any]:
        """Predict rows of nothing but numbers."""
        assert self._for_matrices is not None
        return named(self._for_matrices.predict(matrix), self._response, len(matrix))


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


def _known_columns(estimator: Any) -> list[ColumnDefinition]:
    """Describe the columns of an estimator that keeps the categories it was fitted with.

    Raises
    ------
    NotAModel
        It can't predict without categories, and does not say which they are.
    """
    try:
        return known_columns(estimator)
    except UnknownCategories as error:
        raise NotAModel(f"it can't be called with JSON. {error}") from None


def _column_names(estimator: Any) -> list[str] | None:
    names = learnt(estimator, "feature_names_in_")
    return None if names is None else [str(name) for name in names]


def _takes_one_column(estimator: Any) -> bool:
    """Whether it reads texts or other single values, like a vectorizer before a classifier."""
    if "sklearn" not in sys.modules:
        return False
    from sklearn.utils import get_tags

    try:
        tags = get_tags(first_step(estimator)).input_tags
    except Exception:  # noqa: BLE001  # an estimator of another library has no tags
        return False
    return not tags.two_d_array and bool(tags.one_d_array or tags.string)
