"""Recognises ONNX models by their bytes.

ONNX is a message of protobuf, which has no mark at its beginning. What it has are numbered fields
that follow each other without a gap: a file is ONNX if all of it is fields of a ``ModelProto``,
with what every such message has. Nothing is decoded but the numbers and lengths of these.
"""

from __future__ import annotations

from typing import Final

_VARINT: Final = 0
_BYTES: Final = 2

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
_MOST_FIELDS: Final = 100_000


def is_onnx(data: bytes | memoryview) -> bool:
    """Tell whether bytes are a whole ONNX model, going by its outermost fields."""
    view, position = memoryview(data), 0
    seen = set[int]()
    for _ in range(_MOST_FIELDS):
        if position == len(view):
            return {_IR_VERSION, _GRAPH, _OPSET_IMPORT} <= seen
        try:
            key, position = _varint(view, position)
            field, way = key >> 3, key & 7
            if _FIELDS.get(field) != way or (field in seen and field not in _REPEATED):
                return False
            seen.add(field)
            value, position = _varint(view, position)
        except IndexError:
            return False
        if way == _BYTES:
            position += value
            if position > len(view):
                return False
    return False


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """Read a number; gives it and where it ends. ``IndexError``: there is none."""
    value = 0
    for shift in range(0, 70, 7):
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise IndexError
