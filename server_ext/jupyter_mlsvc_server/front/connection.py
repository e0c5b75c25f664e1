"""HTTP/1.1 at the public door.

Calls of services are answered here: their bodies go to a worker as they came, and its answers come
back the same way. Every other request goes through a :class:`~.relay.Relay` to the server.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import unquote_to_bytes

import httptools

from jupyter_mlsvc_server.answers import (
    CORS_HEADERS,
    bearer_token,
    body_too_large,
    error_body,
    nobody_known,
)
from jupyter_mlsvc_server.content_coding import charset_problem, codings_of, decoded
from jupyter_mlsvc_server.errors import BadRequest, Busy, MlsvcServerError, UnsupportedMediaType
from jupyter_mlsvc_server.front.heads import END as HEAD_ENDS
from jupyter_mlsvc_server.front.link import LinkEnded
from jupyter_mlsvc_server.front.relay import Relay
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.request import PendingRequest

if TYPE_CHECKING:
    from jupyter_mlsvc_server.front.process import Front

_CALL: Final = re.compile(rb"/api/([^/?]+)/([^/?]+)/?(?:\?.*)?", re.DOTALL)
_CALL_IN_ANY_CASE: Final = re.compile(_CALL.pattern, re.DOTALL | re.IGNORECASE)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_KEPT_ALIVE: Final = b"Connection: keep-alive\r\n"
_CLOSED: Final = b"Connection: close\r\n"
_CORS: Final = "".join(f"{name}: {value}\r\n" for name, value in CORS_HEADERS.items()).encode()

_NOT_FORWARDED: Final = frozenset(
    {b"connection", b"content-length", b"http2-settings", b"keep-alive", b"proxy-connection",
     b"transfer-encoding", b"upgrade"}
)  # fmt: skip
"""Headers about the connection; the front has its own to the server."""

_MOST_BUFFERED: Final = 2**18
"""Bytes of a body that may wait to be relayed until the client is let wait."""

_Reason = Literal["answers", "body", "queue", "verifying"]


class RequestTimeout(BadRequest):
    """The client did not send in time what it had begun."""

    status = 408


class HeadTooLarge(BadRequest):
    """The request's head is over the limit."""

    status = 431


class MethodNotTaken(BadRequest):
    """A method that makes no sense here."""

    status = 405


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may do; in seconds and bytes.

    Attributes
    ----------
    body_bytes
        Largest body of a call.
    head_bytes
        Largest head of a request, as it is written: its own bytes, whatever else came with it.
    head_seconds
        For a head to come in whole.
    stall_seconds
        For which a body may not come, or an answer not be read.
    idle_seconds
        For which a connection is kept without a request.
    linger_seconds, longest_linger_seconds
        For which a client that was refused goes on to be heard, after its last word and in all.
        Closing at once would cost it the answer.
    """

    body_bytes: int
    head_bytes: int = 2**16
    head_seconds: float = 30.0
    stall_seconds: float = 60.0
    idle_seconds: float = 300.0
    linger_seconds: float = 5.0
    longest_linger_seconds: float = 60.0


class Request:
    """A request on its way in."""

    __slots__ = (
        "authorization", "chunks", "codings", "error", "expects", "headers", "is_admitted",
        "is_chunked", "is_forwarded", "is_kept_alive", "is_whole", "key", "length",
        "media_problem", "method", "origin", "size", "url", "version", "wakeup",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = b""
        self.url = b""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_kept_alive = True
        self.chunks: deque[bytes] = deque()
        self.size = 0
        """Bytes in ``chunks``."""
        self.is_whole = False
        """Whether all of it has come."""
        self.key: DefinitionKey | None = None
        self.length = 0
        self.is_chunked = False
        self.expects = False
        self.authorization: bytes | None = None
        self.origin: bytes | None = None
        self.codings: tuple[str, ...] = ()
        """How the body of a call is encoded."""
        self.media_problem: MlsvcServerError | None = None
        """Why the body of a call can't be read, as its headers tell."""
        self.is_admitted = False
        self.error: MlsvcServerError | None = None
        """What it is answered with once its body has come."""
        self.is_forwarded = False
        self.wakeup: asyncio.Future[None] | None = None
        """Waited for by who forwards the body."""

    def copy_of_head(self) -> Request:
        """Give a request with what this one's head told."""
        copy = Request()
        copy.method, copy.url, copy.version = self.method, self.url, self.version
        copy.is_kept_alive, copy.length, copy.key = self.is_kept_alive, self.length, self.key
        copy.origin, copy.authorization = self.origin, self.authorization
        return copy


class Connection(asyncio.Protocol):
    """A client's connection.

    Requests are answered one after the other, in the order they came.
    """

    def __init__(self, front: Front) -> None:
        self._front = front
        self._limits = front.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport = cast(asyncio.Transport, None)
        self._reading: Request | None = None
        self._current: Request | None = None
        self._call: PendingRequest | None = None
        """What runs for the current request."""
        self._fresh: bytes | None = None
        """What came last, where a request begins with it."""
        self._queue: deque[Request] = deque()
        self._upgrading: Request | None = None
        self._head_bytes = 0
        """Bytes of a head that is not whole yet, at least."""
        self._begun_in_read = 0
        self._is_in_head = False
        self._paused: set[_Reason] = set()
        self._broken: MlsvcServerError | None = None
        self._is_closing = False
        self._lingering_since: float | None = None
        self._relay: Relay | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard_at = front.now
        self._head_at = front.now
        self._stuck_at: float | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where the client is."""
        name = self._transport.get_extra_info("peername")
        return (str(name[0]), int(name[1])) if name else ("", 0)

    # --- the transport -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport."""
        # A cast, not a check: transports of other event loops are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._front.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        front = self._front
        self._heard_at = front.now
        if self._is_closing or self._broken is not None:
            return
        if self._current is None and self._reading is None and not self._queue:
            end = data.find(HEAD_ENDS) + len(HEAD_ENDS)
            known = front.heads.get(data[:end])
            if known is not None and len(data) - end == known.length:
                key, authorization = known.key, known.authorization
                if key and authorization and front.tokens.admits(authorization):
                    self._current = known
                    self._call = front.engine.submit(key, data[end:], self._ended)
                    return
            self._fresh = data
        is_between = self._reading is None
        self._begun_in_read = 0
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._break(BadRequest("This is not an HTTP request that can be read."))
            return
        if self._is_in_head and self._begun_in_read <= is_between:
            # All of the read is this head's. Where it has the end of something else too, nobody
            # knows how much is; then only the reads that follow count until the head is whole.
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._break(self._head_too_large())

    def connection_lost(self, error: Exception | None) -> None:
        """Forget about the answers, and let the server know."""
        self._is_closing = True
        self._front.connections.discard(self)
        if self._call is not None:
            self._call.abandon()
        self._current = self._call = None
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        if self._relay is not None:
            self._relay.close()

    def pause_writing(self) -> None:
        """Take no more from a client that does not read its answers."""
        self._stuck_at = self._front.now
        self._pause("answers")
        if self._relay is not None:
            self._relay.pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._stuck_at = None
        self._resume("answers")
        if self._relay is not None:
            self._relay.resume()

    def _pause(self, reason: _Reason) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused.add(reason)

    def _resume(self, reason: _Reason) -> None:
        if reason in self._paused:
            self._paused.discard(reason)
            if not self._paused and not self._transport.is_closing():
                self._heard_at = self._front.now
                self._transport.resume_reading()

    # --- the parser --------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # No other protocol is spoken here, and a client has to live with an answer in
                # this one (RFC 9110, 7.8). The parser would take the body for the other protocol.
                data = self._without_upgrade() + data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
            else:
                return

    def _without_upgrade(self) -> bytes:
        request, self._upgrading = self._upgrading, None
        if request is None or request.method == b"CONNECT":
            self._break(MethodNotTaken("There is no CONNECT here."))
            return b""
        words = [
            word
            for name, value in request.headers
            if name.lower() == b"connection"
            for word in value.split(b",")
            if word.strip().lower() not in {b"upgrade", b"http2-settings"}
        ]
        headers = [
            (name, value)
            for name, value in request.headers
            if name.lower() not in {b"connection", b"upgrade", b"http2-settings"}
        ]
        if words:
            headers.append((b"Connection", b",".join(words)))
        return _head(request, headers)

    def on_message_begin(self) -> None:
        """Begin a request, unless there will be none after the one that broke the connection."""
        if self._broken is not None:
            return
        self._reading = Request()
        self._is_in_head = True
        self._head_bytes = 0
        self._begun_in_read += 1
        self._head_at = self._front.now

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        if self._reading is not None:
            self._reading.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which is of no use."""
        if self._is_in_head and self._reading is not None:
            self._reading.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin to answer, if nothing else is being answered."""
        self._is_in_head = False
        fresh, self._fresh = self._fresh, None
        request = self._reading
        if request is None or self._is_closing:
            return
        parser = self._parser
        request.method = parser.get_method()
        request.version = parser.get_http_version()
        if parser.should_upgrade():
            self._upgrading, self._reading = request, None
            return
        if _size_of_head(request) > self._limits.head_bytes:
            self._break(self._head_too_large())
            self._reading = None
            return
        request.is_kept_alive = parser.should_keep_alive()
        self._read_headers(request)
        if fresh is not None:
            self._front.heads.add(fresh, request)
        if self._current is None:
            self._begin(request)
        else:
            self._queue.append(request)
            self._pause("queue")

    def on_body(self, data: bytes) -> None:
        """Take a piece of a body."""
        request = self._reading
        if request is None or request.error is not None or self._is_closing:
            return
        request.chunks.append(data)
        request.size += len(data)
        if request.is_forwarded:
            self._wake(request)
            if request.size > _MOST_BUFFERED:
                self._pause("body")
        elif request is self._current and request.size > self._limits.body_bytes:
            self._reject(request, body_too_large(self._limits.body_bytes))

    def on_message_complete(self) -> None:
        """Hand on a request that is whole."""
        request, self._reading = self._reading, None
        if request is None or self._is_closing:
            return
        request.is_whole = True
        if request is not self._current:
            return
        if request.is_forwarded:
            self._wake(request)
        elif request.error is not None:
            self._finish_with_error(request, request.error)
        elif request.is_admitted:
            self._submit(request)

    # --- requests ----------------------------------------------------------------------------

    def _begin(self, request: Request) -> None:
        self._current = request
        authorization = request.authorization
        if request.key is None:
            self._forward(request)
            return
        if authorization is not None and self._front.tokens.admits(authorization):
            self._admit(request)
            return
        token = bearer_token(authorization.decode("latin-1")) if authorization else None
        if authorization is None or token is None:
            self._refuse(request, nobody_known(token_was_sent=False))
        else:
            if not request.is_whole:
                self._pause("verifying")
            self._spawn(self._verify(request, authorization, token))

    def _read_headers(self, request: Request) -> None:
        """Note whom the request is for, and what its headers tell."""
        if request.method == b"POST":
            request.key = self._front.key_of(request.url)
        for name, value in request.headers:
            match name.lower():
                case b"authorization":
                    given = request.authorization
                    request.authorization = value if given is None else given + b"," + value
                case b"content-length":
                    request.length = int(value)
                case b"transfer-encoding":
                    request.is_chunked = True
                case b"origin":
                    request.origin = value
                case b"expect":
                    request.expects = value.lower() == b"100-continue"
                case b"content-encoding" | b"content-type" if request.key is not None:
                    _read_media_header(request, name.lower(), value.decode("latin-1"))

    async def _verify(self, request: Request, authorization: bytes, token: str) -> None:
        try:
            await self._front.tokens.admit(authorization, token)
        except MlsvcServerError as error:
            self._refuse(request, error)
        except LinkEnded:
            self._refuse(request, Busy("The server is stopping.", retry_after=1))
        else:
            self._admit(request)
        self._resume("verifying")

    def _admit(self, request: Request) -> None:
        """Take a call from somebody who may call."""
        if request is not self._current:
            return
        limit = self._limits.body_bytes
        if request.length > limit or request.size > limit:
            self._reject(request, body_too_large(limit))
            return
        if request.media_problem is not None:
            self._reject(request, request.media_problem)
            return
        request.is_admitted = True
        if request.is_whole:
            self._submit(request)
        elif request.expects and not request.size:
            self._transport.write(_CONTINUE)

    def _submit(self, request: Request) -> None:
        chunks = request.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        assert request.key is not None
        if request.codings:
            self._spawn(self._submit_decoded(request, request.key, body))
        else:
            self._call = self._front.engine.submit(request.key, body, self._ended)

    async def _submit_decoded(self, request: Request, key: DefinitionKey, body: bytes) -> None:
        limit = self._limits.body_bytes
        try:
            plain = await asyncio.to_thread(decoded, body, request.codings, limit)
        except MlsvcServerError as error:
            if request is self._current:
                self._front.engine.reject(*key)
                self._finish_with_error(request, error)
            return
        if request is self._current:
            self._call = self._front.engine.submit(key, plain, self._ended)

    def _ended(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        request = self._current
        if request is None:
            return
        self._call = None
        if isinstance(outcome, ScoringAnswer):
            self._finish(request, outcome.status, outcome.body)
        else:
            self._finish_with_error(request, outcome)

    def _reject(self, request: Request, error: MlsvcServerError) -> None:
        """Refuse a call for how it was sent, and count that where the caller is known."""
        authorization = request.authorization
        if request.key and authorization and self._front.tokens.admits(authorization):
            self._front.engine.reject(*request.key)
        self._refuse(request, error)

    def _refuse(self, request: Request, error: MlsvcServerError) -> None:
        """Answer with an error: after the body if that is to come soon, else now for good."""
        if request is not self._current or self._is_closing:
            return
        request.chunks.clear()
        waits = request.expects and not request.size
        is_long = request.is_chunked or request.length > self._limits.body_bytes
        request.error = error
        if request.is_whole:
            self._finish_with_error(request, error)
        elif waits or is_long:
            request.is_kept_alive = False
            self._finish_with_error(request, error)

    # --- answers -----------------------------------------------------------------------------

    def _finish(
        self,
        request: Request,
        status: int,
        body: bytes,
        headers: bytes = b"",
        request_id: bytes = b"",
    ) -> None:
        """Write an answer and go on with the next request."""
        front = self._front
        request_id = request_id or front.next_id()
        if request.origin is not None:
            headers += self._cors_headers(request.origin)
        if not request.is_kept_alive:
            headers += _CLOSED
        elif request.version == "1.0":
            headers += _KEPT_ALIVE
        self._transport.write(
            b"%b%b\r\nContent-Length: %d\r\n%b\r\n%b"
            % (front.beginnings[status], request_id, len(body), headers, body)
        )
        self._next(request)

    def _finish_with_error(self, request: Request, error: MlsvcServerError) -> None:
        request_id = self._front.next_id()
        shown = request_id.decode()
        self._front.log_refusal(request.method, request.url, error, shown)
        headers = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        body = error_body(error, shown)
        self._finish(request, error.status, body, headers.encode(), request_id)

    def _cors_headers(self, origin: bytes) -> bytes:
        if not self._front.allows_origin(origin):
            return b""
        return b"Access-Control-Allow-Origin: %b\r\n%b" % (origin, _CORS)

    def _next(self, done: Request) -> None:
        self._current = None
        if not done.is_kept_alive:
            self._part(done.is_whole)
        elif self._queue:
            self._front.loop.call_soon(self._begin_queued)
        elif self._broken is not None:
            self._break(self._broken)

    def _begin_queued(self) -> None:
        if self._current is not None or self._is_closing or not self._queue:
            return
        request = self._queue.popleft()
        if not self._queue:
            self._resume("queue")
        if self._broken is not None and not request.is_whole:
            self._current = request
            self._break(self._broken)
        else:
            self._begin(request)

    def _part(self, is_all_read: bool) -> None:
        """Close the connection; while the client still sends, not before it could read."""
        self._is_closing = True
        self._queue.clear()
        if is_all_read:
            self._transport.close()
            return
        self._lingering_since = self._front.now
        if self._transport.can_write_eof():
            self._transport.write_eof()
        for reason in tuple(self._paused):
            self._resume(reason)

    def _break(self, error: MlsvcServerError) -> None:
        """Answer what can't be read, after what could; then part. The first error counts."""
        if self._is_closing:
            return
        error = self._broken = self._broken or error
        current = self._current
        if current is None and self._queue:
            return
        if current is not None and current.is_whole:
            return
        if current is not None and current.is_forwarded:
            if self._relay is not None and self._relay.has_begun:
                # There can't be a second answer.
                self._transport.abort()
                return
            self._drop_relay()
        request = current or self._reading or Request()
        request.is_kept_alive = False
        self._current = request
        self._finish_with_error(request, error)

    def _head_too_large(self) -> HeadTooLarge:
        limit = self._limits.head_bytes
        return HeadTooLarge(f"The request's head is larger than is taken here ({limit:,} bytes).")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._front.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what the server answers -------------------------------------------------------------

    def _forward(self, request: Request) -> None:
        request.is_forwarded = True
        self._spawn(self._send_on(request))

    async def _send_on(self, request: Request) -> None:
        try:
            relay = self._relay
            if relay is None:
                relay = await Relay.open(self, self._front.relays)
                self._relay = relay
            relay.begin(request.method == b"HEAD")
            await relay.send(_head(request, _forwarded(request)))
            await self._send_body(relay, request)
        except OSError:
            # The server has closed, after an answer or without one; the reading end tells.
            request.chunks.clear()
            self._resume("body")

    async def _send_body(self, relay: Relay, request: Request) -> None:
        while True:
            while request.chunks:
                chunk = request.chunks.popleft()
                if request.is_chunked:
                    chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
                await relay.send(chunk)
            request.size = 0
            self._resume("body")
            if request.is_whole:
                break
            request.wakeup = self._front.loop.create_future()
            await request.wakeup
        if request.is_chunked:
            await relay.send(b"0\r\n\r\n")

    def _wake(self, request: Request) -> None:
        wakeup, request.wakeup = request.wakeup, None
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)

    def relayed(self, data: bytes) -> None:
        """Pass on a piece of the server's answer."""
        if self._current is not None:
            self._transport.write(data)

    def relay_finished(self, *, is_kept_alive: bool) -> None:
        """Go on after the server's answer."""
        request = self._current
        if request is None:
            return
        if not is_kept_alive:
            self._drop_relay()
        request.is_kept_alive = request.is_kept_alive and is_kept_alive and request.is_whole
        self._next(request)

    def relay_lost(self, *, has_begun: bool) -> None:
        """Cope with a server that ended in the middle."""
        self._relay = None
        request = self._current
        if request is None or not request.is_forwarded:
            return
        if has_begun:
            # Where an answer ends with the connection, that was it.
            request.is_kept_alive = False
            self._next(request)
            return
        request.is_kept_alive = False
        self._finish_with_error(
            request, Busy("The server ended before it answered.", retry_after=1)
        )

    def relay_closed(self, relay: Relay) -> None:
        """Make another one for the next request."""
        if self._relay is relay:
            self._relay = None

    def _drop_relay(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()

    # --- time and the end --------------------------------------------------------------------

    def look(self, now: float) -> None:
        """End what takes too long."""
        limits = self._limits
        silent = now - self._heard_at
        if self._lingering_since is not None:
            lingering = now - self._lingering_since
            if silent > limits.linger_seconds or lingering > limits.longest_linger_seconds:
                self._transport.abort()
        elif self._stuck_at is not None:
            if now - self._stuck_at > limits.stall_seconds:
                self._transport.abort()
        elif self._current is not None:
            is_coming = self._reading is self._current and not self._paused
            if is_coming and silent > limits.stall_seconds:
                self._break(RequestTimeout("The body did not come in time."))
        elif self._is_in_head:
            if now - self._head_at > limits.head_seconds:
                self._break(RequestTimeout("The request did not come in time."))
        elif silent > limits.idle_seconds:
            self._transport.close()

    def close(self) -> None:
        """Close it now."""
        self._transport.abort()


def _head(request: Request, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    first = b"%b %b HTTP/%b\r\n" % (request.method, request.url, request.version.encode())
    return first + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n"


def _size_of_head(request: Request) -> int:
    """Count the bytes of a head as a client writes it, with a space after each colon."""
    first = len(request.method) + len(request.url) + len(b"  HTTP/1.1\r\n")
    headers = sum(len(name) + len(value) + len(b": \r\n") for name, value in request.headers)
    return first + headers + len(b"\r\n")


def _forwarded(request: Request) -> list[tuple[bytes, bytes]]:
    """Give the headers that the server gets: the client's, and ours about the connection."""
    headers = [header for header in request.headers if header[0].lower() not in _NOT_FORWARDED]
    if request.is_chunked:
        headers.append((b"Transfer-Encoding", b"chunked"))
    elif any(name.lower() == b"content-length" for name, _ in request.headers):
        headers.append((b"Content-Length", b"%d" % request.length))
    if not request.is_kept_alive:
        headers.append((b"Connection", b"close"))
    elif request.version == "1.0":
        headers.append((b"Connection", b"keep-alive"))
    return headers


def _read_media_header(request: Request, name: bytes, value: str) -> None:
    if name == b"content-type":
        request.media_problem = charset_problem(value) or request.media_problem
        return
    try:
        request.codings += codings_of(value)
    except UnsupportedMediaType as problem:
        request.media_problem = problem


def key_of(url: bytes, *, any_case: bool = False) -> DefinitionKey | None:
    """Return which service a path calls, which may be in any case but for that; None for none."""
    found = (_CALL_IN_ANY_CASE if any_case else _CALL).fullmatch(url)
    if found is None:
        return None
    try:
        name, version = (unquote_to_bytes(part).decode() for part in found.groups())
    except UnicodeDecodeError:
        return None  # the server knows what to say
    return DefinitionKey(name, version)
