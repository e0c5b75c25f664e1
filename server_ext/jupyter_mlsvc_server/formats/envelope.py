"""What goes before a request that is no JSON, or whose answer need not be: how its worker is told.

A body goes to a worker as it came. One that is to be read, or answered, as a stream of Arrow has a
mark in front that no text can begin with.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final, NamedTuple

from jupyter_mlsvc_server.formats.pieces import Body, Pieces

MARK: Final = b"\xff\xffMLSVC"
_SIZE: Final = len(MARK) + 1


class Form(IntFlag):
    """How a request differs from one in JSON that is answered in JSON."""

    ARROW_IN = 1
    """The body is a stream of Arrow."""
    ARROW_OUT = 2
    """The answer may be one."""


_ALL: Final = Form.ARROW_IN | Form.ARROW_OUT


class Opened(NamedTuple):
    """A request without its envelope."""

    form: Form
    body: memoryview


def enveloped(form: Form, body: Body) -> Body:
    """Put a body into an envelope."""
    mark = MARK + bytes([form])
    return mark + body if isinstance(body, bytes) else Pieces([mark, *body])


def opened(body: bytes) -> Opened:
    """Take a body out of its envelope; whoever calls may have sent what looks like one."""
    form = Form(body[len(MARK)] & _ALL) if len(body) >= _SIZE else Form(0)
    return Opened(form, memoryview(body)[_SIZE:])


def without_envelope(body: bytes) -> bytes:
    """Return what the caller has sent, of a body that may have an envelope."""
    return body[_SIZE:] if body.startswith(MARK) else body
