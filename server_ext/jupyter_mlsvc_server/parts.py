"""The parts of a running server, as endpoints see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_mlsvc_server.auth.accounts import AccountManager
    from jupyter_mlsvc_server.auth.tokens import TokenManager
    from jupyter_mlsvc_server.batches.manager import BatchManager
    from jupyter_mlsvc_server.compute_nodes import ComputeNodes
    from jupyter_mlsvc_server.events.hub import EventHub
    from jupyter_mlsvc_server.scoring.engine import ScoringEngine
    from jupyter_mlsvc_server.services.manager import ServiceManager
    from jupyter_mlsvc_server.services.pools import PoolManager
    from jupyter_mlsvc_server.services.statistics import ServiceStatisticsReporter
    from jupyter_mlsvc_server.sessions.manager import SessionManager
    from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
    from jupyter_mlsvc_server.status import StatusReporter
    from jupyter_mlsvc_server.storage.staging import Staging


@dataclass(slots=True)
class Parts:
    """Managers, built once by ``app`` and handed to every endpoint.

    Attributes
    ----------
    ready
        Whether all have started.
    stopping
        Whether they are being stopped.
    public_url
        Address of the public door; empty while it is closed.
    """

    accounts: AccountManager
    tokens: TokenManager
    events: EventHub
    sessions: SessionManager
    snapshots: SnapshotManager
    scoring: ScoringEngine
    services: ServiceManager
    batches: BatchManager
    pools: PoolManager
    statistics: ServiceStatisticsReporter
    compute_nodes: ComputeNodes
    status: StatusReporter
    staging: Staging
    ready: bool = False
    stopping: bool = False
    public_url: str = ""
