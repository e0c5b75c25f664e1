"""ONNX models, computed by onnxruntime.

onnxruntime starts a thread when it is imported, and a process with threads should not be forked.
The template therefore never loads it: a child of the template tries the model and sends what it
takes and gives, and each worker makes a session of its own. That costs a worker about 30 MB and
the size of the model.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.json_values import describe, member
from jupyter_mlsvc_server.formats.guard import dying_with
from jupyter_mlsvc_server.formats.realtime import INPUT
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput
from jupyter_mlsvc_server.worker.model import Model, NotAModel, named
from jupyter_mlsvc_server.worker.traceback_text import last_line

MISSING: Final = (
    "it is an ONNX model, and onnxruntime is not installed on the server: "
    "pip install 'jupyter-mlsvc[onnx]'"
)

_TYPES: Final = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
"""Types of ONNX and how numpy names them."""

_NUMBERS: Final = {int, float, bool}
_PROBABILITIES: Final = ("probability", "probabilities")


class Tensor(msgspec.Struct, frozen=True):
    """What a model takes or gives: name, type, and sizes (None for any number)."""

    name: str
    type: str
    shape: list[int | None]

    @property
    def dtype(self) -> str:
        """The type as numpy names it."""
        return _TYPES[self.type]


class Described(msgspec.Struct, frozen=True):
    """What a model takes and gives; or why it can't be loaded."""

    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    error: str = ""


class OnnxModel(Model):
    """An ONNX model.

    Its input is one matrix, whose columns count by their order, or one column for each name.
    Its first output is the prediction; of a classifier that is the label.

    Parameters
    ----------
    data
        The model; it has to stay as it is.
    response
        Names of what it predicts.
    gather
        Whether rows of several callers may be predicted in one call; by default they may if the
        model takes any number of rows.

    Raises
    ------
    NotAModel
        onnxruntime is not installed or can't load it, or it does not take columns.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        response: tuple[str, ...] = (),
        gather: bool | None = None,
    ) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise NotAModel(MISSING)
        described = _describe(data)
        if described.error:
            raise NotAModel(f"it is an ONNX model that can't be loaded: {described.error}")
        self._data = data
        self._response = response
        self._session: Any = None
        self._inputs = described.inputs
        self._outputs = _predictions(described.outputs)
        _require_columns(self._inputs)
        first = self._inputs[0]
        self._takes_one_row = first.shape[0] == 1
        if len(self._inputs) > 1:
            self.columns = [tensor.name for tensor in self._inputs]
        else:
            self.width = first.shape[1] if len(first.shape) == 2 else 1
            self.takes_matrix = self.width is not None and first.dtype not in {"object", "bool"}
        self.is_row_wise = gather is not False and not self._takes_one_row

    def enter(self) -> None:
        """Make the session, in the worker."""
        self._session = _session(self._data)

    def __call__(self, frame: Any) -> dict[str, Any]:
        """Predict all rows at once; see the class above for what it raises."""
        import numpy

        frame = self.select(frame)
        columns = [frame.iloc[:, i].to_numpy() for i in range(frame.shape[1])]
        paths = [member(INPUT, str(label)) for label in frame.columns]
        if self.columns is None:
            (tensor,) = self._inputs
            converted = [
                _converted(column, tensor.dtype, path)
                for column, path in zip(columns, paths, strict=True)
            ]
            matrix = numpy.column_stack(converted) if converted else numpy.empty((len(frame), 0))
            return self._run({tensor.name: _shaped(matrix, tensor)}, len(frame))
        return self._run(
            {
                tensor.name: _shaped(_converted(column, tensor.dtype, path), tensor)
                for tensor, column, path in zip(self._inputs, columns, paths, strict=True)
            },
            len(frame),
        )

    def predict_matrix(self, matrix: Any) -> dict[str, Any]:
        """Predict rows of nothing but numbers."""
        (tensor,) = self._inputs
        converted = _converted(matrix, tensor.dtype, INPUT)
        return self._run({tensor.name: _shaped(converted, tensor)}, len(matrix))

    def _run(self, feeds: dict[str, Any], rows: int) -> dict[str, Any]:
        import numpy

        names = [tensor.name for tensor in self._outputs]
        if self._takes_one_row:
            runs = [
                self._session.run(names, {name: feed[i : i + 1] for name, feed in feeds.items()})
                for i in range(rows)
            ]
            if not runs:
                raise InvalidInput.about(INPUT, f"Input {INPUT!r} has no rows.")
            values = [numpy.concatenate(parts) for parts in zip(*runs, strict=True)]
        else:
            values = self._session.run(names, feeds)
        if len(values) == 1:
            return named(values[0], self._response, rows)
        responses = self._response if len(self._response) == len(names) else names
        columns: dict[str, Any] = {}
        for response, value in zip(responses, values, strict=True):
            columns |= named(value, (response,), rows)
        return columns


def _session(data: bytes | memoryview) -> Any:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    # More requests are answered by more workers, not by more threads of one.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(
        bytes(data), sess_options=options, providers=["CPUExecutionProvider"]
    )


def _describe(data: bytes | memoryview) -> Described:
    """Load a model in a child process, and have it described."""
    reader, writer = os.pipe()
    die = dying_with(os.getpid())
    pid = os.fork()
    if pid == 0:
        try:
            die()
            os.close(reader)
            with os.fdopen(writer, "wb") as file:
                file.write(msgspec.json.encode(_described(data)))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    if not data:
        return Described(error=f"the process that tried it ended with status {status}")
    return msgspec.json.decode(data, type=Described)


def _described(data: bytes | memoryview) -> Described:
    try:
        session = _session(data)
        return Described(
            inputs=[_tensor(each) for each in session.get_inputs()],
            outputs=[_tensor(each) for each in session.get_outputs()],
        )
    except Exception as error:  # noqa: BLE001  # onnxruntime has many, and no common base
        return Described(error=last_line(error))


def _tensor(argument: Any) -> Tensor:
    # Sizes that are not fixed have names, or none.
    sizes = [size if isinstance(size, int) else None for size in argument.shape]
    return Tensor(argument.name, argument.type, sizes)


def _require_columns(inputs: Sequence[Tensor]) -> None:
    """See to it that rows of columns are what a model takes."""
    is_matrix = len(inputs) == 1 and len(inputs[0].shape) in {1, 2}
    are_columns = len(inputs) > 1 and all(
        len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)
        for tensor in inputs
    )
    known = all(tensor.type in _TYPES for tensor in inputs)
    rows = {tensor.shape[0] for tensor in inputs if tensor.shape}
    if not (is_matrix or are_columns) or not known or rows not in ({None}, {1}):
        taken = ", ".join(
            f"{tensor.name} {tensor.type} {[size or '?' for size in tensor.shape]}".replace("'", "")
            for tensor in inputs
        )
        raise NotAModel(
            f"it is an ONNX model that takes {taken or 'nothing'}; a realtime service gives it any "
            "number of rows, as one matrix or as one input [?, 1] for each column"
        )


def _predictions(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Leave out the probabilities of a classifier that gives the label."""
    tensors = [tensor for tensor in outputs if tensor.type in _TYPES]
    chosen = [
        tensor for tensor in tensors if not any(w in tensor.name.lower() for w in _PROBABILITIES)
    ]
    if not tensors:
        raise NotAModel("it is an ONNX model that gives no tensor")
    return chosen or tensors


def _shaped(values: Any, tensor: Tensor) -> Any:
    """Give values the dimensions that an input has."""
    if len(tensor.shape) == 2:
        return values[:, None] if values.ndim == 1 else values
    return values.reshape(-1)


def _converted(values: Any, dtype: str, path: str) -> Any:
    """Convert values to the type of an input; what would change by that does not fit.

    Floats may lose precision, as they do wherever a model computes with 32 bits.
    """
    import numpy

    if dtype == "object":
        _require(values, lambda item: isinstance(item, str), path, "a string")
        return values.astype(object)
    if dtype == "bool":
        _require(values, lambda item: isinstance(item, (bool, numpy.bool_)), path, "true or false")
        return values.astype(bool)
    target = numpy.dtype(dtype)
    if values.dtype.kind not in "biuf":
        if target.kind == "f":
            _require(values, lambda item: item is None or type(item) in _NUMBERS, path, "a number")
            values = numpy.array([numpy.nan if item is None else item for item in values], object)
            try:
                values = values.astype(numpy.float64)
            except OverflowError:
                raise _invalid_input(path, f"numbers of {dtype}", "a larger one") from None
        else:
            _require(values, lambda item: type(item) in _NUMBERS, path, "a whole number")
    if target.kind == "f":
        return _floats(values, target, path)
    return _integers(values, target, path)


def _floats(values: Any, target: Any, path: str) -> Any:
    import numpy

    with numpy.errstate(over="ignore"):
        converted = values.astype(target)
    if (numpy.isinf(converted) & numpy.isfinite(values)).any():
        raise _invalid_input(path, f"numbers of {target}", "a larger one")
    return converted


def _integers(values: Any, target: Any, path: str) -> Any:
    import numpy

    if values.dtype.kind == "b":
        return values.astype(target)
    limits = numpy.iinfo(target)
    for item in values.ravel().tolist():
        if item != item:  # noqa: PLR0124  # NaN, which a missing number is
            raise _invalid_input(path, "whole numbers", "null")
        if isinstance(item, float) and not item.is_integer():
            raise _invalid_input(path, "whole numbers", describe(item))
        if not limits.min <= item <= limits.max:
            raise _invalid_input(path, f"numbers of {target}", describe(item))
    return values.astype(target)


def _require(values: Any, fits: Any, path: str, expected: str) -> None:
    for i, item in enumerate(values.ravel().tolist()):
        if not fits(item):
            # pandas has NaN for null among strings.
            got = "null" if item != item else describe(item)  # noqa: PLR0124
            raise _invalid_input(f"{path}[{i}]", expected, got)


def _invalid_input(path: str, expected: str, got: str) -> InvalidInput:
    return InvalidInput.about(INPUT, f"Input {path} must be {expected}, got {got}.")
