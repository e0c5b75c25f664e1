"""The process of the public door."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http
import itertools
import logging
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

from jupyter_mlsvc_server.answers import HEADERS, REQUEST_ID
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.front import messages
from jupyter_mlsvc_server.front.connection import Connection, Limits, key_of
from jupyter_mlsvc_server.front.heads import Heads
from jupyter_mlsvc_server.front.link import Link
from jupyter_mlsvc_server.front.many import Outcomes
from jupyter_mlsvc_server.front.tokens import TokenCache
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, ServiceDefinition
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.request import Ended, PendingRequest
from jupyter_mlsvc_server.scoring.statistics import Figures
from jupyter_mlsvc_server.scoring.trial import TrialOutcome

_BACKLOG: Final = 2048
_TICK_SECONDS: Final = 1.0
_PATHS_KEPT: Final = 10_000
_LONGEST_KEPT: Final = 2**10
_ENDS_WITHIN: Final = 10.0


class Front:
    """The public door, and the engine that runs services.

    It ends when the link to the server does, however that ended.

    Parameters
    ----------
    relays
        Where connections are passed on to the server.
    """

    def __init__(self, relays: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.relays = relays
        self.connections: set[Connection] = set()
        self.now = self.loop.time()
        """Seconds of the loop's clock, to a second."""
        self.beginnings: dict[int, bytes] = {}
        """Of answers, by their status, up to the request's id."""
        self.limits = Limits(body_bytes=0)
        self.heads = Heads(self.limits.body_bytes)
        self._origins: frozenset[str] = frozenset()
        self._any_case_paths = False
        self._paths: dict[bytes, DefinitionKey | None] = {}
        self._prefix = secrets.token_hex(12).encode()
        self._numbers = itertools.count(secrets.randbits(16))
        self._servers: list[asyncio.Server] = []
        self._doors: list[socket.socket] = []
        self._tls: ssl.SSLContext | None = None
        self._log = logging.getLogger("jupyter_mlsvc_server.front")
        self.link = self._make_link()
        self.tokens = TokenCache(self._verify)
        self.engine: LocalEngine

    async def run(self, link: socket.socket) -> None:
        """Serve until the link ends."""
        await self.loop.create_unix_connection(lambda: self.link, sock=link)
        self._log.addHandler(_LogHandler(self.link))
        self._log.propagate = False
        ticking = asyncio.create_task(self._tick())
        await self.link.ended
        ticking.cancel()
        await self._end(None)

    # --- what the server asks ----------------------------------------------------------------

    def _make_link(self) -> Link:
        return Link(
            messages.ToFront,
            {
                messages.Start: self._start,
                messages.Open: self._open,
                messages.Close: self._close,
                messages.Stop: self._end,
                messages.ForgetTokens: self._forget_tokens,
                messages.Check: self._check,
                messages.Put: self._put,
                messages.Remove: self._remove,
                messages.ConsumeMany: self._consume_many,
                messages.HasSize: self._has_size,
                messages.Statistics: self._statistics,
                messages.Known: self._known,
                messages.AskFigures: self._figures,
                messages.MemoryOf: self._memory_of,
            },
            {messages.Resize: self._resize, messages.Reject: self._reject},
            self._log,
            {messages.Consume: self._consume},
        )

    async def _start(self, start: messages.Start) -> None:
        self._log.setLevel(start.log_level)
        self.limits = Limits(body_bytes=start.max_body_bytes)
        self.heads = Heads(self.limits.body_bytes)
        self._origins = frozenset(start.cors_origins)
        self._any_case_paths = start.any_case_paths
        self._doors = [_inherited(descriptor) for descriptor in start.doors]
        if start.certfile:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(start.certfile, start.keyfile or None)
        self.engine = LocalEngine(
            data_dir=Path(start.data_dir),
            definitions=self._find_definition,
            answered=self._tell_answered,
            log=self._log,
            **start.settings,
        )
        await self.engine.start()
        # What is there now stays; looking through it again would only make callers wait.
        gc.collect()
        gc.freeze()

    async def _open(self, _: messages.Open) -> None:
        doors, self._doors = self._doors, []
        for door in doors:
            server = await self.loop.create_server(
                lambda: Connection(self), sock=door, ssl=self._tls, backlog=_BACKLOG
            )
            self._servers.append(server)

    async def _close(self, _: messages.Close | None) -> None:
        for door in self._doors:
            door.close()
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in tuple(self.connections):
            connection.close()

    async def _end(self, _: messages.Stop | None) -> None:
        await self._close(None)
        if hasattr(self, "engine"):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.engine.stop(), _ENDS_WITHIN)

    async def _forget_tokens(self, _: messages.ForgetTokens) -> None:
        self.tokens.forget()

    async def _check(self, message: messages.Check) -> TrialOutcome:
        return await self.engine.check(message.definition.unpacked(), message.call)

    async def _put(self, message: messages.Put) -> None:
        await self.engine.put(message.definition.unpacked())

    async def _remove(self, message: messages.Remove) -> None:
        await self.engine.remove(message.name, message.version)

    def _reject(self, message: messages.Reject) -> None:
        self.engine.reject(message.name, message.version)

    def _resize(self, message: messages.Resize) -> None:
        self.engine.resize(message.name, message.version, message.size)

    async def _has_size(self, message: messages.HasSize) -> bool:
        return await self.engine.has_size(message.name, message.version, message.size)

    def _consume(self, message: messages.Consume, ended: Ended) -> PendingRequest:
        key = DefinitionKey(message.name, message.version)
        return self.engine.submit(key, message.body, ended)

    async def _consume_many(self, message: messages.ConsumeMany) -> Outcomes:
        key = DefinitionKey(message.name, message.version)
        outcomes = await self.engine.consume_many(key, message.bodies, message.at_a_time)
        return Outcomes.pack(outcomes)

    async def _statistics(self, _: messages.Statistics) -> dict[str, Any]:
        return await self.engine.statistics()

    async def _known(self, _: messages.Known) -> list[DefinitionKey]:
        return [*await self.engine.known()]

    async def _figures(self, message: messages.AskFigures) -> Figures:
        return await self.engine.figures(
            message.name, message.version, with_history=message.with_history
        )

    async def _memory_of(self, message: messages.MemoryOf) -> int:
        return await self.engine.memory_of(message.name, message.version)

    # --- what the server is asked ------------------------------------------------------------

    async def _verify(self, token: str) -> messages.Trusted:
        trusted: messages.Trusted = await self.link.ask(messages.Verify(token), messages.Trusted)
        return trusted

    async def _find_definition(self, name: str, version: str) -> ServiceDefinition:
        question = messages.FindDefinition(name, version)
        definition: messages.Definition = await self.link.ask(question, messages.Definition)
        return definition.unpacked()

    def _tell_answered(self, name: str, version: str) -> None:
        self.link.tell(messages.Answered(name, version))

    # --- for connections ---------------------------------------------------------------------

    def key_of(self, url: bytes) -> DefinitionKey | None:
        """Read which service a path calls; None where it calls none."""
        try:
            return self._paths[url]
        except KeyError:
            if len(self._paths) >= _PATHS_KEPT:
                self._paths.clear()
            key = key_of(url, any_case=self._any_case_paths)
            if len(url) <= _LONGEST_KEPT:
                self._paths[url] = key
            return key

    def allows_origin(self, origin: bytes) -> bool:
        """Whether pages of an origin may call."""
        return bool({origin.decode("latin-1"), "*"} & self._origins)

    def next_id(self) -> bytes:
        """Make an id for a request."""
        return b"%b%08x" % (self._prefix, next(self._numbers) & 0xFFFFFFFF)

    def log_refusal(
        self, method: bytes, url: bytes, error: MlsvcServerError, request_id: str
    ) -> None:
        """Log in a line what was answered with an error."""
        level = logging.WARNING if error.status >= 500 else logging.INFO
        if self._log.isEnabledFor(level):
            path = url.partition(b"?")[0].decode("latin-1")
            self._log.log(level, "%s %s: %s (request %s)", method.decode(), path, error, request_id)

    async def _tick(self) -> None:
        common = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        while True:
            self.now = self.loop.time()
            headers = f"{common}Date: {formatdate(time.time(), usegmt=True)}\r\n{REQUEST_ID}: "
            self.beginnings = {
                status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n{headers}".encode()
                for status in http.HTTPStatus
            }
            for connection in tuple(self.connections):
                connection.look(self.now)
            await asyncio.sleep(_TICK_SECONDS)


class _LogHandler(logging.Handler):
    """Writes to the server's log."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        self._link.tell(messages.Logged(record.levelno, self.format(record)))


def _inherited(descriptor: int) -> socket.socket:
    door = socket.socket(fileno=descriptor)
    door.set_inheritable(False)
    door.setblocking(False)
    return door


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Choose the fastest event loop that is there."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def main(link: str, relays: str) -> None:
    """Run the process; the arguments are descriptors of its links to the server."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # It ends with the server. A handler rather than SIG_IGN, which workers would inherit.
        signal.signal(number, lambda *_: None)
    sockets = [_inherited(int(descriptor)) for descriptor in (link, relays)]

    async def run() -> None:
        await Front(sockets[1]).run(sockets[0])

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())
