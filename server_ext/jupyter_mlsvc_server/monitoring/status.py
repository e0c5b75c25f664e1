"""State of the server and its parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from traitlets.config import LoggingConfigurable

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.models import StatusResponse
from jupyter_mlsvc.wire.swagger import API_VERSION
from jupyter_mlsvc_server.storage.database import Database

if TYPE_CHECKING:
    from jupyter_mlsvc_server.scoring.compute_nodes import ComputeNodes
    from jupyter_mlsvc_server.scoring.engine import ScoringEngine
    from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager


class StatusReporter(LoggingConfigurable):
    """Asks every part how it is (contract: ``status``)."""

    def __init__(
        self,
        *,
        database: Database,
        sessions: MlsvcSessionManager,
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
        nodes = {node: await self._backend() for node in self._compute_nodes.list()}
        components = {
            "backends": StatusResponse(status_code=_worst(nodes), components=nodes),
            "authentication": StatusResponse(status_code="pass"),
            "database": await self._database_status(),
        }
        return StatusResponse(
            status_code=_worst(components),
            components=components,
            details={
                "version": __version__,
                "apiVersion": API_VERSION,
                "logPath": self._log_path(),
            },
        )

    async def hindrance(self) -> str:
        """Tell in a sentence why calls can't be answered now; nothing where they can."""
        if not self._scoring.is_ready:
            return "The server is starting; try again in a moment."
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                if (await self._database_status()).status_code == "pass":
                    return ""
        return "The database does not answer; the server's log has the reason."

    async def _backend(self) -> StatusResponse:
        python, r = self._sessions.shells("Python"), self._sessions.shells("R")
        scoring, failing = await self._scoring.statistics(), await self._scoring.failing()
        return StatusResponse(
            status_code="warn" if failing else "pass",
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
                "failingServices": {str(key): reason for key, reason in failing.items()},
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
            await self._database.read(
                lambda connection: connection.exec_driver_sql("SELECT 1").all()
            )
        except Exception:
            self.log.exception("the database does not answer")
            return StatusResponse(status_code="fail", details=details | {"state": "Closed"})
        return StatusResponse(status_code="pass", details=details | {"state": "Open"})


_PATIENCE = 5.0
"""Seconds for the database to answer."""

StatusCode = Literal["pass", "warn", "fail"]
_SEVERITY = get_args(StatusCode)


def _worst(parts: Mapping[str, StatusResponse]) -> StatusCode:
    """Return the status of the worst part."""
    return max([part.status_code for part in parts.values()], key=_SEVERITY.index, default="pass")
