"""Finding out who asks, for every operation alike."""

from __future__ import annotations

import hmac
from typing import Final, Protocol
from urllib.parse import unquote

from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.auth.hosts import Hosts
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.service_keys import KEY_PREFIX
from jupyter_mlsvc_server.errors import BadRequest, NotAuthenticated, Unauthorized
from jupyter_mlsvc_server.formats.host import LOCAL_PREFIX, SECRET_HEADER, USER_HEADER

KEY_HEADER: Final = "x-api-key"
"""Header of a service key, for programs that can't send it as a bearer token."""


class Tokens(Protocol):
    """Knows whose a token is."""

    async def principal_of(self, access_token: str) -> Principal:
        """Return whose access token it is, or raise ``Unauthorized``."""

    async def of_host(self, name: str, role: Role) -> Principal:
        """Return the principal of a person for whom a host asks."""


class Authentication:
    """Takes the word of a bearer token, or of the host that runs this server.

    Parameters
    ----------
    tokens
        Verifies tokens.
    hosts
        Hosts that are believed over the network as well.
    socket_secret
        What hosts at the Unix socket prove themselves by; where it is empty there are none.
    """

    def __init__(
        self, tokens: Tokens, hosts: Hosts | None = None, *, socket_secret: str = ""
    ) -> None:
        self._tokens = tokens
        self._hosts = hosts
        self._socket_secret = socket_secret.encode()

    async def identify(self, request: ApiRequest) -> Principal:
        """Return who asks.

        Raises
        ------
        Unauthorized
            Nobody is known, or the token is not valid.
        """
        if (user := request.headers.get(USER_HEADER)) is not None:
            name = _user_name(user)
            if self._is_local_host(request):
                return await self._tokens.of_host(name, Role.OWNER)
            if (secret := request.headers.get(SECRET_HEADER)) is not None:
                return await self._asked_for_by_host(name, secret)
        token = token_of(request)
        if token is None:
            raise nobody_known(token_was_sent=False)
        return await self._tokens.principal_of(token)

    def is_host(self, request: ApiRequest) -> bool:
        """Return whether a host asks, for itself or for somebody."""
        secret = request.headers.get(SECRET_HEADER)
        is_known = secret is not None and self._hosts is not None and self._hosts.knows(secret)
        return self._is_local_host(request) or is_known

    def _is_local_host(self, request: ApiRequest) -> bool:
        if not request.is_from_host or not self._socket_secret:
            return False
        secret = request.headers.get(SECRET_HEADER, "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(secret, self._socket_secret)

    async def _asked_for_by_host(self, name: str, secret: str) -> Principal:
        if self._hosts is None or not self._hosts.may_ask_for(secret, name):
            raise UnknownHost(name)
        return await self._tokens.of_host(name, self._hosts.role)


class UnknownHost(Unauthorized):
    """A secret of a host that is not known, or not for the name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The secret of this Jupyter server does not let it ask for {name!r} here. Compare "
            "MlsvcExtension.host_secret_file with MlsvcApp.hosts_file of the server."
        )


def credential_of(request: ApiRequest) -> str:
    """Name what shows who asks, for the audit log."""
    headers = request.headers
    if USER_HEADER in headers and (request.is_from_host or SECRET_HEADER in headers):
        return "jupyter"
    token = token_of(request)
    return request.known_by if token is None else kind_of_token(token)


def token_of(request: ApiRequest) -> str | None:
    """Return the bearer token of a request, or the service key that it has in its place."""
    headers = request.headers
    return bearer_token(headers.get("authorization", "")) or service_key(
        headers.get(KEY_HEADER, "")
    )


def service_key(header: str) -> str | None:
    """Read the value of a header for service keys; whatever else is in it counts for nothing."""
    key = header.strip()
    return key if key.startswith(KEY_PREFIX) else None


def kind_of_token(token: str) -> str:
    """Name the kind of a bearer token."""
    if token.startswith(KEY_PREFIX):
        return "key"
    return "notebook" if token.startswith(LOCAL_PREFIX) else "token"


def bearer_token(authorization: str) -> str | None:
    """Read the bearer token from the value of an Authorization header, if it has one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def nobody_known(*, token_was_sent: bool) -> Unauthorized:
    """Make the error for a caller who could not be identified."""
    return NotAuthenticated(token_was_sent=token_was_sent)


def _user_name(header: str) -> str:
    try:
        return unquote(header, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest(f"The header {USER_HEADER} is not UTF-8.") from None
