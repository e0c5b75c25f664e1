"""State of the server and its parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from traitlets.config import LoggingConfigurable

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc.wire.models import StatusResponse
from jupyter_mlsvc.wire.swagger import API_VERSION
from jupyter_mlsvc_server.errors import NotServing
from jupyter_mlsvc_server.monitoring.machine import MachineMonitor, MachineState
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.disk import DiskSpace
from jupyter_mlsvc_server.storage.machine_faults import DatabaseUnavailable

if TYPE_CHECKING:
    from jupyter_mlsvc_server.auth.oidc import OidcAuthenticator
    from jupyter_mlsvc_server.scoring.compute_nodes import ComputeNodes
    from jupyter_mlsvc_server.scoring.engine import ScoringEngine
    from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager


class StatusReporter(LoggingConfigurable):
    """Asks every part how it is (contract: ``status``).

    Parameters
    ----------
    object_store
        URL of the object store with the blobs; empty where they are on the disk.
    outage_seconds
        For how long callers are let in while the database does not answer.
    confinement
        How the code of sessions and services is confined.
    oidc
        The provider whose access tokens are taken, if one is.
    """

    def __init__(  # noqa: PLR0913 - what the parts tell
        self,
        *,
        database: Database,
        sessions: MlsvcSessionManager,
        scoring: ScoringEngine,
        compute_nodes: ComputeNodes,
        machine: MachineMonitor,
        disk: DiskSpace,
        object_store: str = "",
        outage_seconds: float = 0.0,
        confinement: Callable[[], Mapping[str, str]] = dict,
        oidc: OidcAuthenticator | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._database = database
        self._sessions = sessions
        self._scoring = scoring
        self._compute_nodes = compute_nodes
        self._machine = machine
        self._disk = disk
        self._object_store = object_store
        self._outage_seconds = outage_seconds
        self._confinement = confinement
        self._oidc = oidc

    async def report(self) -> StatusResponse:
        """Report the state of the whole and of its parts; the worst part decides."""
        machine = await self._machine.state()
        nodes = {node: await self._backend() for node in self._compute_nodes.list()}
        components = {
            "backends": StatusResponse(status_code=_worst(nodes), components=nodes),
            "authentication": self._authentication_status(machine),
            "database": self._database_status(machine),
            "disk": self._disk_status(machine),
            "scoring": await self._scoring_status(),
            "sessions": self._sessions_status(),
        }
        if self._object_store:
            components["objectStore"] = self._object_store_status(machine)
        return StatusResponse(
            status_code=_worst(components),
            components=components,
            details={
                "version": __version__,
                "apiVersion": API_VERSION,
                "logPath": self._log_path(),
                **self._confinement(),
            },
        )

    async def readiness(self) -> list[str]:
        """Name what is wrong with the machine while calls are answered all the same.

        Raises
        ------
        NotServing
            Calls can't be answered yet.
        DatabaseUnavailable
            The database has not answered for so long that nobody can be let in.
        """
        if not self._scoring.is_ready:
            raise NotServing(is_stopping=False)
        machine = await self._machine.state()
        if machine.database_problem and machine.database_failing_seconds > self._outage_seconds:
            raise DatabaseUnavailable
        return machine.problems

    async def _backend(self) -> StatusResponse:
        python, r = self._sessions.shells("Python"), self._sessions.shells("R")
        scoring, failing = await self._scoring.statistics(), await self._scoring.failing()
        return StatusResponse(
            status_code="warn" if failing else "pass",
            details={
                "pythonActiveShellCount": python["active"]
                + scoring["workers"]
                - scoring["r_workers"],
                # None is kept for later: each is started when it is asked for.
                "pythonCurrentPoolSize": 0,
                "pythonMaxPoolSize": python["limit"],
                # Texts, not booleans, as in the original.
                "pythonCanOpenShell": "True" if python["can_open"] else "False",
                "rActiveShellCount": r["active"] + scoring["r_workers"],
                "rCurrentPoolSize": 0,
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

    def _authentication_status(self, machine: MachineState) -> StatusResponse:
        providers = {}
        if self._oidc is not None:
            details = {"authority": self._oidc.issuer, "audience": self._oidc.audience[0]}
            # Named as in the original, whoever the provider is: clients look there.
            providers["azureActiveDirectory"] = StatusResponse(status_code="pass", details=details)
        # Tokens that were good stay so for a while; nobody else can be let in.
        status_code: StatusCode = "warn" if machine.database_problem else "pass"
        return StatusResponse(status_code=status_code, components=providers or None)

    def _database_status(self, machine: MachineState) -> StatusResponse:
        waiting = self._database.waiting_seconds
        details: dict[str, Any] = {"type": self._database.kind, "name": "main"}
        if machine.database_problem is not None:
            problem = {"state": "Closed", "problem": machine.database_problem.code}
            return StatusResponse(status_code="fail", details=details | problem)
        details |= {"state": "Open", "changeWaitSeconds": round(waiting, 1)}
        return StatusResponse(
            status_code="warn" if waiting > _LONG_WAIT_SECONDS else "pass", details=details
        )

    def _disk_status(self, machine: MachineState) -> StatusResponse:
        details = {"freeBytes": machine.free_bytes, "reserveBytes": self._disk.reserve_bytes}
        if machine.disk_problem is not None:
            problem = {"problem": machine.disk_problem.code}
            return StatusResponse(status_code="fail", details=details | problem)
        if machine.is_disk_short:
            return StatusResponse(status_code="warn", details=details | {"problem": "DiskShort"})
        return StatusResponse(status_code="pass", details=details)

    def _object_store_status(self, machine: MachineState) -> StatusResponse:
        details: dict[str, Any] = {"type": self._object_store.partition(":")[0]}
        if machine.object_store_problem is None:
            return StatusResponse(status_code="pass", details=details)
        # What is in the cache goes on.
        problem = {"problem": machine.object_store_problem.code}
        return StatusResponse(status_code="warn", details=details | problem)

    async def _scoring_status(self) -> StatusResponse:
        found, failing = await self._scoring.statistics(), await self._scoring.failing()
        is_well = self._scoring.is_ready and not failing
        return StatusResponse(
            status_code="pass" if is_well else "warn",
            details={
                "ready": self._scoring.is_ready,
                "services": found["services"],
                "workers": found["workers"],
                "failingServices": len(failing),
            },
        )

    def _sessions_status(self) -> StatusResponse:
        shells = {name: self._sessions.shells(name) for name in ("Python", "R")}
        can_open = [name for name, found in shells.items() if found["can_open"]]
        return StatusResponse(
            status_code="pass" if can_open else "warn",
            details={
                "sessions": sum(found["active"] for found in shells.values()),
                "runtimeTypes": can_open,
            },
        )


_LONG_WAIT_SECONDS: Final = 5.0
"""Seconds that a change waits for others before the database counts as slow."""

StatusCode = Literal["pass", "warn", "fail"]
_SEVERITY = get_args(StatusCode)


def _worst(parts: Mapping[str, StatusResponse]) -> StatusCode:
    """Return the status of the worst part."""
    return max([part.status_code for part in parts.values()], key=_SEVERITY.index, default="pass")
