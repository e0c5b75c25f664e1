"""From the signal to end until the server may end: clients go elsewhere, and what runs ends.

::

    signal ──► draining ── drain_seconds ──► stopping ──┬── nothing runs ──► done
                  │                             │       └── stop_seconds ──► done
                  └────────── hurry ────────────┴───────────── hurry ──────► done
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from jupyter_mlsvc_server.api.lifecycle import Lifecycle, Stage

_PAUSE: Final = 0.01
"""Seconds between two looks whether something runs."""

_log = logging.getLogger("jupyter_mlsvc_server")

Pause = Callable[[asyncio.Event, float], Awaitable[None]]
"""Waits for an event, or so many seconds."""


class Connections(Protocol):
    """What of the HTTP server is told."""

    def drain(self) -> None:
        """Have the next answer of each connection be its last one."""


async def pause_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, or so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Drain:
    """The last part of the server's life in which it answers.

    Parameters
    ----------
    lifecycle
        Is told of each stage.
    connections
        Those of the clients.
    end_waits
        Answers those who wait for something that may never happen.
    is_busy
        Tells whether something runs that is to end by itself.
    drain_seconds
        For clients to go elsewhere; calls are answered meanwhile.
    stop_seconds
        For what runs to end; nothing new is taken meanwhile.
    """

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        connections: Connections,
        end_waits: Callable[[], Awaitable[None]],
        is_busy: Callable[[], bool],
        drain_seconds: float,
        stop_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        pause: Pause = pause_for,
    ) -> None:
        self._lifecycle = lifecycle
        self._connections = connections
        self._end_waits = end_waits
        self._is_busy = is_busy
        self._drain_seconds = drain_seconds
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._pause = pause

    async def run(self, hurry: asyncio.Event) -> None:
        """Return when the server may end; an event ends all waits."""
        self._connections.drain()
        if self._drain_seconds and not hurry.is_set():
            self._lifecycle.stage = Stage.DRAINING
            _log.info("jupyter-mlsvc drains for %g s; it still answers", self._drain_seconds)
            await self._pause(hurry, self._drain_seconds)
        self._lifecycle.stop()
        await self._end_waits()
        # Streams that end with the server get a turn to do so.
        await asyncio.sleep(0)
        give_up = self._clock() + self._stop_seconds
        if self._is_busy():
            _log.info("jupyter-mlsvc waits up to %g s for what runs", self._stop_seconds)
        while self._is_busy() and not hurry.is_set():
            if self._clock() >= give_up:
                _log.warning("jupyter-mlsvc ends what did not end by itself")
                return
            await self._pause(hurry, _PAUSE)
