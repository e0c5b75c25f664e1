"""Decide which worker of a pool runs which request, and how many workers there are.

A pool has the workers of one revision of a service version. The scheduler is the part of it that
decides. It does no I/O and reads no clock: each event comes with the time and changes the state.
What is to be done is in :attr:`Scheduler.decisions`, in the order in which it has to be carried
out. The other part (``pool``) has the processes: it reports events and carries out.

A request goes one of these ways::

    submit ───────────────┬───────────────▶ given ──── answered ──────────▶ over
       │   no worker has  │ Send              │  ▲
       │   room           │                   │  │ Send
       ▼                  │                   │  │
    waits in the queue ───┘                   │  │
       │  ▲                                   │  │
       │  └─── its worker ended or was killed─┤  │ (what may run again waits again, ahead of all)
       │                                      │  │
       │                                      └──┼─ it ran and may not run again ──▶ Fail
       ├─ would wait too long, or has ───────────┼──────────────────────────────▶ Fail
       └─ the pool ends ─────────────────────────┴──────────────────────────────▶ PassOn

**Which worker.** The one with the least to do. Each request costs the worker a read and the server
a wake-up, so a worker whose requests are short gets some *ahead*: it finds the next one when it is
done with the first. How many depends on the average time, and on whether a slow one has come of
late: those behind a slow request wait for it while other workers may be free. A worker at something
that takes much longer than usual is *held up* and gets nothing.

**Overload.** A request is let in while those before it are expected to be done within the
deadline: `mean * waiting / workers`. Of a short service many may wait, of a slow one few. The mean
remembers more requests than the average that decides how many a worker has ahead: a slow one
among many short ones is no reason to turn anybody away.

**Micro-batching.** A worker with a batch size above 1 answers what is there in one run. It is not
busy before it has so many, and gets as many to go on with. If it ends, any of them can have been
the reason: each becomes a *suspect*, which runs alone from then on, beside the queue
(``suspects``).

**Concurrent workers.** A worker whose code awaits, or that runs calls in threads, begins with each
request when it gets it, and answers in any order. It has room until it has as many as the version
lets it. One that is over its deadline, or that nobody waits for any more, is *cancelled* and keeps
its place until the worker answers. A worker that does not do so at once gets no more, and is ended
when it does not do so in time. Those in flight beside it run once more where they may. When it
ends by itself, those in flight become suspects, as in micro-batching.

**Ends.** What was behind the request that ran has not run, and waits for another worker. The one
that ran is run once more where nothing says against it: its calls have no effects, it was
started once, and the worker was ended from outside. Code that exits or crashes would do so again.

**Groups.** Records of a batch come as groups that stand beside the queue. A record becomes a
request only when a worker has room for it. Where both wait, a worker takes from the queue and from
the groups in turn, so that a batch never gets more than every second place. No more of its records
than `bulk_ahead` are ahead of a request that comes now.

**How many workers.** Another one is started while requests would wait for longer than a start is
worth, up to the maximum. One above the minimum ends when it has been idle for long. A worker moves
through these states::

    StartWorker ──▶ starting ── worker_started ──▶ idle ◀──▶ running
                       │                             │          │
                 start_failed                   CloseWorker  KillWorker (over its deadline)
                       │                             └────┬─────┘
                       ▼                                  ▼
                     gone                              leaving ── worker_lost ──▶ gone
                                                                  (also from idle and running)

A person's services have a limit of workers together (``quota``). At the limit the scheduler asks
for room, and a version that was not called for long gives its workers up until its next call.

Where workers keep ending, the version is failing (``health``): what waits and what comes is
answered with the reason. After a pause one request is let in, to see whether it works again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from jupyter_mlsvc_server.errors import Busy, MlsvcServerError
from jupyter_mlsvc_server.formats.protocol import ENDED_FROM_OUTSIDE
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
from jupyter_mlsvc_server.scoring.errors import (
    CodeEnded,
    NoWorkerLeft,
    Overloaded,
    QueueFull,
    RunTooLong,
    ServiceUnavailable,
    WaitTooLong,
    WorkerEnded,
    ending,
)
from jupyter_mlsvc_server.scoring.group import Group
from jupyter_mlsvc_server.scoring.health import END_AT_START, KEEP_ENDING, Health
from jupyter_mlsvc_server.scoring.quota import WorkerQuota
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.scheduler_settings import SchedulerSettings
from jupyter_mlsvc_server.scoring.statistics import State
from jupyter_mlsvc_server.scoring.suspects import Suspects

_HAS_EFFECTS: Final = ", and calls of this version have effects, so it was not run again"
_ENDED_TWICE: Final = " for the second time"


class Scheduler:
    """Decides for the pool of one revision.

    Parameters
    ----------
    key
        The service version.
    size
        How many workers are kept, and how many there may be.
    settings
        Numbers and times.
    health
        Whether the processes of the version keep ending; shared with its other pools.
    now
        The clock's time.
    has_effects
        Whether a call may change what is elsewhere, so that it must not run twice.
    quota
        Counts the workers of the same person's services.

    Attributes
    ----------
    decisions
        What is to be done. Whoever carries it out removes it, first come first.
    """

    def __init__(
        self,
        key: DefinitionKey,
        size: PoolSize,
        settings: SchedulerSettings,
        *,
        health: Health,
        now: float,
        has_effects: bool = False,
        quota: WorkerQuota | None = None,
    ) -> None:
        self.size = size
        self.used_at = now
        """When the last request came."""
        self.is_stopped = False
        self._key = key
        self._settings = settings
        self.decisions: deque[Decision] = deque()
        self._workers: list[Worker] = []
        self._starting = 0
        self._quota = WorkerQuota() if quota is None else quota
        self._held = 0
        """Workers that the quota was told of."""
        self._asked_at = -math.inf
        """When room for another worker was asked for."""
        self._released_at = -math.inf
        self._has_ended = False
        self._health = health
        self._has_effects = has_effects
        self._vain_retries = 0
        """Requests in a row that were run again and whose worker ended again."""
        self._vain_at = -math.inf
        self._is_troubled = not health.is_well
        """Whether something has ended of late, so that each answer is news."""
        self._queue: deque[PendingRequest] = deque()
        self._suspects = Suspects()
        self._groups: deque[Group] = deque()
        self._is_turn_of_queue = False
        self._ending: set[PendingRequest] = set()
        """Requests whose workers have ended, and that wait for word of how."""
        self._average = math.inf
        self._mean = 0.0
        self._learnt = 0
        self._knows_usual = False
        """Whether the mean is of calls that were not the first ones of their workers."""
        self._swept_at = -math.inf
        self._longest = 0.0
        self._held_up_seconds = settings.batch_seconds
        """After which a worker counts as held up; follows from the average."""
        self._ahead = 1
        """Single requests that a worker has at most; follows from average and longest time."""
        self._single_at = 0.0
        """When a request came that is of no group."""

    # --- events: requests --------------------------------------------------------------------

    def submit(self, request: PendingRequest, now: float) -> None:
        """Take a request: a worker gets it now, or it waits for one."""
        if self.is_stopped:
            self.decisions.append(PassOn(request))
            return
        request.arrived = request.started = request.waits_since = now
        self.used_at = self._single_at = now
        if self._is_troubled and not self._is_let_in(now):
            self._fail(request, self._unavailable(now))
            return
        if request.is_suspect:
            # Another pool has passed it on, and let it in before.
            self._suspects.waiting.append(request)
            self._feed_all(now)
            return
        worker = self._free_worker(now)
        if worker is not None and not self._queue:
            self._give(worker, request, now, more_wait=False)
        else:
            self._enqueue(request, now)

    def submit_group(self, group: Group, now: float) -> None:
        """Take a group of requests, which workers get as they have room."""
        is_let_in = self._is_let_in(now)
        self._groups.append(group)
        if self.is_stopped:
            self._pass_on_waiting()
            return
        group.arrived = self.used_at = now
        if self._health.is_failing:
            if is_let_in:
                self._let_in_one_of(group, now)
            self._refuse_waiting_groups(now)
            return
        while (worker := self._free_worker(now)) is not None:
            request = self._next(worker, now)
            if request is None:
                return
            self._give(worker, request, now, more_wait=bool(self._queue or self._groups))

    def answered(self, worker: Worker, number: int, now: float) -> PendingRequest:
        """Take word of an answer, and give the worker what waits; returns the request.

        The answer belongs to the first request of the worker. One that answers requests together
        may leave some out, which another one has to answer.
        """
        requests = worker.requests
        request = requests.popleft() if requests[0].number == number else _taken(worker, number)
        if not requests:
            worker.idle_since = now
            if worker.is_leaving and worker.is_concurrent:
                self.decisions.append(CloseWorker(worker))
        elif not worker.is_concurrent:
            requests[0].started = now
        worker.is_stalled = False
        self._learn(now - request.started)
        self._expect(now - request.started, is_first=request.number == 1)
        if self._is_troubled:
            self._recover(request)
        if request.group is not None:
            request.group.running -= 1
        if self._queue or self._groups:
            self._feed(worker, now)
            if request.group is not None and self._groups and self._has_idle_worker():
                # The group may run one more now, and this worker may have no room for it.
                self._feed_all(now)
        if self._suspects.waiting:
            self._feed_all(now)
        return request

    def _learn(self, seconds: float) -> None:
        """Take the time of a request into what is expected of the next ones."""
        settings, average, longest = self._settings, self._average, self._longest
        weight, faded = settings.average_weight, longest * settings.calm_memory
        average = seconds if average == math.inf else average + (seconds - average) * weight
        longest = max(seconds, faded)
        self._average, self._longest = average, longest
        usual = settings.held_up_factor * average
        self._held_up_seconds = max(settings.calm_seconds, usual)
        if average < settings.short_seconds and longest < settings.calm_seconds:
            self._ahead = settings.short_ahead
        else:
            self._ahead = settings.brief_ahead if average < settings.brief_seconds else 1

    def _expect(self, seconds: float, *, is_first: bool) -> None:
        """Take the time of a request into the mean, by which others are let in.

        The first call of a worker imports and fills caches: it counts while no other is known.
        """
        if is_first and self._knows_usual:
            return
        if not (is_first or self._knows_usual):
            self._knows_usual, self._learnt = True, 0
        if self._learnt < self._settings.mean_over:
            self._learnt += 1
        self._mean += (seconds - self._mean) / self._learnt

    # --- events: workers ---------------------------------------------------------------------

    def expect_worker(self) -> bool:
        """Count a worker that is to be started without having been asked for, if it may be."""
        if self._quota.is_full:
            return False
        self._starting += 1
        self._tell_quota()
        return True

    def worker_started(self, worker: Worker, now: float) -> None:
        """Take a worker that can answer requests."""
        self._starting -= 1
        worker.idle_since = worker.began = now
        self._health.started()
        self._workers.append(worker)
        self._feed(worker, now)

    def retire(self, worker: Worker) -> None:
        """Have a concurrent worker end when it has answered what it has.

        To be called with word of an answer that still belongs to one of its requests.
        """
        worker.is_leaving = True
        self._tell_quota()

    def start_abandoned(self) -> None:
        """Take word that a worker will not come, for a reason that says nothing about it."""
        self._starting -= 1
        self._tell_quota()

    def start_failed(self, reason: str, now: float) -> None:
        """Take word that a worker ended before it could take a request, and why if it is known."""
        self._starting -= 1
        self._tell_quota()
        self._is_troubled = True
        if reason:
            self._health.refused(now, reason)
        else:
            self._health.ended(now, END_AT_START, at_start=True)
        self._refill(now)

    def worker_lost(self, worker: Worker, now: float, *, may_have_run: bool) -> None:
        """Take word that a worker is gone.

        Parameters
        ----------
        worker
            The worker.
        now
            The clock's time.
        may_have_run
            Whether it may have begun with a request that it has not answered.
        """
        was_expected = worker.is_leaving
        worker.is_leaving = worker.is_lost = True
        if worker in self._workers:
            self._workers.remove(worker)
            self._tell_quota()
        are_several = len(worker.requests) > 1 and worker.batch_size > 1
        requests = self._in_flight(worker)
        if not (was_expected or self.is_stopped):
            self._is_troubled = True
            self._health.ended(now, f"{KEEP_ENDING}.", began=worker.began)
        culprit: PendingRequest | None = None
        if requests and may_have_run and not was_expected:
            if are_several:
                # Any of them can have ended it. Each runs alone now, so that only that one fails.
                if worker.is_concurrent:
                    requests = [one for one in requests if self._may_be_suspect(one)]
                self._suspect(requests)
            else:
                culprit = requests.pop(0)
        if culprit is not None:
            # One that may be answered with others must not take them along.
            culprit.is_suspect = worker.batch_size > 1
            if self.is_stopped:
                self._end_running(culprit)
                culprit = None
            else:
                self._ending.add(culprit)
        self.decisions.append(AwaitExit(worker, culprit, was_expected))
        self._wait_again(requests)
        self._refill(now)

    def _may_be_suspect(self, request: PendingRequest) -> bool:
        """Tell whether a request that ran among others may run alone; if not, it fails."""
        has_begun = request.stream is not None and request.stream.first_at > 0
        if self._has_effects or has_begun:
            why = _HAS_EFFECTS if self._has_effects else ""
            self._fail(request, WorkerEnded(self._key, None, why))
            return False
        return True

    def exit_known(self, request: PendingRequest | None, code: int | None, now: float) -> None:
        """Take word of how a worker ended, and of the request that it ran, if any."""
        self._health.explain(ending(code))
        if request is None or request not in self._ending:
            return
        self._ending.discard(request)
        request.starts += 1
        if self._may_run_again(request, code, now):
            request.waits_since = now
            self._wait_again([request])
            self.wake_up(now)
        else:
            self._fail(request, self._why_it_ended(request, code, now))
        self._feed_all(now)

    def _may_run_again(self, request: PendingRequest, code: int | None, now: float) -> bool:
        settings = self._settings
        if request.is_over or request.starts > 1 or self._has_effects:
            return False
        if request.stream is not None and request.stream.first_at:
            return False  # its caller has items already
        if code not in ENDED_FROM_OUTSIDE or self._health.is_failing:
            return False
        deadline = settings.deadline_seconds
        if deadline and now - request.arrived > deadline:
            return False
        return (
            self._vain_retries < settings.max_vain_retries
            or now - self._vain_at > settings.vain_seconds
        )

    def _why_it_ended(
        self, request: PendingRequest, code: int | None, now: float
    ) -> CodeEnded | WorkerEnded:
        if code is not None and code not in ENDED_FROM_OUTSIDE:
            return CodeEnded(self._key, code)
        if self._has_effects:
            return WorkerEnded(self._key, code, _HAS_EFFECTS)
        if request.starts < 2:
            return WorkerEnded(self._key, code)
        self._vain_retries += 1
        self._vain_at = now
        return WorkerEnded(self._key, code, _ENDED_TWICE)

    # --- events: time and the end ------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due; to be called a few times in each deadline."""
        if self.is_stopped:
            return
        deadline = self._settings.deadline_seconds
        concurrent = [worker for worker in self._workers if worker.is_concurrent]
        stuck = [each for each in concurrent if self._cancel_unwanted(each, now, deadline)]
        if stuck:
            self._end_stuck(stuck, now, deadline)
        self._end_overdue(now, deadline)
        self._give_back(now, deadline)
        self._end_idle(now)
        if self._queue or self._groups or self._suspects.waiting:
            self._feed_all(now)
        if self._queue or self._groups:
            self._free_worker(now)  # starts another one where all are held up

    def wake_up(self, now: float) -> None:
        """Start workers where there are fewer than needed; one where it is to be seen if it works.

        To be called after a pause, too.
        """
        if self.is_stopped or not self._health.may_try(now):
            return
        wanted = max(self._initial, 1 if self.waiting else 0)
        if self._health.is_failing:
            wanted = min(wanted, 1)
        for _ in range(wanted - len(self._workers) - self._starting):
            self._start_one(now)

    def room_made(self, now: float) -> None:
        """Start workers that there was no room for, if there is now."""
        self.wake_up(now)
        if self.is_stopped or self._starting:
            return
        if self._suspects.waiting:
            self._feed_all(now)
        if self._queue or self._groups:
            self._free_worker(now)

    def release(self, now: float) -> None:
        """Let idle workers end, and keep none until the next request."""
        self._released_at = now
        for worker in self._staying():
            if not worker.requests:
                self._close(worker)

    def resize(self, size: PoolSize, now: float) -> None:
        """Have as many workers as this from now on; those that work finish."""
        self.size = size
        self._released_at = -math.inf
        self.wake_up(now)
        self._end_surplus()

    def stop(self) -> None:
        """End all; what has not run is for another pool, and what runs where it may run again."""
        self.is_stopped = self._has_ended = True
        self._tell_quota()
        for request in self._ending:
            self._end_running(request)
        self._ending.clear()
        for worker in self._workers:
            running = self._in_flight(worker)
            worker.is_leaving = True
            for request in running[: worker.batch_size]:
                request.is_suspect = worker.batch_size > 1
                self._end_running(request)
            self._queue.extend(running[worker.batch_size :])
        self._pass_on_waiting()

    def _end_running(self, request: PendingRequest) -> None:
        """Have another pool run a request that ran in this one, which is gone."""
        request.starts += 1
        has_begun = request.stream is not None and request.stream.first_at > 0
        if self._has_effects or request.starts > 1 or has_begun:
            why = _HAS_EFFECTS if self._has_effects else "" if has_begun else _ENDED_TWICE
            self._fail(request, WorkerEnded(self._key, None, why))
        else:
            self.decisions.append(PassOn(request))

    # --- what is there -----------------------------------------------------------------------

    @property
    def workers(self) -> list[Worker]:
        """Workers that have started and are not gone."""
        return self._workers

    @property
    def has_idle_worker(self) -> bool:
        """Whether a worker has nothing to do."""
        return any(not worker.requests for worker in self._staying())

    @property
    def is_full(self) -> bool:
        """Whether all workers that are to be kept are there, and no more than may be."""
        return self.size.initial <= len(self._staying()) <= self._most

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        waiting = len(self._queue) + len(self._suspects.waiting)
        return waiting + sum(group.waiting for group in self._groups)

    @property
    def is_called(self) -> bool:
        """Whether a request has come since workers were let go, if they were."""
        return self.used_at > self._released_at

    @property
    def average_seconds(self) -> float:
        """What calls take on average of late; 0 before the first one."""
        return 0.0 if self._average == math.inf else self._average

    def waits_since(self, now: float) -> float:
        """Return since when the oldest request has no answer; now where all have."""
        running = [worker.requests[0].arrived for worker in self._workers if worker.requests]
        return min([now, *running, *(request.arrived for request in [*self._queue][:1])])

    @property
    def failure(self) -> str:
        """Why the version is failing, in a sentence; empty where it is not."""
        return self._health.reason if self._health.is_failing else ""

    @property
    def shortage(self) -> str:
        """Why no worker is started for what waits, in a sentence; empty where one may be."""
        if not self.waiting or not self._quota.is_full:
            return ""
        return (
            f"Calls wait: services of its owner have {self._quota.limit} workers together, as many "
            "as they may (ScoringSettings.max_workers_per_user)."
        )

    @property
    def state(self) -> State:
        """State of the pool; one whose workers keep ending is failing."""
        if self._health.is_failing:
            return State.FAILING
        if not self._workers:
            return State.STARTING if self._starting or self.waiting else State.IDLE
        return State.BUSY if all(map(_is_busy, self._workers)) else State.READY

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        is_working = any(worker.requests for worker in self._workers)
        return not (self.waiting or self._ending or is_working)

    # --- which worker ------------------------------------------------------------------------

    def _give(
        self, worker: Worker, request: PendingRequest, now: float, *, more_wait: bool
    ) -> None:
        worker.sent += 1
        request.number = worker.sent
        if not worker.requests or worker.is_concurrent:
            request.started = now
        worker.requests.append(request)
        if self._suspects.waiting and not request.is_suspect:
            self._suspects.other_given()
        self.decisions.append(Send(worker, request, more_wait))

    def _free_worker(self, now: float) -> Worker | None:
        """Find the worker with the least to do; where all have enough, start another one."""
        best: Worker | None = None
        least = 0
        held_up_since = now - self._held_up_seconds
        for worker in self._workers:
            requests = worker.requests
            if worker.is_leaving or worker.is_lost:
                continue
            count = len(requests)
            if worker.is_concurrent:
                if not self._has_room(worker, now):
                    continue
            elif requests and (requests[0].started < held_up_since or requests[0].is_suspect):
                continue
            elif count < worker.batch_size > 1 and self._has_room(worker, now):
                # One that answers many together is not busy before it has them.
                return worker
            if best is None or count < least:
                best, least = worker, count
        if best is None or (least and self._is_pressed(best)):
            self._grow(now)
        return best if best is not None and self._has_room(best, now) else None

    def _is_held_up(self, worker: Worker, now: float) -> bool:
        """Whether a worker is at something that takes much longer than usual."""
        requests = worker.requests
        if not requests or worker.is_concurrent:
            return False
        return now - requests[0].started > self._held_up_seconds

    def _is_pressed(self, best: Worker) -> bool:
        """Whether requests would wait so long that another worker is worth its start."""
        if best.is_concurrent:
            return False  # it begins with the next one at once
        if best.batch_size > 1 and self._average == math.inf:
            return False  # they are answered together as soon as the first one is
        waiting = len(self._queue)
        if self._groups and sum(group.at_a_time for group in self._groups) > len(self._workers):
            waiting = self.waiting
        before = len(best.requests) + waiting / len(self._workers)
        return before * self._average > self._settings.growth_seconds

    def _has_room(self, worker: Worker, now: float) -> bool:
        requests = worker.requests
        if not requests:
            return True
        if requests[0].is_suspect or (self._suspects.waiting and self._makes_way(worker)):
            return False
        if worker.is_concurrent:
            return len(requests) < worker.batch_size and not worker.is_stalled
        count, average, settings = len(requests), self._average, self._settings
        if worker.batch_size > 1:
            # What one takes is what all of them wait for each other.
            return count < 2 * worker.batch_size and count * average < settings.batch_seconds
        return count < self._ahead or (
            bool(self._groups)
            and self._ahead == settings.short_ahead
            and now - self._single_at > settings.quiet_seconds
            and count < settings.bulk_ahead
            and count * average < settings.bulk_seconds
        )

    def _makes_way(self, worker: Worker) -> bool:
        """Whether a worker gets nothing more, so that it can run a suspect when it has finished."""
        return not self._starting and self._suspects.is_closed(worker, self._staying())

    # --- which request -----------------------------------------------------------------------

    def _feed(self, worker: Worker, now: float) -> None:
        """Give a worker that has room what waits."""
        while not (worker.is_leaving or worker.is_lost) and self._has_room(worker, now):
            request = self._next(worker, now)
            if request is None:
                return
            self._give(worker, request, now, more_wait=bool(self._queue or self._groups))

    def _has_idle_worker(self) -> bool:
        return len(self._workers) > 1 and not all(one.requests for one in self._workers)

    def _feed_all(self, now: float) -> None:
        self._drop_first(self._suspects.waiting)
        if not self._starting and self._suspects.lack_worker(self._staying()):
            self._grow(now)
        for worker in self._workers:
            if not self._is_held_up(worker, now):
                self._feed(worker, now)

    def _next(self, worker: Worker, now: float) -> PendingRequest | None:
        """Take what a worker is to get next; None where nothing waits that it may run now."""
        queue = self._queue
        self._drop_first(queue)
        if self._suspects.waiting:
            self._drop_first(self._suspects.waiting)
            others_wait = bool(queue) or any(group.waiting for group in self._groups)
            suspect = self._suspects.next_for(worker, self._staying(), others_wait=others_wait)
            if suspect is not None:
                return suspect
        if not queue:
            return self._next_of_groups(worker, now)
        self._is_turn_of_queue = not self._is_turn_of_queue
        request = None if self._is_turn_of_queue else self._next_of_groups(worker, now)
        return queue.popleft() if request is None else request

    def _drop_first(self, queue: deque[PendingRequest]) -> None:
        """Forget the first ones of those that wait as far as they are over."""
        while queue and queue[0].is_over:
            self._drop(queue.popleft())

    def _wait_again(self, requests: Iterable[PendingRequest]) -> None:
        """Have requests that had their worker wait for another one, ahead of all."""
        for request in reversed([*requests]):
            waiting = self._suspects.waiting if request.is_suspect else self._queue
            waiting.appendleft(request)

    def _next_of_groups(self, worker: Worker, now: float) -> PendingRequest | None:
        groups = self._groups
        while groups and not groups[0].waiting:
            groups.popleft()
        for group in groups:
            # A worker that was given several runs one at a time, unless it answers them together.
            may_be_too_many = worker.batch_size > 1 or group.at_a_time < len(self._workers)
            if group.waiting and not (may_be_too_many and group.running >= group.at_a_time):
                request = group.take()
                request.arrived = request.started = request.waits_since = now
                return request
        return None

    def _enqueue(self, request: PendingRequest, now: float) -> None:
        refusal = self._refusal()
        if refusal is not None and now - self._swept_at > self._settings.sweep_seconds:
            # In an overload each call would look at all that wait.
            self._swept_at = now
            self._drop_abandoned()
            refusal = self._refusal()
        if refusal is None:
            self._queue.append(request)
        else:
            self._fail(request, refusal)

    def _refusal(self) -> Busy | None:
        """Say why no further request may wait, if so."""
        waiting, settings = len(self._queue), self._settings
        # With no worker yet, those that the first ones take at once wait whatever the limit is.
        most = settings.queue_limit + (0 if self._workers else max(self._starting, 1))
        if waiting >= most:
            return QueueFull(self._key, waiting, self._retry_after())
        deadline = settings.deadline_seconds
        if deadline and (expected := self._expected_wait()) > deadline:
            return Overloaded(self._key, waiting, expected, deadline, self._retry_after())
        return None

    def _expected_wait(self) -> float:
        """Seconds until what waits now will have been begun with, by what requests took of late."""
        # Groups get every second place.
        turns = len(self._queue) * (2 if self._groups else 1)
        return turns * self._mean / max(self._places + self._starting, 1)

    @property
    def _places(self) -> int:
        """How many requests the workers run at a time."""
        return sum(one.batch_size if one.is_concurrent else 1 for one in self._workers)

    def _drop_abandoned(self) -> None:
        for request in self._queue:
            if request.is_over:
                self._drop(request)
        self._queue = deque(request for request in self._queue if not request.is_over)

    def _retry_after(self) -> int:
        return min(max(math.ceil(self._expected_wait()), 1), 60)

    # --- how many workers --------------------------------------------------------------------

    def _grow(self, now: float) -> None:
        """Start another worker, or as many as are kept where there is none."""
        for _ in range(max(self._initial, 1) if self._is_empty else 1):
            self._start_one(now)

    def _start_one(self, now: float) -> None:
        if self._health.is_failing and (self._workers or self._starting):
            return  # one at a time shows whether it works again
        if len(self._workers) + self._starting >= self._most:
            return
        if not self._quota.is_full:
            self._starting += 1
            self._tell_quota()
            self.decisions.append(StartWorker())
        elif now - self._asked_at > self._settings.room_seconds:
            self._asked_at = now
            self.decisions.append(MakeRoom(is_first=self._is_empty))

    def _tell_quota(self) -> None:
        """Correct what the quota knows of the workers here."""
        held = 0 if self._has_ended else self._starting + len(self._staying())
        self._quota.held += held - self._held
        self._held = held

    @property
    def _is_empty(self) -> bool:
        return not (self._workers or self._starting)

    @property
    def _initial(self) -> int:
        """Workers that are kept now: none where they were let go and nobody has called since."""
        return self.size.initial if self.is_called else 0

    def _refill(self, now: float) -> None:
        """Start workers where there are fewer than needed; not in haste when they all end."""
        if self.is_stopped:
            self._pass_on_waiting()
            return
        if not self._health.is_failing:
            self._feed_all(now)
            self.wake_up(now)
            return
        for waiting in (self._suspects.waiting, self._queue):
            for request in waiting:
                self._fail(request, self._unavailable(now))
            waiting.clear()
        self._refuse_waiting_groups(now)
        self.decisions.append(WakeUp(max(self._health.retry_at - now, 0.0)))

    # --- a version that is failing -----------------------------------------------------------

    def _is_let_in(self, now: float) -> bool:
        """Whether a request that comes may run: while the version is failing, one at a time."""
        health = self._health
        return not health.is_failing or (health.may_try(now) and self.is_idle)

    def _let_in_one_of(self, group: Group, now: float) -> None:
        """Let the first request of a group show whether the version works again."""
        request = group.take()
        request.arrived = request.started = request.waits_since = now
        worker = self._free_worker(now)
        if worker is None:
            self._queue.append(request)
        else:
            self._give(worker, request, now, more_wait=False)

    def _refuse_waiting_groups(self, now: float) -> None:
        for group in self._groups:
            while group.waiting:
                request = group.take()
                group.running -= 1
                self.decisions.append(GiveBack(request, self._unavailable(now)))
        self._groups.clear()

    def _unavailable(self, now: float) -> ServiceUnavailable:
        health = self._health
        return ServiceUnavailable(self._key, health.reason, retry_after=health.retry_after(now))

    def _recover(self, request: PendingRequest) -> None:
        """Take word of an answer after something had ended."""
        self._health.succeeded()
        if request.starts:
            self._vain_retries = 0
        self._is_troubled = bool(self._vain_retries)

    def _end_idle(self, now: float) -> None:
        self._end_surplus()
        above = len(self._staying()) - self._initial
        for worker in self._staying():
            if above <= 0:
                return
            if not worker.requests and now - worker.idle_since > self._settings.idle_seconds:
                self._close(worker)
                above -= 1

    def _end_surplus(self) -> None:
        """End workers without work where there are more than there may be."""
        staying = self._staying()
        free = [worker for worker in staying if not worker.requests]
        for worker in free[: max(len(staying) - self._most, 0)]:
            self._close(worker)

    def _close(self, worker: Worker) -> None:
        worker.is_leaving = True
        self._tell_quota()
        self.decisions.append(CloseWorker(worker))

    def _staying(self) -> list[Worker]:
        return [worker for worker in self._workers if not worker.is_leaving]

    @property
    def _most(self) -> int:
        return max(self.size.most, 1)

    # --- what ends ---------------------------------------------------------------------------

    def _end_overdue(self, now: float, deadline: float) -> None:
        for worker in [*self._workers]:
            requests = worker.requests
            if not requests or worker.is_concurrent:
                continue
            problem = self._why_overdue(requests[0], now, deadline)
            if problem is None:
                continue
            worker.is_leaving = True
            self._tell_quota()
            # It would have taken longer still, and so may those that wait.
            self._expect(now - requests[0].started, is_first=False)
            if len(requests) > 1 and worker.batch_size > 1:
                # It may be any of them. Each runs alone now, so that only that one fails.
                self._suspect(requests)
            else:
                self._fail(requests.popleft(), problem)
            # Those behind it have not run. They had their worker, and wait anew for another.
            for request in requests:
                request.waits_since = now
            self._wait_again(requests)
            requests.clear()
            self.decisions.append(KillWorker(worker, problem))
            self._refill(now)
        if deadline:
            self._end_waiting(now, deadline)

    def _why_overdue(
        self, request: PendingRequest, now: float, deadline: float
    ) -> MlsvcServerError | None:
        """Return why the worker of a request that runs has to end, if it has."""
        stream = request.stream
        if stream is not None and (stream.first_at or request.is_over):
            return stream.problem(request.started, now, self._settings)
        is_overdue = deadline and now - request.started > deadline
        return RunTooLong(self._key, deadline) if is_overdue else None

    def _end_waiting(self, now: float, deadline: float) -> None:
        # Not suspects: they had their worker, and wait for the others that they shared it with.
        waiting, self._queue = self._queue, deque()
        for request in waiting:
            if now - request.waits_since > deadline:
                self._fail(request, self._why_it_waited(deadline))
            else:
                self._queue.append(request)

    def _cancel_unwanted(self, worker: Worker, now: float, deadline: float) -> bool:
        """Cancel what is too late or nobody waits for; tell whether the worker does not do so."""
        is_stuck = False
        for request in worker.requests:
            problem = self._why_late(request, now, deadline)
            is_late = problem is not None
            worker.is_stalled |= is_late
            if request.cancelled_at:
                waited = now - request.cancelled_at
                is_stuck |= is_late and waited > self._settings.cancel_seconds
            elif is_late or request.is_over:
                request.cancelled_at = now
                self.decisions.append(Cancel(worker, request))
                if problem is not None and not request.is_over:
                    # It keeps its place, also in its group, until its worker answers.
                    self.decisions.append(Fail(request, problem))
        return is_stuck

    def _end_stuck(self, stuck: Sequence[Worker], now: float, deadline: float) -> None:
        for worker in stuck:  # all first: none of them is to get what another one had
            worker.is_leaving = True
        self._tell_quota()
        for worker in stuck:
            for request in reversed(self._in_flight(worker)):
                self._run_again(request, now)
            self.decisions.append(KillWorker(worker, RunTooLong(self._key, deadline)))
        self._refill(now)

    def _why_late(
        self, request: PendingRequest, now: float, deadline: float
    ) -> MlsvcServerError | None:
        """Return why a request that runs among others is too late, if it is."""
        if not request.is_over:
            return self._why_overdue(request, now, deadline)
        return RunTooLong(self._key, deadline) if 0 < deadline < now - request.started else None

    def _in_flight(self, worker: Worker) -> list[PendingRequest]:
        """Take the requests of a worker; those that were cancelled are over."""
        requests = [request for request in worker.requests if not request.cancelled_at]
        for request in worker.requests:
            if request.cancelled_at:
                self._drop(request)
        worker.requests.clear()
        return requests

    def _run_again(self, request: PendingRequest, now: float) -> None:
        """Have another worker run what ran beside a request that has ended its worker."""
        request.starts += 1
        has_begun = request.stream is not None and request.stream.first_at > 0
        if request.is_over:
            self._drop(request)
        elif self._has_effects or has_begun or request.starts > 1:
            why = _HAS_EFFECTS if self._has_effects else "" if has_begun else _ENDED_TWICE
            self._fail(request, WorkerEnded(self._key, None, why))
        else:
            request.waits_since = now
            self._wait_again([request])

    def _why_it_waited(self, deadline: float) -> NoWorkerLeft | WaitTooLong:
        if self._is_empty and self._quota.is_full:
            return NoWorkerLeft(self._key, self._quota.limit)
        return WaitTooLong(self._key, deadline)

    def _give_back(self, now: float, deadline: float) -> None:
        """End the waiting of groups that workers have no room for, but for one request of each."""
        for group in self._groups:
            waited = now - group.arrived
            kept = 0 if deadline and waited > deadline else 1
            while waited > self._settings.group_seconds and group.waiting > kept:
                request = group.take()
                group.running -= 1
                self.decisions.append(GiveBack(request, WaitTooLong(self._key, waited)))

    def _suspect(self, requests: Iterable[PendingRequest]) -> None:
        for request in requests:
            request.is_suspect = True
            request.starts += 1

    def _fail(self, request: PendingRequest, error: MlsvcServerError) -> None:
        self._drop(request)
        self.decisions.append(Fail(request, error))

    def _drop(self, request: PendingRequest) -> None:
        """Forget a request that is over."""
        if request.group is not None:
            request.group.running -= 1

    def _pass_on_waiting(self) -> None:
        self.decisions.extend([PassOn(request) for request in self._taken_from_wait()])

    def _taken_from_wait(self) -> list[PendingRequest]:
        """Take all that waits."""
        requests = [*self._suspects.waiting, *self._queue]
        for group in self._groups:
            requests += [group.take() for _ in range(group.waiting)]
        self._suspects.waiting.clear()
        self._queue.clear()
        self._groups.clear()
        return requests


def _is_busy(worker: Worker) -> bool:
    return len(worker.requests) >= (worker.batch_size if worker.is_concurrent else 1)


def _taken(worker: Worker, number: int) -> PendingRequest:
    """Take a request out of those that a worker has together."""
    requests = worker.requests
    request = next(request for request in requests if request.number == number)
    requests.remove(request)
    if not worker.is_concurrent:
        # They ran together: what is to be measured is the time of all.
        request.started = requests[0].started
    return request
