"""The answer to one request, item by item, between the link of its worker and its caller."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.scoring.errors import StreamLeft, StreamTooLong
from jupyter_mlsvc_server.scoring.scheduler_settings import SchedulerSettings

if TYPE_CHECKING:
    from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
    from jupyter_mlsvc_server.scoring.request import PendingRequest

_MAX_KEPT_BYTES: Final = 2**17
"""Bytes of items that wait for their caller; then nothing is read from the worker."""

_GRACE_SECONDS: Final = 5.0
"""Seconds that the code has to end after its caller has left."""


class StreamLink(Protocol):
    """The connection to the worker that answers."""

    def pause(self, number: int) -> None:
        """Have the items of a request wait in the worker."""

    def resume(self, number: int) -> None:
        """Have them come again."""

    def cancel(self, number: int) -> None:
        """Have the worker stop with a request."""


class AnswerStream:
    """Items of an answer that its caller has not read yet, and what comes after the last one.

    Where the caller reads slower than the code answers, the worker is made to wait, so that what
    is kept here stays small. Time that passes meanwhile is not the code's.

    Attributes
    ----------
    first_at : float
        When the first item came, by the monotonic clock; 0 before.
    size : int
        Bytes of the items that came.
    """

    def __init__(self) -> None:
        self.first_at = 0.0
        self.size = 0
        self.outcome: ScoringAnswer | MlsvcServerError | None = None
        """What comes after the last item."""
        self.request: PendingRequest | None = None
        self._items: deque[bytes] = deque()
        self._kept = 0
        self._last_at = 0.0
        self._left_at = 0.0
        self._is_paused = False
        self._link: StreamLink | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- from the worker ---------------------------------------------------------------------

    def sent(self, link: StreamLink) -> None:
        """Take note of who answers."""
        self._link = link
        if self._left_at:
            self._cancel()

    def put(self, item: bytes, now: float) -> None:
        """Take an item."""
        self.first_at = self.first_at or now
        self._last_at = now
        self.size += len(item)
        if self._left_at:
            return
        self._items.append(item)
        self._kept += len(item)
        if self._kept > _MAX_KEPT_BYTES and self._link is not None and not self._is_paused:
            assert self.request is not None
            self._is_paused = True
            self._link.pause(self.request.number)
        self._wake()

    def end(self, outcome: ScoringAnswer | MlsvcServerError) -> None:
        """Take what comes after the last item."""
        self.outcome = outcome
        self._wake()

    def problem(
        self, started: float, now: float, settings: SchedulerSettings
    ) -> MlsvcServerError | None:
        """Return why the code has to be stopped now, if it has.

        Parameters
        ----------
        started, now
            When it began with the request, and the clock's time.
        """
        request = self.request
        assert request is not None
        if self._left_at:
            is_late = now - max(self._left_at, started) > _GRACE_SECONDS
            return StreamLeft(request.key, _GRACE_SECONDS) if is_late else None
        most = settings.stream_seconds
        if most and self.first_at and now - started > most:
            return StreamTooLong(request.key, most, "ScoringSettings.stream_seconds")
        deadline = settings.deadline_seconds
        is_silent = deadline and now - max(self._last_at, started) > deadline
        return StreamTooLong(request.key, deadline) if is_silent and not self._is_paused else None

    # --- from the caller ---------------------------------------------------------------------

    async def read(self, seconds: float | None = None) -> list[bytes]:
        """Wait for items, and return all that are there; none at the end, or after some seconds."""
        if not self._items and self.outcome is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._waiter}, timeout=seconds)
        items = [*self._items]
        self._items.clear()
        self._kept = 0
        self._resume()
        return items

    def leave(self) -> None:
        """Have the code stop, where it has not come to its end."""
        if self.outcome is None and not self._left_at and self.request is not None:
            self._left_at = monotonic()
            self._items.clear()
            self.request.abandon()
            self._cancel()

    def _cancel(self) -> None:
        if self._link is not None and self.request is not None:
            self._link.cancel(self.request.number)
            self._resume()

    def _resume(self) -> None:
        if self._is_paused and self._link is not None and self.request is not None:
            self._is_paused = False
            self._last_at = monotonic()
            self._link.resume(self.request.number)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
