"""The workers of one revision of a service version, and the requests that wait for them."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from logging import Logger, LoggerAdapter
from time import monotonic
from typing import Any, Final

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.protocol import Kind
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import (
    QueueFull,
    RunTooLong,
    ServiceUnavailable,
    WaitTooLong,
    WorkerEnded,
    WorkerFailed,
)
from jupyter_mlsvc_server.scoring.group import Group
from jupyter_mlsvc_server.scoring.link import Call, LinkLost, NotStarted, WorkerLink
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.statistics import State, Timings
from jupyter_mlsvc_server.scoring.template import Template

_TOLD_WITHIN: Final = 2.0
"""Seconds to wait for word of how a worker ended."""

_LINK_ENDS_WITHIN: Final = 1.0
"""Seconds after a worker's end until its link is closed, should somebody else hold it open."""

WORKERS_END: Final = "Its workers end as soon as they are started."

_MOST_FAILED_STARTS: Final = 4
_LONGEST_PAUSE: Final = 10.0
"""Seconds until another worker is started where they end as soon as they are started."""

_SHORT: Final = 0.001
_BRIEF: Final = 0.01
_AHEAD_IF_SHORT: Final = 16
_AHEAD_IF_BRIEF: Final = 2
"""Requests given to a worker at once, by the seconds that one takes on average."""

_AHEAD_OF_GROUPS: Final = 128
_AHEAD_SECONDS: Final = 0.006
_ALONE_SECONDS: Final = 1.0
"""Short requests of groups given to a worker at once, and how long all may take, where no other
caller has come for so many seconds: one that comes now has to wait for them."""

_LONG: Final = 0.02
_FORGETS: Final = 0.98
"""Seconds that no request of late may have taken where many are given ahead, and what is left of
such a time with each request."""

_WAIT: Final = 0.002
"""Seconds that requests may wait for a worker before there is another one."""

_TOGETHER: Final = 0.5
"""Seconds that requests which are answered together should take at most."""

_GROUP_WAITS: Final = 0.5
"""Seconds after which a group gets back what no worker had room for, so that whoever sent it sees
what there is, and sends fewer."""


class Pool:
    """Workers of one revision.

    A request goes to the worker with the least to do. While requests would have to wait for longer
    than a moment another one is started, up to the maximum. A worker that answers in no time gets
    its next request ahead, so that it never waits for this process; one that was ahead of a crash
    runs again elsewhere. A worker that answers requests together gets as many as it takes at once,
    and as many to go on with. Groups stand beside the queue: where both wait, workers get one of
    either in turn.

    Parameters
    ----------
    key
        The service version.
    size
        How many workers are kept, and how many there may be.
    template
        What forks the workers; it belongs to the pool.
    settings
        Numbers and times.
    timings
        Where requests are counted.
    on_lost
        Called when the template is gone.
    on_not_run
        Called with each request that has not run and won't in this pool.
    on_answered
        Called once, when the first request has succeeded.
    log
        For the operator.
    """

    def __init__(  # noqa: PLR0913 - what the engine hands over
        self,
        *,
        key: DefinitionKey,
        size: PoolSize,
        template: Template,
        settings: ScoringSettings,
        timings: Timings,
        on_lost: Callable[[Pool], None],
        on_not_run: Callable[[Call], None],
        on_answered: Callable[[], None],
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self.key = key
        self.size = size
        self.revision_id = template.revision_id
        self.runtime_type = template.runtime_type
        self._template = template
        self._settings = settings
        self._timings = timings
        self._on_lost = on_lost
        self._on_not_run = on_not_run
        self._on_answered: Callable[[], None] | None = on_answered
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._workers: list[WorkerLink] = []
        self._starting = 0
        self._failed_starts = 0
        self._failure = WORKERS_END
        self._queue: deque[Call] = deque()
        self._groups: deque[Group] = deque()
        self._is_turn_of_queue = False
        self._ending: set[Call] = set()
        """Requests whose workers have ended, and that wait for word of how."""
        self._average = math.inf
        self._longest = 0.0
        self._is_retiring = False
        self._is_stopped = False
        self._told_worn = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self.used_at = monotonic()
        self._single_at = 0.0
        """When a request came that is of no group."""
        template.link_lost = self._template_lost
        template.child_ended = self._child_ended

    # --- from the engine ---------------------------------------------------------------------

    async def start(self) -> None:
        """Start the minimum of workers.

        Raises
        ------
        LinkLost
            The template is gone.
        NotStarted
            A worker ended before it could take a request.
        """
        while len(self._workers) < self.size.initial:
            self._starting += 1
            await self._start_worker()
        self._spawn(self._tick())

    def submit(self, call: Call) -> None:
        """Answer a request, now or as soon as a worker is free."""
        if self._is_stopped:
            self._on_not_run(call)
            return
        now = monotonic()
        call.arrived = call.started = call.waits_since = self.used_at = self._single_at = now
        worker = self._free_worker(now)
        if worker is not None and not self._queue:
            worker.send(call)
        else:
            self._wait(call)

    def submit_many(self, group: Group) -> None:
        """Answer a group of requests, as workers have room for them."""
        self._groups.append(group)
        if self._is_stopped:
            self._pass_on_waiting()
            return
        group.arrived = self.used_at = now = monotonic()
        while (worker := self._free_worker(now)) is not None:
            call = self._next(worker, now)
            if call is None:
                return
            worker.send(call, more_wait=self._has_waiting)

    async def retire(self) -> None:
        """Finish what was accepted, then stop."""
        self._is_retiring = True
        self._note_idle()
        if not self._is_stopped:
            await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """End all processes; what still runs is lost."""
        self._is_stopped = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_all()
        for worker in list(self._workers):
            worker.close()
        await self._template.stop()

    def resize(self, size: PoolSize) -> None:
        """Have as many workers as this from now on; those that work finish."""
        self.size = size
        self._refill_once()
        self._end_surplus()

    @property
    def is_full(self) -> bool:
        """Whether all workers that are to be kept are there, and no more than may be."""
        return self.size.initial <= len(self._staying()) <= self._most

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in self._workers]

    @property
    def template_pid(self) -> int:
        """Process id of the template."""
        return self._template.pid

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return len(self._queue) + sum(group.waiting for group in self._groups)

    @property
    def failure(self) -> str:
        """Why it has failed, in a sentence; empty where it has not."""
        return self._failure if self.state is State.FAILED else ""

    @property
    def state(self) -> State:
        """How it is; a pool whose workers end at once has failed."""
        if not self._workers:
            if self._failed_starts > _MOST_FAILED_STARTS:
                return State.FAILED
            return State.STARTING if self._starting or self.waiting else State.IDLE
        return State.BUSY if all(worker.calls for worker in self._workers) else State.READY

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        is_working = any(worker.calls for worker in self._workers)
        return not (self.waiting or self._ending or is_working)

    # --- requests and workers ----------------------------------------------------------------

    def _free_worker(self, now: float) -> WorkerLink | None:
        """Find the worker with the least to do; where all have enough, start another one."""
        best: WorkerLink | None = None
        for worker in self._workers:
            if worker.is_leaving or worker.is_lost or self._is_held_up(worker, now):
                continue
            if len(worker.calls) < worker.most and worker.most > 1 and self._has_room(worker, now):
                # One that answers many together is not busy before it has them.
                return worker
            if best is None or len(worker.calls) < len(best.calls):
                best = worker
        if best is None or (best.calls and self._is_pressed(best)):
            self._grow()
        return best if best is not None and self._has_room(best, now) else None

    def _is_held_up(self, worker: WorkerLink, now: float) -> bool:
        """Whether a worker is at something that takes much longer than usual."""
        calls = worker.calls
        usual = _TOGETHER if math.isinf(self._average) else max(_LONG, 5 * self._average)
        return bool(calls) and now - calls[0].started > usual

    def _is_pressed(self, best: WorkerLink) -> bool:
        """Whether requests would wait so long that another worker is worth its start."""
        if best.most > 1 and math.isinf(self._average):
            return False  # they are answered together as soon as the first one is
        waiting = len(self._queue)
        if self._groups and sum(group.at_a_time for group in self._groups) > len(self._workers):
            waiting = self.waiting
        return (len(best.calls) + waiting / len(self._workers)) * self._average > _WAIT

    def _has_room(self, worker: WorkerLink, now: float) -> bool:
        calls = worker.calls
        if not calls:
            return True
        if calls[0].is_suspect:
            return False
        if worker.most > 1:
            # What one takes is what all of them wait for each other.
            return len(calls) < 2 * worker.most and len(calls) * self._average < _TOGETHER
        if self._average < _SHORT and self._longest < _LONG:
            return len(calls) < _AHEAD_IF_SHORT or (
                bool(self._groups)
                and now - self._single_at > _ALONE_SECONDS
                and len(calls) < _AHEAD_OF_GROUPS
                and len(calls) * self._average < _AHEAD_SECONDS
            )
        return self._average < _BRIEF and len(calls) < _AHEAD_IF_BRIEF

    def _wait(self, call: Call) -> None:
        if len(self._queue) >= max(self._settings.queue_limit, 1):
            self._drop_abandoned()
        if len(self._queue) >= self._room():
            self._fail(call, QueueFull(self.key, len(self._queue), self._retry_after()))
        else:
            self._queue.append(call)

    def _room(self) -> int:
        # With no worker yet, requests wait for the first one whatever the limit is.
        return max(self._settings.queue_limit, 0 if self._workers else 1)

    def _drop_abandoned(self) -> None:
        self._queue = deque(call for call in self._queue if not call.is_over)

    def _retry_after(self) -> int:
        if math.isinf(self._average):
            return 1
        seconds = len(self._queue) * self._average / max(len(self._workers), 1)
        return min(max(math.ceil(seconds), 1), 60)

    def _grow(self) -> None:
        if len(self._workers) + self._starting < self._most:
            self._starting += 1
            self._spawn(self._start_worker_or_give_up())

    async def _start_worker(self) -> None:
        try:
            pid, link = await self._template.link.fork()
            worker = await self._connect(pid, link)
        finally:
            self._starting -= 1
        worker.idle_since = now = monotonic()
        self._workers.append(worker)
        self._feed(worker, now)

    async def _connect(self, pid: int, link: socket.socket) -> WorkerLink:
        try:
            _, worker = await self._loop.create_unix_connection(
                lambda: WorkerLink(
                    pid, self._template.outbox_of(pid), self._answered, self._worker_lost
                ),
                sock=link,
            )
        except BaseException:
            link.close()
            raise
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                await worker.started
        except TimeoutError:
            self._failure = f"A worker took more than {self._settings.start_seconds:g} s to start."
            worker.is_leaving = True
            await self._template.link.kill(pid)
            worker.abort()
            raise NotStarted(self._failure) from None
        except NotStarted as problem:
            code = await self._end_of(pid)
            self._failure = str(problem) or WORKERS_END
            self._log.warning(
                "a worker of %s ended at its start code=%s %s", self.key, code, problem
            )
            raise
        except BaseException:
            worker.abort()
            raise
        return worker

    async def _start_worker_or_give_up(self) -> None:
        try:
            await self._start_worker()
        except LinkLost:
            pass  # the pool is told of its template's end
        except NotStarted as problem:
            self._failed_starts += 1
            if str(problem):
                # The next one would say the same.
                self._failed_starts = max(self._failed_starts, _MOST_FAILED_STARTS + 1)
            self._refill()

    def _feed(self, worker: WorkerLink, now: float) -> None:
        """Give a worker that has room what waits."""
        while not (worker.is_leaving or worker.is_lost) and self._has_room(worker, now):
            call = self._next(worker, now)
            if call is None:
                return
            worker.send(call, more_wait=self._has_waiting)

    @property
    def _has_waiting(self) -> bool:
        return bool(self._queue or self._groups)

    def _next(self, worker: WorkerLink, now: float) -> Call | None:
        """Take what a worker is to get next; None where nothing waits that it may run now."""
        queue = self._queue
        while queue and queue[0].is_over:
            queue.popleft()
        if not queue:
            return self._next_of_groups(worker, now)
        if queue[0].is_suspect and worker.calls:
            return None
        self._is_turn_of_queue = not self._is_turn_of_queue
        call = None if self._is_turn_of_queue else self._next_of_groups(worker, now)
        return queue.popleft() if call is None else call

    def _next_of_groups(self, worker: WorkerLink, now: float) -> Call | None:
        groups = self._groups
        while groups and not groups[0].waiting:
            groups.popleft()
        for group in groups:
            # A worker that was given several runs one at a time, unless it answers them together.
            may_be_too_many = worker.most > 1 or group.at_a_time < len(self._workers)
            if group.waiting and not (may_be_too_many and group.running >= group.at_a_time):
                call = group.take()
                call.arrived = call.started = call.waits_since = now
                return call
        return None

    def _answered(
        self, worker: WorkerLink, call: Call, kind: Kind, body: bytes, now: float
    ) -> None:
        seconds = now - call.started
        self._average = (
            seconds if self._average == math.inf else self._average * 0.9 + seconds * 0.1
        )
        self._longest = max(self._longest * _FORGETS, seconds)
        self._failed_starts = 0
        if not call.is_over:
            self._tell(call, kind, body, now - call.arrived)
        if self._queue or self._groups:
            self._feed(worker, now)
        if self._is_retiring:
            self._note_idle()

    def _tell(self, call: Call, kind: Kind, body: bytes, seconds: float) -> None:
        if kind is Kind.SUCCESS:
            self._timings.add(seconds)
            if self._on_answered is not None:
                on_answered, self._on_answered = self._on_answered, None
                on_answered()
            call.end(ScoringAnswer(200, body, True))
            return
        # A request that does not fit is the caller's mistake, not a failure of the service.
        if kind is Kind.MISFIT:
            self._timings.add_rejection(seconds)
        else:
            self._timings.add(seconds, failed=True)
        if kind is Kind.FAILURE:
            call.end(ScoringAnswer(200, body, False))
        elif kind is Kind.MISFIT:
            call.end(ScoringAnswer(400, body, False))
        else:
            call.end(WorkerFailed(self.key))

    def _worker_lost(self, worker: WorkerLink) -> None:
        was_expected = worker.is_leaving
        if worker.is_worn:
            self._tell_worn(worker.last_words)
        worker.is_leaving = True
        if worker in self._workers:
            self._workers.remove(worker)
        can_have_run = worker.has_work and not was_expected
        calls = [*worker.calls]
        worker.calls.clear()
        if len(calls) > 1 and worker.most > 1 and can_have_run:
            # Any of them can have ended it. Each runs alone now, so that only that one fails.
            self._suspect(calls)
            self._spawn(self._tell_ending(worker.pid, None))
        elif can_have_run:
            # Only the first one can have run.
            self._end_with_worker(calls.pop(0), worker.pid)
        elif not was_expected:
            self._failed_starts += 1
            self._spawn(self._tell_ending(worker.pid, None))
        else:
            self._spawn(self._forget(worker.pid))
        self._queue.extendleft(reversed(calls))
        self._refill()
        self._note_idle()

    def _suspect(self, calls: Iterable[Call]) -> None:
        for call in calls:
            call.is_suspect = True

    def _refill(self) -> None:
        """Start workers where there are fewer than needed; not in haste when they all end."""
        if self._is_stopped or self._template.link.is_lost:
            return
        now = monotonic()
        for worker in self._workers:
            if not self._is_held_up(worker, now):
                self._feed(worker, now)
        if self._failed_starts > _MOST_FAILED_STARTS and not self._workers:
            for call in self._taken_from_wait():
                self._fail(call, ServiceUnavailable(self.key, self._failure))
        if self._failed_starts:
            pause = min(0.05 * 2**self._failed_starts, _LONGEST_PAUSE)
            self._loop.call_later(pause, self._refill_once)
            return
        self._refill_once()

    def _refill_once(self) -> None:
        if self._is_stopped:
            return
        wanted = max(self.size.initial, 1 if self.waiting else 0)
        for _ in range(wanted - len(self._workers) - self._starting):
            self._grow()

    def _end_with_worker(self, call: Call, pid: int) -> None:
        """Tell the caller of a request that its worker has ended, and how."""
        if self._is_stopped:
            self._fail(call, WorkerEnded(self.key, None))
            return
        self._ending.add(call)
        self._spawn(self._tell_ending(pid, call))

    async def _tell_ending(self, pid: int, call: Call | None) -> None:
        code = await self._end_of(pid)
        self._log.warning(
            "worker of %s ended unexpectedly pid=%s code=%s during_request=%s",
            self.key, pid, code, call is not None,
        )  # fmt: skip
        if call is not None:
            self._ending.discard(call)
            self._fail(call, WorkerEnded(self.key, code))
            self._note_idle()

    def _child_ended(self, pid: int) -> None:
        for worker in self._workers:
            if worker.pid == pid:
                self._loop.call_later(_LINK_ENDS_WITHIN, worker.abort)

    async def _forget(self, pid: int) -> None:
        await self._end_of(pid)

    async def _end_of(self, pid: int) -> int | None:
        """Wait for the end of a worker whose link has ended; gives its exit code, if it is told."""
        code = await self._template.link.exit_code(pid, _TOLD_WITHIN)
        if code is None:
            # Its code has closed the link and goes on.
            await self._template.link.kill(pid)
        return code

    def _tell_worn(self, reason: str) -> None:
        self._timings.add_retired(reason)
        if not self._told_worn:
            self._told_worn = True
            self._log.info(
                "a request of %s changed what can't be put back; a worker is replaced after each "
                "such request: %s",
                self.key, reason,
            )  # fmt: skip

    def _fail(self, call: Call, error: MlsvcServerError) -> None:
        if not call.is_over:
            self._timings.add_failure()
            call.end(error)

    def _note_idle(self) -> None:
        if self._is_retiring and self.is_idle:
            self._idle.set()

    # --- time --------------------------------------------------------------------------------

    async def _tick(self) -> None:
        deadline = self._settings.deadline_seconds
        pause = min(max(deadline / 20, 0.01), 0.25) if deadline else 0.25
        while True:
            await asyncio.sleep(pause)
            now = monotonic()
            if deadline:
                self._end_overdue(now, deadline)
            self._give_back(now, deadline)
            self._end_idle(now)
            self._serve_waiting(now)

    def _end_overdue(self, now: float, deadline: float) -> None:
        for worker in self._workers:
            if worker.calls and now - worker.calls[0].started > deadline:
                worker.is_leaving = True
                if len(worker.calls) > 1 and worker.most > 1:
                    # It may be any of them. Each runs alone now, so that only that one fails.
                    self._suspect(worker.calls)
                else:
                    self._fail(worker.calls.popleft(), RunTooLong(self.key, deadline))
                # Those behind it have not run. They had their worker, and wait anew for another.
                for call in worker.calls:
                    call.waits_since = now
                self._queue.extendleft(reversed(worker.calls))
                worker.calls.clear()
                self._log.warning("killing a worker of %s after %s s", self.key, deadline)
                self._spawn(self._template.link.kill(worker.pid))
                self._refill()
        while self._queue and (self._queue[0].is_over or self._waits_too_long(now, deadline)):
            self._fail(self._queue.popleft(), WaitTooLong(self.key, deadline))

    def _give_back(self, now: float, deadline: float) -> None:
        """End the waiting of groups that workers have no room for, but for one request of each."""
        for group in tuple(self._groups):
            waited = now - group.arrived
            kept = 0 if deadline and waited > deadline else 1
            while waited > _GROUP_WAITS and group.waiting > kept:
                group.take().end(WaitTooLong(self.key, waited))

    def _waits_too_long(self, now: float, deadline: float) -> bool:
        first = self._queue[0]
        # A suspect had its worker, and waits for others that were held up by the same one.
        return not first.is_suspect and now - first.waits_since > deadline

    def _serve_waiting(self, now: float) -> None:
        """Look for a worker again, should those that were to take what waits be held up."""
        worker = self._free_worker(now) if self._has_waiting else None
        if worker is not None:
            self._feed(worker, now)
        self._note_idle()

    def _end_idle(self, now: float) -> None:
        self._end_surplus()
        above = len(self._staying()) - self.size.initial
        for worker in list(self._workers):
            if above <= 0:
                return
            is_idle = not worker.calls and not worker.is_leaving
            if is_idle and now - worker.idle_since > self._settings.idle_seconds:
                worker.close()
                above -= 1

    def _end_surplus(self) -> None:
        """End workers without work where there are more than there may be."""
        staying = self._staying()
        free = [worker for worker in staying if not worker.calls]
        for worker in free[: max(len(staying) - self._most, 0)]:
            worker.close()

    def _staying(self) -> list[WorkerLink]:
        return [worker for worker in self._workers if not worker.is_leaving]

    @property
    def _most(self) -> int:
        return max(self.size.most, 1)

    # --- the end -----------------------------------------------------------------------------

    def _template_lost(self) -> None:
        if not self._is_stopped:
            self._log.error("the template of %s ended unexpectedly", self.key)
            self._is_stopped = True
            self._on_lost(self)
        self._idle.set()
        self._fail_all()

    def _fail_all(self) -> None:
        for call in self._ending:
            self._fail(call, WorkerEnded(self.key, None))
        self._ending.clear()
        for worker in self._workers:
            running = [*worker.calls]
            worker.calls.clear()
            worker.is_leaving = True
            if running:
                self._fail(running.pop(0), WorkerEnded(self.key, None))
            self._queue.extend(running)
        self._pass_on_waiting()

    def _pass_on_waiting(self) -> None:
        for call in self._taken_from_wait():
            if not call.is_over:
                self._on_not_run(call)

    def _taken_from_wait(self) -> list[Call]:
        """Take all that waits."""
        calls = [*self._queue]
        for group in self._groups:
            calls += [group.take() for _ in range(group.waiting)]
        self._queue.clear()
        self._groups.clear()
        return calls

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_stopped:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
