"""Tells whether the server is in use, so that nobody ends it as idle."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_mlsvc_server.batches.manager import BatchManager
    from jupyter_mlsvc_server.scoring.engine import ScoringEngine
    from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager


class ActivityReporter:
    """Asks the managers what goes on and when something did last.

    A host would take calls, batches and executions, which do not pass through it, for idleness. A
    panel that looks on is no use.
    """

    def __init__(
        self, *, sessions: MlsvcSessionManager, scoring: ScoringEngine, batches: BatchManager
    ) -> None:
        self._sessions = sessions
        self._scoring = scoring
        self._batches = batches

    def current(self) -> dict[str, Any]:
        """Tell what would be lost by stopping now: counts of ``sessions`` and ``batches``.

        Only what there is has an entry. Sessions count as Jupyter's kernels do; they have a lease
        of their own.
        """
        counts = {
            "sessions": self._sessions.statistics()["active"],
            "batches": self._batches.running,
        }
        return {name: count for name, count in counts.items() if count}

    async def last(self) -> datetime | None:
        """Tell when something was last in use; None for never."""
        if self._batches.running:
            return datetime.now(UTC)
        scoring, sessions = await self._scoring.statistics(), self._sessions.statistics()
        times = [scoring["last_call"], sessions["last_used"]]
        known = [time for time in times if time is not None]
        return datetime.fromtimestamp(max(known), UTC) if known else None
