"""Records of a batch as a stream of Arrow: one row is one record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.arrow_columns import Decoded, plain_column
from jupyter_mlsvc.wire.arrow_stream import INPUTS, TABLE, UnreadableArrow, read_stream
from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc_server.batches.errors import InvalidRecords, TooManyRecords

_ROWS: Final = 4096
_REPEATED_BYTES: Final = 2**24
"""Bytes that inputs which are the same for all records may take among those given together."""


def read_records(body: Any, most: int) -> Iterator[list[bytes]]:
    """Give the JSON of records, some thousand at a time.

    Each column is an input by its name. Where the metadata of the schema names a data.frame, each
    row is one of a single row. Inputs that are the same for all are in the metadata.

    Raises
    ------
    InvalidRecords
        It is no stream that can be read.
    TooManyRecords
        There are more than ``most``.
    """
    try:
        table = read_stream(body)
    except UnreadableArrow as problem:
        raise InvalidRecords(f"The request body {problem}.") from None
    if table.num_rows > most:
        raise TooManyRecords(most)
    metadata = table.schema.metadata or {}
    try:
        same = msgspec.json.decode(metadata.get(INPUTS, b"{}"), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRecords(
            f"The metadata {INPUTS.decode()!r} is no JSON object: {error}."
        ) from None
    frame = metadata.get(TABLE)
    name = None if frame is None else frame.decode("utf-8", "replace")
    rows = max(1, min(_ROWS, _REPEATED_BYTES // (len(metadata.get(INPUTS, b"")) + 1)))
    decoded = [Decoded() for _ in table.columns]
    for first in range(0, table.num_rows, rows):
        yield _encoded(table.slice(first, rows), same, name, decoded)


def _encoded(
    rows: Any, same: dict[str, Any], frame: str | None, decoded: list[Decoded]
) -> list[bytes]:
    names = rows.schema.names
    try:
        columns = [
            plain_column(column, name, known)
            for name, column, known in zip(names, rows.columns, decoded, strict=True)
        ]
    except ValueProblem as problem:
        raise InvalidRecords(f"A column of the request body can't be read: {problem}") from None
    encode = msgspec.json.Encoder().encode
    if frame is None:
        return [
            encode(same | dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)
        ]
    return [
        encode(same | {frame: {name: [item] for name, item in zip(names, row, strict=True)}})
        for row in zip(*columns, strict=True)
    ]
