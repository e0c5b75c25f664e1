"""Work that is done again and again while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from jupyter_mlsvc_server.errors import MlsvcServerError


class Repeated:
    """Does something every so many seconds; what goes wrong is logged, and ends nothing.

    Parameters
    ----------
    work
        Is done.
    seconds
        From the end of one time to the beginning of the next; 0 never begins.
    failure
        Begins the line of the log where it did not work.
    log
        Gets that line.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        seconds: float,
        failure: str,
        log: logging.Logger,
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._failure = failure
        self.log = log
        self._task: asyncio.Task[None] | None = None
        self._is_wanted = asyncio.Event()

    def soon(self) -> None:
        """Do it now, or once more where it is being done; nothing where it was not begun."""
        self._is_wanted.set()

    def start(self) -> None:
        """Begin; may be called twice."""
        if self._seconds and self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Do it no more; may be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._is_wanted.wait()
            self._is_wanted.clear()
            try:
                await self._work()
            except MlsvcServerError as error:
                self.log.debug("%s: %s", self._failure, error)
            except Exception:
                self.log.exception("%s", self._failure)
