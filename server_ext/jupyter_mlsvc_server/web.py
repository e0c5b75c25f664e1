"""What all endpoints share: who is asking, reading bodies, writing answers and errors.

An endpoint is written once as an :class:`Endpoint` and mounted at both doors: the public one,
which knows bearer tokens only, and the Jupyter one, which also takes the identity that Jupyter
established. :func:`mount` makes the concrete handler classes.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import re
import uuid
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar
from urllib.parse import quote

import msgspec
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import APIHandler
from tornado import httputil, iostream, web

from jupyter_mlsvc.wire.json_text import UnreadableJson, decode_json, is_blank
from jupyter_mlsvc.wire.members import UnknownMember, known_members
from jupyter_mlsvc.wire.names import InvalidName
from jupyter_mlsvc_server import answers
from jupyter_mlsvc_server.answers import (
    CORS_HEADERS,
    HEADERS,
    REQUEST_ID,
    body_too_large,
    error_body,
    nobody_known,
)
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.content_coding import BodyDecoder, charset_problem, codings_of
from jupyter_mlsvc_server.errors import (
    BadRequest,
    Forbidden,
    MlsvcServerError,
    NotFound,
    NotServing,
    PayloadTooLarge,
)

if TYPE_CHECKING:
    from jupyter_mlsvc_server.parts import Parts

T = TypeVar("T")
Routes = Sequence[tuple[str, type["Endpoint"]]]

_decode: Final = msgspec.json.Decoder().decode

PARTS = "mlsvc_parts"
WEB_SETTINGS = "mlsvc_web_settings"

_METHODS_WITH_BODY: Final = {"POST", "PUT", "PATCH"}
_LONGEST_LENGTH: Final = 18

_log = logging.getLogger("jupyter_mlsvc_server")


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Limits and policies that the endpoints obey."""

    max_body_bytes: int
    max_upload_bytes: int
    cors_origins: frozenset[str] = field(default_factory=frozenset)
    jupyter_user: str = "jupyter"
    lenient_json: bool = True


class Receiver(Protocol):
    """Takes a body as it comes."""

    async def write(self, chunk: bytes) -> None:
        """Keep a piece of it."""

    def discard(self) -> None:
        """Remove what is left of it; may be called twice."""


class Endpoint(web.RequestHandler):
    """Base of all endpoints, whichever door they are mounted at.

    Verbs use ``principal``, ``parts``, ``parse`` and ``answer``; they raise domain errors and
    never catch them.
    """

    public_methods: ClassVar[frozenset[str]] = frozenset()
    """Verbs that need no credentials."""
    takes_upload: ClassVar[bool] = False
    """Whether the larger limit for uploads applies to bodies."""
    reads_text: ClassVar[bool] = True
    """Whether bodies are texts, so that their charset matters."""
    needs_ready: ClassVar[bool] = True
    """Whether the verbs need the managers to have started."""
    resource: ClassVar[str] = "service"
    """What a Jupyter Authorizer is asked about, as ``mlsvc:<resource>``."""

    # The body is read by us, so that nobody without a token can fill memory with one.
    _stream_request_body = True
    _principal: Principal | None = None
    _chunks: list[bytes]
    _received = 0
    _receiver: Receiver | None = None
    _decoder: BodyDecoder | None = None
    _body_problem: MlsvcServerError | None = None
    """What is wrong with the body, found while it came."""
    is_refused = False
    """Whether the answer is a refusal already and the body goes unread."""

    @property
    def parts(self) -> Parts:
        """The managers that do the work."""
        parts: Parts = self.settings[PARTS]
        return parts

    @property
    def web_settings(self) -> WebSettings:
        """Limits and policies."""
        settings: WebSettings = self.settings[WEB_SETTINGS]
        return settings

    @property
    def principal(self) -> Principal:
        """Who is asking; raises ``Unauthorized`` where nobody is known."""
        if self._principal is None:
            raise nobody_known(token_was_sent=bearer_token(self.request.headers) is not None)
        return self._principal

    async def identify(self) -> Principal | None:
        """Find out who is asking; each door has its own way."""
        raise NotImplementedError  # pragma: no cover - doors override it

    def set_default_headers(self) -> None:
        """Headers of every answer: nothing may be cached, framed, sniffed or executed."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header(REQUEST_ID, self.request_id)

    @property
    def request_id(self) -> str:
        """An id that the answer and the log lines of this request carry."""
        if not hasattr(self, "_request_id"):
            self._request_id = uuid.uuid4().hex
        return self._request_id

    # --- life of a request -------------------------------------------------------------------

    async def prepare(self) -> None:
        """Refuse what cannot be served before the body is read."""
        self._chunks = []
        # Reading on past the limit lets the client finish sending and read why it was refused.
        longest = max(self.web_settings.max_upload_bytes, 2 * self._body_limit)
        self.request.connection.set_max_body_size(longest)  # type: ignore[union-attr]
        if _content_length(self.request.headers) > self._body_limit:
            await self.admit()
            raise self._too_large()
        try:
            await self.admit()
            self._read_media_headers()
        except Exception as refusal:
            if "Transfer-Encoding" in self.request.headers:
                raise
            self._refuse_after_body(refusal)
            return
        if self.request.method in _METHODS_WITH_BODY:
            self._receiver = await self.receiver()

    def _read_media_headers(self) -> None:
        """Get ready to decode the body, or raise where that is not known here."""
        headers = self.request.headers
        content_type = headers.get("Content-Type", "")
        if self.reads_text and (problem := charset_problem(content_type)) is not None:
            raise problem
        if codings := codings_of(headers.get("Content-Encoding", "")):
            self._decoder = BodyDecoder(codings, self._body_limit)

    def _refuse_after_body(self, refusal: Exception) -> None:
        # An answer before the end of the body closes the connection: what the client sent last
        # may then cost it the answer, and what it sends next fails.
        def refuse(**_: str) -> None:
            raise refusal

        self.is_refused = True
        setattr(self, str(self.request.method).lower(), refuse)

    async def admit(self) -> None:
        """Let the request in, or raise."""
        if self.needs_ready and not self.parts.ready:
            raise NotServing(is_stopping=self.parts.stopping)
        method = "GET" if self.request.method == "HEAD" else self.request.method
        if method in self.public_methods:
            return
        self._principal = await self.identify()
        _ = self.principal

    async def receiver(self) -> Receiver | None:
        """Where the body goes as it comes; None keeps it in memory for ``body``."""
        return None

    async def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body, as long as the whole stays within the limit."""
        self._received += len(chunk)
        if self.is_refused or self._body_problem or self._received > self._body_limit:
            # Raising here would close the connection without an answer; ``check_body`` raises.
            self._chunks = []
        elif self._decoder is None:
            await self._keep(chunk)
        else:
            await self._keep_decoded(self._decoder, chunk)

    async def _keep(self, chunk: bytes) -> None:
        if self._receiver is not None:
            await self._receiver.write(chunk)
        else:
            self._chunks.append(chunk)

    async def _keep_decoded(self, decoder: BodyDecoder, chunk: bytes) -> None:
        try:
            for piece in decoder.feed(chunk):
                await self._keep(piece)
                # A small chunk may become many pieces, and others wait.
                await asyncio.sleep(0)
        except MlsvcServerError as problem:
            self._body_problem = problem

    def on_finish(self) -> None:
        """Remove what is left of the body."""
        self._discard()

    def on_connection_close(self) -> None:
        """Remove what came until the client went away."""
        super().on_connection_close()
        self._discard()

    def _discard(self) -> None:
        if self._receiver is not None:
            self._receiver.discard()

    @property
    def _closes_connection(self) -> bool:
        # tornado does, without telling, where it answers before it has read the body.
        body = getattr(self.request, "_body_future", None)
        return body is not None and not body.done()

    @property
    def _body_limit(self) -> int:
        settings = self.web_settings
        return settings.max_upload_bytes if self.takes_upload else settings.max_body_bytes

    def check_body(self) -> None:
        """Raise what is wrong with the bytes of the body, once all have come.

        Raises
        ------
        PayloadTooLarge
            It went over the limit.
        BadRequest
            It could not be decoded.
        """
        if self._received > self._body_limit:
            raise self._too_large()
        if self._body_problem is not None:
            raise self._body_problem
        if self._decoder is not None:
            self._decoder.finish()

    def _too_large(self) -> PayloadTooLarge:
        return body_too_large(self._body_limit)

    async def head(self, **path: str) -> None:
        """Answer as GET does, without the body."""
        answered = self.get(**path)
        if isinstance(answered, Awaitable):
            await answered

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        """Send what is there; that is all where only the head was asked for."""
        sent = super().flush(include_footers)
        if self.request.method == "HEAD" and not include_footers:
            raise web.Finish
        return sent

    # --- reading -----------------------------------------------------------------------------

    @property
    def body(self) -> bytes:
        """The whole body; raises as :meth:`check_body`."""
        self.check_body()
        if len(self._chunks) != 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0]

    def parse(self, kind: type[T]) -> T:
        """Read the body as JSON of a kind; an empty body and ``null`` count as ``{}``.

        Raises
        ------
        BadRequest
            Not JSON, or a member is missing, unknown or of the wrong type; the message names it.
        """
        body, is_lenient = self.body, self.web_settings.lenient_json
        try:
            data = {} if is_blank(body) else decode_json(body, _decode, is_lenient=is_lenient)
            data = {} if data is None else known_members(kind, data, is_lenient=is_lenient)
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            raise BadRequest(f"The request body does not fit: {error}.") from None
        except UnknownMember as error:
            raise BadRequest(f"The request body does not fit: {error}") from None
        except UnreadableJson as error:
            raise BadRequest(f"The request body is not valid JSON: {error}.") from None

    def query(self, name: str, default: str = "") -> str:
        """Return one query argument, in whatever case its name is written."""
        for given in self.request.query_arguments:
            if given.lower() == name.lower():
                name = given
        return self.get_query_argument(name, default) or default

    # --- writing -----------------------------------------------------------------------------

    def answer(self, value: object = None, status: int = 200) -> None:
        """Finish with a value as compact JSON; ``None`` finishes with an empty body."""
        self.set_status(status)
        self.finish(b"" if value is None else msgspec.json.encode(value))

    def answer_text(self, sentence: str, status: int = 200) -> None:
        """Finish with a JSON string, as clients expect where the contract says string."""
        self.answer(sentence, status)

    def name_file(self, name: str) -> None:
        """Say under which name a client may keep what is sent."""
        self.set_header(
            "Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        )

    def answer_bytes(self, body: bytes, content_type: str, status: int = 200) -> None:
        """Finish with bytes as they are."""
        self.set_status(status)
        self.set_header("Content-Type", content_type)
        self.finish(body)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with an error; in the middle of an answer, cut it off."""
        if self._headers_written and not self._finished:
            # Tornado would end it as if it were whole.
            self._cut_off()
        else:
            super().send_error(status_code, **kwargs)

    def _cut_off(self) -> None:
        self._finished = True
        self.request.connection.close()  # type: ignore[union-attr]
        self._log()
        self.on_finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write any error as the contract's Error body; nothing of the server's inside shows."""
        error = as_domain_error(status_code, kwargs.get("exc_info", (None, None, None))[1])
        self.set_status(error.status)
        self.set_header("Content-Type", "application/json")
        for name, value in error.headers.items():
            self.set_header(name, value)
        if self._closes_connection:
            self.set_header("Connection", "close")
        body = error_body(error, self.request_id)
        self.finish(b"" if self.request.method == "HEAD" else body)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is the server's fault with its trace, what is the caller's in one line."""
        where = (self.request.method, self.request.path, self.request_id)
        if isinstance(value, iostream.StreamClosedError):
            _log.info("%s %s: the client went away (request %s)", *where)
        elif isinstance(value, MlsvcServerError | InvalidName | web.HTTPError):
            if getattr(value, "status", getattr(value, "status_code", 400)) >= 500:
                _log.warning("%s %s: %s (request %s)", *where[:2], value, where[2])
            else:
                _log.info("%s %s: %s (request %s)", *where[:2], value, where[2])
        else:
            _log.error("%s %s failed (request %s)", *where, exc_info=(typ, value, tb))


class _Fault(MlsvcServerError):
    """An error that is no domain error; without a message where that would tell too much."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]


def as_domain_error(status: int, error: BaseException | None) -> MlsvcServerError:
    """Find or make the domain error for whatever was raised.

    Parameters
    ----------
    status
        What tornado would answer with.
    error
        What was raised, if anything.
    """
    if isinstance(error, MlsvcServerError):
        return error
    if isinstance(error, InvalidName):
        return BadRequest(str(error))
    if isinstance(error, web.MissingArgumentError):
        return BadRequest(f"The query argument {error.arg_name!r} is missing.")
    if status >= 500:
        return _Fault(status)
    reason = error.log_message if isinstance(error, web.HTTPError) else None
    return _Fault(status, reason or f"{http.client.responses.get(status, 'Error')}.")


class PublicEndpoint(Endpoint):
    """The public door: bearer tokens only, CORS by configuration."""

    async def identify(self) -> Principal | None:
        """Take the bearer token's word."""
        token = bearer_token(self.request.headers)
        return None if token is None else await self.parts.tokens.principal_of(token)

    async def admit(self) -> None:
        """Answer a browser's preflight before asking for a token."""
        self._set_cors_headers()
        if self.request.method != "OPTIONS":
            await super().admit()

    async def options(self, **_: str) -> None:
        """Answer a browser's preflight (204)."""
        self.set_status(204)
        await self.finish()

    def _set_cors_headers(self) -> None:
        origin = self.request.headers.get("Origin")
        allowed = self.web_settings.cors_origins
        if origin is None or not ({origin, "*"} & allowed):
            return
        self.set_header("Access-Control-Allow-Origin", origin)
        for name, value in CORS_HEADERS.items():
            self.set_header(name, value)

    def clear(self) -> None:
        """Start the answer over, as on an error, keeping what lets a browser read it."""
        super().clear()
        if hasattr(self, "_chunks"):
            self._set_cors_headers()


class JupyterEndpoint(Endpoint, APIHandler):
    """The Jupyter door: our bearer tokens, or the identity that Jupyter established."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Leave out Jupyter's own checks: ``admit`` makes those that count here."""
        await Endpoint.prepare(self)

    async def admit(self) -> None:
        """Check the host as Jupyter does, then as everywhere."""
        if not self.check_host():
            raise Forbidden("The Host header names no host of this server.")
        await super().admit()

    async def identify(self) -> Principal | None:
        """Decide first whose token it is: ours, or Jupyter's."""
        token = bearer_token(self.request.headers)
        if token is not None and self.parts.tokens.looks_like_ours(token):
            principal = await self.parts.tokens.principal_of(token)
            self._admit_by_token(User(principal.name))
            return principal
        user = self.identity_provider.get_user(self)
        if isinstance(user, Awaitable):
            user = await user
        if user is None:
            return None
        # Without the second name, Jupyter takes its check of the XSRF cookie for one too early.
        self.current_user = self._jupyter_current_user = user
        await self._check_jupyter_rules(user)
        return Principal(name=self._owner_name(user), role=Role.OWNER)

    def _admit_by_token(self, user: User) -> None:
        self.current_user = user
        self._token_authenticated = True
        self.set_cors_headers()

    async def _check_jupyter_rules(self, user: User) -> None:
        self.set_cors_headers()
        if self.request.method not in {"GET", "HEAD", "OPTIONS"}:
            self.check_xsrf_cookie()
        if not self.check_origin():
            raise Forbidden("The Origin header names a site that may not use this server.")
        action = "read" if self.request.method in {"GET", "HEAD"} else "write"
        allowed = self.authorizer.is_authorized(self, user, action, f"mlsvc:{self.resource}")
        if isinstance(allowed, Awaitable):
            allowed = await allowed
        if not allowed:
            raise Forbidden(f"{user.username} is not authorized to {action} mlsvc:{self.resource}.")

    def _owner_name(self, user: User) -> str:
        # The stock providers name each browser at random; who is at the keyboard stays the same.
        module = type(self.identity_provider).__module__
        if module == IdentityProvider.__module__:
            return self.web_settings.jupyter_user
        return user.username

    def set_default_headers(self) -> None:
        """Our headers count at this door as well."""
        Endpoint.set_default_headers(self)

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        """Finish without Jupyter's forcing of the content type."""
        return web.RequestHandler.finish(self, *args, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors look alike at both doors."""
        Endpoint.write_error(self, status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log alike at both doors."""
        Endpoint.log_exception(self, typ, value, tb)


class UnknownPath(Endpoint):
    """Every path that no route has."""

    async def _refuse(self, **_: str) -> None:
        raise NotFound(f"There is no {self.request.method} {self.request.path} here.")

    get = post = put = patch = delete = head = _refuse


def mount(
    routes: Routes, door: type[Endpoint], prefix: str = "", *, any_case: bool = False
) -> list[tuple[str, type[Endpoint]]]:
    """Make the handlers of a door from a table of routes.

    Parameters
    ----------
    routes
        Patterns that start with a slash, and endpoints.
    door
        :class:`PublicEndpoint` or :class:`JupyterEndpoint`.
    prefix
        What comes before each pattern, without a slash at its end. A slash at the end of a
        request's path is forgiven.
    any_case
        Whether the patterns match in any case; what names stand for is in the case it has.
    """
    before = re.escape(prefix)
    flags = "(?i:" if any_case else "(?:"
    return [
        (
            f"{before}{flags}{pattern})/?",
            type(endpoint.__name__, (endpoint, door), {"__doc__": endpoint.__doc__}),
        )
        for pattern, endpoint in routes
    ]


def bearer_token(headers: httputil.HTTPHeaders) -> str | None:
    """Read the bearer token of a request, if it has one."""
    return answers.bearer_token(headers.get("Authorization", ""))


def _content_length(headers: httputil.HTTPHeaders) -> int:
    text = headers.get("Content-Length", "0")
    # As many digits as tell that it is too much: Python reads no number of thousands of them.
    return int(text[:_LONGEST_LENGTH]) if text.isascii() and text.isdigit() else 0


def all_routes(tables: Iterable[Routes]) -> Routes:
    """Join the nouns' tables of routes."""
    return [route for table in tables for route in table]
