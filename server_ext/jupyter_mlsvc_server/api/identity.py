"""What clients need to know to log in with a provider of identities."""

from __future__ import annotations

from starlette.responses import Response

from jupyter_mlsvc.wire.oidc import METADATA_PATH, ProtectedResource
from jupyter_mlsvc_server.api.lifecycle import Lifecycle
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, public, route
from jupyter_mlsvc_server.auth.authenticators import Authenticators
from jupyter_mlsvc_server.errors import NotFound


class IdentityRoutes:
    """Names the provider whose access tokens are taken."""

    def __init__(self, *, authenticators: Authenticators, lifecycle: Lifecycle) -> None:
        self._authenticators = authenticators
        self._lifecycle = lifecycle

    def table(self) -> Routes:
        """Return the routes."""
        return [route(METADATA_PATH, get=public(self.metadata))]

    async def metadata(self, request: ApiRequest) -> Response:
        """Describe this server as a resource of the provider (200, RFC 9728)."""
        oidc = self._authenticators.oidc
        if oidc is None:
            raise NotFound("This server takes no tokens of an identity provider.")
        described = ProtectedResource(
            resource=self._lifecycle.public_url_for(request.headers.get("host", "")),
            authorization_servers=(oidc.issuer,),
            scopes_supported=tuple(oidc.scope.split()),
            bearer_methods_supported=("header",),
            client_id=oidc.client_id or None,
        )
        return json_response(described)
