"""JSON written in pieces: while a large text or value is written, others are answered."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire.json_text import encode_json

_PIECE: Final = 2**16


def json_pieces(value: Any) -> Iterator[bytes]:
    """Write a value as JSON.

    Parameters
    ----------
    value
        An answer, whose members may be long texts or :class:`msgspec.Raw`. What else is in it is
        short.

    Yields
    ------
    bytes
        At least one piece, of 64 to 128 KiB but for the last one.
    """
    gathered, size = [], 0
    for part in _parts(value):
        gathered.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    if size:
        yield b"".join(gathered)


def members(value: msgspec.Struct) -> dict[str, Any]:
    """Return the members of an object by the names that they have in JSON."""
    named = {
        field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)
    }
    return {name: member for name, member in named.items() if member is not UNSET}


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    match value:
        case msgspec.Raw():
            view = memoryview(value)
            yield from (view[at : at + _PIECE] for at in range(0, len(view), _PIECE))
        case str() if len(value) > _PIECE:
            yield b'"'
            for at in range(0, len(value), _PIECE):
                yield encode_json(value[at : at + _PIECE])[1:-1]
            yield b'"'
        case msgspec.Struct():
            yield from _object(members(value))
        case dict():
            yield from _object(value)
        case [msgspec.Struct(), *_]:
            for number, item in enumerate(value):
                yield b"," if number else b"["
                yield from _parts(item)
            yield b"]"
        case _:
            yield encode_json(value)


def _object(members: dict[str, Any]) -> Iterator[bytes | memoryview]:
    yield b"{"
    for number, (name, value) in enumerate(members.items()):
        yield from chain((b"," if number else b"", encode_json(name), b":"), _parts(value))
    yield b"}"
