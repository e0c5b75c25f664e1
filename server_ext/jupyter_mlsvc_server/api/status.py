"""Routes of the server's state, and of the documents that describe its API."""

from __future__ import annotations

import asyncio
from functools import cached_property

import msgspec
from starlette.responses import Response

from jupyter_mlsvc.wire.arrow_stream import is_installed
from jupyter_mlsvc.wire.swagger import core_openapi, core_swagger
from jupyter_mlsvc_server.api.lifecycle import Lifecycle
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import indented_json, json_response
from jupyter_mlsvc_server.api.routing import Routes, document, public, route
from jupyter_mlsvc_server.monitoring.status import StatusReporter
from jupyter_mlsvc_server.services.manager import ServiceManager


class StatusRoutes:
    """Tells whether the server is alive, whether it serves, and how it is."""

    def __init__(self, *, status: StatusReporter, lifecycle: Lifecycle) -> None:
        self._status = status
        self._lifecycle = lifecycle

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/status", get=self.status),
            route("/health", get=public(self.ready, needs_ready=False)),
            route("/health/live", get=public(self.live, needs_ready=False)),
            route("/health/ready", get=public(self.ready, needs_ready=False)),
        ]

    async def status(self, request: ApiRequest) -> Response:
        """Report the state (contract: ``status``), and the limit of requests (our addition)."""
        report = await self._status.report()
        details = (report.details or {}) | {
            "maxBodyBytes": request.settings.max_body_bytes,
            "arrow": is_installed(),
        }
        return json_response(msgspec.structs.replace(report, details=details))

    async def live(self, request: ApiRequest) -> Response:
        """Answer 200: the process answers at all."""
        return json_response({"status": "alive"})

    async def ready(self, request: ApiRequest) -> Response:
        """Answer 200 while calls can be answered, with what is wrong all the same; else 503."""
        self._lifecycle.require_ready()
        problems = await self._status.readiness()
        return json_response({"status": "ready"} | ({"problems": problems} if problems else {}))


class DocumentRoutes:
    """Describes the core API."""

    def __init__(self, *, services: ServiceManager) -> None:
        self._services = services

    def table(self) -> Routes:
        """Return the routes."""
        return [
            route("/swagger.json", get=document(self.swagger)),
            route("/openapi.json", get=document(self.openapi)),
        ]

    async def swagger(self, request: ApiRequest) -> Response:
        """Describe it in Swagger 2.0."""
        return Response(await asyncio.to_thread(lambda: self._swagger))

    async def openapi(self, request: ApiRequest) -> Response:
        """Describe it in OpenAPI 3.1."""
        return Response(await asyncio.to_thread(lambda: self._openapi))

    # Other callers would have to wait while one of these is made: that is done once, in a thread.

    @cached_property
    def _swagger(self) -> bytes:
        return indented_json(core_swagger(self._services.default_runtime))

    @cached_property
    def _openapi(self) -> bytes:
        return indented_json(core_openapi(self._services.default_runtime))
