"""Connections to the server: one request each, streamed both ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc_server.formats.host import (
    SECRET_HEADER,
    USER_HEADER,
    HostFarewell,
    HostStatus,
    HostToken,
    socket_address,
    socket_secret,
)

T = TypeVar("T")

_ANY_SIZE: Final = 2**62
"""Bytes of a body: the server has the limits."""
_CONNECT_TIMEOUT: Final = 5.0
_CALL_TIMEOUT: Final = 30.0
"""Seconds for short calls of the extension's own."""
_LOOK_SECONDS: Final = 10.0
"""Seconds between two looks at a server that has no hosts."""


class ServerGone(Exception):
    """The server closed the connection before its answer was whole."""


class UnexpectedAnswer(Exception):
    """What answers there is no server of this project, or refuses a host."""


class ServerStopping(Exception):
    """The server takes no host any more: it lets what runs end, and is gone then."""


class HostRefused(UnexpectedAnswer):
    """The server refuses a host; the message is the server's, and says what to do."""


class Upstream(Protocol):
    """Where the server is reached."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers of each request."""

    prefix: str
    """What comes before each path, without a slash at its end."""

    def headers_for(self, user: str) -> dict[str, str]:
        """Return the headers of a request that is for a user of this Jupyter server."""
        ...

    async def connect(self) -> IOStream:
        """Open a connection; raises ``OSError`` where nobody listens."""
        ...


class UnixUpstream:
    """The server of a data folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.prefix = ""

    def __str__(self) -> str:
        return str(self._path)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of each request; each server that starts has another secret."""
        return {"Host": "localhost", SECRET_HEADER: socket_secret(self._path)}

    def headers_for(self, user: str) -> dict[str, str]:
        """Name the user."""
        return _named(user)

    async def connect(self) -> IOStream:
        """Open a connection to the Unix socket."""
        # Connecting to a Unix socket never waits for the network, so it is done at once.
        client = socket.socket(socket.AF_UNIX)
        try:
            client.settimeout(_CONNECT_TIMEOUT)
            with socket_address(self._path) as address:
                client.connect(address)
            client.setblocking(False)
        except BaseException:
            client.close()
            raise
        return IOStream(client)


class TcpUpstream:
    """A server that is run apart, at an http or https address.

    Parameters
    ----------
    url
        The address.
    secret
        What the server knows this Jupyter server by.
    token
        Access token of the person whose Jupyter server this is, in place of a secret: all requests
        are that person's.
    """

    def __init__(self, url: str, secret: str, token: str = "") -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "localhost"
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self.prefix = parts.path.rstrip("/")
        self._url = url
        self.headers = {"Host": parts.netloc} | ({} if token else {SECRET_HEADER: secret})
        self._token = token

    def __str__(self) -> str:
        return self._url

    def headers_for(self, user: str) -> dict[str, str]:
        """Name the user, or prove that a request is the person's."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else _named(user)

    async def connect(self) -> IOStream:
        """Open a connection, with the server's certificate checked where the address is https."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                family, kind, protocol, _, address = found[0]
                plain = socket.socket(family, kind, protocol)
                plain.setblocking(False)
                stream = (
                    IOStream(plain)
                    if self._tls is None
                    else SSLIOStream(plain, ssl_options=self._tls)
                )
                await stream.connect(address, server_hostname=self._host)
        except (StreamClosedError, TimeoutError) as error:
            cause = getattr(error, "real_error", None)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise cause from None
            raise ConnectionRefusedError(f"{self._host}:{self._port} cannot be reached") from error
        return stream


class Exchange(HTTPMessageDelegate):
    """One request and its answer; nothing of either is kept longer than it takes to pass on.

    Parameters
    ----------
    stream
        A new connection, which is closed at the end.
    """

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        # Neither side is made to wait until there is enough for a packet.
        if stream.socket.family != socket.AF_UNIX:
            stream.set_nodelay(True)
        self._connection = HTTP1Connection(
            stream, is_client=True, params=HTTP1ConnectionParameters(max_body_size=_ANY_SIZE)
        )
        self._head: asyncio.Future[tuple[ResponseStartLine, HTTPHeaders]] = (
            asyncio.get_running_loop().create_future()
        )
        self._chunk = b""
        self._has_news = asyncio.Event()
        self._was_taken = asyncio.Event()
        self._was_taken.set()
        self._is_whole = False
        self._is_cut = False
        self._reading: asyncio.Task[None] | None = None

    # --- request -----------------------------------------------------------------------------

    def begin(self, method: str, target: str, headers: HTTPHeaders) -> None:
        """Send the head of the request."""
        headers["Connection"] = "close"
        self._connection.write_headers(RequestStartLine(method, target, "HTTP/1.1"), headers)
        self._reading = asyncio.create_task(self._read())

    async def send(self, chunk: bytes) -> None:
        """Send a piece of the body; done when there is room for the next."""
        # Where the server stopped reading, its answer says why.
        with contextlib.suppress(StreamClosedError):
            await self._connection.write(chunk)

    def finish_request(self) -> None:
        """Send the end of the body."""
        self._connection.finish()

    # --- answer ------------------------------------------------------------------------------

    @property
    def has_answer(self) -> bool:
        """Whether the server answered already, maybe before it read the body."""
        return self._head.done()

    async def head(self) -> tuple[ResponseStartLine, HTTPHeaders]:
        """Wait for the head of the answer; raises :class:`ServerGone`."""
        return await asyncio.shield(self._head)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it comes; raises :class:`ServerGone` where it is cut off."""
        while True:
            await self._has_news.wait()
            if self._chunk:
                chunk, self._chunk = self._chunk, b""
                if not (self._is_whole or self._is_cut):
                    self._has_news.clear()
                self._was_taken.set()
                yield chunk
            elif self._is_whole:
                return
            elif self._is_cut:
                raise ServerGone

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._cut_off()
        # That ends the reading; tornado would log a cancellation as an error.
        self._stream.close()

    async def _read(self) -> None:
        try:
            await self._connection.read_response(self)
        except StreamClosedError:
            pass
        finally:
            self._cut_off()

    def _cut_off(self) -> None:
        if not self._is_whole:
            self._is_cut = True
        if not self._head.done():
            self._head.set_exception(ServerGone())
            # Nobody may be waiting.
            self._head.exception()
        self._has_news.set()
        self._was_taken.set()

    # --- what tornado calls ------------------------------------------------------------------

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Keep the head of the answer; others come before it."""
        assert isinstance(start_line, ResponseStartLine)
        if start_line.code >= 200 and not self._head.done():
            self._head.set_result((start_line, headers))

    def data_received(self, chunk: bytes) -> Awaitable[None]:
        """Keep a piece until it is taken, and let the server wait meanwhile."""
        return self._hand_over(chunk)

    async def _hand_over(self, chunk: bytes) -> None:
        await self._was_taken.wait()
        if self._is_cut:
            return
        self._was_taken.clear()
        self._chunk = chunk
        self._has_news.set()

    def finish(self) -> None:
        """Note that the answer is whole."""
        self._is_whole = True
        self._has_news.set()

    def on_connection_close(self) -> None:
        """Note that the answer is cut off."""
        self._cut_off()


class HostClient:
    """What the extension itself asks the server."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def lease(self) -> AsyncGenerator[HostStatus]:
        """Be a host of the server for as long as this is iterated.

        Raises
        ------
        OSError
            Nobody listens.
        ServerGone
            The server ended.
        ServerStopping
            It is about to end.
        UnexpectedAnswer
            It does not take this host.
        """
        exchange = await self._ask("GET", "/host", {})
        decoder = msgspec.json.Decoder(HostStatus)
        rest = b""
        try:
            await _check(exchange)
            async for chunk in exchange.chunks():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield decoder.decode(line)
        finally:
            exchange.close()

    async def token(self, user: str) -> str:
        """Get a token for kernels of a user of this Jupyter server."""
        headers = self._upstream.headers_for(user)
        return (await self._call("POST", "/host/token", headers, HostToken)).token

    async def leave(self) -> HostFarewell:
        """Say that this host goes and does not come back."""
        return await self._call("POST", "/host/leave", {}, HostFarewell)

    async def _call(self, method: str, target: str, headers: dict[str, str], kind: type[T]) -> T:
        async with asyncio.timeout(_CALL_TIMEOUT):
            exchange = await self._ask(method, target, {"Content-Length": "0"} | headers)
            try:
                await _check(exchange)
                return msgspec.json.decode(await _joined(exchange.chunks()), type=kind)
            finally:
                exchange.close()

    async def _ask(self, method: str, target: str, headers: dict[str, str]) -> Exchange:
        exchange = Exchange(await self._upstream.connect())
        sent = headers_of((self._upstream.headers | headers).items())
        exchange.begin(method, self._upstream.prefix + target, sent)
        exchange.finish_request()
        return exchange


class PersonClient(HostClient):
    """What the extension asks a server that knows the person, and no host.

    Nothing there depends on this Jupyter server, so its lease is a look every few seconds.

    Parameters
    ----------
    upstream
        Where it is reached.
    token
        Access token of the person.
    pause
        Waits for some seconds.
    """

    def __init__(
        self,
        upstream: Upstream,
        token: str,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(upstream)
        self._token = token
        self._pause = pause

    async def lease(self) -> AsyncGenerator[HostStatus]:
        """Look who the person is there, again and again; raises as that of a host."""
        while True:
            user = await self._call("GET", "/user", self._upstream.headers_for(""), _User)
            yield HostStatus(public_url=user.public_url, server_version=user.server_version)
            await self._pause(_LOOK_SECONDS)

    async def token(self, user: str) -> str:
        """Return the person's token, whoever asks."""
        return self._token

    async def leave(self) -> HostFarewell:
        """Leave a server that goes on."""
        return HostFarewell(ends=False, pid=0)


class _User(msgspec.Struct, rename="camel"):
    """What matters here of the answer of ``GET /user``."""

    server_version: str
    public_url: str = ""


def _named(user: str) -> dict[str, str]:
    return {USER_HEADER: quote(user, safe="")}


def headers_of(pairs: Iterable[tuple[str, str]]) -> HTTPHeaders:
    """Make headers of names and values, of which a name may come twice."""
    headers = HTTPHeaders()
    for name, value in pairs:
        headers.add(name, value)
    return headers


async def _check(exchange: Exchange) -> None:
    start_line, _ = await exchange.head()
    if start_line.code == 200:
        return
    answered = UnexpectedAnswer(f"It answers with status {start_line.code}.")
    # To who is no host, the routes of hosts are not there.
    if start_line.code == 404:
        raise answered
    try:
        problem = msgspec.json.decode(await _joined(exchange.chunks()), type=Problem)
    except msgspec.DecodeError:
        raise answered from None
    if start_line.code == 503:
        raise ServerStopping
    raise HostRefused(problem.message)


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])
