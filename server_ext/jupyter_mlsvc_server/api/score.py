"""Calls of services: the one entry, for those that the protocol takes itself and for the others.

A plain call (:class:`~.head_cache.CallHead`) of somebody whose token is known goes from the
protocol straight to the engine. Every other call comes through the application to
:meth:`ScoreEntry.consume`: bad tokens, encoded or large bodies, whatever is to be refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from starlette.responses import Response

from jupyter_mlsvc.wire.arrow_stream import MEDIA_TYPE
from jupyter_mlsvc_server.api.answer_stream import (
    KEEP_ALIVE_SECONDS,
    StreamFormat,
    parts_of,
    stream_format,
)
from jupyter_mlsvc_server.api.arrow import form_of, media_type_of
from jupyter_mlsvc_server.api.authentication import KEY_HEADER, bearer_token, service_key
from jupyter_mlsvc_server.api.body_memory import BodyMemory
from jupyter_mlsvc_server.api.content_coding import charset_problem
from jupyter_mlsvc_server.api.head_cache import CallHead
from jupyter_mlsvc_server.api.large_answers import call_response, forget
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import (
    CORS_HEADERS,
    StreamedResponse,
    with_request_id,
)
from jupyter_mlsvc_server.auth.policy import Action, may, require
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.envelope import Form, enveloped
from jupyter_mlsvc_server.formats.pieces import Body, Pieces
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.recent_calls import Caller
from jupyter_mlsvc_server.scoring.request import Ended, PendingRequest
from jupyter_mlsvc_server.scoring.stream import AnswerStream

CALL_ROUTE: Final = "/api/{name}/{version}"
"""Route of calls."""

_CALL: Final = rb"/api/([^/?]+)/([^/?]+)/?(?:\?.*)?"
_NOT_PLAIN: Final = frozenset({b"content-encoding", b"expect", b"transfer-encoding", b"upgrade"})
_FORMS: Final = frozenset({b"content-type", b"accept"})
_ARROW: Final = MEDIA_TYPE.encode()
_CREDENTIALS: Final = {b"authorization": bearer_token, KEY_HEADER.encode(): service_key}
_CORS: Final = "".join(f"{name}: {value}\r\n" for name, value in CORS_HEADERS.items()).encode()

_CONSUMERS: Final = tuple(
    role for role in Role if may(Principal("", "", role), Action.CONSUME, None)
)
"""Roles that may call services."""

_REJECTED: Final = frozenset({400, 406, 413, 415})
_MAX_PLAIN_BYTES: Final = 2**20
_PATHS_KEPT: Final = 10_000
_MAX_KEPT_LENGTH: Final = 2**10


class Tokens(Protocol):
    """Remembers whose tokens are good."""

    def recall(self, access_token: str) -> Principal | None:
        """Tell whose token it is, where that is known at once."""


class Engine(Protocol):
    """What of an engine answers calls; as those of ``ScoringEngine``."""

    def submit(
        self,
        key: DefinitionKey,
        body: Body,
        ended: Ended,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> PendingRequest:
        """Answer one request through a callback, which may come at once."""

    async def consume(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> ScoringAnswer:
        """Answer one request."""

    def stream(
        self,
        name: str,
        version: str,
        body: Body,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> AnswerStream:
        """Answer one request item by item."""

    def reject(
        self,
        name: str,
        version: str,
        error: MlsvcServerError,
        caller: Caller | None = None,
        request_id: int | str = "",
    ) -> None:
        """Count a request that was refused for how it was sent."""


class ScoreEntry:
    """Takes calls of services.

    Parameters
    ----------
    tokens
        Knows whose tokens are good.
    engine
        Runs services.
    max_body_bytes
        Largest body of a call.
    memory
        Counts the bodies of calls that are not short.
    cors_origins
        Whose pages may call; ``*`` stands for anybody's.
    any_case_paths
        Whether the literal parts of paths may be in any case.
    base_path
        What proxies leave before a path.
    """

    def __init__(
        self,
        *,
        tokens: Tokens,
        engine: Engine,
        max_body_bytes: int,
        memory: BodyMemory,
        cors_origins: Iterable[str] = (),
        any_case_paths: bool = False,
        base_path: str = "",
    ) -> None:
        self.submit = engine.submit
        """Runs a call; its callback gets the answer, or the error that there is instead."""
        self._engine = engine
        self._recall = self._knows = tokens.recall
        # The application reads a larger one in pieces, between which others are answered.
        self._max_plain_bytes = min(max_body_bytes, _MAX_PLAIN_BYTES)
        self.memory = memory
        self._origins = frozenset(cors_origins)
        case = re.IGNORECASE if any_case_paths else re.NOFLAG
        prefix = b"(?:%b)?" % re.escape(base_path.encode())
        self._pattern = re.compile(prefix + _CALL, re.DOTALL | case)
        self._paths: dict[bytes, DefinitionKey | None] = {}

    def close(self) -> None:
        """Admit nobody to the short way any more: all calls come through the application."""
        self._recall = _nobody

    def key_of(self, url: bytes) -> DefinitionKey | None:
        """Read which service a path calls; None where it calls none."""
        try:
            return self._paths[url]
        except KeyError:
            if len(self._paths) >= _PATHS_KEPT:
                self._paths.clear()
            key = self._read_key(url)
            if len(url) <= _MAX_KEPT_LENGTH:
                self._paths[url] = key
            return key

    def _read_key(self, url: bytes) -> DefinitionKey | None:
        found = self._pattern.fullmatch(url)
        if found is None:
            return None
        try:
            name, version = (unquote_to_bytes(part).decode() for part in found.groups())
        except UnicodeDecodeError:
            return None  # the application knows what to say
        return DefinitionKey(name, version)

    def read(self, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> CallHead | None:
        """Read the head of a ``POST``; None where it is no plain call.

        Parameters
        ----------
        url
            The target, as it was sent.
        headers
            With names in lower case.
        """
        key = self.key_of(url)
        if key is None:
            return None
        token = length = origin = None
        hosts = 0
        for name, value in headers:
            if (read := _CREDENTIALS.get(name)) is not None:
                if token is not None:
                    return None
                token = read(value.decode("latin-1"))
            elif name == b"content-length":
                length = int(value)
            elif name == b"origin":
                origin = value
            elif name == b"host":
                hosts += 1
            elif name in _NOT_PLAIN or (name in _FORMS and not _is_plain(name, value)):
                return None
        if hosts != 1 or token is None or length is None or length > self._max_plain_bytes:
            return None
        return CallHead(key, url, token, length, origin)

    def admit(self, head: CallHead) -> Principal | None:
        """Return who makes a call, where the token is known, at this moment, to let one do that.

        A call with a service key is counted; see :meth:`KeyUse.takes`.
        """
        principal = self._recall(head.token)
        if principal is None or principal.role not in _CONSUMERS:
            return None
        key, services = principal.key, principal.services
        if key is None:
            return principal
        # Most keys are for names.
        is_known = services is None or head.key.name in services or principal.knows_of(*head.key)
        return principal if is_known and key.takes(head.key, head.origin) else None

    def user_of(self, token: str) -> str:
        """Return whose token it is; empty where that is not known at this moment."""
        principal = self._recall(token)
        return "" if principal is None else principal.name

    async def consume(self, request: ApiRequest, name: str, version: str) -> Response:
        """Answer a call that came through the application (contract: ``consumeWebService``)."""
        require(request.principal, Action.CONSUME, None, "consume services")
        if request.principal.key is not None:
            request.principal.key.require((name, version))
        try:
            form = form_of(request.headers)
            body = await request.unjoined_body()
        except MlsvcServerError as error:
            if error.status in _REJECTED:
                self._engine.reject(name, version, error, request.principal, request.id)
            raise
        wanted = stream_format(",".join(request.headers.getlist("accept")))
        if wanted is not None:
            form &= Form.ARROW_IN
        if form:
            body = enveloped(form, body)
        if wanted is not None:
            stream = self._engine.stream(name, version, body, request.principal, request.id)
            return await self._streamed(request, stream, wanted)
        answering = self._engine.consume(name, version, body, request.principal, request.id)
        answer = await request.answer_or_gone(answering, lambda: None)
        if isinstance(body, Pieces):
            # Not before: without an answer it may yet be sent to another worker.
            request.ended.push_async_callback(forget, body)
        return self._response(answer, request.id)

    def _response(self, answer: ScoringAnswer, request_id: str) -> Response:
        body = self.identified(answer, request_id) if answer.needs_id else answer.body
        return call_response(body, media_type_of(body), answer.status)

    async def _streamed(
        self, request: ApiRequest, stream: AnswerStream, written: StreamFormat
    ) -> Response:
        """Answer item by item; what is wrong before the first item has its status as ever."""
        request.ended.callback(stream.leave)
        items = await request.answer_or_gone(stream.read(KEEP_ALIVE_SECONDS), stream.leave)
        outcome = None if items else stream.outcome
        if isinstance(outcome, MlsvcServerError):
            raise outcome
        if outcome is not None and outcome.status != 200:
            return self._response(outcome, request.id)
        parts = parts_of(stream, written, items, request.id)
        return StreamedResponse(parts, headers=written.headers)

    def identified(self, answer: ScoringAnswer, request_id: str) -> Body:
        """Put the id of a request where it belongs; return the body of the answer."""
        if answer.entry is not None:
            answer.entry.request_id = request_id
        if answer.status == 200:
            return answer.body
        return with_request_id(bytes(answer.body), request_id)

    def cors_headers(self, head: CallHead) -> bytes:
        """Give the headers of an answer to a page, as they are written."""
        if head.origin is None:
            return b""
        origin = head.origin.decode("latin-1")
        if origin in self._origins or "*" in self._origins or self._is_of_key(head, origin):
            return b"Access-Control-Allow-Origin: %b\r\n%b" % (head.origin, _CORS)
        return b""

    def _is_of_key(self, head: CallHead, origin: str) -> bool:
        """Whether the key of a call is for pages of an origin."""
        principal = self._knows(head.token)
        key = None if principal is None else principal.key
        return key is not None and origin in key.origins


def _is_plain(name: bytes, media_type: bytes) -> bool:
    """Whether a header tells of JSON in UTF-8, all at once."""
    if _ARROW in media_type.lower():
        return False
    text = media_type.decode("latin-1")
    return (stream_format(text) if name == b"accept" else charset_problem(text)) is None


def _nobody(access_token: str) -> Principal | None:
    return None
