"""How many bytes values take in a request, found out without making them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc.wire.values import encode_output

_SAMPLE: Final = 1000
"""Rows of a table or elements of a list that are written to find out how long the others are."""

MANY_BYTES: Final = 4 * 2**20
"""What is smaller in memory is not looked at: it is sent as soon as its size is known."""

_ELEMENT_BYTES: Final = 8


def estimated_bytes(values: Mapping[str, object]) -> int:
    """Estimate the bytes of values as JSON by samples; 0 where they are too few to matter."""
    return sum(map(_bytes_of, values.values()))


def _bytes_of(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_bytes_of, value.values()))
    if isinstance(value, str | bytes | bytearray):
        return len(value) if len(value) > MANY_BYTES else 0
    try:
        count = len(value)
        if _elements(value, count) * _ELEMENT_BYTES < MANY_BYTES or count <= _SAMPLE:
            return 0
        sample = _sample(value, count)
        return len(msgspec.json.encode(encode_output("", sample))) * count // len(sample)
    except (TypeError, ValueError, AttributeError, OverflowError, ValueProblem):
        return 0  # sending it raises what is wrong with it


def _elements(value: Any, count: int) -> int:
    size = getattr(value, "size", None)
    return size if isinstance(size, int) else count


def _sample(value: Any, count: int) -> Any:
    """Take rows or elements at even distances."""
    step = slice(None, None, -(-count // _SAMPLE))
    rows = getattr(value, "iloc", None)
    return value[step] if rows is None else rows[step]
