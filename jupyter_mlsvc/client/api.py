"""Calls of the contract: adds the token, turns answers into types and refusals into errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.client.auth import Anonymous, Auth, FileToken
from jupyter_mlsvc.client.payload import estimated_bytes
from jupyter_mlsvc.client.transport import (
    REFUSED,
    ApiRequest,
    ApiResponse,
    RequestsTransport,
    Timeout,
    Transport,
    Upload,
)
from jupyter_mlsvc.config import read_connection
from jupyter_mlsvc.errors import (
    ApiError,
    ConnectionFailed,
    InvalidInput,
    NotLoggedIn,
    PayloadTooLarge,
    UnexpectedAnswer,
    api_error,
)
from jupyter_mlsvc.wire.arrow_stream import is_installed
from jupyter_mlsvc.wire.json_values import ValueProblem, require_text
from jupyter_mlsvc.wire.models import StatusResponse
from jupyter_mlsvc.wire.problem import Problem

T = TypeVar("T")
Form = dict[str, str | tuple[str, bytes, str]]
"""Fields of a form: texts, and files with their name, content and type."""

_log: Final = logging.getLogger("jupyter_mlsvc.client")
_JSON: Final = "application/json"
_SUCCESS: Final = 2
_REDIRECT: Final = 3
_UNAUTHORIZED: Final = 401
_MEGA: Final = 1_000_000
_CERTAINLY: Final = 1.25
_DETAILS: Final = ("error_code", "reason", "operation", "parameter", "console_output")
"""Members of an Error body that older servers do not send."""


class Api:
    """What all nouns of the client share.

    Parameters
    ----------
    transport : Transport
        Carries the requests.
    url : str
        Address of the server, for messages.
    timeout : tuple of float or None
        Seconds to wait for the connection and for the next bytes.

    Attributes
    ----------
    public_url : str
        Address of the server for programs; the same where no other is known.
    """

    def __init__(self, transport: Transport, url: str, timeout: Timeout) -> None:
        self._transport = transport
        self.url = url
        self.public_url = url
        self.timeout = timeout
        self.auth: Auth = Anonymous()
        self._max_body_bytes: int | None = None
        self._takes_arrow: bool | None = None

    # --- calls -------------------------------------------------------------------------------

    def get(self, kind: type[T], *path: str, query: Mapping[str, str] | None = None) -> T:
        """GET and decode."""
        return self.decode(kind, self.call("GET", *path, query=query))

    def post(
        self, kind: type[T], *path: str, json: object = None, timeout: Timeout | None = None
    ) -> T:
        """POST a JSON body and decode the answer."""
        return self.decode(kind, self.call("POST", *path, json=json, timeout=timeout))

    def delete(self, *path: str) -> None:
        """DELETE; what the server says about it is a sentence for people."""
        self.call("DELETE", *path).read()

    def call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        json: object = None,
        body: bytes | Upload | None = None,
        content_type: str = _JSON,
        accept: str = "*/*",
        timeout: Timeout | None = None,
        needs_token: bool = True,
    ) -> ApiResponse:
        """Send a request; the token is renewed once where the server no longer takes it.

        Parameters
        ----------
        path : str
            Segments, each of them quoted here.
        json : object
            Body that msgspec encodes; ``body`` is for bytes as they are.
        """
        if json is not None:
            body = json_body(json)
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        request = ApiRequest(
            method=method,
            path="".join(f"/{quote(segment, safe='')}" for segment in path),
            query=query or {},
            headers=headers,
            body=body,
            timeout=timeout or self.timeout,
        )
        if not needs_token:
            return self._checked(self._send(request))
        token = self._token()
        response = self._send(_with_token(request, token))
        if _is_expired(response) and self.auth.renew(token):
            response.close()
            response = self._send(_with_token(request, self._token()))
        return self._checked(response)

    def decode(self, kind: type[T], answer: ApiResponse | bytes) -> T:
        """Decode a JSON answer.

        Raises
        ------
        UnexpectedAnswer
            It is none of the contract's.
        """
        try:
            content = answer if isinstance(answer, bytes) else answer.read()
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnexpectedAnswer(
                f"{self.url} answered something that an ML service server does not: {error}."
            ) from None

    def require_room(self, values: Mapping[str, object]) -> None:
        """See to it that the server takes as much, before any of it is written as JSON.

        Raises
        ------
        PayloadTooLarge
            It does not.
        """
        size = estimated_bytes(values)
        if not size:
            return
        if self._max_body_bytes is None:
            self._learn()
        # An estimate is none to refuse by where it comes close.
        if self._max_body_bytes and size > self._max_body_bytes * _CERTAINLY:
            raise PayloadTooLarge(
                f"The values take about {size / _MEGA:,.0f} MB as JSON, and the server takes "
                f"{self._max_body_bytes / _MEGA:,.0f} MB in a request. Send rows in parts with "
                "%batch or client.batches.start, or have MlsvcApp.max_body_bytes raised there.",
                status=413,
                exception_type="PayloadTooLargeException",
            )

    @property
    def takes_arrow(self) -> bool:
        """Whether tables may be sent to the server as streams of Arrow; it is asked once."""
        if self._takes_arrow is None:
            try:
                self._learn()
            except ApiError:
                self._takes_arrow = False
        return bool(self._takes_arrow)

    def send_no_arrow(self) -> None:
        """Take note that the server has refused a stream."""
        self._takes_arrow = False

    # --- inside ------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Ask the server what it takes."""
        details = self.get(StatusResponse, "status").details or {}
        limit = details.get("maxBodyBytes")
        self._max_body_bytes = limit if isinstance(limit, int) else 0
        if self._takes_arrow is None:
            self._takes_arrow = is_installed() and details.get("arrow") is True

    def _token(self) -> str:
        token = self.auth.token()
        if token is None:
            raise NotLoggedIn(
                f"Not logged in at {self.url}. Use %mlsvc login {self.url} -u NAME in a notebook, "
                "or client.login(username, password)."
            )
        return token

    def _send(self, request: ApiRequest) -> ApiResponse:
        started = time.monotonic()
        try:
            response = self._transport.send(request)
        except ConnectionFailed as error:
            if not self._is_back(error):
                raise
            response = self._transport.send(request)
        elapsed = time.monotonic() - started
        # The query is left out: a refresh token travels in one.
        _log.debug("%s %s -> %d in %.3f s", request.method, request.path, response.status, elapsed)
        return response

    def _is_back(self, error: ConnectionFailed) -> bool:
        """Wait for the server of this Jupyter, which is started again, maybe at another port.

        False where the request may have been received: it is not sent twice.
        """
        if not isinstance(self.auth, FileToken):
            return False
        is_back = error.reason == REFUSED and self.auth.renew(self.auth.token() or "")
        found = read_connection(self.auth.path)
        if found.url and found.url != self.url:
            self.url, self.public_url = found.url, found.public_url or found.url
            if isinstance(self._transport, RequestsTransport):
                self._transport.move(found.url)
        return is_back

    def _checked(self, response: ApiResponse) -> ApiResponse:
        if response.status // 100 == _SUCCESS:
            return response
        raise self._refusal(response)

    def _refusal(self, response: ApiResponse) -> ApiError | UnexpectedAnswer:
        if response.status // 100 == _REDIRECT:
            response.close()
            return UnexpectedAnswer(
                f"{self.url} answered with a redirect to "
                f"{response.headers.get('Location', 'elsewhere')}: the address "
                "is not that of an ML service server, or a login page stands before it."
            )
        return self.error_in(response.read(), response)

    def error_in(self, body: bytes, response: ApiResponse) -> ApiError:
        """Make the error that an Error body tells of."""
        try:
            problem = msgspec.json.decode(body, type=Problem)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return api_error(
                response.status,
                f"{self.url} answered {response.status} without a reason. "
                "Is it an ML service server?",
                request_id=response.headers.get("X-Request-Id", ""),
            )
        details = {name: getattr(problem, name) for name in _DETAILS}
        return api_error(
            response.status,
            problem.message,
            exception_type=problem.exception_type,
            request_id=problem.request_id or response.headers.get("X-Request-Id", ""),
            details={name: value for name, value in details.items() if value is not UNSET},
            inputs=None if problem.inputs is UNSET else problem.inputs,
        )


def json_body(json: object) -> bytes:
    """Write a body.

    Raises
    ------
    InvalidInput
        A text has half a character in it, or an integer too many digits.
    """
    try:
        return msgspec.json.encode(json)
    except ValueError:  # half a character, or an integer of thousands of digits
        if isinstance(json, dict):
            try:
                for name, value in json.items():
                    require_text(value, name)
            except ValueProblem as problem:
                raise InvalidInput(str(problem)) from None
        raise


def body_chunks(response: ApiResponse) -> Iterator[bytes]:
    """Pieces of a binary answer as they come; the connection is given back at the end."""
    try:
        yield from response.chunks
    finally:
        response.close()


def _with_token(request: ApiRequest, token: str) -> ApiRequest:
    return replace(request, headers={**request.headers, "Authorization": f"Bearer {token}"})


def _is_expired(response: ApiResponse) -> bool:
    return response.status == _UNAUTHORIZED and "invalid_token" in response.headers.get(
        "WWW-Authenticate", ""
    )


def form(fields: Form) -> tuple[bytes, str]:
    """Encode texts and files as a form; gives the body and its content type."""
    from urllib3.filepost import encode_multipart_formdata

    encoded: Any = dict(fields)
    return encode_multipart_formdata(encoded)
