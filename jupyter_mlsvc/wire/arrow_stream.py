"""Tables as streams of Arrow's IPC format, which a service takes and gives beside JSON.

A stream is read from whoever may call. So it is checked as a whole before anything of it is used:
a length or an offset that is wrong would have code read memory that is not its own.

pyarrow is imported when a stream is read or written. It need not be installed.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"

BEGINNING: Final = b"\xff\xff\xff\xff"
"""How a stream begins, and no JSON does."""

INPUTS: Final = b"mlsvc.inputs"
"""Key of the schema's metadata: a JSON object with the inputs that are not in the columns."""
TABLE: Final = b"mlsvc.table"
"""Key of the schema's metadata: the input or output whose columns the columns are. Without it each
column is one of its own."""
RESULT: Final = b"mlsvc.result"
"""Key of the schema's metadata: the rest of an answer, as JSON. Outputs in columns are null."""

_INDEX: Final = "__index_level_"
"""How pandas names the columns of an index that it writes, which JSON does not have either."""

_MOST_DEEP: Final = 8

_MANY: Final = 2**16
"""Values that any stream may have, however short it is."""


class UnreadableArrow(ValueError):
    """Bytes that are no stream which is read here; the message is the end of a sentence."""


@cache
def is_installed() -> bool:
    """Tell whether there is a pyarrow here."""
    return find_spec("pyarrow") is not None


def read_stream(body: Any) -> Any:
    """Read a stream as a ``pyarrow.Table``, which shares its memory with the bytes.

    Raises
    ------
    UnreadableArrow
        It is none, or has something in it that is not taken here.
    """
    if not is_installed():
        raise UnreadableArrow("can't be read without pyarrow")
    import pyarrow

    source = pyarrow.py_buffer(body)
    try:
        _require_plain_buffers(pyarrow, source)
        options = pyarrow.ipc.IpcReadOptions(use_threads=False)
        with pyarrow.ipc.open_stream(source, options=options) as reader:
            _require_types(pyarrow, reader.schema)
            table = reader.read_all()
        table.validate(full=True)
    except (pyarrow.ArrowException, ValueError, OSError, struct.error) as error:
        if isinstance(error, UnreadableArrow):
            raise
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UnreadableArrow(f"is no Arrow stream that can be read: {reason}") from error
    # Nulls take no bytes, so that a few could stand for any number of values.
    chunks = (chunk for column in table.columns for chunk in column.chunks)
    count = max(table.num_rows, sum(_without_bytes(pyarrow, chunk) for chunk in chunks))
    if count > max(8 * source.size, _MANY):
        raise UnreadableArrow(f"has {count:,} values, more than its bytes can hold")
    return table.select([name for name in table.schema.names if not name.startswith(_INDEX)])


def write_stream(table: Any, metadata: Mapping[bytes, bytes]) -> bytes:
    """Write a ``pyarrow.Table`` as a stream."""
    import pyarrow

    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema.with_metadata(dict(metadata))) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _require_types(pyarrow: Any, schema: Any) -> None:
    names = [name for name in schema.names if not name.startswith(_INDEX)]
    for name in names:
        if names.count(name) > 1:
            raise UnreadableArrow(f"has two columns {name!r}")
    for field in schema:
        problem = _type_problem(pyarrow, field.type, _MOST_DEEP)
        if problem:
            raise UnreadableArrow(f"has the column {field.name!r} of the type {problem}")


def _type_problem(pyarrow: Any, kind: Any, depth: int) -> str:
    """Name a type that is not read here; empty for those that are."""
    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return f"{kind}, an extension that is not read here. Send text or numbers"
    if not depth:
        return f"{kind}, which is nested too deep"
    if types.is_dictionary(kind):
        return _type_problem(pyarrow, kind.value_type, depth - 1)
    inner: list[Any] = []
    if types.is_list(kind) or types.is_large_list(kind):
        inner = [kind.value_type]
    elif types.is_struct(kind):
        inner = [each.type for each in kind]
    if any(map(types.is_dictionary, inner)):
        # pyarrow makes each of its values anew: a long one may come a million times.
        return f"{kind}, with a dictionary inside, which is not read here. Send text or numbers"
    if inner:
        problems = (_type_problem(pyarrow, each, depth - 1) for each in inner)
        return next(filter(None, problems), "")
    is_known = (
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_date(kind)
        or types.is_time(kind)
        or types.is_timestamp(kind)
        or types.is_duration(kind)
        or types.is_null(kind)
        or types.is_struct(kind)  # one without members
    )
    return "" if is_known else f"{kind}, which is not read here. Send text or numbers"


def _without_bytes(pyarrow: Any, array: Any) -> int:
    """Count the values in an array, and in those that it is made of, that no buffer has."""
    types, kind = pyarrow.types, array.type
    if types.is_null(kind) or (types.is_struct(kind) and not kind.num_fields):
        return len(array)
    if types.is_struct(kind):
        inner = [array.field(number) for number in range(kind.num_fields)]
    elif types.is_list(kind) or types.is_large_list(kind):
        inner = [array.values]
    elif types.is_dictionary(kind):
        inner = [array.dictionary]
    else:
        inner = []
    return sum(_without_bytes(pyarrow, each) for each in inner)


# --- compressed buffers ----------------------------------------------------------------------


def _require_plain_buffers(pyarrow: Any, source: Any) -> None:
    """Refuse compressed buffers: a few bytes of them may stand for gigabytes.

    ``Content-Encoding`` is decoded no further than the limit of bodies. pyarrow does not say what
    a message tells of compression, so that it is read here as flatbuffers have it.
    """
    messages = pyarrow.ipc.MessageReader.open_stream(source)
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        header = _field(message.metadata, _root(message.metadata), _HEADER)
        if not header:
            continue
        batch = _follow(message.metadata, header)
        if message.type == "dictionary":
            data = _field(message.metadata, batch, _DATA)
            batch = _follow(message.metadata, data) if data else 0
        elif message.type != "record batch":
            continue
        if batch and _field(message.metadata, batch, _COMPRESSION):
            raise UnreadableArrow(
                "has compressed buffers, which are not read here. Write them as they are, and "
                "compress the whole body (Content-Encoding)"
            )


_HEADER: Final = 2
_DATA: Final = 1
_COMPRESSION: Final = 3
"""Numbers of fields in Arrow's Message, DictionaryBatch and RecordBatch."""


def _root(data: Any) -> int:
    return int(struct.unpack_from("<I", data, 0)[0])


def _follow(data: Any, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: Any, table: int, number: int) -> int:
    """Return where a field of a table is; 0 where it has none."""
    entries = table - struct.unpack_from("<i", data, table)[0]
    if entries < 0:
        raise UnreadableArrow("is no Arrow stream that can be read: a message is damaged")
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", data, entries)[0]:
        return 0
    offset = int(struct.unpack_from("<H", data, entries + place)[0])
    return table + offset if offset else 0
