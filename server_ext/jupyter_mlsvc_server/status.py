"""State of the server and its parts, and the documents that describe its API."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.models import StatusResponse
from jupyter_mlsvc.wire.swagger import API_VERSION, core_openapi, core_swagger
from jupyter_mlsvc_server.errors import NotServing
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.web import Endpoint, Routes

if TYPE_CHECKING:
    from jupyter_mlsvc_server.compute_nodes import ComputeNodes
    from jupyter_mlsvc_server.scoring.engine import ScoringEngine
    from jupyter_mlsvc_server.sessions.manager import SessionManager


class StatusReporter(LoggingConfigurable):
    """Asks every part how it is (contract: ``status``)."""

    def __init__(
        self,
        *,
        database: Database,
        sessions: SessionManager,
        scoring: ScoringEngine,
        compute_nodes: ComputeNodes,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._database = database
        self._sessions = sessions
        self._scoring = scoring
        self._compute_nodes = compute_nodes

    async def report(self) -> StatusResponse:
        """Report the state of the whole and of its parts; the worst part decides."""
        components = {
            "backends": StatusResponse(
                status_code="pass",
                components={node: await self._backend() for node in self._compute_nodes.list()},
            ),
            "authentication": StatusResponse(status_code="pass"),
            "database": await self._database_status(),
        }
        worst = max(components.values(), key=lambda part: _SEVERITY.index(part.status_code))
        return StatusResponse(
            status_code=worst.status_code,
            components=components,
            details={
                "version": __version__,
                "apiVersion": API_VERSION,
                "logPath": self._log_path(),
            },
        )

    async def _backend(self) -> StatusResponse:
        python, r = self._sessions.shells("Python"), self._sessions.shells("R")
        scoring = await self._scoring.statistics()
        return StatusResponse(
            status_code="pass",
            details={
                "pythonActiveShellCount": python["active"]
                + scoring["workers"]
                - scoring["r_workers"],
                "pythonCurrentPoolSize": python["warm"],
                "pythonMaxPoolSize": python["limit"],
                # Texts, not booleans, as in the original.
                "pythonCanOpenShell": "True" if python["can_open"] else "False",
                "rActiveShellCount": r["active"] + scoring["r_workers"],
                "rCurrentPoolSize": r["warm"],
                "rMaxPoolSize": r["limit"],
                "rCanOpenShell": "True" if r["can_open"] else "False",
                "apiVersion": "1.0",
                "logPath": self._log_path(),
                "sessions": python["active"] + r["active"],
                "services": scoring["services"],
                "workers": scoring["workers"],
            },
        )

    def _log_path(self) -> str:
        """Name where the server logs, but not in which folder: that is no affair of its callers."""
        logger: Any = getattr(self.log, "logger", self.log)
        while logger is not None:
            for handler in logger.handlers:
                if isinstance(handler, logging.FileHandler):
                    return Path(handler.baseFilename).name
            logger = logger.parent if logger.propagate else None
        return "stderr"

    async def _database_status(self) -> StatusResponse:
        details = {"type": self._database.kind, "name": "main"}
        try:
            await self._database.run(
                lambda connection: connection.exec_driver_sql("SELECT 1").all()
            )
        except Exception:
            self.log.exception("the database does not answer")
            return StatusResponse(status_code="fail", details=details | {"state": "Closed"})
        return StatusResponse(status_code="pass", details=details | {"state": "Open"})


_SEVERITY = ["pass", "warn", "fail"]


class Status(Endpoint):
    """State of the server."""

    resource = "status"

    async def get(self) -> None:
        """Report it (contract: ``status``), and how large a request may be (our addition)."""
        _ = self.principal
        report = await self.parts.status.report()
        details = (report.details or {}) | {"maxBodyBytes": self.web_settings.max_body_bytes}
        self.answer(msgspec.structs.replace(report, details=details))


class Live(Endpoint):
    """Whether the process answers at all."""

    public_methods = frozenset({"GET"})
    needs_ready = False

    async def get(self) -> None:
        """Answer 200."""
        self.answer({"status": "alive"})


class Ready(Endpoint):
    """Whether the server serves."""

    public_methods = frozenset({"GET"})
    needs_ready = False

    async def get(self) -> None:
        """Answer 200 once everything has started, 503 before."""
        if not self.parts.ready:
            raise NotServing(is_stopping=self.parts.stopping)
        self.answer({"status": "ready"})


class CoreSwagger(Endpoint):
    """The core API as Swagger 2.0."""

    async def get(self) -> None:
        """Serve the document as indented text."""
        document = msgspec.json.encode(core_swagger(self.parts.services.default_runtime))
        self.answer_bytes(msgspec.json.format(document, indent=2), "application/json")


class CoreOpenApi(Endpoint):
    """The core API as OpenAPI 3.1."""

    async def get(self) -> None:
        """Serve the document as indented text."""
        document = msgspec.json.encode(core_openapi(self.parts.services.default_runtime))
        self.answer_bytes(msgspec.json.format(document, indent=2), "application/json")


routes: Routes = [
    (r"/status", Status),
    (r"/health/live", Live),
    (r"/health/ready", Ready),
    (r"/swagger\.json", CoreSwagger),
    (r"/openapi\.json", CoreOpenApi),
]
