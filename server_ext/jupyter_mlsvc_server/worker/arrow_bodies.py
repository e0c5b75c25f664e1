"""Requests and answers as streams of Arrow, for the codec of a service.

A request is one stream. Its columns are those of the service's data.frame, or each is an input of
its own; what has no column is JSON in the metadata of the schema. An answer is the same in the
other direction, with the rest of the result in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.arrow_columns import Columns, frame_columns, vector_column
from jupyter_mlsvc.wire.arrow_stream import (
    INPUTS,
    RESULT,
    TABLE,
    UnreadableArrow,
    read_stream,
    write_stream,
)
from jupyter_mlsvc.wire.json_values import describe
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import python_name
from jupyter_mlsvc.wire.values import encode_output
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput

Encode = Callable[[str, Any, str], Any]

_FRAME: Final = "data.frame"
_VECTOR: Final = "vector"


class ArrowInputs(dict[str, Any]):
    """Inputs of a request whose answer may be a stream of Arrow."""


class ArrowOutputs(dict[str, Any]):
    """Outputs for such an answer: JSON data or :class:`Columns`."""


def encoder_for(inputs: dict[str, Any]) -> Encode:
    """Return what encodes an output for the answer to a request."""
    return _encode if type(inputs) is ArrowInputs else encode_output


def _encode(type_name: str, value: Any, name: str) -> Any:
    """Encode an output as columns of Arrow where that goes, else as JSON data."""
    found = None
    if type_name == _FRAME:
        if hasattr(type(value), "to_frame"):
            value = value.to_frame()
        found = frame_columns(value)
    elif type_name == _VECTOR:
        found = vector_column(name, value)
    return encode_output(type_name, value, name) if found is None else found


# --- requests --------------------------------------------------------------------------------


def read_request(body: memoryview, inputs: Sequence[ParameterDefinition]) -> dict[str, Any]:
    """Read a request: by the names of inputs, JSON data or :class:`Columns`.

    Raises
    ------
    InvalidInput
        It can't be read, or its columns are no input's.
    """
    try:
        table = read_stream(body)
    except UnreadableArrow as problem:
        raise InvalidInput(f"The body {problem}.") from problem
    metadata = table.schema.metadata or {}
    given = _rest(metadata.get(INPUTS, b"{}"))
    columns = dict(zip(table.schema.names, table.columns, strict=True))
    target = _target(metadata.get(TABLE), inputs, given)
    found = {name: Columns({name: one}, is_vector=True) for name, one in columns.items()}
    if target is not None:
        found = {target: Columns(columns)}
    if twice := sorted(given.keys() & found.keys()):
        raise InvalidInput(f"Input {twice[0]!r} is given twice: in the metadata and in columns.")
    return given | found


def _rest(text: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The metadata {INPUTS.decode()!r} is no JSON: {error}.") from error
    if not isinstance(given, dict):
        raise InvalidInput(
            f"The metadata {INPUTS.decode()!r} must be an object with the other inputs as members, "
            f"got {describe(given)}."
        )
    return given


def _target(
    named: bytes | None, inputs: Sequence[ParameterDefinition], given: dict[str, Any]
) -> str | None:
    """Return the input whose columns the columns are; None where each is an input."""
    if named is not None:
        name = named.decode("utf-8", "replace")
        known = [each.name for each in inputs]
        return next((each for each in known if python_name(name) == python_name(each)), name)
    frames = [each.name for each in inputs if each.type == _FRAME]
    frames = [name for name in frames if name not in given]
    if len(frames) > 1:
        raise InvalidInput(
            f"The service takes several data.frames ({', '.join(frames)}). Say in the metadata "
            f"{TABLE.decode()!r} of which one the columns are, and give the others in "
            f"{INPUTS.decode()!r}."
        )
    return frames[0] if frames else None


# --- answers ---------------------------------------------------------------------------------


class Answer:
    """Outputs, some of which are columns of Arrow.

    Attributes
    ----------
    rest
        Outputs as JSON data; null for those that are columns.
    """

    def __init__(self, outputs: dict[str, Any]) -> None:
        self._table: str | None = None
        self._columns: dict[str, Any] = {}
        frames = [name for name, each in outputs.items() if _is_frame(each)]
        vectors = {name: each for name, each in outputs.items() if isinstance(each, Columns)}
        if len(frames) == 1:
            self._table = frames[0]
            self._columns = dict(outputs[frames[0]].columns)
        elif not frames and vectors:
            # Those of another length than the first are in the metadata.
            height = len(next(iter(vectors.values())).only)
            self._columns = {
                name: each.only for name, each in vectors.items() if len(each.only) == height
            }
        carried = {self._table} if self._table is not None else self._columns.keys()
        self.rest = {
            name: None if name in carried else _plain(each, name) for name, each in outputs.items()
        }

    @property
    def has_columns(self) -> bool:
        """Whether it is a stream; else JSON says all."""
        return self._table is not None or bool(self._columns)

    def write(self, result: bytes) -> bytes:
        """Write the stream, with the rest of the result."""
        import pyarrow

        metadata = {RESULT: result}
        if self._table is not None:
            metadata[TABLE] = self._table.encode()
        return write_stream(pyarrow.table(self._columns), metadata)


def _is_frame(value: Any) -> bool:
    return isinstance(value, Columns) and not value.is_vector


def _plain(value: Any, name: str) -> Any:
    return value.plain(name) if isinstance(value, Columns) else value
