"""Running one batch: some records at a time, through the scoring engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from jupyter_mlsvc.wire.models import WebServiceResult
from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc_server.batches.files import BLOCK_RECORDS, Records, Result, Results
from jupyter_mlsvc_server.batches.record import BatchRecord, Progress
from jupyter_mlsvc_server.errors import Busy, MlsvcServerError, NotFound
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.scoring.errors import ServiceUnavailable, WaitTooLong

_FLUSH_SECONDS: Final = 0.1
_FLUSH_BYTES: Final = 2**20
_LONGEST_PAUSE: Final = 1.0
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait for a service that can't be started, before the batch is given up."""


class BatchRun:
    """A batch that runs in this process.

    Parameters
    ----------
    record
        The batch.
    folder
        Its files; this process holds their lock.
    scoring
        What runs the service.
    gate
        Lets so many records of the service version in at a time, of whatever batches, that other
        callers find room.
    """

    def __init__(
        self, *, record: BatchRecord, folder: Path, scoring: ScoringEngine, gate: asyncio.Semaphore
    ) -> None:
        self.progress = Progress()
        self.reason = ""
        self._record = record
        self._folder = folder
        self._scoring = scoring
        self._gate = gate
        self._left: Sequence[int] = ()
        self._at = 0
        self._block: deque[tuple[int, bytes]] = deque()
        self._kept: list[Result] = []
        self._kept_bytes = 0
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Make the results that are missing; where that can't go on, ``reason`` says why."""
        results = await asyncio.to_thread(Results, self._folder)
        try:
            records = await asyncio.to_thread(Records, self._folder)
            try:
                self._left, self.progress = await asyncio.to_thread(results.missing)
                await self._score_all(records, results)
            finally:
                await asyncio.to_thread(records.close)
            await asyncio.to_thread(results.sync)
        finally:
            await asyncio.to_thread(results.close)

    async def _score_all(self, records: Records, results: Results) -> None:
        flusher = asyncio.create_task(self._flush_for_ever(results))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._record.parallel_count, len(self._left))):
                    group.create_task(self._work(records, results))
        finally:
            flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flusher
            # What is finished is kept, also when the server stops in the middle.
            await self._flush(results)

    async def _work(self, records: Records, results: Results) -> None:
        while not self.reason and (item := await self._next(records)) is not None:
            index, body = item
            # Also those who wait their turn at the gate need to know that it is over.
            result = await self._score(index, body)
            if result is None:
                return
            self._kept.append(result)
            self._kept_bytes += len(result.body)
            if self._kept_bytes >= _FLUSH_BYTES:
                await self._flush(results)

    async def _next(self, records: Records) -> tuple[int, bytes] | None:
        async with self._reading:
            wanted = () if self._block else self._left[self._at : self._at + BLOCK_RECORDS]
            if wanted:
                found = await asyncio.to_thread(records.read, wanted)
                self._at += len(found)
                self._block.extend(found)
            return self._block.popleft() if self._block else None

    # --- one record --------------------------------------------------------------------------

    async def _score(self, index: int, body: bytes) -> Result | None:
        """Make a record's result; None where the batch can't go on."""
        pauses = iter(_PAUSES)
        while not self.reason:
            try:
                async with self._gate:
                    answer = await self._scoring.consume(
                        self._record.name, self._record.version, body
                    )
            except (Busy, WaitTooLong) as error:
                # It has not run: those who wait for an answer come first.
                await asyncio.sleep(min(getattr(error, "retry_after", 0.1), _LONGEST_PAUSE))
            except NotFound as error:
                self.reason = error.message
            except ServiceUnavailable as error:
                pause = next(pauses, None)
                if pause is None:
                    self.reason = error.message
                else:
                    await asyncio.sleep(pause)
            except MlsvcServerError as error:
                return Result(index, failure(error.message), True)
            else:
                if answer.status == 200:
                    return Result(index, answer.body, not answer.success)
                return Result(index, failure(_message(answer.body)), True)
        return None

    # --- keeping -----------------------------------------------------------------------------

    async def _flush_for_ever(self, results: Results) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await self._flush(results)

    async def _flush(self, results: Results) -> None:
        async with self._writing:
            kept, self._kept, self._kept_bytes = self._kept, [], 0
            if not kept:
                return
            # A thread can't be stopped: it ends before the files are closed, whoever cancels.
            writing = asyncio.ensure_future(asyncio.to_thread(results.append, kept))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing
                raise
            finally:
                if writing.done() and writing.exception() is None:
                    self._count(kept)

    def _count(self, kept: Sequence[Result]) -> None:
        before = self.progress
        self.progress = Progress(
            completed=before.completed + len(kept),
            failed=before.failed + sum(result.is_failure for result in kept),
            reach=max(before.reach, 1 + max(result.number for result in kept)),
        )


def failure(message: str) -> bytes:
    """Write the result of a record that did not get as far as the code's own answer."""
    return msgspec.json.encode(
        WebServiceResult(
            success=False,
            error_message=message,
            output_parameters={},
            output_files={},
            console_output="",
            changed_files=[],
        )
    )


def _message(body: bytes) -> str:
    return msgspec.json.decode(body, type=Problem).message
