"""An HTTP server before an engine and an application that answer with what they are sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from jupyter_mlsvc_server.api.body_memory import BodyMemory
from jupyter_mlsvc_server.api.http_server import HttpServer
from jupyter_mlsvc_server.api.protocol import Limits, Protocol
from jupyter_mlsvc_server.api.score import ScoreEntry
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.errors import MlsvcServerError, PayloadTooLarge
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.recent_calls import Caller
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.stream import AnswerStream
from tests.clocks import ManualClock

MAX_BODY_BYTES = 10_000


class Tokens:
    """Knows one token, ``known``, until it is forgotten."""

    def __init__(self) -> None:
        self._known = {"known": Principal("ana", "ana", Role.READER)}
        self.forget = self._known.clear

    def recall(self, access_token: str) -> Principal | None:
        return self._known.get(access_token)


class Engine:
    """Answers with the body: some calls at once, others a turn of the loop later, or never."""

    def __init__(self) -> None:
        self.calls: list[PendingRequest] = []

    def submit(
        self,
        key: DefinitionKey,
        body: Body,
        ended: Callable[[Any], None],
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> PendingRequest:
        call = PendingRequest(key, body, ended, None, caller, request_id)
        self.calls.append(call)
        answer = ScoringAnswer(200, body, True)
        if key.version == "never":
            pass
        elif len(self.calls) % 2:
            call.end(answer)
        else:
            asyncio.get_running_loop().call_soon(call.end, answer)
        return call

    async def consume(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> ScoringAnswer:
        return ScoringAnswer(200, body, True)

    def stream(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> AnswerStream:
        stream = AnswerStream()
        stream.put(bytes(body), 1.0)
        stream.end(ScoringAnswer(200, body, True))
        return stream

    def reject(
        self,
        name: str,
        version: str,
        error: MlsvcServerError,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> None:
        """Count nothing."""


class App:
    """Answers with the body, too; by the path it refuses at once, streams or fails."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.has_ended = 0
        self.disconnects = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        try:
            match scope["path"]:
                case "/known":
                    scope["state"]["is_known"] = True
                    await self._answer(send, 200, b"")
                case "/refuse":
                    error = PayloadTooLarge("too large").message.encode()
                    await self._answer(send, 413, error)
                case "/stream":
                    await self._stream(send)
                case "/fail":
                    raise ValueError("of the application")
                case "/wait":
                    await self._read(receive)
                    await receive()
                    self.disconnects += 1
                case _:
                    body = await self._read(receive)
                    if body is not None:
                        await self._answer(send, 200, body)
        finally:
            self.has_ended += 1

    async def _read(self, receive: Any) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return None
            body += message["body"]
            if not message["more_body"]:
                return bytes(body)

    async def _answer(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def make_score(
    engine: Engine,
    tokens: Tokens | None = None,
    memory: BodyMemory | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    base_path: str = "",
) -> ScoreEntry:
    return ScoreEntry(
        tokens=tokens or Tokens(),
        engine=engine,
        max_body_bytes=max_body_bytes,
        memory=memory or BodyMemory(10 * 2**20),
        base_path=base_path,
    )


class Client(asyncio.Transport):
    """Gives a connection its reads while it takes any, and keeps what it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = b""
        self.is_paused = False
        self.is_closed = False
        """Whether the server has said its last word."""
        self.is_gone = False
        """Whether the server does not listen any more, either."""
        self.is_cut_off = False
        """Whether what was not read yet is lost."""
        self.unread = 0
        """Bytes of answers that wait to be read."""

    def get_write_buffer_size(self) -> int:
        return self.unread

    def write(self, data: Any) -> None:
        self.answers += bytes(data)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = self.is_gone = True

    def abort(self) -> None:
        self.is_cut_off = True
        self.close()

    def is_closing(self) -> bool:
        return self.is_gone


class Stub:
    """A server of these."""

    def __init__(
        self,
        limits: Limits | None = None,
        look_seconds: float = 3600,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.engine = Engine()
        self.tokens = Tokens()
        self.app = App()
        self.memory = BodyMemory(10 * 2**20)
        self.clock = ManualClock(1000.0)  # whole seconds add up exactly
        self.server = HttpServer(
            app=self.app,
            score=make_score(self.engine, self.tokens, self.memory, max_body_bytes),
            limits=limits or Limits(),
            log=logging.getLogger("stub"),
            look_seconds=look_seconds,
            clock=self.clock,
        )
        self.server.look()
        self.port = 0

    def connect(self) -> tuple[Protocol, Client]:
        """Make a connection without a socket."""
        client, connection = Client(), Protocol(self.server)
        connection.connection_made(client)
        return connection, client

    @staticmethod
    def is_paused(client: Client) -> bool:
        """Whether the server reads nothing from a client."""
        return client.is_paused

    def wait(self, seconds: float) -> None:
        """Let time pass, as the server sees it."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.server.look()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Stub]:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        await self.server.open(listening)
        try:
            yield self
        finally:
            await self.server.close()

    async def get_by(self, family: int, address: Any) -> bytes:
        """Ask by a socket, and read until the end."""
        with socket.socket(family) as client:
            client.setblocking(False)
            await self.server.loop.sock_connect(client, address)
            reader, writer = await asyncio.open_connection(sock=client)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()


async def turns() -> None:
    """Let all that can go on do so."""
    for _ in range(50):
        await asyncio.sleep(0)
