"""Routes of service keys."""

from __future__ import annotations

from starlette.responses import Response

from jupyter_mlsvc.wire.models import CreateServiceKeyRequest
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, counted, route
from jupyter_mlsvc_server.services.key_manager import KeyManager


class KeyRoutes:
    """Makes, lists and revokes keys of applications."""

    def __init__(self, *, keys: KeyManager) -> None:
        self._keys = keys

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route(
                "/keys",
                get=self.list,
                post=counted("KeyManager.max_keys_per_user", self.create),
            ),
            route("/keys/{key_name}", delete=self.revoke),
        ]

    async def create(self, request: ApiRequest) -> Response:
        """Make a key, which is in this answer only (201, our addition)."""
        created = await self._keys.create(
            request.principal, await request.parse(CreateServiceKeyRequest)
        )
        request.subject = created.service_key.name
        return json_response(created, status=201)

    async def list(self, request: ApiRequest) -> Response:
        """List the caller's keys; an owner sees all (our addition)."""
        return json_response(await self._keys.list(request.principal))

    async def revoke(self, request: ApiRequest, key_name: str) -> Response:
        """End a key at once (our addition)."""
        await self._keys.revoke(request.principal, key_name)
        return json_response(f"Service key {key_name!r} is revoked.")
