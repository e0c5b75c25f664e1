"""HTTP/1.1: uvicorn's protocol, with limits on what a client may do, and a short way for calls.

uvicorn parses, frames answers and runs the application once for each request, one after the other.
What is added here:

- A plain call of a service goes to the engine without the application. One whose head is known by
  its bytes is not even parsed.
- A head, a body, an answer or the next request that is not sent, or read, for too long ends the
  connection, and so does a head that is too large. The server looks once a second.
- While requests wait for those before them, and while answers wait to be read, nothing is read.
- Who is refused before all of a body was sent goes on to be heard for a while: closing at once
  would cost the client the answer.
- While the server drains, the answer to the last request that came is a connection's last one.
- An offer of another protocol is not taken up, and its body is kept; there is no ``CONNECT``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote_to_bytes

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from jupyter_mlsvc_server.api.flow import Flow
from jupyter_mlsvc_server.api.head_cache import END, CallHead
from jupyter_mlsvc_server.api.large_answers import LargeAnswer
from jupyter_mlsvc_server.api.proxies import TrustedProxies
from jupyter_mlsvc_server.api.responses import error_body
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import BadRequest, MlsvcServerError, TooManyRequests
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.request import PendingRequest

if TYPE_CHECKING:
    from jupyter_mlsvc_server.api.http_server import HttpServer

_MAX_PIPELINED: Final = 1000
"""Requests that may wait for those before them; a single read can hold many thousands."""

_COUNTED: Final = 2**16
"""Bytes from which on the body of a call counts for the memory that bodies may take.

Of shorter ones a connection has one at a time.
"""

_CLOSE: Final = b"Connection: close\r\n"

_OFFERS: Final = frozenset({b"connection", b"http2-settings", b"upgrade"})


class RequestTimeout(BadRequest):
    """The client did not send in time what it had begun."""

    status = 408


class HeadTooLarge(BadRequest):
    """The request's head is over the limit."""

    status = 431


class UnknownTransferCoding(BadRequest):
    """The body is sent in a way that is not known here."""

    status = 501


class UnknownHttpVersion(BadRequest):
    """Another version of HTTP."""

    status = 505


class MethodNotTaken(BadRequest):
    """A method that makes no sense here."""

    status = 405


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may do; in seconds and bytes.

    Attributes
    ----------
    head_bytes
        Largest head of a request, as it is written: its own bytes, whatever else came with it.
    headers
        Most headers of a request.
    head_seconds
        For a head to come in whole.
    stall_seconds
        For which a body may not come, or an answer not be read.
    idle_seconds
        For which a connection is kept without a request.
    anonymous_idle_seconds
        The same, while nobody has shown on it who asks.
    linger_seconds, longest_linger_seconds
        For which a client that was refused goes on to be heard, after its last word and in all.
    connections, connections_of_address
        Most connections, in all and from one address.
    proxies
        Whose addresses many have.
    """

    head_bytes: int = 2**16
    headers: int = 100
    head_seconds: float = 30.0
    stall_seconds: float = 60.0
    idle_seconds: float = 300.0
    anonymous_idle_seconds: float = 15.0
    linger_seconds: float = 5.0
    longest_linger_seconds: float = 60.0
    connections: int = 10_000
    connections_of_address: int = 1000
    proxies: TrustedProxies = field(default_factory=TrustedProxies)


class _Cycle(RequestResponseCycle):
    """A request for the application, and its answer."""

    ends_connection = False
    is_last: Callable[[], bool]
    """Tells whether the connection is to end after the answer."""
    _is_unframed = False

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            if not self.disconnected:
                self.logger.exception("A request could not be answered.")
        finally:
            if not (self.response_complete or self.disconnected):
                self.transport.abort()
            self.on_response, self.is_last = lambda: None, bool

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            await self._start(message)
            return
        if self._is_unframed:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    async def _start(self, message: Any) -> None:
        # What comes of the body after its answer is no request.
        self.keep_alive = self.keep_alive and not (self.more_body or self.is_last())
        headers = list(message["headers"])
        if self.scope["http_version"] == "1.0":
            names = {name.lower() for name, _ in headers}
            if self.scope["method"] != "HEAD" and b"content-length" not in names:
                self._is_unframed, self.chunked_encoding, self.keep_alive = True, False, False
            if self.keep_alive:
                headers.append((b"connection", b"keep-alive"))
        message["headers"] = headers
        await super().send(message)
        # uvicorn would close the connection itself, and not linger.
        self.ends_connection, self.keep_alive = not self.keep_alive, True


class Protocol(HttpToolsProtocol):
    """A client's connection.

    Requests are answered one after the other, in the order they came.
    """

    # Besides, Python finds attributes faster while an object has at most thirty in its dictionary.
    __slots__ = (
        "_begun_in_read", "_body_came", "_broken", "_call", "_caller", "_chunks", "_fresh",
        "_head_at", "_head_bytes", "_heard_at", "_held", "_is_host", "_is_in_head", "_is_known",
        "_limits", "_lingering_since", "_number", "_read_bytes", "_running", "_score", "_server",
        "_stuck_at", "_taking", "_unread",
    )  # fmt: skip

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.config, server.state, {}, server.loop)
        self.logger = server.log
        self.access_log = False
        self.url = b""
        self._server = server
        self._score = server.score
        self._limits = server.limits
        self._running: _Cycle | CallHead | LargeAnswer | None = None
        """What is being answered."""
        self._taking: _Cycle | CallHead | None = None
        """Whose body is coming."""
        self._call: PendingRequest | None = None
        self._caller: Principal | None = None
        self._number = 0
        """Of the call that is answered, in the id of its request."""
        self._chunks: list[bytes] = []
        """The body of a call that does not go to the application."""
        self._fresh: bytes | None = None
        """What came last, where a request begins with it."""
        self._is_in_head = False
        self._begun_in_read = 0
        self._head_bytes = 0
        """Of a head that is not whole yet, at least."""
        self._read_bytes = 0
        """Of reads that are a head's alone, or only frame a body."""
        self._body_came = False
        self._broken: MlsvcServerError | None = None
        """Why nothing more can be read."""
        self._heard_at = self._head_at = server.now
        self._stuck_at: float | None = None
        """When the client last read of answers that wait to be read."""
        self._unread = 0
        self._lingering_since: float | None = None
        self._is_host = False
        self._is_known = False
        """Whether somebody has shown on this connection who they are."""
        self._held: tuple[str, int] | None = None
        """Whose body is counted, and its bytes."""

    @property
    def is_busy(self) -> bool:
        """Whether there are requests that wait for their answers."""
        return self._running is not None or bool(self.pipeline)

    # --- the transport -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected transport; by the Unix socket only from the same user."""
        # A cast, not a check: transports of other event loops are no subclasses of asyncio's.
        super().connection_made(cast(asyncio.Transport, transport))
        self.flow = Flow(self)
        if (peer := _peer_of(transport)) is not None:
            self._is_host = peer == os.geteuid()
            if not self._is_host:
                self.transport.abort()
        elif (refusal := self._server.admission.admit(self)) is not None:
            number = self._server.next_number()
            body = error_body(refusal, self._server.id_of(number))
            self._write(refusal.status, number, _CLOSE + b"Retry-After: 1\r\n", body)
            # Waiting until they have read it would keep the descriptor.
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Answer a call whose head is known; parse all else."""
        server = self._server
        self._heard_at = server.now
        if self._broken is not None or self._lingering_since is not None:
            return
        is_between = not self._is_in_head and self._taking is None
        if is_between and self._running is None and not self.pipeline:
            end = data.find(END) + len(END)
            head = server.heads.get(data[:end])
            if head is not None and len(data) - end == head.length:
                caller = self._score.admit(head)
                if caller is not None:
                    self._is_known = True
                    self._running = head
                    self._number = number = server.next_number()
                    self._call = self._score.submit(
                        head.key, data[end:], self._ended, caller, number
                    )
                    return
        self._fresh = data if is_between else None
        self._begun_in_read = 0
        self._body_came = False
        taken_before = self._taking
        try:
            self._feed(data)
        except httptools.HttpParserError as problem:
            reason = problem.__context__
            if not isinstance(reason, MlsvcServerError):
                if not isinstance(reason, httptools.HttpParserError | None):
                    # Of ours; nobody knows what state this connection is in.
                    self.logger.exception("A request could not be taken.")
                    self.transport.abort()
                    return
                reason = BadRequest("This is not an HTTP request that can be read.")
            self._break(reason)
            return
        is_of_head = self._is_in_head and self._begun_in_read <= is_between
        # The parser puts a trailer together, however long it is.
        is_of_frame = taken_before is not None and self._taking is taken_before
        if is_of_head or (is_of_frame and not self._body_came):
            # All of the read is this head's. Where it has the end of something else too, nobody
            # knows how much is; then only the reads that follow count until the head is whole.
            self._read_bytes += len(data)
            if self._read_bytes > self._limits.head_bytes:
                self._break(self._head_too_large())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget about the answers, and let the application know."""
        if self._call is not None:
            self._call.abandon()
        self._leave(self._running)
        self._release()
        self._server.admission.forget(self)
        self.pipeline.clear()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Take no more from a client that does not read its answers."""
        super().pause_writing()
        self._stuck_at = self._server.now
        self._unread = self.transport.get_write_buffer_size()
        if not self.transport.is_closing():
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._stuck_at = None
        if isinstance(self._running, LargeAnswer):
            self._running.go_on()
        self._go_on()

    def hear(self) -> None:
        """Begin to count how long the client says nothing, or does not end a head."""
        self._heard_at = self._head_at = self._server.now

    # --- the parser --------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # No other protocol is spoken here, and a client has to live with an answer in
                # this one (RFC 9110, 7.8). The parser would take the body for the other protocol.
                data = self._without_offer() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _without_offer(self) -> bytes:
        lines = [
            b"%b %b HTTP/%b"
            % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        lines += [b"%b: %b" % header for header in self.headers if header[0] not in _OFFERS]
        words = [
            word
            for name, value in self.headers
            if name == b"connection"
            for word in value.split(b",")
            if word.strip().lower() not in _OFFERS
        ]
        if words:
            lines.append(b"connection: " + b",".join(words))
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._taking = None
        self._is_in_head = True
        self._begun_in_read += 1
        self._head_bytes = self._read_bytes = 0
        self._head_at = self._server.now

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which is of no use."""
        if self._is_in_head:
            self._head_bytes += len(name) + len(value) + len(b": \r\n")
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, if nothing else is being answered."""
        self._is_in_head = False
        fresh, self._fresh = self._fresh, None
        method = self.parser.get_method()
        if self.parser.should_upgrade():
            if method == b"CONNECT":
                raise MethodNotTaken("There is no CONNECT here.")
            return
        first = len(method) + len(self.url) + len(b"  HTTP/1.1\r\n")
        if first + self._head_bytes + len(b"\r\n") > self._limits.head_bytes:
            raise self._head_too_large()
        if len(self.headers) > self._limits.headers:
            raise self._too_many_headers()
        version = self.parser.get_http_version()
        is_kept_alive = self.parser.should_keep_alive()
        is_free = not self.is_busy
        is_call = method == b"POST" and version == "1.1" and is_kept_alive
        head = self._score.read(self.url, self.headers) if is_call else None
        if head is None:
            self._check_head(version)
        elif self._takes(head, fresh, is_free=is_free):
            return
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise TooManyRequests(
                f"More than {_MAX_PIPELINED:,} requests were sent before their answers were there. "
                "Send fewer at once.",
                retry_after=1,
            )
        cycle = self._taking = self._cycle(method.decode(), version)
        cycle.keep_alive = is_kept_alive
        self.pipeline.appendleft((cycle, self.app))
        if is_free:
            self._go_on()
        else:
            self.flow.pause_reading()

    def _takes(self, head: CallHead, fresh: bytes | None, *, is_free: bool) -> bool:
        """Begin a call here, or tell that the application has to answer it."""
        is_short = head.length <= _COUNTED
        if fresh is not None and is_short:
            self._server.heads.add(fresh, head)
        if not (is_free and (is_short or self._has_room(head))):
            return False
        self._caller = self._score.admit(head)
        if self._caller is None:
            self._release()
            return False
        self._is_known = True
        self._running = self._taking = head
        # The head has all that is needed. A connection may be idle for long afterwards.
        self.headers = []
        return True

    def _check_head(self, version: str) -> None:
        """Raise what is wrong with a head that is no plain call's."""
        if version not in {"1.0", "1.1"}:
            raise UnknownHttpVersion(f"HTTP/{version} is not spoken here; HTTP/1.1 is.")
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and version == "1.1"):
            raise BadRequest(f"A request has one Host header; this one has {hosts}.")
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and b", ".join(codings).strip().lower() != b"chunked":
            shown = b", ".join(codings)[:40].decode("latin-1")
            raise UnknownTransferCoding(
                f"Transfer-Encoding is {shown!r}; only 'chunked' is known here."
            )

    def _has_room(self, head: CallHead) -> bool:
        """Whether the body of a call may be kept here; else the application says what is wrong."""
        caller = self._score.user_of(head.token)
        is_taken = self._score.memory.take(caller, head.length)
        if is_taken:
            self._held = (caller, head.length)
        return is_taken

    def _release(self) -> None:
        if self._held is not None:
            self._score.memory.release(*self._held)
            self._held = None

    def _cycle(self, method: str, version: str) -> _Cycle:
        url = httptools.parse_url(self.url) if self.url[:1] != b"/" else None
        raw_path, _, query = self.url.partition(b"?")
        if url is not None:
            raw_path, query = url.path or self.url, url.query or b""
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "method": method,
            "scheme": self.scheme or "http",
            "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
            "state": {
                "request_id": self._server.id_of(self._server.next_number()),
                "abort": self.transport.abort,
                "is_host": self._is_host,
            },
        }
        cycle = _Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.is_last = self._is_last
        self.cycle = cycle
        return cycle

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body_came = True
        self._read_bytes = 0
        if isinstance(self._taking, CallHead):
            self._chunks.append(body)
        elif self._taking is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand on a request that is whole."""
        taking, self._taking = self._taking, None
        if isinstance(taking, CallHead):
            chunks, self._chunks = self._chunks, []
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._number = number = self._server.next_number()
            self._call = self._score.submit(taking.key, body, self._ended, self._caller, number)
        elif taking is not None:
            super().on_message_complete()

    # --- answers -----------------------------------------------------------------------------

    def _ended(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        """Write the answer to a call."""
        head, self._running, self._call = self._running, None, None
        if self._held is not None:
            self._release()
        if not isinstance(head, CallHead) or self.transport.is_closing():
            return
        headers = b"" if head.origin is None else self._score.cors_headers(head)
        is_last = self._server.is_draining and self._is_last()
        if is_last:
            headers += _CLOSE
        if isinstance(outcome, ScoringAnswer):
            number, body = self._number, outcome.body
            if outcome.needs_id:
                body = self._score.identified(outcome, self._server.id_of(number))
            self._write(outcome.status, number, headers, body)
        else:
            self._write_error(outcome, "POST", head.url, headers, self._number)
        if (large := self._large) is not None:
            large.is_last = is_last
        elif is_last:
            self._part()
        elif self.pipeline or self._broken is not None:
            self._go_on()

    def _is_last(self) -> bool:
        """Whether the server drains, and nothing else was asked on this connection."""
        is_asked = self.pipeline or self._is_in_head or self._broken is not None
        return self._server.is_draining and not is_asked

    def _write(self, status: int, number: int, headers: bytes, body: Body) -> None:
        beginning = self._server.beginnings[status]
        if isinstance(body, bytes):
            self.transport.write(
                b"%b%08x\r\nContent-Length: %d\r\n%b\r\n%b"
                % (beginning, number, len(body), headers, body)
            )
            return
        head = b"%b%08x\r\nContent-Length: %d\r\n%b\r\n"
        self.transport.write(head % (beginning, number, len(body), headers))
        self._running = LargeAnswer(self, body, self._large_ended)
        self._running.go_on()

    def _large_ended(self) -> None:
        """Go on after a large answer."""
        running, self._running = self._running, None
        if isinstance(running, LargeAnswer) and running.is_last:
            self._part()
        else:
            self._go_on()

    @property
    def _large(self) -> LargeAnswer | None:
        """The large answer that is being written."""
        running = self._running
        return running if isinstance(running, LargeAnswer) else None

    @property
    def is_write_paused(self) -> bool:
        """Whether answers wait to be read."""
        return bool(self.flow.write_paused)

    def _write_error(
        self,
        error: MlsvcServerError,
        method: str,
        url: bytes,
        headers: bytes,
        number: int | None = None,
    ) -> None:
        if number is None:
            number = self._server.next_number()
        shown = self._server.id_of(number)
        self._server.log_refusal(method, url, error, shown)
        headers += "".join(f"{name}: {value}\r\n" for name, value in error.headers.items()).encode()
        self._write(error.status, number, headers, error_body(error, shown))

    def on_response_complete(self) -> None:
        """Go on after an answer of the application."""
        running, self._running = self._running, None
        if self.transport.is_closing():
            return
        if isinstance(running, _Cycle) and running.scope["state"].get("is_known"):
            self._is_known = True
        if self._taking is None and not (self._is_in_head or self.pipeline):
            self._forget_request()
        if isinstance(running, _Cycle) and running.ends_connection:
            self._part()
        else:
            self._go_on()

    def _forget_request(self) -> None:
        """Keep nothing of what was asked last: thousands of connections may be idle for long."""
        self.headers = []
        self.scope = self.cycle = None  # type: ignore[assignment]  # as before the first request

    def _go_on(self) -> None:
        """Begin the next request, unless there are answers that wait to be read."""
        if self._running is not None or self.flow.write_paused or self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._running = cast(_Cycle, cycle)
            if self._broken is None or cycle is not self._taking:
                self._start_asgi_task(cycle, app)
        if self._broken is not None:
            self._break(self._broken)
        self.flow.resume_reading()

    # --- the end -----------------------------------------------------------------------------

    def _break(self, error: MlsvcServerError) -> None:
        """Answer what can't be read, after what could; then part. The first error counts."""
        if self._lingering_since is not None or self.transport.is_closing():
            return
        error = self._broken = self._broken or error
        running = self._running
        if self.is_busy and (running is None or running is not self._taking):
            return
        if isinstance(running, _Cycle) and running.response_started:
            # There can't be a second answer.
            self.transport.abort()
            return
        self._leave(running)
        self._running = None
        self._write_error(error, "", self.url, _CLOSE)
        self._linger()

    def _leave(self, request: _Cycle | CallHead | LargeAnswer | None) -> None:
        """Tell the application that nobody waits for its answer."""
        if isinstance(request, _Cycle):
            request.disconnected = True
            request.waiting_for_100_continue = False
            request.message_event.set()

    def _part(self) -> None:
        """Close the connection; while the client still sends, not before it could read."""
        # Who is asked to go may not have read it yet, and ask once more.
        is_asked_to_go = self._server.is_draining and self.transport.can_write_eof()
        if self._taking is not None or is_asked_to_go:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._lingering_since = self._server.now
        self.pipeline.clear()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.flow.read_paused:
            self.flow.read_paused = False
            self.transport.resume_reading()

    def end(self, error: MlsvcServerError) -> None:
        """Close the connection; who waits for an answer, and got nothing of it, gets an error."""
        running = self._running
        if isinstance(running, LargeAnswer) or (
            isinstance(running, _Cycle) and running.response_started
        ):
            # Nobody is to take what was sent for the whole.
            self.transport.abort()
            return
        is_asked = running is not None or self._is_in_head
        if is_asked and self._lingering_since is None and not self.transport.is_closing():
            if self._call is not None:
                self._call.abandon()
            self._leave(running)
            self._running = self._call = None
            method = running.scope["method"] if isinstance(running, _Cycle) else ""
            self._write_error(error, method, self.url, _CLOSE)
        elif not self.transport.get_write_buffer_size():
            # Nothing is lost, and nobody has to agree to the end of TLS first.
            self.transport.abort()
            return
        self.transport.close()

    def _head_too_large(self) -> HeadTooLarge:
        limit = self._limits.head_bytes
        return HeadTooLarge(f"The request's head is larger than is taken here ({limit:,} bytes).")

    def _too_many_headers(self) -> HeadTooLarge:
        return HeadTooLarge(
            f"The request has {len(self.headers):,} headers; {self._limits.headers} are taken here."
        )

    @property
    def idle_since(self) -> float | None:
        """When a client was last heard of whom nobody knows, and who asks nothing."""
        is_idle = not (self.is_busy or self._is_in_head or self._is_host or self._is_known)
        is_idle = is_idle and self._lingering_since is None
        return self._heard_at if is_idle and self._stuck_at is None else None

    def look(self, now: float) -> None:
        """End what takes too long."""
        limits = self._limits
        silent = now - self._heard_at
        if self._lingering_since is not None:
            lingering = now - self._lingering_since
            if silent > limits.linger_seconds or lingering > limits.longest_linger_seconds:
                self.transport.abort()
        elif self._stuck_at is not None:
            self._look_at_reader(now, self._stuck_at)
        elif self._running is not None:
            is_coming = self._running is self._taking and not self.flow.read_paused
            if is_coming and silent > limits.stall_seconds:
                self._break(RequestTimeout("The body did not come in time."))
        elif self._is_in_head:
            if now - self._head_at > limits.head_seconds:
                self._break(RequestTimeout("The request did not come in time."))
        elif silent > self._idle_limit:
            self.end_idle()

    def _look_at_reader(self, now: float, stuck_at: float) -> None:
        unread, before = self.transport.get_write_buffer_size(), self._unread
        if unread < before:
            # A long answer is written at once, and may be read for long.
            self._unread, self._stuck_at = unread, now
        elif now - stuck_at > self._limits.stall_seconds:
            self.transport.abort()

    @property
    def _idle_limit(self) -> float:
        is_known = self._is_known or self._is_host
        return self._limits.idle_seconds if is_known else self._limits.anonymous_idle_seconds

    def end_idle(self) -> None:
        """Close a connection on which nothing is asked."""
        if self.transport.is_closing():
            # The end of an answer that nobody reads would keep it open for ever.
            self.transport.abort()
        else:
            self.transport.close()


def _peer_of(transport: asyncio.BaseTransport) -> int | None:
    """Give the user id at the other end of a Unix socket; None for another kind of socket."""
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family != socket.AF_UNIX:
        return None
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack(
        "3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return int(uid)
