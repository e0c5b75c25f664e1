"""How requests travel: one method, so that tests and applications can replace the network."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import requests
import requests.adapters
from urllib3.exceptions import HTTPError, NameResolutionError, ReadTimeoutError
from urllib3.util import Retry

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.errors import ConnectionFailed

Timeout = tuple[float | None, float | None]
"""Seconds to wait for the connection and for the next bytes; None waits for ever."""

REFUSED: Final = "connection refused"
"""Why nothing of a request was received: nobody listens at the address."""
_RETRIES: Final = 2


class Upload(Protocol):
    """A body that is made while it is sent; it may be sent more than once."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request, complete but for the server's address."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | Upload | None = field(default=None, repr=False)
    timeout: Timeout = (5.0, 60.0)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An answer whose body is read as it comes."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], None] = lambda: None

    def read(self) -> bytes:
        """Read the whole body."""
        try:
            return b"".join(self.chunks)
        finally:
            self.close()

    def lines(self) -> Iterator[bytes]:
        """Read a body of lines, each as soon as it is complete."""
        rest = b""
        try:
            for chunk in self.chunks:
                *complete, rest = (rest + chunk).split(b"\n")
                yield from complete
            if rest:
                yield rest
        finally:
            self.close()


class Transport(Protocol):
    """Sends a request and gives the answer, whatever its status."""

    def send(self, request: ApiRequest) -> ApiResponse:
        """Send one request.

        Raises
        ------
        ConnectionFailed
            Nobody answers, or the connection breaks, also while the body is read.
        """
        ...


class RequestsTransport:
    """The network, by requests: proxies and ``REQUESTS_CA_BUNDLE`` are honoured, ``.netrc`` is not.

    Requests that change nothing are repeated when the connection fails or the server is away for
    a moment; others only when they were certainly not received.

    Parameters
    ----------
    url : str
        Address of the server, without a slash at the end.
    verify : bool or str
        Whether to check the server's certificate, or the file with the authorities to trust.
    """

    def __init__(self, url: str, *, verify: bool | str = True) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.verify = verify
        self._session.headers["User-Agent"] = f"jupyter-mlsvc/{__version__}"
        # Without an auth of its own requests would put what .netrc says in place of our token.
        self._session.auth = _leave_as_is
        adapter = requests.adapters.HTTPAdapter(
            max_retries=Retry(
                total=_RETRIES,
                allowed_methods={"GET", "HEAD", "OPTIONS"},
                status_forcelist={502, 503},
                backoff_factor=0.1,
                raise_on_status=False,
                respect_retry_after_header=False,
            )
        )
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def send(self, request: ApiRequest) -> ApiResponse:
        """Send one request over the network."""
        try:
            response = self._session.request(
                request.method,
                self._url + request.path,
                params=dict(request.query),
                headers=dict(request.headers),
                data=request.body,
                timeout=request.timeout,
                # Said here, since the session's counts for less than REQUESTS_CA_BUNDLE.
                verify=self._session.verify,
                stream=True,
                # A redirect is a login page or a wrong address, never an answer of ours.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # The library's message holds the whole URL, which may carry a token.
            raise ConnectionFailed(self._url, _reason(error)) from None
        return ApiResponse(
            status=response.status_code,
            headers=response.headers,
            chunks=self._chunks(response),
            close=response.close,
        )

    def move(self, url: str) -> None:
        """Send to another address from now on."""
        self._session.close()
        self._url = url

    def clone(self) -> RequestsTransport:
        """Make another one for the same server."""
        verify: Any = self._session.verify
        return RequestsTransport(self._url, verify=verify)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_content(chunk_size=None)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ConnectionFailed(self._url, _reason(error)) from None


def _leave_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: BaseException) -> str:
    """Say in a few words what happened."""
    causes: list[BaseException] = [error]
    while (inner := _cause(causes[-1])) is not None and inner not in causes:
        causes.append(inner)
    for kinds, words in _REASONS:
        if any(isinstance(cause, kinds) for cause in causes):
            return words
    return "the connection broke"


_REASONS: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((ssl.SSLError, requests.exceptions.SSLError), "its certificate is not trusted or TLS failed"),
    (
        (requests.exceptions.ProxyError,),
        "the proxy that the environment names refuses (NO_PROXY passes it by)",
    ),
    ((requests.exceptions.InvalidURL, requests.exceptions.MissingSchema), "the address is invalid"),
    ((socket.gaierror, NameResolutionError), "its name is unknown"),
    ((ConnectionRefusedError,), REFUSED),
    ((requests.ConnectTimeout,), "it did not accept the connection in time"),
    ((requests.Timeout, ReadTimeoutError, TimeoutError), "it did not answer in time"),
)
"""What is said for which exception, the first that is among the causes."""


def _cause(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    for argument in error.args:
        if isinstance(argument, BaseException):
            return argument
    return error.__cause__ or error.__context__
