"""What the program of a realtime service sees of a model, of whatever library it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from jupyter_mlsvc.wire.cells import missing_text
from jupyter_mlsvc.wire.models import ColumnDefinition
from jupyter_mlsvc_server.formats.realtime import INPUT
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput

_RESPONSE: Final = "y"


class NotAModel(Exception):
    """What was loaded can't be served; the message says why."""


class Model(ABC):
    """Is called with a data.frame and gives one.

    Attributes
    ----------
    columns : list of str or None
        Names of the columns that it takes, None where it goes by their order.
    dtypes : sequence of ColumnDefinition
        The columns as they are given to it; none where they are as JSON has them.
    width : int or None
        How many columns it takes, None where it does not say.
    is_row_wise : bool
        Whether the prediction of a row does not depend on the other rows.
    takes_matrix : bool
        Whether :meth:`predict_matrix` can be used.
    """

    columns: list[str] | None = None
    dtypes: Sequence[ColumnDefinition] = ()
    width: int | None = None
    is_row_wise: bool = False
    takes_matrix: bool = False

    def enter(self) -> None:  # noqa: B027  # most models need nothing
        """Get ready, in the worker."""

    @abstractmethod
    def __call__(self, frame: Any) -> dict[str, Any]:
        """Predict all rows of a DataFrame at once.

        Raises
        ------
        InvalidInput
            The columns are not those that the model takes.
        """

    @abstractmethod
    def predict_matrix(self, matrix: Any) -> dict[str, Any]:
        """Predict rows of nothing but numbers, their columns in the right order and number.

        That gives what a call with the DataFrame of the matrix does, without making one.
        """

    def select(self, frame: Any) -> Any:
        """Take the columns that the model wants from those of a request.

        Raises
        ------
        InvalidInput
            A column is missing, or there are too many or too few.
        """
        if frame is None:
            raise InvalidInput.about(INPUT, f"Input {INPUT!r} (data.frame) is null.")
        if self.columns is not None:
            missing = [name for name in self.columns if name not in frame.columns]
            if missing:
                others = [str(name) for name in frame.columns if name not in self.columns]
                raise InvalidInput.about(
                    INPUT,
                    f"Input {INPUT!r} lacks {missing_text(missing, others)}; the model takes "
                    f"{_columns(self.columns)}.",
                )
            return frame[self.columns]
        if self.width is not None and frame.shape[1] != self.width:
            raise InvalidInput.about(
                INPUT,
                f"Input {INPUT!r} has {_count(frame.shape[1])}; the model takes "
                f"{_count(self.width)}.",
            )
        return frame


def named(predicted: Any, responses: Sequence[str], rows: int) -> dict[str, Any]:
    """Name the columns of a prediction ``<response>_Pred``.

    Raises
    ------
    ValueError
        It has another number of rows.
    """
    columns = _named(predicted, responses)
    for name, column in columns.items():
        if len(column) != rows:
            raise ValueError(f"The model gave {len(column)} values of {name!r} for {rows} rows.")
    return columns


def _named(predicted: Any, responses: Sequence[str]) -> dict[str, Any]:
    import numpy

    response = responses[0] if responses else _RESPONSE
    if type(predicted) is numpy.ndarray and predicted.ndim == 1:
        return {f"{response}_Pred": predicted}
    if hasattr(predicted, "columns"):
        return {f"{name}_Pred": predicted[name] for name in predicted.columns}
    values = numpy.asarray(predicted)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 2:
        return {f"{response}_Pred": values}
    count = values.shape[1]
    if len(responses) != count:
        responses = [f"{response}{i + 1}" for i in range(count)]
    return {f"{name}_Pred": values[:, i] for i, name in enumerate(responses)}


def _columns(names: list[str]) -> str:
    noun = "the column" if len(names) == 1 else "the columns"
    return f"{noun} {', '.join(map(repr, names))}"


def _count(number: int) -> str:
    return "1 column" if number == 1 else f"{number} columns"
