"""A request, as the verbs see it: who asks, what for, and the body."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from jupyter_mlsvc_server.api.body_memory import BodyMemory
from jupyter_mlsvc_server.api.content_coding import BodyDecoder, charset_problem, codings_of
from jupyter_mlsvc_server.api.proxies import TrustedProxies
from jupyter_mlsvc_server.api.responses import BodyLimit
from jupyter_mlsvc_server.api.routing import BodySize, Operation
from jupyter_mlsvc_server.auth.key_use import KeyUse
from jupyter_mlsvc_server.auth.principal import Owner, Principal
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.pieces import LARGE, Body, Pieces, gathered
from jupyter_mlsvc_server.formats.request_bodies import LARGE_BYTES, UnfitBody, decode_body

T = TypeVar("T")

_MAX_LENGTH_DIGITS: Final = 18
_MAX_DIGITS: Final = 15
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}
"""Of a number in the query; a longer one is no event's or entry's, whatever it is."""

_SMALL_BYTES: Final = 8 * 2**10
_NORMAL_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Limits and policies that count for all operations; sizes in bytes."""

    max_body_bytes: int
    max_upload_bytes: int
    memory: BodyMemory
    cors_origins: frozenset[str] = field(default_factory=frozenset)
    lenient_json: bool = True
    docs_public: bool = False
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)

    def limit_of(self, size: BodySize) -> BodyLimit:
        """Return how large a body of a size may be."""
        match size:
            case BodySize.SMALL:
                return BodyLimit(min(_SMALL_BYTES, self.max_body_bytes))
            case BodySize.NORMAL:
                return BodyLimit(min(_NORMAL_BYTES, self.max_body_bytes))
            case BodySize.LARGE:
                return BodyLimit(self.max_body_bytes, "MlsvcApp.max_body_bytes")
            case BodySize.UPLOAD:
                return BodyLimit(self.max_upload_bytes, "MlsvcApp.max_upload_bytes")


class ApiRequest:
    """A request that an operation answers.

    The body is read when a verb asks for it. What a verb does not read is skipped.

    Attributes
    ----------
    principal
        Who asks. Operations that need no credentials have nobody.
    ended
        What is to be closed or removed once the request has been answered, or its client is gone.
    status
        Status of the answer; 0 before there is one.
    subject
        What it is about, where its path does not say.
    known_by
        By what else than a token it is known who asks.
    """

    def __init__(
        self, scope: Scope, receive: Receive, *, operation: Operation, settings: ApiSettings
    ) -> None:
        self.method: str = scope["method"]
        self.headers = Headers(scope=scope)
        self.id: str = scope["state"]["request_id"]
        self.path = path_of(scope)
        self._state: dict[str, object] = scope["state"]
        self.is_tls = scope.get("scheme") == "https"
        self.is_from_host = bool(self._state.get("is_host"))
        self.settings = settings
        self._client: tuple[str, int] | None = scope["client"]
        self.ended = contextlib.AsyncExitStack()
        self.status = 0
        self._query_string: bytes = scope["query_string"]
        self.subject = ""
        self.known_by = ""
        self._caller: Owner | None = None
        self._principal: Principal | None = None
        self._receive = receive
        self._operation = operation
        self._limit = settings.limit_of(operation.body)
        self._content_length = _content_length(self.headers)
        self._is_chunked = "transfer-encoding" in self.headers
        self._is_expecting = self.headers.get("expect", "").lower() == "100-continue"
        self._received = 0
        self._is_whole = not (self._content_length or self._is_chunked)

    @property
    def principal(self) -> Principal:
        """Who asks."""
        assert self._principal is not None
        return self._principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        self._principal = principal

    @property
    def key(self) -> KeyUse | None:
        """Service key by which it is known who asks; None for people, and while nobody is known."""
        return self._principal.key if self._principal else None

    def tell_caller(self, caller: Owner | None, known_by: str) -> None:
        """Note who has asked, where that is known by something else than a token."""
        self._caller, self.known_by = caller, known_by

    @property
    def caller(self) -> Owner:
        """Id and name of who asks; both empty where nobody is known."""
        return self._principal.owner if self._principal else self._caller or Owner("", "")

    def note_known(self) -> None:
        """Let the connection be kept as long as those of who is known are."""
        self._state["is_known"] = True

    @property
    def address(self) -> str:
        """Where the client is, as far as is known; empty for this machine's own."""
        peer = self._client[0] if self._client else ""
        forwarded = self.headers.getlist("x-forwarded-for")
        return self.settings.trusted_proxies.client_of(
            peer, forwarded, is_trusted=self.is_from_host
        )

    # --- query -------------------------------------------------------------------------------

    def query(self, name: str, default: str = "") -> str:
        """Return one query argument, in whatever case its name is written.

        Raises
        ------
        BadRequest
            It is not UTF-8.
        """
        values = self._query_values(name)
        return (values[-1] if values else "") or default

    def query_number(self, name: str, most: int | None = None) -> int | None:
        """Return a query argument that is a number; None where it is left out.

        Raises
        ------
        BadRequest
            It is no integer of 0 or more, or greater than ``most``.
        """
        text = self.query(name)
        if not text:
            return None
        number = -1
        if text.isascii() and text.isdigit():
            number = int(text) if len(text) <= _MAX_DIGITS else 10**_MAX_DIGITS
        if number < 0 or (most is not None and number > most):
            limits = "of 0 or more" if most is None else f"from 0 to {most}"
            raise BadRequest(f"{name} is {text[:40]!r}; it has to be an integer {limits}.")
        return number

    def query_flag(self, *names: str) -> bool:
        """Return a query argument that is a truth value, under any of its names.

        It is false where it is left out.

        Raises
        ------
        BadRequest
            It is neither true nor false.
        """
        for name in names:
            text = self.query(name)
            if text:
                if text.lower() not in _TRUTH:
                    raise BadRequest(f"{name} must be true or false, got {text!r}.")
                return _TRUTH[text.lower()]
        return False

    def required_query(self, name: str) -> str:
        """Return a query argument that has to be there.

        Raises
        ------
        BadRequest
            It is missing, or not UTF-8.
        """
        values = self._query_values(name)
        if not values:
            raise BadRequest(f"The query argument {name!r} is missing.")
        return values[-1]

    def _query_values(self, name: str) -> list[str]:
        text = self._query_string.decode("latin-1")
        pairs = parse_qsl(text, keep_blank_values=True, encoding="latin-1")
        return [_query_text(name, value) for key, value in pairs if key.lower() == name.lower()]

    # --- body --------------------------------------------------------------------------------

    @property
    def may_be_large(self) -> bool:
        """Whether the body may hold more than is read at once."""
        is_coded = "content-encoding" in self.headers
        return self._is_chunked or is_coded or self._content_length > LARGE_BYTES

    async def body(self) -> bytes:
        """Read the whole body, and hold it until the request has been answered.

        Raises
        ------
        TooManyRequests
            There is no room for it in memory now.
        MlsvcServerError
            As :meth:`pieces`.
        """
        body = await self.unjoined_body()
        # Python lets others run while it joins as much.
        return body if isinstance(body, bytes) else await asyncio.to_thread(bytes, body)

    async def unjoined_body(self) -> Body:
        """Read the whole body as :meth:`body`; a large one stays in pieces."""
        held = _HeldBody(self.settings.memory, self.caller.name)
        self.ended.callback(held.release)
        pieces, short, size = [], [], 0
        async for piece in self.pieces():
            held.add(len(piece))
            short.append(piece)
            size += len(piece)
            if size >= LARGE:
                pieces.append(gathered(short))
                short, size = [], 0
        if short:
            pieces.append(gathered(short))
        return Pieces(pieces) if len(pieces) > 1 else b"".join(pieces)

    async def parse(self, kind: type[T]) -> T:
        """Read the body as JSON of a kind; an empty body and ``null`` count as ``{}``.

        Raises
        ------
        BadRequest
            Not JSON, or a member is missing, unknown or of the wrong type; the message names it.
        MlsvcServerError
            As :meth:`pieces`.
        """
        try:
            return decode_body(kind, await self.body(), is_lenient=self.settings.lenient_json)
        except UnfitBody as problem:
            raise BadRequest(str(problem)) from None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Read the body piece by piece, decoded.

        Raises
        ------
        PayloadTooLarge
            It is over the limit.
        UnsupportedMediaType
            It is in a coding or a charset that is not read here.
        BadRequest
            It can't be decoded.
        ClientDisconnect
            The client went away.
        """
        self.check_body_headers()
        codings = codings_of(self.headers.get("content-encoding", ""))
        decoder = BodyDecoder(codings, self._limit) if codings else None
        async for chunk in self._chunks():
            if decoder is None:
                yield chunk
                continue
            decoded = decoder.feed(chunk)
            while (piece := await asyncio.to_thread(next, decoded, None)) is not None:
                yield piece
        if decoder is not None:
            decoder.finish()

    def check_body_headers(self) -> None:
        """Raise what the headers tell is wrong with the body.

        Raises
        ------
        PayloadTooLarge, UnsupportedMediaType
            As :meth:`pieces`.
        """
        self.check_size()
        if self._operation.reads_text:
            problem = charset_problem(self.headers.get("content-type", ""))
            if problem is not None:
                raise problem
        codings_of(self.headers.get("content-encoding", ""))

    def check_size(self) -> None:
        """Raise ``PayloadTooLarge`` where a body over the limit is announced."""
        if self._content_length > self._limit.most:
            raise self._limit.exceeded(self._content_length)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while not self._is_whole:
            chunk = await self._chunk()
            if self._received > self._limit.most:
                raise self._limit.exceeded()
            yield chunk

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._is_expecting = False
        self._is_whole = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        self._received += len(chunk)
        return chunk

    async def skip_body(self) -> bool:
        """Read what is left of a short body; returns whether nothing of it is left.

        An answer before the end of the body closes the connection: what the client sent last may
        then cost it the answer, and what it sends next fails. Who sends pieces, or waits for leave
        to send, is told at once.
        """
        most = self._limit.most if self._principal else min(self._limit.most, _NORMAL_BYTES)
        is_long = self._is_chunked or self._content_length > most
        if not self._is_whole and (is_long or self._is_expecting):
            return False
        while not self._is_whole:
            await self._chunk()
        return True

    # --- the client --------------------------------------------------------------------------

    async def answer_or_gone(self, answer: Awaitable[T], when_gone: Callable[[], object]) -> T:
        """Wait for an answer, and call a function if the client goes away before it is there.

        Raises
        ------
        ClientDisconnect
            It went away.
        """
        waiting = asyncio.ensure_future(answer)
        watching = asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait({waiting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            when_gone()
            raise ClientDisconnect
        finally:
            watching.cancel()
            waiting.cancel()
            await asyncio.gather(waiting, watching, return_exceptions=True)

    async def _until_gone(self) -> None:
        """Wait until the client is gone; what comes of a body that nobody asked for is read."""
        with contextlib.suppress(ClientDisconnect):
            while True:
                await self._chunk()


class _HeldBody:
    """What of a request is held in memory."""

    def __init__(self, memory: BodyMemory, caller: str) -> None:
        self._memory = memory
        self._caller = caller
        self._size = 0

    def add(self, size: int) -> None:
        if not self._memory.take(self._caller, size):
            raise self._memory.refusal(self._caller, size)
        self._size += size

    def release(self) -> None:
        if self._size:
            self._memory.release(self._caller, self._size)
            self._size = 0


def path_of(scope: Scope) -> str:
    """Return the path as it was sent, percent-encoded."""
    raw: bytes = scope["raw_path"]
    return raw.decode("latin-1")


def _content_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    # As many digits as tell that it is too much: Python reads no number of thousands of them.
    return int(text[:_MAX_LENGTH_DIGITS]) if text.isascii() and text.isdigit() else 0


def _query_text(name: str, value: str) -> str:
    try:
        return value.encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        raise BadRequest(f"The query argument {name!r} is not UTF-8.") from None
