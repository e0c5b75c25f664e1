"""Kernels kept ready, so that creating a session does not wait for one to start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from logging import Logger, LoggerAdapter
from typing import Any

from traitlets import Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.sessions.kernels import Kernel, KernelFactory

Pause = Callable[[float], Awaitable[None]]
"""Waits for some seconds, as ``asyncio.sleep`` does."""

_RETRY_SECONDS = 10.0
# Kernels that keep dying must not be started in a tight loop.
_DEATH_PAUSE_SECONDS = 1.0


class WarmKernels(LoggingConfigurable):
    """Keeps started kernels of all runtime types."""

    warm_kernels = Integer(
        1,
        min=0,
        help="Number of started Python kernels to keep ready for new sessions. 0 starts each on "
        "demand.",
    ).tag(config=True)
    warm_r_kernels = Integer(
        0,
        min=0,
        help="Number of started R kernels to keep ready for new sessions, where R is installed. "
        "0 starts each on demand, in about a second.",
    ).tag(config=True)

    def __init__(
        self, *, factory: KernelFactory, pause: Pause = asyncio.sleep, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._factory = factory
        self._pause = pause
        self._shelves: dict[str, _Shelf] = {}

    def ready(self, runtime_type: str) -> int:
        """How many kernels of a runtime type could be handed out at once."""
        return self._shelf(runtime_type).ready

    def counts(self) -> dict[str, int]:
        """Return how many kernels of each runtime type could be handed out at once."""
        return {name: shelf.ready for name, shelf in self._shelves.items()}

    async def start(self) -> None:
        """Begin to warm kernels up, without waiting for them."""
        available = self._factory.available()
        if not self._factory.serves_anybody:
            return
        for runtime_type, count in (("Python", self.warm_kernels), ("R", self.warm_r_kernels)):
            if runtime_type in available:
                self._shelf(runtime_type).start(count)

    async def stop(self) -> None:
        """End all kernels that are not handed out."""
        await asyncio.gather(*(shelf.stop() for shelf in self._shelves.values()))

    async def take(self, runtime_type: str, account_id: str) -> Kernel:
        """Hand out a kernel to an account: a ready one, else the next that comes up.

        Raises
        ------
        KernelDidNotStart
            It could not be started.
        """
        if not self._factory.serves_anybody:
            user = await self._factory.user_of(account_id)
            return await self._factory.start_kernel(runtime_type, user)
        return await self._shelf(runtime_type).take()

    def _shelf(self, runtime_type: str) -> _Shelf:
        if runtime_type not in self._shelves:
            self._shelves[runtime_type] = _Shelf(self._factory, runtime_type, self.log, self._pause)
        return self._shelves[runtime_type]


class _Shelf:
    """Starts kernels of one runtime type ahead of need."""

    def __init__(
        self,
        factory: KernelFactory,
        runtime_type: str,
        log: Logger | LoggerAdapter[Any],
        pause: Pause,
    ) -> None:
        self._pause = pause
        self._log = log
        self._factory = factory
        self._runtime_type = runtime_type
        self._wanted = 0
        self._ready: list[Kernel] = []
        self._starting: set[asyncio.Task[Kernel]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False

    @property
    def ready(self) -> int:
        return len(self._ready)

    def start(self, wanted: int) -> None:
        self._wanted = wanted
        self._running = True
        self._fill()

    async def stop(self) -> None:
        self._running = False
        for task in (*self._starting, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._starting, *self._tasks, return_exceptions=True)
        kernels, self._ready = self._ready, []
        await asyncio.gather(*(kernel.stop(now=True) for kernel in kernels))

    async def take(self) -> Kernel:
        while self._ready:
            kernel = self._ready.pop(0)
            kernel.on_end = None
            if kernel.ended is None:
                self._fill()
                return kernel
        # One that is coming up is sooner there than a new one, and nobody else waits for it.
        task = self._starting.pop() if self._starting else self._begin()
        try:
            kernel = await task
        except asyncio.CancelledError:
            task.cancel()
            raise
        self._fill()
        return kernel

    def _fill(self) -> None:
        while self._running and len(self._ready) + len(self._starting) < self._wanted:
            task = self._begin()
            self._starting.add(task)
            task.add_done_callback(self._keep)

    def _begin(self) -> asyncio.Task[Kernel]:
        return asyncio.create_task(self._factory.start_kernel(self._runtime_type))

    def _keep(self, task: asyncio.Task[Kernel]) -> None:
        if task not in self._starting:
            return
        self._starting.discard(task)
        if task.cancelled():
            return
        if task.exception() is not None:
            self._log.error("a warm kernel did not start; trying again in %.0f s", _RETRY_SECONDS)
            self._later(self._refill(_RETRY_SECONDS))
            return
        kernel = task.result()
        if not self._running:
            self._later(kernel.stop(now=True))
            return
        kernel.on_end = lambda reason: self._lost(kernel, reason)
        self._ready.append(kernel)

    def _lost(self, kernel: Kernel, reason: str) -> None:
        self._log.warning("a warm kernel was lost: %s", reason)
        if kernel in self._ready:
            self._ready.remove(kernel)
        self._later(kernel.stop(now=True))
        self._later(self._refill(_DEATH_PAUSE_SECONDS))

    async def _refill(self, pause: float) -> None:
        await self._pause(pause)
        self._fill()

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
