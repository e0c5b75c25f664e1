"""Routes of login, renewal and revocation, and of who asks."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.models import LoginRequest, RenewTokenRequest, UserResponse
from jupyter_mlsvc_server.api.authentication import token_of
from jupyter_mlsvc_server.api.lifecycle import Lifecycle
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, counted, public, route
from jupyter_mlsvc_server.auth.policy import Action, Reach, reach
from jupyter_mlsvc_server.auth.tokens import TokenManager

_PAIR: Final = "refresh token"


class LoginRoutes:
    """Trades names and passwords for tokens; who has a refresh token needs no other."""

    def __init__(self, *, tokens: TokenManager, lifecycle: Lifecycle, confinement: str) -> None:
        self._tokens = tokens
        self._lifecycle = lifecycle
        self._confinement = confinement

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/login", post=counted("AccountManager.failed_logins", public(self.login))),
            route("/login/refreshToken", post=public(self.renew), delete=public(self.revoke)),
            route("/user", get=self.user),
        ]

    async def login(self, request: ApiRequest) -> Response:
        """Answer a pair of tokens (200, contract: login)."""
        form = await request.parse(LoginRequest)
        request.subject = form.username
        login = self._tokens.login(form.username, form.password, request.address)
        pair = await request.answer_or_gone(login, lambda: None)
        request.tell_caller(await self._tokens.owner_of(pair.refresh_token), "password")
        return json_response(pair)

    async def renew(self, request: ApiRequest) -> Response:
        """Answer the next pair (200, contract: renewToken)."""
        form = await request.parse(RenewTokenRequest)
        pair = await self._tokens.renew(form.refresh_token)
        request.tell_caller(await self._tokens.owner_of(form.refresh_token), _PAIR)
        return json_response(pair)

    async def revoke(self, request: ApiRequest) -> Response:
        """Make a pair invalid at once (200, contract: revokeRefreshToken)."""
        refresh_token = request.required_query("refreshToken")
        answer = await self._tokens.revoke(refresh_token)
        request.tell_caller(await self._tokens.owner_of(refresh_token), _PAIR)
        return json_response(answer)

    async def user(self, request: ApiRequest) -> Response:
        """Answer the caller's name and role, and what server this is (our addition)."""
        principal = request.principal
        token = token_of(request) or ""
        return json_response(
            UserResponse(
                name=principal.name,
                role=principal.role.value,
                server_version=__version__,
                public_url=self._lifecycle.public_url_for(request.headers.get("host", "")),
                may=[str(each) for each in Action if reach(principal, each) is not Reach.NOBODYS],
                may_run_code=principal.may_run_code,
                token_seconds=self._tokens.seconds_left(token),
                groups=sorted(principal.groups),
                confinement=self._confinement if principal.may_run_code else "",
            )
        )
