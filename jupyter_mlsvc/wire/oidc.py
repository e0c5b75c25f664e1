"""How a server says which provider's access tokens it takes (RFC 9728)."""

from __future__ import annotations

from typing import Final

import msgspec

METADATA_PATH: Final = "/.well-known/oauth-protected-resource"


class ProtectedResource(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The server as a resource of an identity provider.

    Attributes
    ----------
    resource
        Address of the server; empty where it has none for programs.
    authorization_servers
        Issuers whose access tokens it takes.
    scopes_supported
        What a client asks for, to get one that does.
    bearer_methods_supported
        Where the token stands in a request.
    client_id
        Public client by which people log in with a code (our addition).
    """

    resource: str
    authorization_servers: tuple[str, ...]
    scopes_supported: tuple[str, ...] = ()
    bearer_methods_supported: tuple[str, ...] = ()
    client_id: str | None = None
