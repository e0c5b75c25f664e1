"""Routes for hosts: the Jupyter servers that run this server, or joined it.

Only who connects through the Unix socket is one, or who has the secret of a host. To everybody
else the routes are not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import msgspec
from starlette.responses import Response

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.api.authentication import Authentication
from jupyter_mlsvc_server.api.lifecycle import Lifecycle
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import StreamedResponse, json_response
from jupyter_mlsvc_server.api.routing import Routes, public, route
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.auth.watch import AccountWatch
from jupyter_mlsvc_server.errors import NotFound
from jupyter_mlsvc_server.formats.host import HostFarewell, HostStatus, HostToken
from jupyter_mlsvc_server.hosting import Leases
from jupyter_mlsvc_server.monitoring.activity import ActivityReporter

_PAUSE: Final = 5.0
"""Seconds between lines of a lease."""


class HostRoutes:
    """Gives leases to hosts, and tokens to their kernels."""

    def __init__(
        self,
        *,
        leases: Leases,
        tokens: TokenManager,
        activity: ActivityReporter,
        lifecycle: Lifecycle,
        authentication: Authentication,
        account_watch: AccountWatch,
        notebook_role: Role = Role.CONTRIBUTOR,
    ) -> None:
        self._leases = leases
        self._tokens = tokens
        self._activity = activity
        self._lifecycle = lifecycle
        self._authentication = authentication
        self._account_watch = account_watch
        self._notebook_role = notebook_role

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/host", get=public(self.lease)),
            route("/host/token", post=self.token),
            route("/host/leave", post=public(self.leave)),
            route("/host/accounts", post=public(self.look_at_accounts)),
        ]

    async def lease(self, request: ApiRequest) -> Response:
        """Stream the state of the server, a line every few seconds; that is the host's lease.

        It ends when the server begins to stop.
        """
        self._require_host(request)
        headers = {"Content-Type": "application/x-ndjson"}
        return StreamedResponse(self._lines(), headers=headers, closing=self._leases.hold())

    async def token(self, request: ApiRequest) -> Response:
        """Make a token for kernels of the host, valid until the server stops.

        Whatever runs in a notebook has it, so it is no owner's unless that is set.
        """
        self._require_host(request)
        roles = list(Role)
        role = max(request.principal.role, self._notebook_role, key=roles.index)
        principal = replace(request.principal, role=role)
        return json_response(HostToken(token=self._tokens.local_token(principal)))

    async def leave(self, request: ApiRequest) -> Response:
        """Take note that the host gives up its lease and does not come back."""
        self._require_host(request)
        return json_response(HostFarewell(ends=self._leases.say_farewell(), pid=os.getpid()))

    async def look_at_accounts(self, request: ApiRequest) -> Response:
        """Take note at once that accounts were changed in the database."""
        self._require_host(request)
        await self._account_watch.look()
        return json_response(None)

    async def _lines(self) -> AsyncGenerator[bytes]:
        stopping = self._lifecycle.stopping
        while not stopping.is_set():
            yield msgspec.json.encode(await self._status()) + b"\n"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE):
                    await stopping.wait()

    async def _status(self) -> HostStatus:
        last, current = await self._activity.last(), self._activity.current()
        return HostStatus(
            public_url=self._lifecycle.public_url,
            server_version=__version__,
            last_activity=None if last is None else last.isoformat(),
            sessions=current.get("sessions", 0),
            batches=current.get("batches", 0),
            problem=self._lifecycle.problem or None,
        )

    def _require_host(self, request: ApiRequest) -> None:
        if not self._authentication.is_host(request):
            raise NotFound(f"There is no {request.method} {request.path} here.")
