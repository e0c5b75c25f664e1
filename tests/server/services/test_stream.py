"""A connection that answers what it knows, between a client and tornado."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from jupyter_mlsvc_server.errors import Busy
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.services.stream import AnsweringStream, Outcome

Ended = Callable[[Outcome], None]


def request(path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Submitted:
    body: bytes
    ended: Ended
    is_abandoned: bool = False

    def abandon(self) -> None:
        self.is_abandoned = True

    def end(self, body: bytes) -> None:
        self.ended(ScoringAnswer(200, body, True))


@dataclass
class Known:
    """Requests to ``/known`` with bodies of a length."""

    length: int
    answers: Callable[[bytes], Outcome] | None
    submitted: list[Submitted] = field(default_factory=list)
    noted: int = 0

    def submit(self, body: bytes, ended: Ended) -> Submitted:
        self.submitted.append(Submitted(body, ended))
        if self.answers is not None:
            ended(self.answers(body))
        return self.submitted[-1]

    def answer(self, body: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nX-By: stream\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )

    def note(self, seconds: float) -> None:
        assert seconds >= 0
        self.noted += 1


class Echo(RequestHandler):
    """What tornado's own way does with a request; it notes a failure that the stream tells of."""

    def post(self) -> None:
        self.set_header("X-By", "handler")
        connection: Any = self.request.connection
        failed, connection.stream.failed = connection.stream.failed, None
        if failed is not None:
            self.set_status(503)
            self.write(b"failed: ")
        self.write(self.request.body)


class Socket(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


@dataclass
class Server:
    port: int
    http: HTTPServer
    known: dict[bytes, Known] = field(default_factory=dict)
    streams: list[AnsweringStream] = field(default_factory=list)
    longest_run: float = 600

    def knows(self, length: int, answers: Callable[[bytes], Outcome] | None = None) -> Known:
        head = request("/known", b"x" * length).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self.known[head] = Known(length, answers)
        return self.known[head]


def reverse(body: bytes) -> Outcome:
    return ScoringAnswer(200, body[::-1], True)


def refuse(body: bytes) -> Outcome:
    return Busy("later", retry_after=1)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    (door,) = bind_sockets(0, "127.0.0.1")
    http = HTTPServer(
        Application([("/known|/other", Echo), ("/socket", Socket)], log_function=lambda _: None),
        max_buffer_size=2**25,
    )
    made = Server(door.getsockname()[1], http)
    original = http.handle_stream

    def handle(stream: IOStream, address: tuple[Any, ...]) -> None:
        answering = AnsweringStream(
            stream.socket,
            made.known.get,
            longest_run=made.longest_run,
            max_buffer_size=stream.max_buffer_size,
        )
        made.streams.append(answering)
        original(answering, address)

    http.handle_stream = handle  # type: ignore[method-assign]
    http.add_sockets([door])
    yield made
    http.stop()
    await asyncio.wait_for(http.close_all_connections(), 10)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        writer.transport.set_write_buffer_limits(0)

    async def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def receive(self) -> tuple[str, bytes]:
        """Who answered what."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)).decode()
        headers = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["Content-Length"])), 20)
        return headers["X-By"], body


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**26)
    yield Client(reader, writer)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.005)


async def test_known_requests_and_others_take_turns(server: Server, client: Client) -> None:
    known = server.knows(3, reverse)
    for n in range(3):
        await client.send(request("/known", b"ab%d" % n))
        assert await client.receive() == ("stream", b"%dba" % n)
        await client.send(request("/other", b"ab%d" % n))
        assert await client.receive() == ("handler", b"ab%d" % n)
    assert known.noted == 3


async def test_requests_sent_at_once_are_answered_in_their_order(
    server: Server, client: Client
) -> None:
    server.knows(3, reverse)
    server.knows(4, refuse)
    kinds = [("/known", b"abc"), ("/other", b"abc"), ("/known", b"fail"), ("/known", b"xyz")]
    await client.send(*(request(*kinds[n % 4]) for n in range(400)))
    expected = [
        ("stream", b"cba"), ("handler", b"abc"), ("handler", b"failed: fail"), ("stream", b"zyx"),
    ]  # fmt: skip
    assert [await client.receive() for _ in range(400)] == expected * 100


async def test_what_comes_meanwhile_stays_behind_a_request_that_fails_late(
    server: Server, client: Client
) -> None:
    known = server.knows(4)
    await client.send(request("/known", b"slow"), request("/other", b"next"))
    await until(lambda: known.submitted)
    for n in range(3):
        await client.send(request("/other", b"%d" % n * 100_000))
        await asyncio.sleep(0.02)
    known.submitted[0].ended(Busy("later", retry_after=1))
    assert await client.receive() == ("handler", b"failed: slow")
    assert await client.receive() == ("handler", b"next")
    for n in range(3):
        assert await client.receive() == ("handler", b"%d" % n * 100_000)


async def test_a_known_request_may_come_in_pieces(server: Server, client: Client) -> None:
    server.knows(200_000, reverse)
    server.knows(4, refuse)
    body = bytes(range(250)) * 800
    data = request("/known", body)
    for end in (10, data.index(b"\r\n\r\n") + 4, data.index(b"\r\n\r\n") + 5, 100_000):
        await client.send(data[:end])
        await asyncio.sleep(0.05)
        await client.send(data[end:], request("/other", b"next"), request("/known", b"fail"))
        # A head in pieces is left to tornado.
        who, answered = await client.receive()
        assert (who, answered) == (("handler", body) if end == 10 else ("stream", body[::-1]))
        assert await client.receive() == ("handler", b"next")
        assert await client.receive() == ("handler", b"failed: fail")


async def test_what_follows_stays_behind_one_in_pieces_that_fails(
    server: Server, client: Client
) -> None:
    server.knows(100_000, refuse)
    data = request("/known", b"x" * 100_000)
    await client.send(data[:1000])
    await asyncio.sleep(0.05)
    await client.send(data[1000:], *(request("/other", b"%d" % n) for n in range(3)))
    assert await client.receive() == ("handler", b"failed: " + b"x" * 100_000)
    assert [await client.receive() for _ in range(3)] == [("handler", b"%d" % n) for n in range(3)]


async def test_who_leaves_is_forgotten(server: Server) -> None:
    known = server.knows(4)
    for is_whole in (True, False):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        data = request("/known", b"gone")
        writer.write(data if is_whole else data[:-1])
        if is_whole:
            await until(lambda: known.submitted)
        else:
            await asyncio.sleep(0.05)
        writer.close()
        await until(server.streams[-1].closed)
    assert [each.is_abandoned for each in known.submitted] == [True]
    known.submitted[0].end(b"too late")
    # Nobody waits at the other end of what is gone.
    await asyncio.wait_for(server.http.close_all_connections(), 10)


async def test_who_reads_slowly_gets_all_of_it(server: Server) -> None:
    server.knows(1, lambda body: ScoringAnswer(200, body * 20_000_000, True))
    slow = socket.create_connection(("127.0.0.1", server.port))
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(slow, request("/known", b"a") + request("/known", b"b"))
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection(sock=slow, limit=2**16)
    client = Client(reader, writer)
    for letter in (b"a", b"b"):
        who, body = await client.receive()
        assert who == "stream"
        assert body == letter * 20_000_000
    writer.close()


async def test_who_sends_on_without_end_is_cut_off(server: Server) -> None:
    known = server.knows(4)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request("/known", b"slow"))
    await until(lambda: known.submitted)
    writer.write(b"x" * 2**27)
    await until(server.streams[-1].closed)
    assert known.submitted[0].is_abandoned
    writer.transport.abort()


async def test_a_websocket_may_follow(server: Server, client: Client) -> None:
    server.knows(3, reverse)
    await client.send(request("/known", b"abc"))
    assert await client.receive() == ("stream", b"cba")
    frame = b"\x81\x85\x00\x00\x00\x00hello"
    await client.send(
        b"GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        frame,
    )
    head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101")
    for _ in range(3):
        assert await asyncio.wait_for(client.reader.readexactly(7), 10) == b"\x81\x05hello"
        await client.send(frame)


async def test_the_servers_end_ends_what_waits_and_what_runs(server: Server) -> None:
    known = server.knows(4)
    waiting = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    running = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    await running.send(request("/known", b"slow"))
    await until(lambda: known.submitted)
    await asyncio.wait_for(server.http.close_all_connections(), 10)
    assert known.submitted[0].is_abandoned
    for one in (waiting, running):
        assert await asyncio.wait_for(one.reader.read(), 10) == b""
        one.writer.close()


async def test_tornado_sees_a_request_now_and_then(server: Server) -> None:
    server.knows(3, reverse)
    server.longest_run = 0.3
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    seen: list[str] = []
    while len(set(seen[-20:])) < 2:
        await client.send(request("/known", b"abc"))
        seen.append((await client.receive())[0])
    assert seen[0] == "stream"
    client.writer.close()


async def test_a_head_that_is_too_long_is_tornados_to_refuse(
    server: Server, client: Client
) -> None:
    await client.send(request("/other", b"", "X-Long: " + "x" * 100_000))
    assert await asyncio.wait_for(client.reader.read(), 10) == b""
