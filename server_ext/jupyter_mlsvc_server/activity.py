"""Tells the Jupyter server that ours is in use, so that nobody ends it as idle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jupyter_mlsvc_server.batches.manager import BatchManager
    from jupyter_mlsvc_server.scoring.engine import ScoringEngine
    from jupyter_mlsvc_server.sessions.manager import SessionManager

_NAME: Final = "mlsvc"
_PAUSE: Final = 5.0


class ActivityReporter:
    """Asks the parts what goes on and when something did last.

    Calls at the public door, batches and executions do not pass through the Jupyter server, which
    would take them for idleness. A panel that looks on is no use.
    """

    def __init__(
        self, *, sessions: SessionManager, scoring: ScoringEngine, batches: BatchManager
    ) -> None:
        self._sessions = sessions
        self._scoring = scoring
        self._batches = batches
        self._task: asyncio.Task[None] | None = None

    def start(self, times: MutableMapping[str, datetime]) -> None:
        """Begin to report.

        Parameters
        ----------
        times
            Where the Jupyter server looks up when an extension was last in use.
        """
        self._task = asyncio.create_task(self._report(times))

    async def stop(self) -> None:
        """Report no more; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

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

    async def _report(self, times: MutableMapping[str, datetime]) -> None:
        while True:
            last = await self.last()
            if last is not None:
                times[_NAME] = last
            await asyncio.sleep(_PAUSE)
