"""Clients that stall, at a front with little patience."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.front import process
from jupyter_mlsvc_server.front.connection import Connection, Limits
from jupyter_mlsvc_server.front.messages import Trusted
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.request import PendingRequest

HEAD = b"POST /api/a/1 HTTP/1.1\r\nAuthorization: Bearer known\r\n"


class Engine:
    """Answers with the body, or never."""

    def __init__(self) -> None:
        self.calls: list[PendingRequest] = []

    def submit(
        self, key: DefinitionKey, body: bytes, ended: Callable[[Any], None]
    ) -> PendingRequest:
        call = PendingRequest(key, body, ended)
        self.calls.append(call)
        if key.version != "never":
            call.end(ScoringAnswer(200, body, True))
        return call

    def reject(self, name: str, version: str) -> None:
        """Count nothing."""


@pytest_asyncio.fixture
async def front(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[process.Front]:
    """The part of a front that has to do with clients, on a port of its own."""
    monkeypatch.setattr(process, "_TICK_SECONDS", 0.05)
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with ours, theirs:
        front = process.Front(ours)

        async def verify(token: str) -> Trusted:
            if token != "known":
                raise MlsvcServerError("unknown")
            return Trusted(Principal("ana", Role.READER), 60)

        front.tokens._verify = verify
        front.engine = Engine()  # type: ignore[assignment]
        front.limits = Limits(
            body_bytes=1000,
            head_seconds=0.3,
            stall_seconds=0.3,
            idle_seconds=0.6,
            linger_seconds=0.3,
        )
        ticking = asyncio.create_task(front._tick())
        server = await front.loop.create_server(lambda: Connection(front), "127.0.0.1", 0)
        front.port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        yield front
        server.close()
        await front._close(None)
        ticking.cancel()


async def talk(front: process.Front, *pieces: bytes, pause: float = 0) -> tuple[bytes, float]:
    """Send, read until the end, and tell how long that took."""
    port: int = front.port  # type: ignore[attr-defined]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = front.loop.time()
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(pause)
    try:
        data = await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
    return data, front.loop.time() - began


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)


async def test_a_head_that_does_not_come_is_given_up(front: process.Front) -> None:
    data, seconds = await talk(front, HEAD)
    assert data.startswith(b"HTTP/1.1 408 ")
    assert b"did not come in time" in data
    assert 0.2 < seconds < 20


async def test_a_head_that_trickles_is_given_up_too(front: process.Front) -> None:
    data, seconds = await talk(front, *(HEAD[i : i + 1] for i in range(12)), pause=0.1)
    assert data.startswith(b"HTTP/1.1 408 ")
    assert seconds < 20


async def test_a_body_that_stalls_is_given_up(front: process.Front) -> None:
    data, seconds = await talk(front, HEAD + b"Content-Length: 10\r\n\r\n", b"12345")
    assert data.startswith(b"HTTP/1.1 408 ")
    assert 0.2 < seconds < 20
    assert not front.engine.calls  # type: ignore[attr-defined]


async def test_a_body_that_is_slow_but_goes_on_is_taken(front: process.Front) -> None:
    # It must go on for longer than it may stall, on a machine that stalls as well.
    front.limits = dataclasses.replace(front.limits, stall_seconds=1.5)
    pieces = [b"Connection: close\r\nContent-Length: 10\r\n\r\n", *(b"x" for _ in range(10))]
    data, seconds = await talk(front, HEAD + pieces[0], *pieces[1:], pause=0.2)
    assert data.startswith(b"HTTP/1.1 200 ")
    assert data.endswith(b"x" * 10)
    assert seconds > 1.8


async def test_an_idle_connection_is_closed_without_a_word(front: process.Front) -> None:
    data, seconds = await talk(front)
    assert data == b""
    assert 0.4 < seconds < 20


async def test_who_was_refused_and_sends_nothing_more_is_cut_off(front: process.Front) -> None:
    data, seconds = await talk(front, HEAD + b"Content-Length: 100000\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 413 ")
    assert seconds < 20
    await until(lambda: not front.connections)


async def test_who_waits_for_an_answer_is_not_idle(front: process.Front) -> None:
    port: int = front.port  # type: ignore[attr-defined]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD.replace(b"/1 ", b"/never ") + b"\r\n")
    await asyncio.sleep(1.2)
    (call,) = front.engine.calls  # type: ignore[attr-defined]
    call.end(ScoringAnswer(200, b"late", True))
    assert b"late" in await reader.read(1000)
    writer.close()


async def test_a_caller_that_leaves_is_forgotten(front: process.Front) -> None:
    port: int = front.port  # type: ignore[attr-defined]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD.replace(b"/1 ", b"/never ") + b"\r\n")
    await asyncio.sleep(0.2)
    writer.close()
    (call,) = front.engine.calls  # type: ignore[attr-defined]
    await until(lambda: call.is_over)


async def test_answers_that_nobody_reads_do_not_pile_up(front: process.Front) -> None:
    port: int = front.port  # type: ignore[attr-defined]
    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000

    async def send_for_ever() -> None:
        while True:
            writer.write(request)
            await writer.drain()

    with pytest.raises((TimeoutError, ConnectionError)):
        await asyncio.wait_for(send_for_ever(), 2)
    assert len(front.engine.calls) < 50_000  # type: ignore[attr-defined]
    await until(lambda: not front.connections)
    writer.transport.abort()
