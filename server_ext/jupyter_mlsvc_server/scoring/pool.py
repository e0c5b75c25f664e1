"""The worker processes of one revision of a service version."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from logging import Logger, LoggerAdapter
from time import monotonic
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.problem import Problem
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.envelope import without_envelope
from jupyter_mlsvc_server.formats.pieces import Body, beginning
from jupyter_mlsvc_server.formats.protocol import Kind, split_notes
from jupyter_mlsvc_server.scoring.decisions import (
    AwaitExit,
    Cancel,
    CloseWorker,
    Decision,
    Fail,
    GiveBack,
    KillWorker,
    MakeRoom,
    PassOn,
    Send,
    StartWorker,
    WakeUp,
    Worker,
)
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize
from jupyter_mlsvc_server.scoring.engine import CallTimes, ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import RunTooLong, WorkerFailed, ending
from jupyter_mlsvc_server.scoring.forkserver_client import LinkLost, NotStarted
from jupyter_mlsvc_server.scoring.group import Group
from jupyter_mlsvc_server.scoring.health import END_AT_START, Health
from jupyter_mlsvc_server.scoring.quota import WorkerQuota
from jupyter_mlsvc_server.scoring.recent_calls import MAX_BODY_BYTES, RecentCall, RecentCalls
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.scheduler import Scheduler
from jupyter_mlsvc_server.scoring.scheduler_settings import SchedulerSettings
from jupyter_mlsvc_server.scoring.service_log import LogEntry, ServiceLog
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.statistics import State, Timings
from jupyter_mlsvc_server.scoring.template import Template
from jupyter_mlsvc_server.scoring.worker_connection import WorkerConnection

_SUCCESS: Final = Kind.SUCCESS
"""Looked up once: that takes longer than the comparison, which is made for each answer."""

_STATUSES: Final = {Kind.SUCCESS: 200, Kind.FAILURE: 200, Kind.INVALID_INPUT: 400}

_EXIT_TIMEOUT: Final = 2.0
"""Seconds to wait for word of how a worker ended."""

_CLOSE_TIMEOUT: Final = 1.0
"""Seconds after a worker's end until its connection is closed, should somebody else hold it."""

_FAILED: Final = "the worker itself failed"

_STOPPED: Final = "A call took more than {:g} s ({}) and was stopped."

_MAX_TICK: Final = 0.25
_MIN_TICK: Final = 0.01
_TICKS: Final = 20
"""Seconds between two looks at what is due, and how many there are in a deadline."""


class Pool:
    """Processes of one revision: forks workers, sends them requests, and learns how they end.

    What runs where is decided by its scheduler. This class reports what has happened, with the
    time, and carries out what is decided.

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
    service_log
        Where what requests print is kept.
    recent_calls
        Where the newest calls are kept.
    keeps_bodies
        Whether they are kept with their bodies.
    health
        Whether the processes of the version keep ending; it outlives the pool.
    quota
        Counts the workers of the same person's services.
    on_no_room
        Called when the quota lets no other worker start, with whether it would be the first.
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
        service_log: ServiceLog,
        recent_calls: RecentCalls,
        keeps_bodies: bool,
        health: Health,
        quota: WorkerQuota,
        on_no_room: Callable[[Pool, bool], None],
        on_lost: Callable[[Pool], None],
        on_not_run: Callable[[PendingRequest], None],
        on_answered: Callable[[], None],
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self.key = key
        self.revision_id = template.revision_id
        self.runtime_type = template.runtime_type
        self._template = template
        self._settings = settings
        self._timings = timings
        self._service_log = service_log
        self.quota = quota
        self._on_no_room = on_no_room
        self._recent_calls = recent_calls
        self._keeps_bodies = keeps_bodies
        if not keeps_bodies:
            recent_calls.forget_bodies()
        self._on_lost = on_lost
        self._on_not_run = on_not_run
        self._on_answered: Callable[[], None] | None = on_answered
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._deadline = settings.deadline_of(template.deadline_seconds)
        self._scheduler = Scheduler(
            key,
            size,
            scheduler_settings(settings, template.deadline_seconds),
            health=health,
            now=monotonic(),
            has_effects=template.has_effects,
            quota=quota,
        )
        self._connections: dict[Worker, WorkerConnection] = {}
        self._is_carrying_out = False
        self._is_retiring = False
        self.may_be_hosted = False
        """Whether it is of a model that may be where others are while it is not busy."""
        self._has_reported_dirty = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        template.link_lost = self._template_lost
        template.child_ended = self._child_ended

    # --- from the engine ---------------------------------------------------------------------

    async def start(self, *, waits_for_call: bool = False) -> None:
        """Start the minimum of workers.

        Parameters
        ----------
        waits_for_call
            Whether none is started before the first request.

        Raises
        ------
        LinkLost
            The template is gone.
        NotStarted
            A worker ended before it could take a request.
        """
        scheduler = self._scheduler
        if waits_for_call:
            scheduler.release(monotonic())
            self._spawn(self._tick())
            return
        while len(scheduler.workers) < scheduler.size.initial and scheduler.expect_worker():
            try:
                await self._start_worker()
            except NotStarted:
                scheduler.start_abandoned()
                raise
        self._spawn(self._tick())

    def submit(self, request: PendingRequest) -> None:
        """Answer a request, now or as soon as a worker is free."""
        self._scheduler.submit(request, monotonic())
        self._carry_out()

    def submit_many(self, group: Group) -> None:
        """Answer a group of requests, as workers have room for them."""
        self._scheduler.submit_group(group, monotonic())
        self._carry_out()

    async def retire(self) -> None:
        """Finish what was accepted, then stop."""
        self._is_retiring = True
        self._note_idle()
        if not self._scheduler.is_stopped:
            await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """End all processes; what still runs is lost."""
        self._scheduler.is_stopped = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._scheduler.stop()
        self._carry_out()
        for connection in [*self._connections.values()]:
            connection.close()
        await self._template.stop()

    def resize(self, size: PoolSize) -> None:
        """Have as many workers as this from now on; those that work finish."""
        self._scheduler.resize(size, monotonic())
        self._carry_out()

    def release(self) -> None:
        """Let idle workers end, and keep none until the next request."""
        self._scheduler.release(monotonic())
        self._carry_out()

    @property
    def has_idle_worker(self) -> bool:
        """Whether a worker has nothing to do."""
        return self._scheduler.has_idle_worker

    @property
    def size(self) -> PoolSize:
        """How many workers are kept, and how many there may be."""
        return self._scheduler.size

    @property
    def is_full(self) -> bool:
        """Whether all workers that are to be kept are there, and no more than may be."""
        return self._scheduler.is_full

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [connection.pid for connection in self._connections.values()]

    @property
    def template_pid(self) -> int:
        """Process id of the template."""
        return self._template.pid

    @property
    def template(self) -> Template:
        """What forks the workers."""
        return self._template

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return self._scheduler.waiting

    @property
    def used_at(self) -> float:
        """When the last request came, by the monotonic clock."""
        return self._scheduler.used_at

    @property
    def is_called(self) -> bool:
        """Whether a request has come since its start, or since its workers were let go."""
        return self._scheduler.is_called

    @property
    def failure(self) -> str:
        """Why the version is failing, or its calls wait, in a sentence; empty where all is well."""
        return self._scheduler.failure or self._scheduler.shortage

    @property
    def state(self) -> State:
        """State of the pool; one whose workers keep ending is failing."""
        return self._scheduler.state

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return self._scheduler.is_idle

    @property
    def is_stopped(self) -> bool:
        """Whether it takes no more requests."""
        return self._scheduler.is_stopped

    # --- decisions ---------------------------------------------------------------------------

    def _carry_out(self) -> None:
        """Do what the scheduler has decided, in its order.

        A caller who gets an answer may submit the next request before this is done. What is decided
        about that one comes after what was decided before.
        """
        if self._is_carrying_out:
            return
        self._is_carrying_out = True
        decisions = self._scheduler.decisions
        try:
            while decisions:
                decision = decisions.popleft()
                if isinstance(decision, Send):
                    connection = self._connections[decision.worker]
                    connection.send(decision.request, more_wait=decision.more_wait)
                else:
                    self._carry_out_rare(decision)
        finally:
            self._is_carrying_out = False
        if self._is_retiring:
            self._note_idle()

    def _carry_out_rare(self, decision: Decision) -> None:
        match decision:
            case Fail(request, error):
                self._fail(request, error)
            case GiveBack(request, error):
                request.end(error)
            case PassOn(request):
                if not request.is_over:
                    self._on_not_run(request)
            case _:
                self._carry_out_for_workers(decision)

    def _carry_out_for_workers(self, decision: Decision) -> None:
        match decision:
            case StartWorker():
                self._spawn(self._start_worker_or_report())
            case CloseWorker(worker):
                self._connections[worker].close()
            case Cancel(worker, request):
                self._connections[worker].cancel(request.number)
                if not request.is_over:
                    self._service_log.add("error", "", self._stopped())
            case KillWorker(worker, problem):
                self._log.warning("killing a worker of %s: %s", self.key, problem.message)
                is_late = isinstance(problem, RunTooLong)
                self._service_log.add("error", "", self._stopped() if is_late else problem.message)
                self._spawn(self._template.link.kill(self._connections[worker].pid))
            case MakeRoom(is_first):
                self._on_no_room(self, is_first)
                self._scheduler.room_made(monotonic())
            case WakeUp(seconds):
                self._loop.call_later(seconds, self._wake_up)
            case AwaitExit(worker, request, was_expected):
                pid = self._connections.pop(worker).pid
                self._spawn(self._report_exit(pid, request, was_expected=was_expected))

    def _stopped(self) -> str:
        """Say in the log that a call was stopped at its deadline."""
        is_own = self._deadline == self._template.deadline_seconds
        whose = "deadlineSeconds of the version" if is_own else "ScoringSettings.deadline_seconds"
        return _STOPPED.format(self._deadline, whose)

    def _wake_up(self) -> None:
        self._scheduler.wake_up(monotonic())
        self._carry_out()

    def _fail(self, request: PendingRequest, error: MlsvcServerError) -> None:
        if not request.is_over:
            moment = self._timings.add_failure()
            self._recent_calls.add_unanswered(self._timings.count, moment, request, error)
            request.end(error)

    def _note_idle(self) -> None:
        if self._is_retiring and self._scheduler.is_idle:
            self._idle.set()

    async def _tick(self) -> None:
        deadline = self._deadline
        pause = min(max(deadline / _TICKS, _MIN_TICK), _MAX_TICK) if deadline else _MAX_TICK
        while True:
            await asyncio.sleep(pause)
            self._scheduler.tick(monotonic())
            self._carry_out()
            self._note_idle()

    # --- workers -----------------------------------------------------------------------------

    async def _start_worker(self) -> None:
        try:
            pid, link = await self._template.fork()
            connection = await self._connect(pid, link)
        except NotStarted:
            raise
        except BaseException:
            self._scheduler.start_abandoned()
            raise
        if connection.worker.is_lost:
            raise NotStarted("")
        self._connections[connection.worker] = connection
        self._scheduler.worker_started(connection.worker, monotonic())
        self._carry_out()

    async def _start_worker_or_report(self) -> None:
        try:
            await self._start_worker()
        except LinkLost:
            pass  # the template's end is reported to the pool
        except NotStarted as problem:
            self._scheduler.start_failed(str(problem), monotonic())
            self._carry_out()

    async def _connect(self, pid: int, link: socket.socket) -> WorkerConnection:
        try:
            _, connection = await self._loop.create_unix_connection(
                lambda: WorkerConnection(
                    pid, self._template.reply_buffer_of(pid), self._answered, self._worker_lost
                ),
                sock=link,
            )
        except BaseException:
            link.close()
            raise
        seconds = self._settings.start_seconds
        try:
            async with asyncio.timeout(seconds):
                await connection.started
        except TimeoutError:
            connection.worker.is_leaving = True
            await self._template.link.kill(pid)
            connection.abort()
            raise NotStarted(f"A worker took more than {seconds:g} s to start.") from None
        except NotStarted as problem:
            problem.code = code = await self._end_of(pid)
            self._log.warning(
                "a worker of %s ended at its start code=%s %s", self.key, code, problem
            )
            self._service_log.add("error", "", str(problem) or END_AT_START)
            raise
        except BaseException:
            connection.abort()
            raise
        return connection

    def _answered(
        self, connection: WorkerConnection, number: int, kind: Kind, body: Body, now: float
    ) -> None:
        if kind is Kind.FAULT and connection.worker.is_concurrent:
            # Any other worker says so itself. Here others are in flight, and are answered first.
            self._scheduler.retire(connection.worker)
            self._report_dirty(_FAILED)
        request = self._scheduler.answered(connection.worker, number, now)
        # First: the worker has its next requests before the caller has time for this one's answer.
        self._carry_out()
        if not request.is_over:
            self._give_answer(request, kind, body, now - request.arrived)
        elif request.stream is not None and request.stream.outcome is None:
            # A call all the same: whoever has left has seen some of its answer.
            self._give_answer(request, kind, body, now - request.arrived)
        elif kind is Kind.WITH_NOTES:
            self._without_notes(request, body, now)

    def _give_answer(self, request: PendingRequest, kind: Kind, body: Body, seconds: float) -> None:
        timings = self._timings
        if kind is _SUCCESS and not self._keeps_bodies and request.stream is None:
            moment = timings.add(seconds)
            caller, number = request.caller, timings.count
            self._recent_calls.add(
                (number, moment, seconds, caller, request.id, len(request.body), len(body))
            )
            if self._on_answered is not None:
                self._note_success()
            request.end(ScoringAnswer(200, body, True))
            return
        entry: LogEntry | None = None
        times: CallTimes | None = None
        needs_id = False
        if kind is Kind.WITH_NOTES:
            needs_id = True
            kind, body, entry, times = self._without_notes(request, body, request.arrived + seconds)
        # A request that does not fit is the caller's mistake, not a failure of the service.
        if kind is Kind.INVALID_INPUT:
            moment = timings.add_rejection(seconds)
        else:
            moment = timings.add(seconds, failed=kind is not _SUCCESS)
        self._keep_call(request, kind, body, moment, seconds, entry)
        if kind is _SUCCESS:
            self._note_success()
            request.end(ScoringAnswer(200, body, True, needs_id, entry, times))
        elif kind is Kind.FAILURE:
            request.end(ScoringAnswer(200, body, False, True, entry, times))
        elif kind is Kind.INVALID_INPUT:
            request.end(ScoringAnswer(400, body, False, True, None, times))
        else:
            request.end(WorkerFailed(self.key))

    def _keep_call(
        self,
        request: PendingRequest,
        kind: Kind,
        body: Body,
        moment: float,
        seconds: float,
        entry: LogEntry | None,
    ) -> None:
        """Keep a call that failed, printed or is kept with its bodies."""
        status = _STATUSES.get(kind, 500)
        keeps = self._keeps_bodies
        problem = "" if entry is None else entry.problem
        stream = request.stream
        if kind is Kind.INVALID_INPUT:
            problem = _message(body)
        elif status == 500:
            problem = WorkerFailed(self.key).message
        self._recent_calls.add_other(
            RecentCall(
                number=self._timings.count,
                time=moment,
                seconds=seconds,
                caller=request.caller,
                request_id=request.id,
                request_bytes=len(request.body),
                answer_bytes=len(body) + (0 if stream is None else stream.size),
                status=status,
                success=kind is _SUCCESS,
                problem=problem,
                entry_id=0 if entry is None else entry.id,
                text="" if entry is None or kind is _SUCCESS else entry.text,
                request=_sent(request) if keeps else None,
                answer=beginning(body, MAX_BODY_BYTES) if keeps else None,
                first_item=stream.first_at - request.arrived
                if stream is not None and stream.first_at
                else None,
            )
        )

    def _note_success(self) -> None:
        on_answered, self._on_answered = self._on_answered, None
        if on_answered is not None:
            on_answered()

    def _without_notes(
        self, request: PendingRequest, body: Body, now: float
    ) -> tuple[Kind, Body, LogEntry | None, CallTimes | None]:
        """Log what a request printed; return its answer, the entry, and when it was where."""
        try:
            notes, body = split_notes(body)
            kind = Kind(notes.kind)
        except ValueError:
            # The user's code has written to the link.
            return Kind.FAULT, b"", None, None
        times = entry = None
        if notes.ended:
            times = CallTimes(request.arrived, request.started, now, notes.began, notes.ended)
        if notes.printed or notes.problem:
            entry = self._service_log.add(
                "error" if kind is Kind.FAILURE else "info",
                notes.printed.decode("utf-8", "replace"),
                notes.problem.decode("utf-8", "replace"),
            )
        return kind, body, entry, times

    def _worker_lost(self, connection: WorkerConnection) -> None:
        if connection.worker not in self._connections:
            # It took too long to start, or ended at once.
            self._spawn(self._report_exit(connection.pid, None, was_expected=True))
            return
        if connection.is_dirty:
            self._report_dirty(connection.last_words)
        self._scheduler.worker_lost(
            connection.worker, monotonic(), may_have_run=connection.may_have_run
        )
        self._carry_out()

    async def _report_exit(
        self, pid: int, request: PendingRequest | None, *, was_expected: bool
    ) -> None:
        code = await self._end_of(pid)
        if was_expected:
            return
        self._timings.lost_workers += 1
        self._service_log.add("error", "", _ended(code, request))
        self._log.warning(
            "worker of %s ended unexpectedly pid=%s code=%s during_request=%s",
            self.key, pid, code, request is not None,
        )  # fmt: skip
        self._scheduler.exit_known(request, code, monotonic())
        self._carry_out()

    async def _end_of(self, pid: int) -> int | None:
        """Wait for the end of a worker whose link has ended; return its exit code, if known."""
        code = await self._template.link.exit_code(pid, _EXIT_TIMEOUT)
        if code is None:
            # Its code has closed the link and goes on.
            await self._template.link.kill(pid)
        return code

    def _child_ended(self, pid: int) -> None:
        for connection in self._connections.values():
            if connection.pid == pid:
                self._loop.call_later(_CLOSE_TIMEOUT, connection.abort)

    def _report_dirty(self, reason: str) -> None:
        self._timings.add_retired(reason)
        if not self._has_reported_dirty:
            self._has_reported_dirty = True
            self._log.info(
                "a request of %s changed what can't be put back; a worker is replaced after each "
                "such request: %s",
                self.key, reason,
            )  # fmt: skip

    def _template_lost(self) -> None:
        if not self._scheduler.is_stopped:
            self._log.error("the template of %s ended unexpectedly", self.key)
            self._timings.lost_templates += 1
            self._scheduler.is_stopped = True
            self._on_lost(self)
        self._idle.set()
        self._scheduler.stop()
        self._carry_out()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._scheduler.is_stopped:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _sent(request: PendingRequest) -> bytes:
    """Return the beginning of what a caller has sent."""
    return without_envelope(beginning(request.body, MAX_BODY_BYTES))


def _message(body: Body) -> str:
    """Read what the answer to a request that does not fit says."""
    try:
        return msgspec.json.decode(bytes(body), type=Problem).message
    except msgspec.DecodeError:
        # The user's code has written to the link.
        return ""


def _ended(code: int | None, request: PendingRequest | None) -> str:
    when = "between calls" if request is None else "during a call"
    return f"A worker ended unexpectedly {when} ({ending(code)})."


def scheduler_settings(settings: ScoringSettings, deadline: float = 0.0) -> SchedulerSettings:
    """Take the operator's settings of the scheduler out of those of the engine.

    Parameters
    ----------
    settings
        Those of the engine.
    deadline
        The version's own deadline; 0 where it has none.
    """
    return SchedulerSettings(
        queue_limit=settings.queue_limit,
        deadline_seconds=settings.deadline_of(deadline),
        stream_seconds=settings.stream_seconds,
        idle_seconds=settings.idle_seconds,
    )
