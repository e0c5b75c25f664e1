"""The pool of a model in a host, which any trouble ends: its calls are made by workers then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from jupyter_mlsvc_server.scoring.hosting import APART_SECONDS, FOR_GOOD
from jupyter_mlsvc_server.scoring.pool import Pool
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.worker_connection import WorkerConnection

_BUSY_CALLS: Final = 25
"""Calls between two looks that make a model busy: some hundred a second."""

_LINK_SECONDS: Final = 1.0
"""Seconds for the link to a model to end, once the host has."""

_LONG_SECONDS: Final = 0.02
"""What a call may take on average."""

_OVERDUE_SECONDS: Final = 0.25
"""What a call may take that others in the host wait for."""


class HostedPool(Pool):
    """Calls of a model that is answered for in a host.

    Parameters
    ----------
    on_trouble
        Called once when it can't go on: with the pool, and for how many seconds the model is to
        have workers of its own. Calls without an answer are passed on then.
    others
        As of any pool.
    """

    def __init__(
        self,
        *,
        on_trouble: Callable[[HostedPool, float], None],
        on_not_run: Callable[[PendingRequest], None],
        **others: Any,
    ) -> None:
        def not_run(request: PendingRequest) -> None:
            # Whatever became of it in the host says nothing about it.
            request.starts, request.is_suspect = 0, False
            on_not_run(request)

        super().__init__(on_not_run=not_run, **others)
        self._on_trouble = on_trouble
        self._seen = self._timings.count
        self.is_moving = False
        """Whether workers of its own are being started."""

    def is_busy(self, now: float) -> bool:
        """Whether the model should have workers of its own; to be asked a few times a second."""
        calls, self._seen = self._timings.count - self._seen, self._timings.count
        scheduler = self._scheduler
        return (
            calls > _BUSY_CALLS
            or self.is_overdue(now)
            or (calls > 1 and scheduler.average_seconds > _LONG_SECONDS)
        )

    def is_overdue(self, now: float) -> bool:
        """Whether a call has no answer for so long that workers of its own should make it."""
        return now - self._scheduler.waits_since(now) > _OVERDUE_SECONDS

    def give_up(self, apart_seconds: float) -> None:
        """Pass on all calls that have no answer."""
        if self._scheduler.is_stopped:
            return
        self._scheduler.is_stopped = True
        self._on_trouble(self, apart_seconds)
        self._idle.set()
        self._scheduler.stop()
        self._carry_out()

    def _worker_lost(self, connection: WorkerConnection) -> None:
        if connection.last_words:
            self.give_up(FOR_GOOD)  # a call has changed what can't be put back
        elif connection.is_dirty:
            self.give_up(APART_SECONDS)
        else:
            # The host has ended without a word, maybe over one of these calls.
            self.give_up(0.0 if self._scheduler.is_idle else FOR_GOOD)

    def _template_lost(self) -> None:
        # The link to the model ends as well, and what came on it before may say why.
        self._loop.call_later(_LINK_SECONDS, self.give_up, FOR_GOOD)

    async def _end_of(self, pid: int) -> int | None:
        return None  # it is no process that has ended

    async def _start_worker_or_report(self) -> None:
        try:
            await self._start_worker()
        except Exception:  # noqa: BLE001  # workers of its own tell what is wrong with it
            self.give_up(FOR_GOOD)

    @property
    def pids(self) -> list[int]:
        """Process ids of its own: none."""
        return []
