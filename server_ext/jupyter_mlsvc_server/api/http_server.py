"""The HTTP server: listening sockets, and what their connections share."""

from __future__ import annotations

import asyncio
import http
import itertools
import logging
import secrets
import socket
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from email.utils import formatdate
from typing import Final

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from jupyter_mlsvc_server.api.admission import Admission
from jupyter_mlsvc_server.api.head_cache import HeadCache
from jupyter_mlsvc_server.api.logged_protocol import LoggedProtocol
from jupyter_mlsvc_server.api.protocol import Limits, Protocol
from jupyter_mlsvc_server.api.responses import HEADERS, REQUEST_ID
from jupyter_mlsvc_server.api.score import CALL_ROUTE, ScoreEntry
from jupyter_mlsvc_server.api.traced_protocol import (
    TracedApp,
    TracedLoggedProtocol,
    TracedProtocol,
)
from jupyter_mlsvc_server.errors import MlsvcServerError, NotServing
from jupyter_mlsvc_server.formats.pieces import return_pieces_at_once
from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest, Observer
from jupyter_mlsvc_server.monitoring.traces import Traces
from jupyter_mlsvc_server.storage.clock import Clock

_BACKLOG: Final = 2048
_FAREWELL_SECONDS: Final = 1.0
"""For connections to end by themselves, with what was written to them, when the server closes."""
_TELL_SECONDS: Final = 60.0
"""Between two lines of the log about connections that were refused."""
_OVERLOADS: Final = frozenset({429, 503, 504})
"""Statuses that many get at once."""
_HANDSHAKE_SECONDS: Final = 15.0
_PAUSE: Final = 0.005


_PROTOCOLS: Final = {
    (False, False): Protocol,
    (True, False): LoggedProtocol,
    (False, True): TracedProtocol,
    (True, True): TracedLoggedProtocol,
}
"""Protocols by whether calls are logged, and traced."""


class HttpServer:
    """Serves an ASGI application, and calls of services beside it, on any number of sockets.

    Made in a running event loop.

    Parameters
    ----------
    app
        Answers all requests but plain calls. It answers its own errors, too.
    score
        Takes plain calls.
    limits
        What clients may do.
    log
        Where refusals are written.
    look_seconds
        Seconds between two looks at how long connections have been silent.
    observers
        Called with each request that is refused without the application.
    call_observers
        Called with each plain call that was answered; calls take longer where there is one.
    traces
        Makes spans of requests, where there are to be any; then ``score`` makes those of calls.
    clock
        Seconds that the limits go by.
    """

    def __init__(  # noqa: PLR0913 - what connections share
        self,
        *,
        app: ASGIApp,
        score: ScoreEntry,
        limits: Limits,
        log: logging.Logger,
        look_seconds: float = 1.0,
        observers: Sequence[Observer] = (),
        call_observers: Sequence[Observer] = (),
        traces: Traces | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.score = score
        self.limits = limits
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.config = Config(
            app if traces is None else TracedApp(app, traces),
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        self.config.load()
        self.state = ServerState()
        self.heads = HeadCache()
        self.admission = Admission(
            limits.connections, limits.connections_of_address, limits.proxies
        )
        self._refused = 0
        self._repeated = Counter[tuple[int, str]]()
        """Overloads since the last look by status and path; of each the first has a line."""
        self._tell_after = 0.0
        self.is_draining = False
        """Whether each answer is the last one of its connection."""
        self.now = 0.0
        """Seconds of the clock at the last look."""
        self.beginnings: dict[int, bytes] = {}
        """Of answers to calls, by their status, up to the number in the request's id."""
        self._prefix = secrets.token_hex(12)
        self.next_number = itertools.count(secrets.randbits(16)).__next__
        """Gives what distinguishes a request's id from those before."""
        self._look_seconds = look_seconds
        self._observers = observers
        self.call_observers = call_observers
        self._protocol = _PROTOCOLS[bool(call_observers), traces is not None]
        self._clock = clock
        self._servers: list[asyncio.Server] = []
        self._looking: asyncio.Task[None] | None = None

    async def open(self, listening: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a bound socket, which is closed with the server."""
        listening.setblocking(False)
        if self._looking is None:
            return_pieces_at_once()
            self._renew()
            self._looking = self.loop.create_task(self._keep_looking())
        server = await self.loop.create_server(
            lambda: self._protocol(self),
            sock=listening,
            ssl=tls,
            backlog=_BACKLOG,
            ssl_handshake_timeout=None if tls is None else _HANDSHAKE_SECONDS,
        )
        self._servers.append(server)

    def drain(self) -> None:
        """Have clients connect anew: the next answer of each connection is its last one.

        Calls go through the application from now on, which may refuse them. May be called twice.
        """
        self.is_draining = True
        self.score.close()

    @property
    def is_busy(self) -> bool:
        """Whether requests wait for their answers."""
        return any(connection.is_busy for connection in self.connections)

    async def close(self) -> None:
        """Stop listening, end all connections, and wait for the application; may be repeated.

        Who still waits for an answer is told that the server stops.
        """
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in self.connections:
            connection.end(NotServing(is_stopping=True))
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        # A turn of the loop tells the application that its clients are gone.
        await asyncio.sleep(0)
        tasks = [*self.state.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        give_up = self.loop.time() + _FAREWELL_SECONDS
        while self.connections and self.loop.time() < give_up:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(_PAUSE)
        for connection in self.connections:
            connection.transport.abort()

    @property
    def connections(self) -> list[Protocol]:
        """Those that are open."""
        return [each for each in self.state.connections if isinstance(each, Protocol)]

    def id_of(self, number: int) -> str:
        """Return the id of a request by its number."""
        return f"{self._prefix}{number:08x}"

    def log_refusal(
        self, method: str, url: bytes, error: MlsvcServerError, request_id: str
    ) -> None:
        """Take note of what was answered with an error, and log it in a line.

        Where many are turned away, one of them has a line each second, and the others a number.
        """
        if self._observers:
            self._note(method, url, error.status, request_id)
        level = logging.WARNING if error.status >= 500 else logging.INFO
        if self.log.isEnabledFor(level):
            path = url.partition(b"?")[0].decode("latin-1")
            extra = {"request": request_id}
            if error.status in _OVERLOADS:
                self._repeated[error.status, path] += 1
                if self._repeated[error.status, path] > 1:
                    return
            self.log.log(level, "%s %s: %s", method, path, error, extra=extra)

    def _note(self, method: str, url: bytes, status: int, request_id: str) -> None:
        is_call = self.score.key_of(url) is not None
        answered = AnsweredRequest(
            id=request_id,
            method=method,
            path=url.partition(b"?")[0].decode("latin-1"),
            route=CALL_ROUTE if is_call else "",
            status=status,
            seconds=0.0,
        )
        for observe in self._observers:
            observe(answered)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            self.look()

    def look(self) -> None:
        """End what has taken too long by now."""
        self._renew()
        self._tell_refused()
        for connection in self.connections:
            try:
                connection.look(self.now)
            except Exception:
                # One connection is no reason to forget about the others.
                self.log.exception("A connection could not be looked after.")
                connection.transport.abort()

    def _tell_refused(self) -> None:
        """Log how many requests were refused, and now and then how many connections."""
        for (status, path), count in self._repeated.items():
            if count > 1:
                self.log.warning(
                    "%s: %d more requests were answered with %d", path, count - 1, status
                )
        self._repeated.clear()
        refused = self.admission.refused - self._refused
        if refused and self.now >= self._tell_after:
            self._refused += refused
            self._tell_after = self.now + _TELL_SECONDS
            self.log.warning("%d connections were refused: too many are open", refused)

    def _renew(self) -> None:
        self.now = self._clock()
        date = formatdate(time.time(), usegmt=True)
        self.state.default_headers = [(b"date", date.encode())]
        common = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        headers = f"{common}Date: {date}\r\n{REQUEST_ID}: {self._prefix}"
        self.beginnings = {
            status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n{headers}".encode()
            for status in http.HTTPStatus
        }
