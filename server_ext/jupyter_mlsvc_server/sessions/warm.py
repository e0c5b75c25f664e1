"""Kernels kept ready, so that creating a session does not wait for Python to start."""

from __future__ import annotations

import asyncio
from typing import Any

from traitlets import Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.sessions.kernels import Kernel, KernelFactory

_RETRY_SECONDS = 10.0
# Kernels that keep dying must not be started in a tight loop.
_DEATH_PAUSE_SECONDS = 1.0


class WarmKernels(LoggingConfigurable):
    """Starts kernels ahead of need and hands them out."""

    warm_kernels = Integer(
        1,
        min=0,
        help="Number of started kernels to keep ready for new sessions. 0 starts each on demand.",
    ).tag(config=True)

    def __init__(self, *, factory: KernelFactory, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factory = factory
        self._ready: list[Kernel] = []
        self._starting: set[asyncio.Task[Kernel]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False

    @property
    def ready(self) -> int:
        """How many kernels could be handed out at once."""
        return len(self._ready)

    async def start(self) -> None:
        """Begin to warm kernels up, without waiting for them."""
        self._running = True
        self._fill()

    async def stop(self) -> None:
        """End all kernels that are not handed out."""
        self._running = False
        for task in (*self._starting, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._starting, *self._tasks, return_exceptions=True)
        kernels, self._ready = self._ready, []
        await asyncio.gather(*(kernel.stop(now=True) for kernel in kernels))

    async def take(self) -> Kernel:
        """Hand out a kernel: a ready one, else the next that comes up.

        Raises
        ------
        KernelDidNotStart
            It could not be started.
        """
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
        while self._running and len(self._ready) + len(self._starting) < self.warm_kernels:
            task = self._begin()
            self._starting.add(task)
            task.add_done_callback(self._keep)

    def _begin(self) -> asyncio.Task[Kernel]:
        return asyncio.create_task(self._factory.start_kernel())

    def _keep(self, task: asyncio.Task[Kernel]) -> None:
        if task not in self._starting:
            return
        self._starting.discard(task)
        if task.cancelled():
            return
        if task.exception() is not None:
            self.log.error("a warm kernel did not start; trying again in %.0f s", _RETRY_SECONDS)
            self._later(self._refill(_RETRY_SECONDS))
            return
        kernel = task.result()
        if not self._running:
            self._later(kernel.stop(now=True))
            return
        kernel.on_end = lambda reason: self._lost(kernel, reason)
        self._ready.append(kernel)

    def _lost(self, kernel: Kernel, reason: str) -> None:
        self.log.warning("a warm kernel was lost: %s", reason)
        if kernel in self._ready:
            self._ready.remove(kernel)
        self._later(kernel.stop(now=True))
        self._later(self._refill(_DEATH_PAUSE_SECONDS))

    async def _refill(self, pause: float) -> None:
        await asyncio.sleep(pause)
        self._fill()

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
