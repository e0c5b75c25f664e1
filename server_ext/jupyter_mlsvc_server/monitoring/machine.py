"""State of what the server depends on: its disk, its database and its object store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from traitlets import Float
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.storage.clock import Clock
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.disk import DiskSpace
from jupyter_mlsvc_server.storage.machine_faults import (
    DatabaseUnavailable,
    DiskFails,
    ObjectStoreUnavailable,
    machine_fault,
)

_PATIENCE: Final = 3.0
"""Seconds after which what has not answered counts as failing."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """What was found at the last look.

    Attributes
    ----------
    disk_problem, database_problem
        Why the disk can't be written, or the database does not answer; None where it does.
    is_disk_short
        Whether so little room is left that new things are refused.
    free_bytes
        Room on the disk of the data folder.
    database_failing_seconds
        For how long the database has not answered.
    object_store_problem
        Why blobs that are not in the cache can't be had; None where they can.
    """

    disk_problem: MlsvcServerError | None
    database_problem: MlsvcServerError | None
    is_disk_short: bool
    free_bytes: int
    database_failing_seconds: float
    object_store_problem: MlsvcServerError | None = None

    @property
    def problems(self) -> list[str]:
        """Names of what is wrong."""
        problems = (self.disk_problem, self.database_problem, self.object_store_problem)
        found = [each.code for each in problems if each]
        return found or (["DiskShort"] if self.is_disk_short else [])


async def _nothing() -> None:
    """Find nothing wrong."""


class MachineMonitor(LoggingConfigurable):
    """Writes a little to the disk, and asks the database something, when somebody wants to know.

    Parameters
    ----------
    database, disk, probe_blobs
        What to look at.
    clock
        The clock by which looks are taken.
    """

    look_seconds = Float(
        2.0,
        min=0,
        help="Seconds for which a look at disk, database and object store, for /status and "
        "/health/ready, counts before the next one.",
    ).tag(config=True)

    def __init__(
        self,
        *,
        database: Database,
        disk: DiskSpace,
        probe_blobs: Callable[[], Awaitable[None]] = _nothing,
        clock: Clock = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._database = database
        self._disk = disk
        self._clock = clock
        self._disk_probe = _Probe(self._write)
        self._database_probe = _Probe(self._read)
        self._blobs_probe = _Probe(probe_blobs)
        self._failing_since: float | None = None
        self._state: MachineState | None = None
        self._looked_at = 0.0
        self._look: asyncio.Task[MachineState] | None = None

    async def state(self) -> MachineState:
        """Return what a look shows that was taken now, or a moment ago."""
        if self._state is not None and self._clock() < self._looked_at + self.look_seconds:
            return self._state
        if self._look is None:
            self._look = asyncio.create_task(self._take())
        # Who goes away does not end the look of others.
        return await asyncio.shield(self._look)

    async def _take(self) -> MachineState:
        try:
            disk, database, blobs = await asyncio.gather(
                self._disk_probe.problem(),
                self._database_probe.problem(),
                self._blobs_probe.problem(),
            )
            now = self._clock()
            failing_since = now if self._failing_since is None else self._failing_since
            self._failing_since = None if database is None else failing_since
            state = MachineState(
                disk_problem=None if disk is None else machine_fault(disk) or DiskFails(),
                database_problem=(
                    None if database is None else machine_fault(database) or DatabaseUnavailable()
                ),
                is_disk_short=self._disk.is_short,
                free_bytes=self._disk.free_bytes,
                database_failing_seconds=0.0 if database is None else now - failing_since,
                object_store_problem=None if blobs is None else ObjectStoreUnavailable(),
            )
            self._tell(state, disk, database, blobs)
            self._state, self._looked_at = state, now
        finally:
            self._look = None
        return state

    def _tell(self, state: MachineState, *causes: BaseException | None) -> None:
        """Log what has changed."""
        before = [] if self._state is None else self._state.problems
        if state.problems and state.problems != before:
            reasons = [str(cause) for cause in causes if cause is not None]
            free = f"{state.free_bytes >> 20} MiB are free"
            self.log.error("%s: %s", ", ".join(state.problems), "; ".join([*reasons, free]))
        elif before and not state.problems:
            self.log.info("all that the server depends on works again")

    async def _write(self) -> None:
        await asyncio.to_thread(self._probe_disk)

    def _probe_disk(self) -> None:
        self._disk.probe()
        self._disk.keep_spare()

    async def _read(self) -> None:
        await self._database.read(lambda connection: connection.exec_driver_sql("SELECT 1").all())


class _Probe:
    """Tries something, never twice at a time: what hangs would take all threads in the end."""

    def __init__(self, attempt: Callable[[], Awaitable[None]]) -> None:
        self._attempt = attempt
        self._running: asyncio.Task[None] | None = None

    async def problem(self) -> BaseException | None:
        """Try it, and return what went wrong."""
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        running = self._running
        done, _ = await asyncio.wait({running}, timeout=_PATIENCE)
        if not done:
            return TimeoutError(f"no answer within {_PATIENCE:g} s")
        self._running = None
        return running.exception()

    async def _run(self) -> None:
        await self._attempt()
