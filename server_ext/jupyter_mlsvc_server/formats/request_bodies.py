"""JSON bodies of requests, and the process that reads a large one of ``executeCode``.

Reading JSON takes time in which Python runs nothing else, in threads neither. So the server gives a
large body to a process of its own. As a program this module writes its inputs to a file for the
helper in the session's kernel, and the rest to its output::

    python -I -m jupyter_mlsvc_server.formats.request_bodies BODY INPUTS LENIENT
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from jupyter_mlsvc.wire.json_text import UnreadableJson, decode_json, encode_json, is_blank
from jupyter_mlsvc.wire.members import UnknownMember, known_members
from jupyter_mlsvc.wire.models import (
    ExecuteRequest,
    StartExecutionRequest,
    WorkspaceObject,
)

T = TypeVar("T")
Order = TypeVar("Order", bound=ExecuteRequest)

LARGE_BYTES: Final = 2**18
"""Bytes above which JSON is not read or written as a whole where others wait meanwhile."""

_NICE: Final = 10
_decode: Final = msgspec.json.Decoder().decode


class UnfitBody(ValueError):
    """A body is no JSON of its kind; the message says why."""


class _Read(msgspec.Struct):
    """What the process says of a body: a request, or what is wrong with it."""

    request: msgspec.Raw = msgspec.Raw(b"null")
    problem: str = ""


def decode_body(kind: type[T], body: bytes, *, is_lenient: bool) -> T:
    """Read a body as JSON of a kind; an empty body and ``null`` count as ``{}``.

    Raises
    ------
    UnfitBody
        Not JSON, or a member is missing, unknown or of the wrong type; the message names it.
    """
    try:
        data: Any = {} if is_blank(body) else decode_json(body, _decode, is_lenient=is_lenient)
        data = {} if data is None else known_members(kind, data, is_lenient=is_lenient)
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise UnfitBody(f"The request body does not fit: {error}.") from None
    except UnknownMember as error:
        raise UnfitBody(f"The request body does not fit: {error}") from None
    except UnreadableJson as error:
        raise UnfitBody(f"The request body is not valid JSON: {error}.") from None


def read_apart(kind: type[Order], body: Path, inputs: Path, *, is_lenient: bool) -> Order:
    """Have a large body read by a process of its own; blocks.

    Parameters
    ----------
    kind
        Type of the request.
    body
        The file that holds it.
    inputs
        Where the inputs are written, for the helper's ``set``. There is no file yet.
    is_lenient
        As for :func:`decode_body`.

    Returns
    -------
    ExecuteRequest
        The request, whose inputs have names and types, but no values.

    Raises
    ------
    UnfitBody
        As :func:`decode_body`.
    """
    words = (kind.__name__, body, inputs, int(is_lenient))
    command = [sys.executable, "-I", "-m", __name__, *map(str, words)]
    said = subprocess.run(  # noqa: S603 - our own module, no shell
        command, stdout=subprocess.PIPE, check=True
    ).stdout
    read = msgspec.json.decode(said, type=_Read)
    if read.problem:
        raise UnfitBody(read.problem)
    return msgspec.json.decode(read.request, type=kind)


def main(kind: str, body: str, inputs: str, is_lenient: str) -> None:
    """Read a body, write its inputs to a file, and the rest to the output."""
    os.nice(_NICE)
    kinds = {each.__name__: each for each in (ExecuteRequest, StartExecutionRequest)}
    try:
        request = decode_body(
            kinds[kind], Path(body).read_bytes(), is_lenient=bool(int(is_lenient))
        )
    except UnfitBody as problem:
        read = _Read(problem=str(problem))
    else:
        read = _Read(request=msgspec.Raw(encode_json(_without_values(request, inputs))))
    sys.stdout.buffer.write(msgspec.json.encode(read))


def _without_values(request: ExecuteRequest, inputs: str) -> ExecuteRequest:
    given = request.input_parameters or []
    values = {
        "values": {each.name: each.value for each in given},
        "types": {each.name: each.type for each in given if each.type},
    }
    with open(inputs, "xb", opener=_private) as file:
        file.write(encode_json(values))
    names = [WorkspaceObject(name=each.name, type=each.type) for each in given]
    return msgspec.structs.replace(request, input_parameters=names)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    main(*sys.argv[1:])
