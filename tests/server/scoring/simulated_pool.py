"""A pool without processes: a test plays the workers, the callers and the clock."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from jupyter_mlsvc_server.errors import MlsvcServerError
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
from jupyter_mlsvc_server.scoring.engine import Outcome, ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import CodeEnded, WorkerEnded
from jupyter_mlsvc_server.scoring.group import Group
from jupyter_mlsvc_server.scoring.health import Health
from jupyter_mlsvc_server.scoring.quota import WorkerQuota
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.scheduler import Scheduler
from jupyter_mlsvc_server.scoring.scheduler_settings import HealthSettings, SchedulerSettings

KEY: Final = DefinitionKey("Test", "V1.0")
OK: Final = ScoringAnswer(200, b"", True)
TICK: Final = 0.25


@dataclass(eq=False)
class SimulatedWorker:
    """A worker that a test plays."""

    worker: Worker
    inbox: deque[PendingRequest] = field(default_factory=deque)
    runs_since: float = 0.0
    is_killed: bool = False
    is_closed: bool = False
    cancelled: list[PendingRequest] = field(default_factory=list)
    """Requests that it was told to cancel."""

    @property
    def is_full(self) -> bool:
        return len(self.inbox) >= self.worker.batch_size

    @property
    def is_free(self) -> bool:
        if self.worker.is_concurrent and not any(one.is_suspect for one in self.inbox):
            worker = self.worker
            return not (self.is_full or worker.is_leaving or worker.is_lost or worker.is_stalled)
        return not (self.inbox or self.worker.is_leaving or self.worker.is_lost)


class SimulatedPool:
    """Carries out what a scheduler decides, and checks each decision."""

    def __init__(
        self,
        size: PoolSize,
        settings: SchedulerSettings,
        *,
        has_effects: bool = False,
        is_concurrent: bool = False,
        quota: WorkerQuota | None = None,
    ) -> None:
        self.is_concurrent = is_concurrent
        self.settings = settings
        self.now = 100.0
        self.health = Health(HealthSettings())
        self.has_effects = has_effects
        self.scheduler = Scheduler(
            KEY,
            size,
            settings,
            health=self.health,
            now=self.now,
            has_effects=has_effects,
            quota=quota,
        )
        self.rooms_wanted: list[bool] = []
        """Whether it was for a first worker, each time that room was asked for."""
        self.processes: dict[Worker, SimulatedWorker] = {}
        self.starting = 0
        self.exits: list[PendingRequest] = []
        self.wake_ups: list[float] = []
        self.singles: list[PendingRequest] = []
        self.groups: list[Group] = []
        self.seen: list[PendingRequest] = []
        """All that were ever submitted or taken out of a group."""
        self.abandoned: set[PendingRequest] = set()
        self.waits_since: dict[PendingRequest, float] = {}
        """Requests that wait, and since when."""
        self.over: Counter[PendingRequest] = Counter()
        self.started: Counter[PendingRequest] = Counter()
        """How often each request was begun with."""
        self.told: PendingRequest | None = None
        """The request of which it is just told how its worker ended."""
        self.outcomes: dict[PendingRequest, ScoringAnswer | MlsvcServerError | None] = {}
        self.group_outcomes: dict[Group, list[Outcome]] = {}
        self.handed_out: set[PendingRequest] = set()
        self.groups_in_a_row = 0

    @property
    def only(self) -> SimulatedWorker:
        """The worker, where there is one."""
        (process,) = self.processes.values()
        return process

    # --- what comes --------------------------------------------------------------------------

    def submit(self, *, is_suspect: bool = False) -> PendingRequest:
        request = PendingRequest(KEY, b"", lambda _: None)
        request.is_suspect, request.starts = is_suspect, int(is_suspect)
        if is_suspect:
            self.handed_out.add(request)
        self.singles.append(request)
        self.seen.append(request)
        self.waits_since[request] = self.now
        self.scheduler.submit(request, self.now)
        self.carry_out()
        return request

    def submit_group(self, count: int, at_a_time: int) -> Group:
        outcomes: list[Outcome] = []

        def ended(found: list[Outcome]) -> None:
            assert not outcomes, "a group ends once"
            outcomes.extend(found)

        group = Group(KEY, [b""] * count, at_a_time, ended)
        self.groups.append(group)
        self.group_outcomes[group] = outcomes
        self.scheduler.submit_group(group, self.now)
        self.carry_out()
        return group

    def expect_workers(self, count: int, batch_size: int = 1) -> None:
        """Start workers that nobody has asked for, as a pool does at first."""
        for _ in range(count):
            self.scheduler.expect_worker()
            self.starting += 1
            self.start_worker(batch_size)

    def fail_to_start(self, reason: str) -> None:
        self.starting -= 1
        self.scheduler.start_failed(reason, self.now)
        self.carry_out()

    def start_worker(self, batch_size: int = 1) -> SimulatedWorker:
        self.starting -= 1
        process = SimulatedWorker(Worker(batch_size, is_concurrent=self.is_concurrent))
        self.processes[process.worker] = process
        self.scheduler.worker_started(process.worker, self.now)
        self.carry_out()
        return process

    def answer(
        self, process: SimulatedWorker, request: PendingRequest | None = None
    ) -> PendingRequest:
        """Have a worker answer a request, the first one unless told."""
        request = process.inbox[0] if request is None else request
        process.inbox.remove(request)
        self.started[request] += 1
        process.runs_since = self.now
        found = self.scheduler.answered(process.worker, request.number, self.now)
        assert found is request, "the answer is that request's"
        if not (request in process.cancelled and self.over[request]):
            self.end(request, OK)
        self.carry_out()
        return request

    def lose(self, process: SimulatedWorker, *, may_have_run: bool = True) -> None:
        """Have a worker end."""
        del self.processes[process.worker]
        ran = may_have_run and not process.worker.is_leaving
        if ran:
            self.count_started(process)
        # With effects, none of those that ran at a time is run again.
        fails = ran and self.has_effects and self.is_concurrent and len(process.inbox) > 1
        for request in () if fails else process.inbox:
            self.waits_since.setdefault(request, request.arrived)
        self.scheduler.worker_lost(process.worker, self.now, may_have_run=may_have_run)
        self.carry_out()

    def count_started(self, process: SimulatedWorker) -> None:
        """Count those that a worker may have begun with when it ends."""
        for request in [*process.inbox][: process.worker.batch_size]:
            self.started[request] += 1

    def tell_exit(self, request: PendingRequest, code: int | None = -9) -> None:
        self.exits.remove(request)
        self.told = request
        self.waits_since[request] = self.now
        self.scheduler.exit_known(request, code, self.now)
        self.carry_out()
        self.told = None

    def tick(self, seconds: float = TICK) -> None:
        self.now += seconds
        self.scheduler.tick(self.now)
        self.carry_out()

    def wake_up(self) -> None:
        due = [at for at in self.wake_ups if at <= self.now]
        self.wake_ups = [at for at in self.wake_ups if at > self.now]
        for _ in due:
            self.scheduler.wake_up(self.now)
            self.carry_out()

    # --- what is decided ---------------------------------------------------------------------

    def carry_out(self) -> None:
        while self.scheduler.decisions:
            decision = self.scheduler.decisions.popleft()
            self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Send(worker, request, _):
                self._send(self.processes[worker], request)
            case Fail(request, error):
                if isinstance(error, WorkerEnded | CodeEnded):
                    # One that waits has not run, so that no worker's end can have failed it.
                    waits = request in self.waits_since and request is not self.told
                    assert not waits or self.scheduler.is_stopped
                self.end(request, error)
            case GiveBack(request, error):
                assert request.group is not None, "only groups get requests back"
                self.end(request, error)
            case PassOn(request):
                assert self.scheduler.is_stopped
                self.end(request, None)
            case _:
                self._carry_out_for_workers(decision)

    def _carry_out_for_workers(self, decision: Decision) -> None:
        match decision:
            case StartWorker():
                self.starting += 1
                there = len(self.processes) + self.starting
                assert there <= max(self.scheduler.size.most, 1), "no more workers than may be"
                assert self.health.may_try(self.now), "nothing starts in a pause"
                assert not self.health.is_failing or there == 1, "one at a time shows if it works"
            case CloseWorker(worker):
                assert not self.processes[worker].inbox, "only an idle worker is closed"
                self.processes[worker].is_closed = True
            case KillWorker(worker, _):
                process = self.processes[worker]
                process.is_killed = True
                self.count_started(process)
                self.waits_since.update(
                    {request: self.now for request in process.inbox if not self.over[request]}
                )
                process.inbox.clear()
            case Cancel(worker, request):
                process = self.processes[worker]
                assert request in process.inbox
                assert worker.is_concurrent
                assert request not in process.cancelled, "a request is cancelled once"
                process.cancelled.append(request)
            case MakeRoom(is_first):
                self.rooms_wanted.append(is_first)
            case WakeUp(seconds):
                self.wake_ups.append(self.now + seconds)
            case AwaitExit(_, request, _) if request is not None:
                self.waits_since.pop(request)
                self.exits.append(request)

    def _send(self, process: SimulatedWorker, request: PendingRequest) -> None:
        assert not process.is_killed
        assert not process.is_closed
        assert not process.worker.is_leaving
        assert not self.over[request], "what is over does not run"
        assert self.started[request] < 1 + (not self.has_effects), "nothing runs once too often"
        assert all(request not in each.inbox for each in self.processes.values())
        assert not (request.is_suspect and process.inbox), "a suspect runs alone"
        assert not (process.inbox and process.inbox[0].is_suspect)
        assert not (process.worker.is_concurrent and process.is_full), "no more than at a time"
        is_fresh = request.group is not None and request not in self.handed_out
        self.waits_since.pop(request, None)
        if request.group is None and request not in self.handed_out:
            first = next(
                one for one in self.singles if one not in self.handed_out and self.is_wanted(one)
            )
            assert first is request, "no later request is handed out before an earlier one"
        if is_fresh:
            assert request.group is not None
            self.seen.append(request)
            others_wait = any(
                one.group is None and self.is_wanted(one) and not one.is_suspect
                for one in self.waits_since
            )
            self.groups_in_a_row = self.groups_in_a_row + 1 if others_wait else 0
            assert self.groups_in_a_row <= 1, "groups get every second place at most"
            self._check_at_a_time(process, request.group)
        else:
            self.groups_in_a_row = 0
        self.handed_out.add(request)
        if not process.inbox:
            process.runs_since = self.now
        process.inbox.append(request)

    def end(
        self, request: PendingRequest, outcome: ScoringAnswer | MlsvcServerError | None
    ) -> None:
        if request not in self.seen:
            self.seen.append(request)
        self.waits_since.pop(request, None)
        self.over[request] += 1
        assert self.over[request] == 1, "a request ends once"
        self.outcomes[request] = outcome
        request.end(outcome or OK)

    # --- what is to hold ---------------------------------------------------------------------

    def is_wanted(self, request: PendingRequest) -> bool:
        return not self.over[request] and request not in self.abandoned

    def running_of(self, group: Group) -> int:
        """Count the requests of a group that workers were given and did not answer."""
        return sum(one.group is group and not self.over[one] for one in self.seen)

    def _check_at_a_time(self, process: SimulatedWorker, group: Group) -> None:
        if process.worker.batch_size > 1 or group.at_a_time < len(self.processes):
            assert self.running_of(group) <= group.at_a_time, "no more run than may at a time"

    def check_nothing_waits_in_vain(self) -> None:
        wanted = [request for request in self.waits_since if self.is_wanted(request)]
        suspects = [request for request in wanted if request.is_suspect]
        free = [process for process in self.processes.values() if process.is_free]
        if suspects:
            free = [process for process in free if not process.inbox]
            runs_one = any(one.inbox and one.inbox[0].is_suspect for one in self.processes.values())
            assert runs_one or not free, "suspects go on"
        if not free:
            return
        assert len(wanted) == len(suspects)
        for group in self.groups:
            assert not group.waiting or self.running_of(group) >= group.at_a_time

    def check_deadlines(self) -> None:
        """To be called after a tick."""
        deadline = self.settings.deadline_seconds
        for process in self.processes.values():
            if process.worker.is_concurrent:
                for request in process.inbox:
                    is_late = self.now - request.started > deadline
                    assert not is_late or request in process.cancelled, "nothing runs for too long"
            elif process.inbox and not process.is_killed:
                assert self.now - process.runs_since <= deadline, "nothing runs for too long"
        for request, since in self.waits_since.items():
            if self.is_wanted(request) and not request.is_suspect:
                assert self.now - since <= deadline, "nobody waits for too long"
        for group in self.groups:
            late = self.now - group.arrived > deadline
            assert not (late and group.waiting), "nor does a group"

    def finish(self) -> None:
        """Have all that is there answered."""
        for _ in range(1000):
            for _ in range(self.starting):
                self.start_worker()
            for process in [*self.processes.values()]:
                if process.is_killed or process.is_closed:
                    self.lose(process)
                while process.inbox:
                    self.answer(process)
            for request in [*self.exits]:
                self.tell_exit(request)
            if all(self.over[one] for one in self.seen if one not in self.abandoned) and not any(
                group.waiting for group in self.groups
            ):
                return
            self.tick()
            self.wake_up()
        raise AssertionError("some requests never end")
