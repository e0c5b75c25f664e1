"""Finding out who asks, for every operation alike."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import unquote

from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.errors import BadRequest, NotAuthenticated, Unauthorized
from jupyter_mlsvc_server.formats.host import USER_HEADER


class Tokens(Protocol):
    """Knows whose a token is."""

    async def principal_of(self, access_token: str) -> Principal:
        """Return whose access token it is, or raise ``Unauthorized``."""


class Authentication:
    """Takes the word of a bearer token, or of the host that runs this server.

    Parameters
    ----------
    tokens
        Verifies tokens.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def identify(self, request: ApiRequest) -> Principal:
        """Return who asks.

        Raises
        ------
        Unauthorized
            Nobody is known, or the token is not valid.
        """
        if request.is_from_host and (name := request.headers.get(USER_HEADER)) is not None:
            return Principal(name=_user_name(name), role=Role.OWNER)
        token = bearer_token(request.headers.get("authorization", ""))
        if token is None:
            raise nobody_known(token_was_sent=False)
        return await self._tokens.principal_of(token)


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
