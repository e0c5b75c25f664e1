"""What the scheduler guarantees for workers that run many calls at a time."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jupyter_mlsvc_server.scoring.definition import PoolSize
from jupyter_mlsvc_server.scoring.errors import CodeEnded, RunTooLong, WorkerEnded
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.scheduler_settings import SchedulerSettings
from jupyter_mlsvc_server.scoring.statistics import State
from tests.server.scoring.simulated_pool import OK, SimulatedPool
from tests.server.scoring.test_scheduler import PAUSES, SMALL, PoolMachine

DEFAULT: Final = SchedulerSettings()
LATE: Final = DEFAULT.deadline_seconds + 0.01


def pool_of(workers: int, concurrency: int, *, has_effects: bool = False) -> SimulatedPool:
    size = PoolSize(workers, workers)
    pool = SimulatedPool(size, DEFAULT, has_effects=has_effects, is_concurrent=True)
    pool.expect_workers(workers, concurrency)
    return pool


class ConcurrentMachine(PoolMachine):
    """Everything that may happen to a pool of such workers, which answer in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = SimulatedPool(
            PoolSize(1, 2), SMALL, has_effects=self.has_effects, is_concurrent=True
        )
        self.pool.expect_workers(1, 3)

    @precondition(lambda self: self.pool.starting)
    @rule(concurrency=st.integers(1, 4))
    def start(self, concurrency: int) -> None:
        self.pool.start_worker(concurrency)

    @rule(data=st.data(), pause=st.sampled_from(PAUSES), count=st.integers(1, 5))
    def answer(self, data: st.DataObject, pause: float, count: int) -> None:
        self.pool.now += pause
        for _ in range(count):
            process = self.pick(data)
            if process is None:
                return
            self.pool.answer(process, data.draw(st.sampled_from([*process.inbox])))

    @precondition(lambda self: not self.has_effects)
    @rule()
    def submit_suspect_of_another_pool(self) -> None:
        self.pool.submit(is_suspect=True)


TestConcurrentMachine = ConcurrentMachine.TestCase


class EffectsMachine(ConcurrentMachine):
    """The same where no call may run twice."""

    has_effects = True


TestConcurrentEffectsMachine = EffectsMachine.TestCase


def test_a_worker_takes_as_many_as_it_runs_at_a_time_and_workers_get_alike() -> None:
    pool = pool_of(2, 3)
    for _ in range(7):
        pool.submit()
    first, second = pool.processes.values()
    assert (len(first.inbox), len(second.inbox), pool.scheduler.waiting) == (3, 3, 1)
    states = [pool.scheduler.state]
    pool.answer(second, second.inbox[1])
    assert len(second.inbox) == 3
    pool.answer(first, first.inbox[2])
    states.append(pool.scheduler.state)
    assert states == [State.BUSY, State.READY]


@pytest.mark.parametrize(("calls", "more"), [(3, 0), (4, 1)])
def test_workers_grow_when_all_have_as_many_as_they_run(calls: int, more: int) -> None:
    pool = SimulatedPool(PoolSize(1, 3), DEFAULT, is_concurrent=True)
    pool.expect_workers(1, 3)
    for _ in range(calls):
        pool.submit()
    assert pool.starting == more


def test_a_slow_call_holds_up_no_other() -> None:
    pool = pool_of(1, 2)
    slow = pool.submit()
    for _ in range(5):
        pool.now += 1.0
        quick = pool.submit()
        assert quick in pool.only.inbox
        pool.answer(pool.only, quick)
    assert slow.started == 100.0


def test_a_call_over_its_deadline_is_cancelled_and_its_worker_goes_on() -> None:
    pool = pool_of(1, 2)
    slow = pool.submit()
    pool.now += 10.0
    other = pool.submit()
    pool.tick(DEFAULT.deadline_seconds - 9.9)
    assert isinstance(pool.outcomes[slow], RunTooLong)
    assert pool.only.cancelled == [slow]
    waiting = pool.submit()
    assert waiting not in pool.only.inbox, "it keeps its place"
    pool.answer(pool.only, slow)
    assert waiting in pool.only.inbox
    pool.tick(2.0)
    assert not pool.only.is_killed
    assert other not in pool.outcomes


@pytest.mark.parametrize("has_effects", [False, True])
def test_a_worker_that_does_not_cancel_is_ended_and_the_others_follow_the_rules(
    has_effects: bool,
) -> None:
    pool = pool_of(1, 3, has_effects=has_effects)
    pool.submit()
    pool.now += 10
    others = [pool.submit() for _ in range(2)]
    pool.tick(LATE - 9)
    process = pool.only
    assert [*others] == [*process.inbox][1:]
    late = pool.submit()
    assert late not in process.inbox, "it may not do it"
    pool.tick(DEFAULT.cancel_seconds + 0.01)
    assert process.is_killed
    assert all(isinstance(pool.outcomes.get(one), WorkerEnded) is has_effects for one in others)
    pool.lose(process)
    replacement = pool.start_worker(3)
    assert [*replacement.inbox] == [*(() if has_effects else others), late]


def test_a_call_whose_caller_has_left_is_cancelled_and_ends_no_worker() -> None:
    pool = pool_of(1, 2)
    request = pool.submit()
    request.abandon()
    pool.abandoned.add(request)
    for _ in range(20):
        pool.tick(DEFAULT.cancel_seconds)
    assert pool.only.cancelled == [request]
    assert not pool.only.is_killed
    pool.tick(LATE)
    assert pool.only.is_killed


def test_calls_with_effects_that_a_worker_ran_at_a_time_fail_with_it() -> None:
    pool = pool_of(1, 3, has_effects=True)
    requests = [pool.submit() for _ in range(3)]
    pool.lose(pool.only)
    assert all(isinstance(pool.outcomes[one], WorkerEnded) for one in requests)
    assert "have effects" in str(pool.outcomes[requests[0]])


def test_without_effects_each_runs_alone_once_more() -> None:
    pool = pool_of(1, 3)
    requests = [pool.submit() for _ in range(3)]
    pool.lose(pool.only)
    process = pool.start_worker(3)
    for request in requests:
        assert [*process.inbox] == [request]
        pool.answer(process)
    pool.submit()
    pool.submit()
    assert len(process.inbox) == 2


def test_a_worker_that_retires_answers_what_it_has_and_ends() -> None:
    pool = pool_of(1, 3)
    first, second = pool.submit(), pool.submit()
    process = pool.only
    pool.scheduler.retire(process.worker)
    pool.answer(process, second)
    later = pool.submit()
    assert ([*process.inbox], process.is_closed) == ([first], False)
    pool.answer(process, first)
    assert process.is_closed
    pool.lose(process)
    assert [*pool.start_worker(3).inbox] == [later]


def crashed(
    workers: int, concurrency: int, calls: int
) -> tuple[SimulatedPool, list[PendingRequest]]:
    """Give a pool whose only busy worker has ended with so many calls in flight."""
    pool = SimulatedPool(PoolSize(1, workers), DEFAULT, is_concurrent=True)
    pool.expect_workers(1, concurrency)
    suspects = [pool.submit() for _ in range(calls)]
    pool.lose(pool.only)
    return pool, suspects


def test_others_go_on_while_suspects_run_alone_in_a_worker_of_their_own() -> None:
    pool, suspects = crashed(2, 40, 40)
    apart = pool.start_worker(40)
    assert [*apart.inbox] == suspects[:1]
    others = [pool.submit() for _ in range(3)]
    (more,) = [pool.start_worker(40) for _ in range(pool.starting)]
    assert [*more.inbox] == others
    pool.answer(apart)
    assert [*apart.inbox] == suspects[1:2], "one after the other"
    pool.lose(apart)
    pool.tell_exit(suspects[1], 1)
    assert isinstance(pool.outcomes[suspects[1]], CodeEnded)
    assert not any(one in pool.outcomes for one in others), "they run beside it"
    pool.finish()
    innocent = [*suspects[:1], *suspects[2:], *others]
    assert {pool.outcomes[one] for one in innocent} == {OK}


def test_a_single_worker_takes_suspects_and_others_in_turn() -> None:
    pool, suspects = crashed(1, 3, 3)
    worker = pool.start_worker(3)
    others = [pool.submit() for _ in range(5)]
    seen = []
    while worker.inbox:
        seen.append([suspects.index(one) if one in suspects else "o" for one in worker.inbox])
        pool.answer(worker)
    assert seen == [
        [0], ["o", "o", "o"], ["o", "o"], ["o"], [1], ["o", "o"], ["o"], [2],
    ]  # fmt: skip
    assert {pool.outcomes[one] for one in others} == {OK}


def test_all_workers_but_one_run_suspects_where_nothing_else_waits() -> None:
    pool, suspects = crashed(3, 8, 8)
    pool.scheduler.resize(PoolSize(3, 3), pool.now)
    pool.carry_out()
    processes = [pool.start_worker(8) for _ in range(pool.starting)]
    assert [[*process.inbox] for process in processes] == [suspects[:1], [], suspects[1:2]]
    others = [pool.submit() for _ in range(9)]
    assert [*processes[1].inbox] == others[:8]
    pool.answer(processes[0])
    assert [*processes[0].inbox] == others[8:]


def test_a_suspect_of_another_pool_runs_alone() -> None:
    pool = pool_of(1, 3)
    busy = pool.submit()
    suspect = pool.submit(is_suspect=True)
    assert [*pool.only.inbox] == [busy]
    assert pool.submit() not in pool.only.inbox, "it makes way"
    pool.answer(pool.only)
    assert [*pool.only.inbox] == [suspect]


def test_a_busy_worker_makes_way_for_suspects_and_others_do_not() -> None:
    pool = pool_of(2, 2)
    for _ in range(4):
        pool.submit()
    suspect = pool.submit(is_suspect=True)
    waiting = [pool.submit() for _ in range(4)]
    first, second = pool.processes.values()
    pool.answer(first)
    pool.answer(second)
    assert (waiting[0] in first.inbox, waiting[0] in second.inbox) == (False, True)
    pool.answer(first)
    assert [*first.inbox] == [suspect]
