"""Login, renewal and revocation."""

from __future__ import annotations

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.models import LoginRequest, RenewTokenRequest, UserResponse
from jupyter_mlsvc_server.web import Endpoint


class Login(Endpoint):
    """Trade a user's name and password for a pair of tokens (contract: login)."""

    public_methods = frozenset({"POST"})
    resource = "login"

    async def post(self) -> None:
        """Answer the pair (200)."""
        request = self.parse(LoginRequest)
        self.answer(await self.parts.tokens.login(request.username, request.password))


class RefreshToken(Endpoint):
    """Renew or end a pair of tokens; who has the refresh token needs no other."""

    public_methods = frozenset({"POST", "DELETE"})
    resource = "login"

    def initialize(self) -> None:
        """Keep the token, which the contract puts into the query, out of every access log."""
        self.request.uri = self.request.path

    async def post(self) -> None:
        """Answer the next pair (200, contract: renewToken)."""
        request = self.parse(RenewTokenRequest)
        self.answer(await self.parts.tokens.renew(request.refresh_token))

    async def delete(self) -> None:
        """Make the pair invalid at once (200, contract: revokeRefreshToken)."""
        self.answer(await self.parts.tokens.revoke(self.get_query_argument("refreshToken")))


class User(Endpoint):
    """Who is asking (our addition)."""

    resource = "user"

    async def get(self) -> None:
        """Tell the caller's name and role, and what server this is."""
        principal = self.principal
        self.answer(
            UserResponse(
                name=principal.name,
                role=principal.role.value,
                server_version=__version__,
                public_url=self.parts.public_url,
            )
        )


routes: list[tuple[str, type[Endpoint]]] = [
    (r"/login", Login),
    (r"/login/refreshToken", RefreshToken),
    (r"/user", User),
]
