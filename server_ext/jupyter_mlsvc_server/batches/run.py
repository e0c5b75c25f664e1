"""Running one batch: some records at a time, through the scoring engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from jupyter_mlsvc.wire.models import WebServiceResult
from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc_server.batches.files import BLOCK_RECORDS, Records, Result, Results
from jupyter_mlsvc_server.batches.limiter import AdaptiveLimiter
from jupyter_mlsvc_server.batches.record import BatchRecord, Progress
from jupyter_mlsvc_server.errors import Busy, MlsvcServerError, NotFound
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import Outcome, ScoringAnswer, ScoringEngine
from jupyter_mlsvc_server.scoring.errors import ServiceUnavailable, WaitTooLong, WorkerEnded
from jupyter_mlsvc_server.scoring.recent_calls import BatchCaller

_AHEAD_BYTES: Final = 2**18
"""Records in memory from which on no more are read ahead."""

_FLUSH_SECONDS: Final = 0.1
_FLUSH_BYTES: Final = 2**20
_MAX_KEPT_BYTES: Final = 2 * _FLUSH_BYTES
"""Results in memory; where the disk does not keep up, no record is sent meanwhile."""

_MAX_PAUSE_SECONDS: Final = 1.0
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait for a service that can't be started, before the batch is given up."""


_MAX_TOGETHER: Final = 256
_MAX_BYTES_TOGETHER: Final = 2**18
"""Records that go to the engine together."""

_GROUPS: Final = 4
"""Groups of records that are on their way at a time, so that workers have one while others come."""


_DAMAGED: Final = (
    "The stored record is damaged and was not run. Start a batch with this record again."
)

Limiter = AdaptiveLimiter[Callable[[], None]]
"""A limiter whose waiters are called when it is their turn."""


class _Item(msgspec.Struct, eq=False):
    """A record on its way: with the engine, or in a pause until it is sent again."""

    number: int
    body: bytes
    timer: asyncio.TimerHandle | None = None
    pauses: Iterator[float] | None = None


TraceRecord = Callable[[str, ScoringAnswer], str]
"""Takes the id of a record and its answer, and returns the id of the trace; see ``Traces``."""


class BatchRun:
    """A batch that runs in this process.

    Records go to the engine in groups: quick ones are thousands a second, and a task and a message
    for each would cost more than all the rest. Of slow ones each is a group of its own.

    Parameters
    ----------
    record
        The batch.
    folder
        Its files; this process holds their lock.
    scoring
        What runs the service.
    limiter
        Limits the records on their way; shared with other batches of the service version.
    trace
        Makes the spans of a record that was answered; None without traces.
    """

    def __init__(
        self,
        *,
        record: BatchRecord,
        folder: Path,
        scoring: ScoringEngine,
        limiter: Limiter,
        trace: TraceRecord | None = None,
    ) -> None:
        self.progress = Progress()
        self.reason = ""
        self.is_begun = False
        self.told = 0
        self._id = record.id
        self._key = DefinitionKey(record.name, record.version)
        self._caller = BatchCaller(record.owner.name, record.id)
        self._most_running = record.parallel_count
        self._folder = folder
        self._scoring = scoring
        self._limiter = limiter
        self._trace = trace
        self._left: Sequence[int] = ()
        self._at = 0
        self._block: deque[_Item] = deque()
        self._block_bytes = 0
        self._reading: asyncio.Task[None] | None = None
        self._groups: set[asyncio.Task[None]] = set()
        self._may_run = 0
        """Records of those on their way that may run at a time; none if there are none."""
        self._paused: set[_Item] = set()
        self._is_waiting = False
        self._kept: list[Result] = []
        self._kept_bytes = 0
        self._is_much_kept = asyncio.Event()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Make the results that are missing; where that can't go on, ``reason`` says why."""
        self.is_begun = True
        results = await asyncio.to_thread(Results, self._folder)
        try:
            self._records = await asyncio.to_thread(Records, self._folder)
            try:
                self._left, self.progress = await asyncio.to_thread(results.missing)
                await self._score_all(results)
            finally:
                await asyncio.to_thread(self._records.close)
            await asyncio.to_thread(results.sync)
        finally:
            await asyncio.to_thread(results.close)

    async def _score_all(self, results: Results) -> None:
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flusher = asyncio.create_task(self._flush_for_ever(results))
        flusher.add_done_callback(self._note_failure)
        try:
            self._send_more()
            await self._over
        finally:
            await self._abandon()
            flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flusher
            # What is finished is kept, also when the server stops in the middle.
            await self._flush(results)

    # --- records -----------------------------------------------------------------------------

    def _send_more(self) -> None:
        """Send records as long as there is room for them, and see whether all is done."""
        if self._over.done():
            return
        while count := self._sendable():
            granted = self._limiter.acquire(count)
            if not granted:
                self._wait_for_room()
                break
            self._send([self._block.popleft() for _ in range(granted)])
        self._read_ahead()
        if not (self._may_run or self._paused) and (
            self.reason or not (self._block or self._reading)
        ):
            self._over.set_result(None)

    def _sendable(self) -> int:
        """How many records may be sent together now."""
        if self.reason or self._kept_bytes >= _MAX_KEPT_BYTES:
            return 0
        if self._may_run + len(self._paused) >= self._most_running:
            return 0
        share = 1 + self._limiter.surplus // _GROUPS
        count = size = 0
        for item in islice(self._block, min(share, _MAX_TOGETHER)):
            count += 1
            size += len(item.body)
            if size >= _MAX_BYTES_TOGETHER:
                break
        return count

    def _send(self, items: list[_Item]) -> None:
        free = self._most_running - self._may_run
        at_a_time = min(max(self._most_running // _GROUPS, 1), free, len(items))
        self._may_run += at_a_time
        self._block_bytes -= sum([len(item.body) for item in items])
        group = asyncio.create_task(self._score(items, at_a_time))
        self._groups.add(group)
        group.add_done_callback(self._groups.discard)
        group.add_done_callback(self._note_failure)

    def _wait_for_room(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._limiter.wait(self._take_turn)

    def _take_turn(self) -> None:
        self._is_waiting = False
        self._send_more()

    def _read_ahead(self) -> None:
        """Have the next block there before it is needed."""
        if self._reading or self.reason:
            return
        if len(self._block) >= BLOCK_RECORDS // 2 or self._block_bytes >= _AHEAD_BYTES:
            return
        wanted = self._left[self._at : self._at + BLOCK_RECORDS]
        if wanted:
            self._reading = asyncio.create_task(self._read(wanted))
            self._reading.add_done_callback(self._note_failure)

    async def _read(self, wanted: Sequence[int]) -> None:
        found = await asyncio.to_thread(self._records.read, wanted)
        self._at += len(found)
        whole = [_Item(number, body) for number, body in found if body is not None]
        self._block.extend(whole)
        self._block_bytes += sum([len(item.body) for item in whole])
        if len(whole) < len(found):
            self._keep([Result(at, failure(_DAMAGED), True) for at, body in found if body is None])
        self._reading = None
        self._send_more()

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)
            self._over.exception()  # nobody may be waiting any more

    async def _abandon(self) -> None:
        """Give up what is on its way."""
        self._over.cancel()
        self._limiter.forget(self._take_turn)
        for item in self._paused:
            if item.timer is not None:
                item.timer.cancel()
        tasks = [*self._groups, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- answers -----------------------------------------------------------------------------

    async def _score(self, items: list[_Item], at_a_time: int) -> None:
        """Have records answered together, and take what became of each."""
        begun = monotonic()
        seconds: float | None = None
        try:
            outcomes = await self._outcomes(items, at_a_time)
            seconds = monotonic() - begun
        finally:
            self._may_run -= at_a_time
            self._release(len(items), seconds)
        results: list[Result] = []
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, ScoringAnswer) and outcome.status == 200:
                request_id = f"{self._id}/{item.number}"
                trace_id = "" if self._trace is None else self._trace(request_id, outcome)
                if outcome.entry is not None:
                    outcome.entry.request_id, outcome.entry.trace_id = request_id, trace_id
                body = outcome.body
                if not isinstance(body, bytes):
                    # Python lets others run while it joins as much.
                    body = await asyncio.to_thread(bytes, body)
                results.append(Result(item.number, body, not outcome.success))
            elif (result := self._other_result(item, outcome)) is not None:
                results.append(result)
        self._keep(results)
        self._send_more()

    def _release(self, count: int, seconds: float | None) -> None:
        """Give room back, and let those take their turn who wait for it."""
        self._limiter.release(count, monotonic(), seconds)
        while (take_turn := self._limiter.next_waiter()) is not None:
            take_turn()

    async def _outcomes(self, items: list[_Item], at_a_time: int) -> Sequence[Outcome]:
        bodies = [item.body for item in items]
        try:
            return await self._scoring.consume_many(
                *(self._key, bodies, at_a_time),
                caller=self._caller,
                numbers=[item.number for item in items],
            )
        except Busy as error:
            return [error] * len(items)
        except MlsvcServerError as error:
            # The engine's own trouble, not that of any of them: they are sent again.
            return [ServiceUnavailable(self._key, error.message)] * len(items)

    def _other_result(self, item: _Item, outcome: Outcome) -> Result | None:
        """Make the result of a record that the service has none of.

        None where it is to be sent again, or the batch can't go on.
        """
        if isinstance(outcome, ScoringAnswer):
            return Result(item.number, failure(_message(bytes(outcome.body))), True)
        if isinstance(outcome, NotFound):
            self._give_up(outcome.message)
        elif isinstance(outcome, ServiceUnavailable):
            item.pauses = iter(_PAUSES) if item.pauses is None else item.pauses
            pause = next(item.pauses, None)
            if pause is None:
                self._give_up(outcome.message)
            else:
                self._pause(item, pause)
        elif isinstance(outcome, Busy | WaitTooLong) and not isinstance(outcome, WorkerEnded):
            # It has not run: those who wait for an answer come first.
            self._limiter.back_off()
            self._pause(item, min(getattr(outcome, "retry_after", 0.1), _MAX_PAUSE_SECONDS))
        else:
            return Result(item.number, failure(outcome.message), True)
        return None

    def _pause(self, item: _Item, seconds: float) -> None:
        if not self.reason:
            self._paused.add(item)
            item.timer = asyncio.get_running_loop().call_later(seconds, self._send_again, item)

    def _give_up(self, reason: str) -> None:
        """Send nothing any more; what runs has its result yet."""
        self.reason = reason
        paused, self._paused = self._paused, set()
        for item in paused:
            if item.timer is not None:
                item.timer.cancel()

    def _send_again(self, item: _Item) -> None:
        self._paused.discard(item)
        self._block.appendleft(item)
        self._block_bytes += len(item.body)
        self._send_more()

    # --- keeping -----------------------------------------------------------------------------

    def _keep(self, results: list[Result]) -> None:
        self._kept += results
        self._kept_bytes += sum([len(result.body) for result in results])
        if self._kept_bytes >= _FLUSH_BYTES:
            self._is_much_kept.set()

    async def _flush_for_ever(self, results: Results) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._is_much_kept.wait()
            self._is_much_kept.clear()
            await self._flush(results)
            self._send_more()

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
            failed=before.failed + sum([result.is_failure for result in kept]),
            reach=max(before.reach, 1 + max([result.number for result in kept])),
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
