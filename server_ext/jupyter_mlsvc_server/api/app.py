"""The ASGI application: every request but the scoring calls that ``score`` takes first."""

from __future__ import annotations

import http
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Final
from urllib.parse import unquote

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from jupyter_mlsvc.wire.names import InvalidName
from jupyter_mlsvc_server.api.authentication import Authentication, credential_of
from jupyter_mlsvc_server.api.lifecycle import Lifecycle
from jupyter_mlsvc_server.api.pages import Pages
from jupyter_mlsvc_server.api.permissions import needed
from jupyter_mlsvc_server.api.request import ApiRequest, ApiSettings, path_of
from jupyter_mlsvc_server.api.responses import (
    CORS_HEADERS,
    HEADERS,
    PAGE_HEADERS,
    REQUEST_ID,
    TLS_HEADERS,
    error_response,
)
from jupyter_mlsvc_server.api.routing import Match, Operation, Router
from jupyter_mlsvc_server.auth.errors import OriginNotAllowed
from jupyter_mlsvc_server.auth.policy import require_reach, require_service
from jupyter_mlsvc_server.auth.principal import ANYBODY
from jupyter_mlsvc_server.errors import BadRequest, MlsvcServerError, NotAuthenticated, NotFound
from jupyter_mlsvc_server.monitoring.answered import CLIENT_LEFT, AnsweredRequest, Observer
from jupyter_mlsvc_server.monitoring.logs import request_scope
from jupyter_mlsvc_server.storage.machine_faults import machine_fault

_UNAUTHORIZED: Final = 401
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS"})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


_DEFAULT_HEADERS: Final = _raw(HEADERS | PAGE_HEADERS)
_TLS_HEADERS: Final = _raw(TLS_HEADERS)
_CORS_HEADERS: Final = _raw(CORS_HEADERS)

_log = logging.getLogger("jupyter_mlsvc_server")


class MethodNotAllowed(MlsvcServerError):
    """The path is there, but not with this method."""

    status = 405


class _Fault(MlsvcServerError):
    """A failure of the server's own; a message would tell too much."""


class ApiApp:
    """Answers requests by the tables of routes.

    Parameters
    ----------
    router
        Finds the routes of all nouns.
    observers
        Called with each request that was answered.
    knows_origin
        Whether pages of an origin may call with some service key.
    pages
        Answers browsers; None answers them as programs.
    """

    def __init__(
        self,
        *,
        router: Router,
        authentication: Authentication,
        lifecycle: Lifecycle,
        settings: ApiSettings,
        observers: Sequence[Observer] = (),
        knows_origin: Callable[[str], Awaitable[bool]] | None = None,
        pages: Pages | None = None,
    ) -> None:
        self._knows_origin = knows_origin
        self._router = router
        self._observers = observers
        self._pages = pages
        self._authentication = authentication
        self._lifecycle = lifecycle
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request_id = scope["state"].setdefault("request_id", uuid.uuid4().hex)
        with request_scope(request_id):
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        match = self._router.find(path_of(scope))
        operation = _operation(scope["method"], match)
        request = ApiRequest(scope, receive, operation=operation, settings=self._settings)
        send = self._with_headers(request, send)
        try:
            async with request.ended:
                response = await self._answer(request, operation, match)
                await response(scope, receive, send)
        except ClientDisconnect:
            _log.info("%s %s: the client went away", request.method, request.path)
        finally:
            self._note(request, match, perf_counter() - began)

    def _note(self, request: ApiRequest, match: Match | None, seconds: float) -> None:
        answered = AnsweredRequest(
            id=request.id,
            method=request.method,
            path=request.path,
            route="" if match is None else match.route.path,
            status=request.status or CLIENT_LEFT,
            seconds=seconds,
            user=request.caller.name,
            user_id=request.caller.id,
            credential=credential_of(request),
            address=request.address,
            subject=request.subject or ("" if match is None else _subject(match)),
        )
        for observe in self._observers:
            observe(answered)

    async def _answer(
        self, request: ApiRequest, operation: Operation, match: Match | None
    ) -> Response:
        try:
            if request.method == "OPTIONS":
                # A browser's preflight, which never has a token.
                response = Response(status_code=204)
            else:
                page = None if self._pages is None else await self._pages.find(request)
                response = page or await self._run(request, operation, match)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets an answer
            response = self._error_response(request, error)
        if self._pages is not None:
            response = self._pages.shown(request, response)
        if not await request.skip_body():
            response.headers["Connection"] = "close"
        return response

    async def _run(
        self, request: ApiRequest, operation: Operation, match: Match | None
    ) -> Response:
        if request.method not in _METHODS:
            raise MethodNotAllowed(f"{_phrase(405)}.")
        if operation.needs_ready:
            self._lifecycle.require_serving()
        if operation.checks_body:
            # Before anything is done for who sends it.
            request.check_size()
        if not operation.is_public:
            await self._identify(request, operation)
        if operation.checks_body:
            request.check_body_headers()
        if match is None:
            raise NotFound(f"There is no {request.method} {request.path} here.")
        if not operation.is_public:
            method = "GET" if request.method == "HEAD" else request.method
            action = needed(method, match.route.path)
            if action is not None:
                require_reach(request.principal, action)
        parameters = match.decoded_parameters()
        if not operation.is_public and "name" in parameters:
            require_service(request.principal, parameters["name"], parameters.get("version", ""))
        return await operation.verb(request, **parameters)

    async def _identify(self, request: ApiRequest, operation: Operation) -> None:
        try:
            request.principal = await self._authentication.identify(request)
        except NotAuthenticated as error:
            is_open = operation.is_document and self._settings.docs_public
            if not is_open or error.token_was_sent:
                raise
            request.principal = ANYBODY
        else:
            request.note_known()
            self._require_origin(request)

    # --- answers -----------------------------------------------------------------------------

    def _error_response(self, request: ApiRequest, error: Exception) -> Response:
        where = (request.method, request.path)
        if isinstance(error, InvalidName):
            error = BadRequest(str(error))
        if not isinstance(error, MlsvcServerError):
            _log.error("%s %s failed", *where, exc_info=error)
            error = machine_fault(error) or _Fault("")
        else:
            level = logging.WARNING if error.status >= 500 else logging.INFO
            text = f"{error} {error.logged}".rstrip()
            _log.log(level, "%s %s: %s", *where, text)
        return error_response(error, request.id)

    def _with_headers(self, request: ApiRequest, send: Send) -> Send:
        """Add to the answer what all answers have."""
        added = _raw({REQUEST_ID: request.id})
        if request.is_tls:
            added += _TLS_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                own = message["headers"]
                given = {each[0] for each in own}
                common = [each for each in _DEFAULT_HEADERS if each[0] not in given]
                cors = await self._cors_headers(request)
                message["headers"] = [*common, *added, *cors, *own]
            await send(message)

        return send_with_headers

    async def _cors_headers(self, request: ApiRequest) -> list[tuple[bytes, bytes]]:
        origin = request.headers.get("origin")
        if origin is None or not await self._may_read(request, origin):
            return []
        return [*_raw({"Access-Control-Allow-Origin": origin}), *_CORS_HEADERS]

    async def _may_read(self, request: ApiRequest, origin: str) -> bool:
        """Whether a page of an origin may read an answer."""
        if {origin, "*"} & self._settings.cors_origins:
            return True
        if request.key is not None:
            return origin in request.key.origins
        # A preflight has no key. A page whose key is no good is to read why.
        is_of_any_key = request.method == "OPTIONS" or request.status == _UNAUTHORIZED
        if not is_of_any_key or self._knows_origin is None:
            return False
        try:
            return await self._knows_origin(origin)
        except MlsvcServerError as error:
            _log.info("origins of service keys could not be read: %s", error)
            return False

    def _require_origin(self, request: ApiRequest) -> None:
        """Refuse a page that calls with a service key for pages of other origins."""
        origin, key = request.headers.get("origin"), request.key
        if origin is None or key is None or key.allows(origin):
            return
        is_own = origin.partition("://")[2] == request.headers.get("host")
        if not (is_own or {origin, "*"} & self._settings.cors_origins):
            raise OriginNotAllowed(key.name, origin)


def _subject(match: Match) -> str:
    """Name what a path is about, by its parameters."""
    return "/".join(unquote(each, errors="replace") for each in match.parameters.values())


async def _not_allowed(_: ApiRequest, **_parameters: str) -> Response:
    raise MethodNotAllowed(f"{_phrase(405)}.")


_NOT_ALLOWED: Final = Operation(_not_allowed)


def _operation(method: str, match: Match | None) -> Operation:
    if match is None:
        return _NOT_ALLOWED
    # HEAD is answered as GET is; the HTTP server leaves the body out.
    return match.route.operations.get("GET" if method == "HEAD" else method, _NOT_ALLOWED)


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase
