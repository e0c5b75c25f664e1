"""The Jupyter-mounted API: passes calls on to the server, as whoever Jupyter says it is.

Who asks is decided here by Jupyter's rules; what is asked, by the server. Bodies stream both ways:
nothing is kept but the piece on its way, and the slower side sets the pace. What only reads is
asked once more where the server ended before its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http.client
import logging
import uuid
from collections.abc import Awaitable, Iterator
from typing import Any, Final

import msgspec
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import APIHandler
from tornado import httputil, iostream, web

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.problem import Problem, exception_type
from jupyter_mlsvc_server.extension.supervisor import ServerUnavailable, Supervisor
from jupyter_mlsvc_server.extension.upstream import Exchange, ServerGone, headers_of
from jupyter_mlsvc_server.formats.host import SECRET_HEADER, USER_HEADER, looks_like_ours

_HEADERS: Final = {
    "Server": f"jupyter-mlsvc/{__version__}",
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of answers that are the extension's own."""
_REQUEST_ID: Final = "X-Request-Id"

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FOR_JUPYTER: Final = frozenset(
    # The 100 of Expect was sent before the body is passed on.
    {"authorization", "cookie", "expect", "host", "origin", "referer", "x-xsrftoken"}
)
"""Headers of requests that are Jupyter's business, with secrets among them."""
_ALWAYS_PASSED: Final = frozenset({"content-length"})
"""Headers of requests without which what is passed on is another message."""
_FROM_HOSTS: Final = frozenset({USER_HEADER.lower(), SECRET_HEADER.lower()})

_SHORT_BODY: Final = 64 * 2**20
"""Bytes of a body that is read to its end before an answer that came earlier is passed on."""
_LINGER: Final = 30.0
"""Seconds that a longer one is still read after the answer, so that its client reads that."""
_ANY_SIZE: Final = 2**62
_MAX_LENGTH_DIGITS: Final = 18
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_BODY: Final = frozenset({204, 304})

_RESOURCES: Final = {
    "login": "login",
    "user": "user",
    "sessions": "sessions",
    "snapshots": "snapshots",
    "batches": "batches",
    "events": "events",
    "status": "status",
    "computenodes": "computenodes",
}
"""What a Jupyter Authorizer is asked about, by the first part of the path; else services."""
_PUBLIC: Final = frozenset({"login", "health"})
"""First parts of paths that need no credentials."""
_FOR_HOSTS: Final = "host"
"""First part of paths that the server has for the extension itself."""

_log = logging.getLogger("jupyter_mlsvc_server")


class Refusal(Exception):
    """An answer of the extension's own."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@web.stream_request_body
class ProxyHandler(APIHandler):
    """Every path below ``{base_url}mlsvc``."""

    _exchange: Exchange | None = None
    _refusal: Refusal | None = None
    _passes_body = False
    _early_answer: asyncio.Task[None] | None = None
    _is_early = False
    """Whether the answer is passed on before the body has come."""
    _is_client_gone = False

    def initialize(
        self, server: Supervisor, prefix: str, jupyter_user: str, own_token: str = ""
    ) -> None:
        """Take what :class:`MlsvcExtension` gives."""
        self._server = server
        self._prefix = prefix
        self._jupyter_user = jupyter_user
        self._own_token = own_token
        self._body_ended = asyncio.Event()

    # --- request -----------------------------------------------------------------------------

    async def prepare(self) -> None:  # type: ignore[override]
        """Find out who asks, and send the head of the request on."""
        # Bodies pass as they are: what the server sends is compressed where it wants that.
        self._transforms = []
        self.request.connection.set_max_body_size(_ANY_SIZE)  # type: ignore[union-attr]
        try:
            credentials = await self._credentials()
            if self.request.method != "OPTIONS":
                await self._begin(credentials)
        except (Refusal, ServerUnavailable, web.HTTPError) as error:
            self._refusal = _as_refusal(error)
            self._hide_query()
            if not self._has_short_body():
                raise self._refusal from None

    async def _begin(self, credentials: dict[str, str]) -> None:
        method = str(self.request.method)
        headers = headers_of(self._passed_on(self.request.headers, _FOR_JUPYTER | _FROM_HOSTS))
        for name, value in credentials.items():
            headers[name] = value
        # What the client says itself counts as far as Jupyter's own settings let it.
        headers["X-Forwarded-For"] = self.request.remote_ip or ""
        has_length = "Content-Length" in headers
        if has_length:
            headers["Content-Length"] = _length_of(headers["Content-Length"])
        is_chunked = _is_chunked(self.request.headers)
        self._passes_body = has_length or method in _METHODS_WITH_BODY
        if method in _METHODS_WITH_BODY and not has_length and not is_chunked:
            headers["Content-Length"] = "0"
        exchange = self._exchange = Exchange(await self._server.connect())
        if self._is_client_gone:
            exchange.close()
            return
        query = f"?{self.request.query}" if self.request.query else ""
        self._request_head = (method, self._server.upstream.prefix + self._path + query, headers)
        self._send_head(exchange)
        self._hide_query()
        if not self._has_short_body():
            self._early_answer = asyncio.create_task(self._answer_early(exchange))

    def _send_head(self, exchange: Exchange) -> None:
        method, target, headers = self._request_head
        # Not earlier: the server that the connection leads to may have just started.
        for name, value in self._server.upstream.headers.items():
            headers[name] = value
        exchange.begin(method, target, headers)

    async def data_received(self, chunk: bytes) -> None:
        """Pass a piece of the body on, unless the server answered already."""
        exchange = self._exchange
        if exchange is not None and not exchange.has_answer and self._passes_body:
            await exchange.send(chunk)

    def _has_short_body(self) -> bool:
        # An answer before the end of the body closes the connection, which may cost a client that
        # is still sending the answer.
        length = self.request.headers.get("Content-Length", "0")
        is_number = len(length) <= 10 and length.isascii() and length.isdigit()
        is_short = is_number and int(length) <= _SHORT_BODY
        return "Transfer-Encoding" not in self.request.headers and is_short

    @property
    def _path(self) -> str:
        """The path as the server knows it, percent-encoded as it came."""
        return self.request.path.removeprefix(self._prefix) or "/"

    @property
    def _first_part(self) -> str:
        return self._path.split("/", 2)[1].lower()

    def _hide_query(self) -> None:
        # A refresh token is in the query by contract; no log of Jupyter shall have it.
        if self._first_part == "login":
            self.request.uri = self.request.path

    @staticmethod
    def _passed_on(
        headers: httputil.HTTPHeaders, dropped: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        named = {name.strip().lower() for name in headers.get("Connection", "").split(",") if name}
        for name, value in headers.get_all():
            if name.lower() not in (_HOP_BY_HOP | named | dropped) - _ALWAYS_PASSED:
                yield name, value

    # --- who asks ----------------------------------------------------------------------------

    async def _credentials(self) -> dict[str, str]:
        """Decide by Jupyter's rules who asks, and give the headers that tell the server."""
        if not self.check_host():
            raise Refusal(403, "The Host header names no host of this server.")
        if self._first_part == _FOR_HOSTS:
            raise Refusal(404, f"There is no {self.request.method} {self._path} here.")
        authorization = self.request.headers.get("Authorization", "")
        token = _bearer_token(authorization)
        if token is not None and self._is_for_server(token):
            # Whose it is, and whether it is valid, the server says. No page of another site has it.
            self.current_user = User("mlsvc")
            self._token_authenticated = True
            self.set_cors_headers()
            return {"Authorization": authorization}
        if self._first_part in _PUBLIC:
            return {}
        user = self.identity_provider.get_user(self)
        if isinstance(user, Awaitable):
            user = await user
        if user is None:
            # The server refuses in the words that it has for that.
            return {"Authorization": "Bearer none"} if token is not None else {}
        # Without the second name, Jupyter takes its check of the XSRF cookie for one too early.
        self.current_user = self._jupyter_current_user = user
        await self._check_jupyter_rules(user)
        return self._server.upstream.headers_for(self._owner_name(user))

    def _is_for_server(self, token: str) -> bool:
        """Whether a token is one of the server's, or that by which it knows who is here."""
        is_own = hmac.compare_digest(token.encode(), self._own_token.encode())
        return looks_like_ours(token) or (is_own and bool(self._own_token))

    async def _check_jupyter_rules(self, user: User) -> None:
        self.set_cors_headers()
        if self.request.method not in _READING:
            self.check_xsrf_cookie()
        if not self.check_origin():
            raise Refusal(403, "The Origin header names a site that may not use this server.")
        action = "read" if self.request.method in {"GET", "HEAD"} else "write"
        resource = f"mlsvc:{_RESOURCES.get(self._first_part, 'service')}"
        allowed = self.authorizer.is_authorized(self, user, action, resource)
        if isinstance(allowed, Awaitable):
            allowed = await allowed
        if not allowed:
            raise Refusal(403, f"{user.username} is not authorized to {action} {resource}.")

    def _owner_name(self, user: User) -> str:
        # The stock providers name each browser at random; who is at the keyboard stays the same.
        module = type(self.identity_provider).__module__
        if module == IdentityProvider.__module__:
            return self._jupyter_user
        return user.username

    # --- answer ------------------------------------------------------------------------------

    async def _answer(self, *_: str) -> None:
        """Pass the server's answer on, once the body has come."""
        self._body_ended.set()
        if self._refusal is not None:
            raise self._refusal
        if self._is_early and self._early_answer is not None:
            await asyncio.shield(self._early_answer)
            return
        exchange = self._exchange
        assert exchange is not None
        if not exchange.has_answer:
            exchange.finish_request()
        await self._pass_answer(exchange)

    async def _answer_early(self, exchange: Exchange) -> None:
        """Pass an answer on that the server gives before it has read a long body."""
        with contextlib.suppress(ServerGone):
            await exchange.head()
        if not self._body_ended.is_set():
            self._is_early = True
            await self._pass_answer(exchange)

    async def _pass_answer(self, exchange: Exchange) -> None:
        try:
            try:
                start_line, headers = await exchange.head()
            except ServerGone:
                if self._is_client_gone or not self._may_ask_again:
                    raise
                exchange = await self._ask_again()
                start_line, headers = await exchange.head()
            await self._relay(exchange, start_line, headers)
        except ServerGone:
            if self._is_client_gone:
                self._give_up()
            elif self._headers_written or self._is_early:
                self._cut_off()
            else:
                raise Refusal(
                    503,
                    "The server ended before it answered. Try again in a moment.",
                    {"Retry-After": "1"},
                ) from None
        except iostream.StreamClosedError:
            self._give_up()
        finally:
            exchange.close()

    @property
    def _may_ask_again(self) -> bool:
        # A body was passed on, and is not there any more.
        return self.request.method in _READING and not self._passes_body

    async def _ask_again(self) -> Exchange:
        """Ask the server that comes after one which ended before it answered."""
        self._discard_exchange()
        try:
            exchange = self._exchange = Exchange(await self._server.reconnect())
        except ServerUnavailable as error:
            raise _as_refusal(error) from None
        if self._is_client_gone:
            exchange.close()
            raise ServerGone
        self._send_head(exchange)
        exchange.finish_request()
        return exchange

    get = head = post = put = patch = delete = _answer

    def options(self, *args: str, **kwargs: str) -> None:
        """Answer a browser's preflight as Jupyter does."""
        if self._refusal is not None:
            raise self._refusal
        super().options(*args, **kwargs)

    async def _relay(
        self,
        exchange: Exchange,
        start_line: httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> None:
        self.set_status(start_line.code, start_line.reason)
        for name in (*_HEADERS, "Date", _REQUEST_ID):
            self.clear_header(name)
        for name, value in self._passed_on(headers, frozenset()):
            self.add_header(name, value)
        if self._is_early:
            self.set_header("Connection", "close")
        # Who follows a stream sees it begin.
        await self.flush()
        if self.request.method != "HEAD" and start_line.code not in _NO_BODY:
            async for chunk in exchange.chunks():
                self.write(chunk)
                await self.flush()
        if self._is_early:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER):
                    await self._body_ended.wait()
        await self.finish()

    def on_connection_close(self) -> None:
        """Close the connection to the server: nobody waits for its answer."""
        super().on_connection_close()
        self._is_client_gone = True
        self._body_ended.set()
        self._discard_exchange()

    def on_finish(self) -> None:
        """Close what is still open."""
        super().on_finish()
        self._discard_exchange()

    def _discard_exchange(self) -> None:
        if self._exchange is not None:
            self._exchange.close()

    def _give_up(self) -> None:
        """End without an answer: the client went away."""
        if not self._finished:
            _log.info("%s %s: the client went away", self.request.method, self.request.path)
            self._finished = True
            self.on_finish()

    def _cut_off(self) -> None:
        """Close the connection in the middle of an answer, which tornado would end as whole."""
        self._finished = True
        self.request.connection.close()  # type: ignore[union-attr]
        _log.warning("%s %s: the server ended", self.request.method, self.request.path)
        self.on_finish()

    # --- answers of the extension's own ------------------------------------------------------

    def set_default_headers(self) -> None:
        """Set the headers that all answers of the project have."""
        self._request_id = getattr(self, "_request_id", None) or uuid.uuid4().hex
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.set_header(_REQUEST_ID, self._request_id)

    def compute_etag(self) -> None:
        """Leave tags to the server."""

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        """Finish without Jupyter's forcing of the content type."""
        return web.RequestHandler.finish(self, *args, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write any error as the contract's Error body."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        refusal = error if isinstance(error, Refusal) else _as_refusal(error, status_code)
        self.set_status(refusal.status)
        self.set_header("Content-Type", "application/json")
        for name, value in refusal.headers.items():
            self.set_header(name, value)
        message = refusal.message or (
            f"The server failed to answer; its log has the reason under {self._request_id}."
        )
        body = msgspec.json.encode(
            Problem(
                message=message,
                exception_type=exception_type(refusal.status),
                request_id=self._request_id,
            )
        )
        self.finish(b"" if self.request.method == "HEAD" else body)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with an error; in the middle of an answer, cut it off."""
        if self._headers_written and not self._finished:
            self._cut_off()
        else:
            super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is the extension's fault with its trace, other things in one line."""
        where = (self.request.method, self.request.path, self._request_id)
        if isinstance(value, Refusal | web.HTTPError):
            _log.info("%s %s: %s (request %s)", *where[:2], value, where[2])
        else:
            _log.error("%s %s failed (request %s)", *where, exc_info=(typ, value, tb))

    def _log(self) -> None:
        """Log an answer as Jupyter does, but for one of a server that cannot answer now.

        Why it cannot is in the log once. Jupyter would add an error of six lines for each time that
        a panel asks.
        """
        if self.get_status() == http.client.SERVICE_UNAVAILABLE:
            self.log.debug("503 %s %s", self.request.method, self.request.path)
        else:
            super()._log()


def _as_refusal(error: BaseException | None, status: int = 500) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ServerUnavailable):
        return Refusal(503, error.message, {"Retry-After": str(error.retry_after)})
    if isinstance(error, web.HTTPError) and error.status_code < 500:
        reason = error.log_message or f"{http.client.responses.get(error.status_code, 'Error')}."
        return Refusal(error.status_code, reason)
    return Refusal(max(status, 500), "")


def _length_of(header: str) -> str:
    """Read the length of a body, which tornado looks at only after the head was passed on."""
    (length, *others) = {text.strip() for text in header.split(",")}
    is_number = length.isascii() and length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS
    if others or not is_number:
        raise Refusal(400, f"Content-Length is {header[:40]!r}; it has to be a number of bytes.")
    return length


def _is_chunked(headers: httputil.HTTPHeaders) -> bool:
    """Read how the body is sent, which tornado would refuse after the head, without a body."""
    coding = headers.get("Transfer-Encoding")
    if coding is None:
        return False
    if "Content-Length" in headers:
        raise Refusal(400, "Transfer-Encoding and Content-Length are both there; send one of them.")
    if coding.lower() != "chunked":
        raise Refusal(
            501, f"Transfer-Encoding is {coding[:40]!r}; bodies are taken plain or 'chunked'."
        )
    return True


def _bearer_token(authorization: str) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
