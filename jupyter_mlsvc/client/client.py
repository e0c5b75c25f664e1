"""The way in: a client of one server."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.auth import Anonymous, FileToken, GivenToken, Login
from jupyter_mlsvc.client.batches import Batches
from jupyter_mlsvc.client.event_stream import Events
from jupyter_mlsvc.client.keys import Keys
from jupyter_mlsvc.client.oidc import (
    ClientCredentials,
    OidcLogin,
    Provider,
    Refresh,
    Refused,
    is_same_place,
    wait_for_person,
)
from jupyter_mlsvc.client.plain_http import warn_of_plain_http
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.services import Services
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.sessions import Sessions
from jupyter_mlsvc.client.snapshots import Snapshots
from jupyter_mlsvc.client.status import Status
from jupyter_mlsvc.client.token_vault import TokenVault
from jupyter_mlsvc.client.transport import RequestsTransport, Timeout, Transport
from jupyter_mlsvc.config import DEFAULT_URL, Environment
from jupyter_mlsvc.errors import Forbidden, MlsvcError, NotFound, Unauthorized
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.oidc import METADATA_PATH, ProtectedResource

if TYPE_CHECKING:
    from jupyter_mlsvc.client.comparison import Comparison, Side

_SECRET: Final = re.compile(r"(refreshToken=)[^&\s\"']+")
_START_SECONDS: Final = 15.0
"""Seconds that the server of this Jupyter may still need until it runs."""
_START_PAUSE: Final = 0.1
_LOGS_WITH_URLS: Final = ("urllib3.connectionpool", "urllib3.util.retry")


class Client:
    """A client of an ML service server.

    Without arguments it takes the address and the token from ``MLSVC_URL`` and ``MLSVC_TOKEN``,
    or from the file ``MLSVC_CONNECTION_FILE``, which kernels that JupyterLab starts have. The
    token that comes from there goes to the address that comes from there only.

    Parameters
    ----------
    url : str, optional
        Address of the server.
    token : str, optional
        A bearer token that you have already.
    username, password : str, optional
        Log in at once; the password is not kept.
    timeout : tuple of float or None
        Seconds to wait for the connection and for the next bytes of an answer.
    verify : bool or str
        Whether to check the server's certificate, or the file with the authorities to trust.
    transport : Transport, optional
        What carries the requests, in place of the network.

    Attributes
    ----------
    sessions : Sessions
    snapshots : Snapshots
    services : Services
    batches : Batches
    events : Events
    keys : Keys

    Examples
    --------
    >>> with Client("http://localhost:12800", username="maria", password=secret) as client:
    ...     client.service("Iris")(flower_data=[7, 3.2, 4.7, 1.4]).iris_species
    ['I. versicolor']
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        timeout: Timeout = (5.0, 60.0),
        verify: bool | str = True,
        transport: Transport | None = None,
    ) -> None:
        environment = Environment.read() if url else _environment_with_server()
        address = _checked_url(url or environment.url or DEFAULT_URL)
        self._transport = transport or RequestsTransport(address, verify=verify)
        self._api = Api(self._transport, address, timeout)
        if token is not None:
            self._api.auth = GivenToken(token)
        if environment.url and _checked_url(environment.url) == address:
            self._api.public_url = _checked_url(environment.public_url or address)
            if token is None and environment.token is not None:
                path = environment.connection_file
                self._api.auth = (
                    FileToken(path, environment.token) if path else GivenToken(environment.token)
                )
        self.sessions = Sessions(self._api)
        self.snapshots = Snapshots(self._api)
        self.services = Services(self._api)
        self.batches = Batches(self._api, self.services)
        self.events = Events(self._api)
        self.keys = Keys(self._api, self.services)
        if username is not None:
            if password is None:
                raise MlsvcError("A username needs a password.")
            self.login(username, password)

    # --- who ---------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._api.url

    @property
    def user(self) -> str | None:
        """Who is logged in; None where only a token is known."""
        return self._api.auth.user

    def whoami(self) -> models.UserResponse:
        """Ask the server who you are to it (our addition).

        Returns
        -------
        UserResponse
            ``name``; ``role``, which is ``owner``, ``contributor``, ``reader`` or ``caller``;
            ``may``, what you may do; ``token_seconds``; ``server_version``; and ``public_url``,
            the address for programs, empty where the server has none.

        Raises
        ------
        Unauthorized
            The token is not valid there.
        """
        return self._api.get(models.UserResponse, "user")

    @property
    def is_logged_in(self) -> bool:
        """Whether a token is at hand; the server may still refuse it."""
        return not isinstance(self._api.auth, Anonymous)

    def login(self, username: str, password: str) -> None:
        """Log in (contract: ``login``); the login renews itself until :meth:`logout`.

        Warns with ``InsecureLogin`` where the password goes to another machine without TLS.

        Raises
        ------
        Unauthorized
            The user is unknown or the password wrong.
        """
        warn_of_plain_http(self.url)
        request = models.LoginRequest(username=username, password=password)
        response = self._api.call("POST", "login", json=request, needs_token=False)
        pair = self._api.decode(models.AccessTokenResponse, response)
        self._api.auth = Login(username, pair, self._trade)

    def login_oidc(
        self, show: Callable[[str], object] = print, *, vault: TokenVault | None = None
    ) -> None:
        """Log in with the identity provider that the server names (our addition).

        Shows an address and a code, and waits until you have entered it there. The refresh token
        stays in the system's keyring, or in a file that only you can read: the next notebook needs
        no code. The login renews itself until :meth:`logout`.

        Parameters
        ----------
        show : callable
            Shows the sentence with address and code.
        vault : TokenVault, optional
            Where the refresh token stays.

        Raises
        ------
        NotFound
            The server takes no tokens of an identity provider.
        MlsvcError
            The provider refuses, or the code was not entered in time.
        Forbidden
            The provider knows you, but you may not use this server.
        """
        described = self._resource()
        client_id, scope = described.client_id, " ".join(described.scopes_supported)
        if client_id is None:
            raise MlsvcError(
                "The server names no client to log in by. Whoever runs it can set "
                "OidcAuthenticator.client_id."
            )
        provider = Provider(described.authorization_servers[0])
        key = f"{self.url} {provider.issuer} {client_id}"
        grant = Refresh(provider, client_id, vault or TokenVault(), key)
        try:
            auth = OidcLogin(grant)
        except Refused:
            tokens = wait_for_person(provider, client_id, scope, show)
            grant.keep(tokens)
            auth = OidcLogin(grant, tokens)
        self._use(auth)

    def login_as_program(self, client_id: str, client_secret: str, scope: str = "") -> None:
        """Log in as a program that the identity provider knows by id and secret (our addition).

        Parameters
        ----------
        client_id, client_secret : str
            What the provider gave the program; both are kept while the client lives.
        scope : str
            What to ask for, such as ``api://CLIENT-ID/.default`` with Entra ID.

        Raises
        ------
        NotFound
            The server takes no tokens of an identity provider.
        MlsvcError
            The provider refuses.
        """
        provider = Provider(self._resource().authorization_servers[0])
        self._use(OidcLogin(ClientCredentials(provider, client_id, client_secret, scope)))

    def _resource(self) -> ProtectedResource:
        response = self._api.call("GET", *METADATA_PATH.split("/")[1:], needs_token=False)
        described = self._api.decode(ProtectedResource, response)
        # What another server says of itself is not for this one (RFC 9728, 3.3).
        if described.resource and not is_same_place(described.resource, self.url):
            raise MlsvcError(
                f"What answers at {self.url} describes the server at {described.resource}. Use "
                "that address; or whoever runs the server sets MlsvcApp.public_url to yours."
            )
        return described

    def _use(self, auth: OidcLogin) -> None:
        """Use a login from now on; what was there before stays where the server refuses."""
        before, self._api.auth = self._api.auth, auth
        try:
            auth.user = self.whoami().name
        except BaseException:
            self._api.auth = before
            raise

    def logout(self) -> None:
        """Make this login's tokens useless (contract: ``revokeRefreshToken``) and forget them."""
        auth, self._api.auth = self._api.auth, Anonymous()
        if isinstance(auth, OidcLogin):
            auth.end()
        if isinstance(auth, Login):
            query = {"refreshToken": auth.refresh_token}
            # Tokens that the server no longer knows are as useless as they should be.
            with _secrets_out_of_logs(), suppress(Unauthorized):
                self._api.call(
                    "DELETE", "login", "refreshToken", query=query, needs_token=False
                ).read()

    def _trade(self, refresh_token: str) -> models.AccessTokenResponse:
        request = models.RenewTokenRequest(refresh_token=refresh_token)
        response = self._api.call("POST", "login", "refreshToken", json=request, needs_token=False)
        return self._api.decode(models.AccessTokenResponse, response)

    # --- short cuts --------------------------------------------------------------------------

    def status(self) -> Status:
        """State of the server and its parts (contract: ``status``)."""
        return Status(self._api.get(models.StatusResponse, "status"), self.url, self.user)

    def service(self, name: str, version: str | None = None) -> Service:
        """Find a service, the newest version where none is named."""
        return self.services.get(name, version)

    def compare(self, name: str, version: str, other: str | Session) -> Comparison:
        """Tell how a version of a service differs from another one, or from a session.

        Code, description, inputs and outputs are compared. Of versions that you may change, so
        are packages, files, and names, types and sizes of objects. A session has packages, and
        names and types of objects.

        Parameters
        ----------
        other : str or Session
            Another version, or a session of Python.

        Raises
        ------
        NotFound
            There is no such version.
        """
        # Who compares nothing need not import what compares.
        from jupyter_mlsvc.client.comparison import Comparison, Side

        if isinstance(other, Session) and other.is_r:
            raise MlsvcError("A session of R can't be compared with a version.")
        if isinstance(other, Session):
            left = self._side(name, version, sized=False)
            return Comparison(left, Side.of_session(other.name, other.inventory()))
        return Comparison(self._side(name, version), self._side(name, other))

    def _side(self, name: str, version: str, *, sized: bool = True) -> Side:
        from jupyter_mlsvc.client.comparison import Side

        service = self.services.get(name, version)
        contents = None
        # A server of before has no such operation.
        with suppress(NotFound, Forbidden):
            contents = self.services.contents(name, service.version)
        return Side.of_service(service, contents, sized=sized)

    def session(self, name: str) -> Session:
        """Find a session of yours by name or id."""
        return self.sessions.get(name)

    def request(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """Send a request of the REST API, one that no other method is for.

        Parameters
        ----------
        method : str
        path : str
            Segments of the path, each of them quoted here.
        query : mapping, optional
        body : bytes, optional
            JSON.

        Returns
        -------
        bytes
            Body of the answer.
        """
        return self._api.call(method, *path, query=query, body=body).read()

    # --- life --------------------------------------------------------------------------------

    def clone(self, timeout: Timeout | None = None) -> Client:
        """Make a client with the same login and connections of its own, for another thread."""
        transport = self._transport
        if isinstance(transport, RequestsTransport):
            transport = transport.clone()
        made = Client(self.url, timeout=timeout or self._api.timeout, transport=transport)
        made._api.auth = self._api.auth
        return made

    def close(self) -> None:
        """Close the connections; the login stays valid. May be called twice."""
        if isinstance(self._transport, RequestsTransport):
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.user:
            who = f"user={self.user!r}"
        else:
            who = "with a token" if self.is_logged_in else "not logged in"
        return f"<Client {self.url} {who}>"


def _environment_with_server() -> Environment:
    """Read the environment, once the server of this Jupyter has started.

    Raises
    ------
    MlsvcError
        It does not start.
    """
    deadline = time.monotonic() + _START_SECONDS
    while True:
        environment = Environment.read()
        if environment.url or environment.connection_file is None:
            return environment
        if environment.problem or time.monotonic() > deadline:
            why = environment.problem or "The side panel and Jupyter's log say why."
            raise MlsvcError(
                f"The server of this Jupyter does not run. {why} Use another one with Client(url) "
                "or %mlsvc login URL."
            )
        time.sleep(_START_PAUSE)


def _checked_url(url: str) -> str:
    """Check an address and take the slash from its end.

    Raises
    ------
    MlsvcError
        It is no http or https address, or has a user and password in it.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise MlsvcError("Leave user and password out of the address; give them to login instead.")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise MlsvcError(f"{url!r} is no address of a server; one looks like {DEFAULT_URL}.")
    return url.rstrip("/")


@contextmanager
def _secrets_out_of_logs() -> Iterator[None]:
    """Keep the refresh token, which the contract has in the URL, out of the HTTP library's log."""
    logs = [logging.getLogger(name) for name in _LOGS_WITH_URLS]
    for log in logs:
        log.addFilter(_redact)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(_redact)


def _redact(record: logging.LogRecord) -> bool:
    record.msg = _SECRET.sub(r"\1…", record.getMessage())
    record.args = None
    return True
