"""ONNX models by their bytes: whether a file is one, and what it takes.

ONNX is a message of protobuf, which has no mark at its beginning. What it has are numbered fields
that follow each other without a gap: a file is ONNX if all of it is fields of a ``ModelProto``,
with what every such message has. Nothing is read but the fields that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jupyter_mlsvc.wire.model_input import Column, ModelInput

_VARINT: Final = 0
_BYTES: Final = 2
_FIXED: Final = {1: 8, 5: 4}

_IR_VERSION: Final = 1
_GRAPH: Final = 7
_OPSET_IMPORT: Final = 8

_FIELDS: Final = {
    _IR_VERSION: _VARINT,
    2: _BYTES,  # producer_name
    3: _BYTES,  # producer_version
    4: _BYTES,  # domain
    5: _VARINT,  # model_version
    6: _BYTES,  # doc_string
    _GRAPH: _BYTES,
    _OPSET_IMPORT: _BYTES,
    14: _BYTES,  # metadata_props
    20: _BYTES,  # training_info
    25: _BYTES,  # functions
    26: _BYTES,  # configuration
}
"""Numbers of the fields of a ``ModelProto`` and how each is written."""

_REPEATED: Final = {_OPSET_IMPORT, 14, 20, 25, 26}
_MAX_OUTER_FIELDS: Final = 100_000
_MAX_INNER_FIELDS: Final = 300_000
"""Fields that are looked at in all: of the message, and of what is in it."""

_INITIALIZER: Final = 5
_INITIALIZER_NAME: Final = 8
_INPUT: Final = 11

_NUMBERS: Final = dict.fromkeys((1, 10, 11, 16), "number")
_INTEGERS: Final = dict.fromkeys((2, 3, 4, 5, 6, 7, 12, 13), "integer")
_TYPES: Final = _NUMBERS | _INTEGERS | {8: "string", 9: "boolean"}
"""``TensorProto.DataType`` as JSON Schema names it."""


class _Broken(ValueError):
    """Not what protobuf writes."""


def is_onnx(data: bytes | memoryview) -> bool:
    """Tell whether bytes are a whole ONNX model, going by its outermost fields."""
    seen = set[int]()
    try:
        for field, way, _ in _fields(memoryview(data), iter(range(_MAX_OUTER_FIELDS))):
            is_twice = field in seen and field not in _REPEATED
            if _FIELDS.get(field) != way or is_twice:
                return False
            seen.add(field)
    except _Broken:
        return False
    return {_IR_VERSION, _GRAPH, _OPSET_IMPORT} <= seen


def onnx_input(data: bytes | memoryview) -> ModelInput:
    """Tell what columns a model takes; nothing where it does not take columns, or can't be read."""
    try:
        left = iter(range(_MAX_INNER_FIELDS))
        graph = _member(memoryview(data), _GRAPH, left)
        inputs, values = [], set[str]()
        for field, _, value in _fields(graph, left):
            if field == _INPUT:
                inputs.append(_input(value, left))
            elif field == _INITIALIZER:
                values.add(_text(_member(value, _INITIALIZER_NAME, left)))
    except (_Broken, TypeError, UnicodeDecodeError):  # TypeError: a number in place of a message
        return ModelInput()
    # Older models list their weights among the inputs as well.
    inputs = [each for each in inputs if each[0] not in values]
    if len(inputs) == 1:
        _, kind, sizes = inputs[0]
        width = 1 if len(sizes) == 1 else sizes[1] if len(sizes) == 2 else None
        return ModelInput(width=width, type=kind) if len(sizes) in {1, 2} else ModelInput()
    return ModelInput(columns=tuple(Column(name, kind) for name, kind, _ in inputs))


def _input(value_info: memoryview, left: Iterator[int]) -> tuple[str, str, list[int | None]]:
    """Give name, type and sizes of a tensor."""
    tensor = _member(_member(value_info, 2, left), 1, left)
    shape = _member(tensor, 2, left)
    sizes = [_member(dimension, 1, left, default=None) for _, _, dimension in _fields(shape, left)]
    kind = _TYPES.get(_member(tensor, 1, left, default=0), "")
    return _text(_member(value_info, 1, left)), kind, sizes


def _text(value: memoryview) -> str:
    return bytes(value).decode()


_NOTHING: Final = memoryview(b"")


def _member(message: memoryview, number: int, left: Iterator[int], default: Any = _NOTHING) -> Any:
    """Find the value of a field."""
    for field, _, value in _fields(message, left):
        if field == number:
            return value
    return default


def _fields(message: memoryview, left: Iterator[int]) -> Iterator[tuple[int, int, Any]]:
    """Take a message apart: number, way of writing and value of each field.

    Parameters
    ----------
    message
        The message.
    left
        Has an item for each field that may still be looked at.

    Raises
    ------
    _Broken
        It is none, or has too many fields.
    """
    position, end = 0, len(message)
    while position < end:
        if next(left, None) is None:
            raise _Broken
        key, position = _varint(message, position)
        field, way = key >> 3, key & 7
        if way == _VARINT:
            value, position = _varint(message, position)
            yield field, way, value
            continue
        if way == _BYTES:
            size, position = _varint(message, position)
        elif way in _FIXED:
            size = _FIXED[way]
        else:
            raise _Broken
        if position + size > end:
            raise _Broken
        yield field, way, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Read a number; gives it and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise _Broken
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Broken
