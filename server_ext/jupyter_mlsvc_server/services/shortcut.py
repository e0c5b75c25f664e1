"""The short way of a call that has been answered before, past the handlers of requests.

Most of what a call costs at a door of tornado's is the finding of a handler, its making, and its
headers, which come out the same each time. So the handler of a call that went well leaves here
what it found, and the next request for the same thing is answered with that. Whatever is out of
the ordinary about a request goes to the handlers, and so does everything that ends in an error.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Protocol, runtime_checkable

from jupyter_server.base.handlers import log as jupyter_log
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.routing import AnyMatches, Router, Rule
from tornado.web import Application

from jupyter_mlsvc_server.answers import REQUEST_ID
from jupyter_mlsvc_server.auth.policy import Action, may
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.content_coding import charset_problem
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.services.bookkeeping import Bookkeeping
from jupyter_mlsvc_server.services.stream import (
    AnsweringStream,
    KnownRequest,
    Outcome,
    Submitted,
)
from jupyter_mlsvc_server.web import Endpoint, bearer_token

SHORTCUT: Final = "mlsvc_shortcut"

_UNUSUAL: Final = frozenset(
    {"Content-Encoding", "Expect", "Origin", "Sec-Fetch-Site", "Sec-Websocket-Origin",
     "Transfer-Encoding", "Upgrade"}
)  # fmt: skip
"""Headers that an answer may depend on, or that make a body another one."""

_VARYING: Final = {"Date": b"%b", REQUEST_ID: b"%b", "Content-Length": b"%d"}
"""Headers that differ between answers, in the order they have there."""

_REMEMBERED: Final = 1000
_LONGEST_ADDRESS: Final = 2048
_LONGEST_LENGTH: Final = 15


@runtime_checkable
class CallbackEngine(Protocol):
    """A scoring engine that answers without a task for each request."""

    def submit(
        self, key: DefinitionKey, body: bytes, ended: Callable[[Outcome], None]
    ) -> Submitted:
        """Answer a request as ``consume`` does, through a callback, which may come at once."""


@dataclass(frozen=True, slots=True)
class _Way:
    """What a handler found.

    Attributes
    ----------
    key : DefinitionKey
        The service version.
    endpoint : type of Endpoint
        Class of the handler.
    head : bytes
        Of an answer, with places for what is different each time.
    """

    key: DefinitionKey
    endpoint: type[Endpoint]
    head: bytes


class _Known(KnownRequest):
    """A request whose head has been seen before."""

    def __init__(self, shortcut: Shortcut, way: _Way, token: str, length: int) -> None:
        self.way = way
        self.token = token
        self._shortcut = shortcut
        self._length = length

    @property
    def length(self) -> int:
        return self._length

    def submit(self, body: bytes, ended: Callable[[Outcome], None]) -> Submitted:
        return self._shortcut.engine.submit(self.way.key, body, ended)

    def answer(self, body: bytes) -> bytes:
        return self._shortcut.answer(self.way, body)

    def note(self, seconds: float) -> None:
        self._shortcut.bookkeeping.note(seconds, self.way.endpoint)


class Shortcut(Router):
    """Finds the short way for a request, if there is one.

    Parameters
    ----------
    application
        Has the handlers.
    tokens
        Knows who is asking.
    engine
        Runs services.
    is_ready
        Tells whether calls are answered now.
    max_body_bytes
        Largest body of a call.
    """

    def __init__(
        self,
        *,
        application: Application,
        tokens: TokenManager,
        engine: CallbackEngine,
        is_ready: Callable[[], bool],
        max_body_bytes: int,
    ) -> None:
        self.application = application
        self.engine = engine
        self.bookkeeping = Bookkeeping(application.settings, jupyter_log())
        self._tokens = tokens
        self._is_ready = is_ready
        self.max_body_bytes = max_body_bytes
        self._ways: dict[tuple[str | None, str], _Way] = {}
        self._known: dict[bytes, _Known] = {}
        self._date = b""
        self._second = 0
        self._is_open = False
        self._prefix = secrets.token_hex(12).encode()
        self._numbers = itertools.count(secrets.randbits(16))

    def open(self, server: HTTPServer | None = None) -> None:
        """Stand before the handlers from now on.

        Parameters
        ----------
        server
            Has the application's connections. Where there is one, those that are made from now on
            answer by themselves what they know.
        """
        self.application.settings[SHORTCUT] = self
        self.application.default_router.rules.insert(0, Rule(AnyMatches(), self))
        if server is not None:
            handle_stream = server.handle_stream

            def handle(stream: IOStream, address: tuple[Any, ...]) -> None:
                handle_stream(self._answering(stream), address)

            server.handle_stream = handle  # type: ignore[method-assign]

    def _answering(self, stream: IOStream) -> IOStream:
        if type(stream) is not IOStream:  # with TLS the bytes are others
            return stream
        return AnsweringStream(
            stream.socket,
            self._find,
            max_buffer_size=stream.max_buffer_size,
            read_chunk_size=stream.read_chunk_size,
        )

    def _find(self, head: bytes) -> KnownRequest | None:
        known = self._known.get(head)
        return known if known is not None and self._admits(known.token) else None

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> HTTPMessageDelegate | None:
        """Give what answers the request; None leaves it to the handlers."""
        stream = getattr(request.connection, "stream", None)
        if isinstance(stream, AnsweringStream) and stream.failed is not None:
            known, outcome, began = stream.failed
            stream.failed = None
            assert isinstance(known, _Known)
            request._start_time = began  # noqa: SLF001  # which its line in the log tells
            return self.telling(request, known.way, outcome)
        way = self._ways.get((request.uri, request.host))
        token = None if way is None else self._token_of(request)
        if way is None or token is None:
            return None
        if isinstance(stream, AnsweringStream):
            self._get_to_know(stream.head, _Known(self, way, token, _length_of(request)))
        return _Call(self, way, request)

    def _get_to_know(self, head: bytes, known: _Known) -> None:
        # A line may end otherwise as well, and the head with it elsewhere.
        is_plain = head.count(b"\n") == head.count(b"\r\n")
        if head and is_plain and head not in self._known:
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[head] = known

    def telling(
        self, request: HTTPServerRequest, way: _Way, outcome: Outcome
    ) -> HTTPMessageDelegate:
        """Make a handler that tells how a call ended."""
        return self.application.get_handler_delegate(
            request,
            way.endpoint,
            {"outcome": outcome},
            path_kwargs={"name": way.key.name.encode(), "version": way.key.version.encode()},
        )

    def learn(self, handler: Endpoint, key: DefinitionKey) -> None:
        """Remember how a call was answered with 200."""
        request = handler.request
        address = request.uri, request.host
        if address in self._ways or len(request.uri or "") > _LONGEST_ADDRESS:
            return
        # Transforms change each answer, and cookies are for one.
        if self.application.transforms or hasattr(handler, "_new_cookie"):
            return
        head = _head(handler.answered_headers)
        if head is None or self._token_of(request) is None:
            return
        if len(self._ways) >= _REMEMBERED:
            self._ways.clear()
        self._ways[address] = _Way(key, type(handler), head)

    def _token_of(self, request: HTTPServerRequest) -> str | None:
        """Give the token of somebody known, who may call; None where anything is special."""
        headers = request.headers
        if request.method != "POST" or request.version != "HTTP/1.1":
            return None
        if not _UNUSUAL.isdisjoint(headers):
            return None
        if charset_problem(headers.get("Content-Type", "")) is not None:
            return None
        if headers.get("Connection", "keep-alive").lower() != "keep-alive":
            return None
        if not 0 <= _length_of(request) <= self.max_body_bytes:
            return None
        if not isinstance(request.connection, HTTP1Connection):
            return None
        token = bearer_token(headers)
        return token if token is not None and self._admits(token) else None

    def _admits(self, token: str) -> bool:
        self._look()
        if not self._is_open or not self._is_ready():
            return False
        principal = self._tokens.recall(token)
        return principal is not None and may(principal, Action.CONSUME, None)

    def answer(self, way: _Way, body: bytes) -> bytes:
        """Write an answer with its head."""
        self._look()
        request_id = b"%b%08x" % (self._prefix, next(self._numbers) & 0xFFFFFFFF)
        return way.head % (self._date, request_id, len(body)) + body

    def _look(self) -> None:
        """See what time it is, and whether requests may go this way; once a second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
            self._is_open = self.bookkeeping.does()


class _Call(HTTPMessageDelegate):
    """A request on the short way."""

    def __init__(self, shortcut: Shortcut, way: _Way, request: HTTPServerRequest) -> None:
        self._shortcut = shortcut
        self._way = way
        self._request = request
        self._chunks: list[bytes] = []
        self._submitted: Submitted | None = None
        assert isinstance(request.connection, HTTP1Connection)
        self._connection = request.connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Take a body as long as ours may be, whatever else the Jupyter server takes."""
        self._connection.set_max_body_size(self._shortcut.max_body_bytes)

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(chunk)

    def finish(self) -> None:
        """Run the service."""
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._connection.set_close_callback(self._leave)
        self._submitted = self._shortcut.engine.submit(self._way.key, body, self._ended)

    def on_connection_close(self) -> None:
        """Do nothing for who left before the request was whole."""

    def _leave(self) -> None:
        if self._submitted is not None:
            self._submitted.abandon()

    def _ended(self, outcome: Outcome) -> None:
        self._submitted = None
        if not isinstance(outcome, ScoringAnswer) or outcome.status != HTTPStatus.OK:
            self._hand_over(outcome)
            return
        connection, shortcut = self._connection, self._shortcut
        connection.set_close_callback(None)
        connection.write(shortcut.answer(self._way, outcome.body))
        connection.finish()
        shortcut.bookkeeping.note(self._request.request_time(), self._way.endpoint)

    def _hand_over(self, outcome: Outcome) -> None:
        """Have a handler tell what went wrong."""
        way, request = self._way, self._request
        delegate = self._shortcut.telling(request, way, outcome)
        start_line = RequestStartLine(str(request.method), str(request.uri), request.version)
        delegate.headers_received(start_line, request.headers)
        delegate.finish()


def _length_of(request: HTTPServerRequest) -> int:
    text = request.headers.get("Content-Length", "")
    is_number = text.isascii() and text.isdigit() and len(text) <= _LONGEST_LENGTH
    return int(text) if is_number else -1


def _head(headers: list[tuple[str, str]]) -> bytes | None:
    """Make the head of all answers from the headers of one; None where that can't be done."""
    if [name for name, _ in headers if name in _VARYING] != [*_VARYING]:
        return None
    lines = [b"HTTP/1.1 200 OK"]
    for name, value in headers:
        shown = _VARYING.get(name) or value.replace("%", "%%").encode("latin-1")
        lines.append(b"%b: %b" % (name.replace("%", "%%").encode("latin-1"), shown))
    return b"\r\n".join([*lines, b"", b""])
