"""Calls whose tables go as streams of Arrow: chosen by themselves where it pays."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.transport import Timeout
from jupyter_mlsvc.errors import ApiError, UnexpectedAnswer
from jupyter_mlsvc.wire.arrow_columns import Columns, frame_columns, vector_column
from jupyter_mlsvc.wire.arrow_stream import (
    INPUTS,
    MEDIA_TYPE,
    RESULT,
    TABLE,
    UnreadableArrow,
    read_stream,
    write_stream,
)
from jupyter_mlsvc.wire.models import ParameterDefinition, WebServiceResult

ACCEPT: Final = f"{MEDIA_TYPE}, application/json;q=0.9"

_UNSUPPORTED: Final = 415

MANY_CELLS: Final = 4096
"""Cells from which on a table is cheaper as a stream than as JSON, on both sides together."""


def may_be_stream(inputs: Mapping[str, object]) -> bool:
    """Tell whether some input is a large table or vector of pandas or numpy."""
    return any(map(_is_large, inputs.values()))


def stream_of(inputs: Mapping[str, object]) -> bytes | None:
    """Write inputs as a stream; None where Arrow can't carry the large ones.

    The largest frame gives the columns; else vectors do that have as many values as the largest.
    What is left is JSON in the metadata.
    """
    large = sorted(
        (name for name, value in inputs.items() if _is_large(value)),
        key=lambda name: _size(inputs[name]),
        reverse=True,
    )
    metadata, columns = {}, dict[str, Any]()
    frame = next((name for name in large if _dimensions(inputs[name]) > 1), None)
    if frame is not None:
        found = frame_columns(inputs[frame])
        if found is None:
            return None
        metadata[TABLE] = frame.encode()
        carried, columns = {frame}, dict(found.columns)
    else:
        for name in large:
            column = vector_column(name, inputs[name])
            if column is not None and _size(inputs[name]) == _size(inputs[large[0]]):
                columns |= column.columns
        carried = set(columns)
    if not columns:
        return None
    import pyarrow

    rest = {name: value for name, value in inputs.items() if name not in carried}
    metadata[INPUTS] = msgspec.json.encode(plain_values(rest))
    return write_stream(pyarrow.table(columns), metadata)


def consume_stream(
    api: Api,
    name: str,
    version: str,
    inputs: Mapping[str, object],
    outputs: Sequence[ParameterDefinition],
    timeout: Timeout | None,
) -> ServiceResult | None:
    """Call a service with a stream of Arrow; None where it has to be JSON."""
    body = stream_of(inputs)
    if body is None:
        return None
    try:
        response = api.call(
            *("POST", "api", name, version),
            body=body,
            content_type=MEDIA_TYPE,
            accept=ACCEPT,
            timeout=timeout,
        )
    except ApiError as error:
        if error.status != _UNSUPPORTED:
            raise
        api.send_no_arrow()
        return None
    content = response.read()
    columns: Mapping[str, Columns] = {}
    if response.headers.get("Content-Type") == MEDIA_TYPE:
        answer, columns = read_answer(api.url, content)
    else:
        answer = api.decode(WebServiceResult, content)
    request_id = response.headers.get("X-Request-Id", "")
    return ServiceResult(
        f"{name} {version}", answer, outputs, request_id=request_id, columns=columns
    )


def read_answer(url: str, content: bytes) -> tuple[WebServiceResult, dict[str, Columns]]:
    """Read an answer that is a stream: the result, and those of its outputs that are columns."""
    try:
        table = read_stream(content)
        metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
        result = msgspec.json.decode(metadata.get(RESULT, b""), type=WebServiceResult)
    except (UnreadableArrow, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(
            f"{url} answered something that an ML service server does not: {error}."
        ) from None
    columns = dict(zip(table.schema.names, table.columns, strict=True))
    name = metadata.get(TABLE)
    if name is not None:
        return result, {name.decode(): Columns(columns)}
    return result, {
        name: Columns({name: column}, is_vector=True) for name, column in columns.items()
    }


def _is_large(value: Any) -> bool:
    return _size(value) >= MANY_CELLS and _dimensions(value) in {1, 2}


def _size(value: Any) -> int:
    size = getattr(value, "size", 0)
    return size if isinstance(size, int) else 0


def _dimensions(value: Any) -> int:
    """Return 2 for a frame of pandas, 1 for a Series or array of one dimension, else 0."""
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        return int(value.ndim)
    is_array = numpy is not None and isinstance(value, numpy.ndarray)
    return 1 if is_array and value.ndim == 1 else 0
