"""An answer that fails half-way is cut off, so that nobody takes it for whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from starlette.responses import Response

from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import StreamedResponse
from jupyter_mlsvc_server.api.routing import public, route
from tests.serving import served, tokens_of

PIECE = b"0123456789" * 1000


async def pieces(end: str) -> AsyncGenerator[bytes]:
    """Three pieces, or two and a failure."""
    for _ in range(2):
        yield PIECE
    if end == "fails":
        raise OSError("the disk is gone")
    yield PIECE


async def stream(request: ApiRequest, end: str) -> Response:
    """Answer in pieces; fail after some of them where the path says so."""
    return StreamedResponse(pieces(end), headers={"Content-Type": "text/plain"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of a server with that operation."""
    async with served([route("/{end}", get=public(stream))], tokens=tokens_of("ann")) as port:
        yield port


async def answer(port: int, path: str, method: str = "GET") -> tuple[bytes, bytes]:
    """Ask, and give head and body as they came until the server closed or the answer ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    writer.write(b"GET /whole HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    data = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


async def test_a_stream_that_fails_has_no_end(port: int) -> None:
    head, body = await answer(port, "/fails")
    assert b"200 OK" in head
    assert b"chunked" in head
    assert body.count(PIECE) == 2
    assert b"\r\n0\r\n" not in body
    assert b"HTTP/1.1" not in body  # nothing follows, not even what was asked next


async def test_a_stream_that_does_not_fail_has_one(port: int) -> None:
    _, body = await answer(port, "/whole")
    first, _, second = body.partition(b"\r\n0\r\n\r\n")
    assert first.count(PIECE) == second.count(PIECE) == 3


@pytest.mark.parametrize("path", ["/whole", "/fails"])
async def test_who_asks_for_the_head_gets_no_more(port: int, path: str) -> None:
    head, body = await answer(port, path, "HEAD")
    assert b"200 OK" in head
    assert body.startswith(b"HTTP/1.1 200 OK")  # the next answer follows at once
    assert body.count(PIECE) == 3
