"""Large answers to calls: written piece by piece, as the client takes them.

Between two pieces others get their turn. What is written is freed at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol

from starlette.responses import Response

from jupyter_mlsvc_server.api.responses import StreamedResponse, bytes_response
from jupyter_mlsvc_server.formats.pieces import Body, Pieces

_FREED: Final = 4
"""Pieces of a body that are freed in one turn of the loop."""


class _Connection(Protocol):
    """What is needed of a client's connection."""

    transport: asyncio.Transport

    @property
    def is_write_paused(self) -> bool: ...


class LargeAnswer:
    """The body of an answer that is being written.

    Parameters
    ----------
    connection
        Where it is written.
    body
        What is written.
    on_end
        Called when all of it is.
    """

    def __init__(self, connection: _Connection, body: Pieces, on_end: Callable[[], object]) -> None:
        self.is_last = False
        """Whether the connection ends after it."""
        self._connection = connection
        self._pieces = body.take()
        self._on_end = on_end
        self._next: asyncio.Handle | None = None

    def go_on(self) -> None:
        """Write the next piece in the next turn of the loop."""
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._next = None
        transport = self._connection.transport
        if transport.is_closing() or self._connection.is_write_paused:
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._on_end()
            return
        transport.write(piece)
        self.go_on()


async def forget(body: Pieces) -> None:
    """Free a body that nobody needs any more, a few pieces a turn of the loop."""
    while body.forget(_FREED):  # noqa: ASYNC110  # a turn for others; there is nothing to wait for
        await asyncio.sleep(0)


def call_response(body: Body, media_type: str, status: int) -> Response:
    """Make the answer to a call that came through the application."""
    if isinstance(body, bytes):
        return bytes_response(body, media_type, status=status)
    headers = {"Content-Type": media_type, "Content-Length": str(len(body))}
    return StreamedResponse(_one_by_one(body), headers=headers)


async def _one_by_one(body: Pieces) -> AsyncGenerator[bytes]:
    for piece in body.take():
        yield piece
        # Sending waits only for a client that is slower.
        await asyncio.sleep(0)
