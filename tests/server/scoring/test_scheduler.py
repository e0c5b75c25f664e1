"""What the scheduler of a pool guarantees, whatever happens in which order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jupyter_mlsvc_server.scoring.definition import PoolSize
from jupyter_mlsvc_server.scoring.errors import (
    CodeEnded,
    Overloaded,
    QueueFull,
    RunTooLong,
    ServiceUnavailable,
    WaitTooLong,
    WorkerEnded,
)
from jupyter_mlsvc_server.scoring.group import Group
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.scheduler_settings import SchedulerSettings
from jupyter_mlsvc_server.scoring.statistics import State
from tests.server.scoring.simulated_pool import SimulatedPool, SimulatedWorker

DEFAULT: Final = SchedulerSettings()
SMALL: Final = SchedulerSettings(
    queue_limit=8,
    deadline_seconds=3.0,
    idle_seconds=4.0,
    short_ahead=4,
    bulk_ahead=8,
    calm_memory=0.5,
    average_weight=0.5,
)
"""Small numbers, and quick changes of mind, so that a few steps lead everywhere."""

PAUSES: Final = (0.0, 0.0001, 0.002, 0.015, 0.1, 1.0)


def pool_of(workers: int, settings: SchedulerSettings = DEFAULT) -> SimulatedPool:
    pool = SimulatedPool(PoolSize(workers, workers), settings)
    pool.expect_workers(workers)
    return pool


class PoolMachine(RuleBasedStateMachine):
    """Everything that may happen to a pool, in any order."""

    batch_sizes = st.just(1)
    has_effects = False

    def __init__(self) -> None:
        super().__init__()
        self.pool = SimulatedPool(PoolSize(1, 2), SMALL, has_effects=self.has_effects)
        self.pool.expect_workers(1)
        self.abandoned_groups: set[Group] = set()

    def pick(self, data: st.DataObject) -> SimulatedWorker | None:
        there = [one for one in self.pool.processes.values() if one.inbox and not one.is_killed]
        return data.draw(st.sampled_from(there)) if there else None

    @rule(count=st.integers(1, 6))
    def submit(self, count: int) -> None:
        for _ in range(count):
            self.pool.submit()

    @rule(count=st.integers(1, 20), at_a_time=st.integers(1, 4))
    def submit_group(self, count: int, at_a_time: int) -> None:
        self.pool.submit_group(count, at_a_time)

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        there = [one for one in self.pool.seen if self.pool.is_wanted(one) and one.group is None]
        if there:
            request = data.draw(st.sampled_from(there))
            request.abandon()
            self.pool.abandoned.add(request)

    @rule(data=st.data())
    def abandon_group(self, data: st.DataObject) -> None:
        if self.pool.groups:
            group = data.draw(st.sampled_from(self.pool.groups))
            group.abandon()
            self.abandoned_groups.add(group)
            self.pool.abandoned.update(one for one in self.pool.seen if one.group is group)

    @precondition(lambda self: self.pool.starting)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.pool.start_worker(data.draw(self.batch_sizes))

    @precondition(lambda self: self.pool.starting)
    @rule(reason=st.sampled_from(["", "", "", "No memory."]))
    def fail_to_start(self, reason: str) -> None:
        self.pool.fail_to_start(reason)

    @rule(data=st.data(), pause=st.sampled_from(PAUSES), count=st.integers(1, 5))
    def answer(self, data: st.DataObject, pause: float, count: int) -> None:
        self.pool.now += pause
        for _ in range(count):
            process = self.pick(data)
            if process is None:
                return
            self.pool.answer(process)

    @rule(data=st.data(), may_have_run=st.booleans())
    def crash(self, data: st.DataObject, may_have_run: bool) -> None:
        if self.pool.processes:
            process = data.draw(st.sampled_from([*self.pool.processes.values()]))
            is_dirty = data.draw(st.booleans()) and not (process.is_killed or process.is_closed)
            if is_dirty:
                # The worker says so; what it did not answer has not run.
                process.worker.is_leaving = True
            before = {*self.pool.exits}
            inbox = [*process.inbox]
            self.pool.lose(process, may_have_run=may_have_run and bool(inbox))
            lost = {*self.pool.exits} - before
            assert lost <= {*inbox[:1]}, "only the one that ran is lost with its worker"

    @rule()
    def end_the_dying(self) -> None:
        for process in [*self.pool.processes.values()]:
            if process.is_killed or process.is_closed:
                self.pool.lose(process)

    @rule(data=st.data())
    def tell_exits(self, data: st.DataObject) -> None:
        for request in [*self.pool.exits]:
            self.pool.tell_exit(request, data.draw(st.sampled_from([1, -11, -9, -15, None])))

    @rule(count=st.integers(1, 8))
    def tick(self, count: int) -> None:
        for _ in range(count):
            self.pool.tick()
            self.pool.wake_up()
            self.pool.check_deadlines()

    @rule(initial=st.integers(0, 2), more=st.integers(0, 2))
    def resize(self, initial: int, more: int) -> None:
        self.pool.scheduler.resize(PoolSize(initial, max(initial + more, 1)), self.pool.now)
        self.pool.carry_out()

    @invariant()
    def nothing_waits_in_vain(self) -> None:
        self.pool.check_nothing_waits_in_vain()

    @invariant()
    def says_how_it_is(self) -> None:
        assert (self.pool.scheduler.state is State.FAILING) == bool(self.pool.scheduler.failure)

    def teardown(self) -> None:
        self.pool.finish()
        for group, outcomes in self.pool.group_outcomes.items():
            assert outcomes or group in self.abandoned_groups, "each group ends"


TestPoolMachine = PoolMachine.TestCase


class EffectsMachine(PoolMachine):
    """The same where no call may run twice."""

    has_effects = True


TestEffectsMachine = EffectsMachine.TestCase


class BatchingMachine(PoolMachine):
    """The same where workers answer requests together."""

    batch_sizes = st.just(3)

    @rule(data=st.data(), kept=st.integers(0, 2))
    def answer_some_together(self, data: st.DataObject, kept: int) -> None:
        """Have a worker answer a batch but for some, which another one is to answer."""
        process = self.pick(data)
        if process is None or len(process.inbox) <= kept:
            return
        batch = [*process.inbox][: process.worker.batch_size]
        if kept:
            process.worker.is_leaving = True
        for request in batch[: len(batch) - kept] if data.draw(st.booleans()) else batch[kept:]:
            self.pool.answer(process, request)
        if kept:
            self.pool.lose(process)

    @rule()
    def submit_suspect_of_another_pool(self) -> None:
        self.pool.submit(is_suspect=True)


TestBatchingMachine = BatchingMachine.TestCase


def test_what_has_not_run_is_for_another_pool_when_one_stops() -> None:
    pool = pool_of(1)
    running, behind = pool.submit(), pool.submit()
    pool.submit_group(3, 1)
    pool.scheduler.stop()
    pool.carry_out()
    later = pool.submit()
    assert len(pool.outcomes) == 6
    assert {*pool.outcomes.values()} == {None}
    assert {running, behind, later} < {*pool.outcomes}


def test_what_runs_with_effects_is_lost_when_the_pool_is() -> None:
    pool = SimulatedPool(PoolSize(1, 1), DEFAULT, has_effects=True)
    pool.expect_workers(1)
    running, behind = pool.submit(), pool.submit()
    pool.scheduler.stop()
    pool.carry_out()
    assert isinstance(pool.outcomes[running], WorkerEnded)
    assert pool.outcomes[behind] is None


def test_a_request_does_not_overtake_those_that_wait_where_a_worker_has_new_room() -> None:
    pool = pool_of(2, SMALL)
    pool.submit()
    pool.now += 0.012
    pool.answer(next(one for one in pool.processes.values() if one.inbox))
    waiting = [pool.submit() for _ in range(5)][-1]
    first, second = pool.processes.values()
    # Requests are brief now, so that each worker may have two; the second has not been asked.
    pool.answer(first)
    assert (len(first.inbox), len(second.inbox)) == (2, 1)
    later = pool.submit()
    assert later not in second.inbox
    pool.answer(second)
    assert waiting in second.inbox


def test_a_group_has_every_second_place_beside_many_callers() -> None:
    pool = pool_of(1)
    singles = [pool.submit() for _ in range(40)]
    pool.submit_group(20, 100)
    answered = [pool.answer(pool.only) for _ in range(42)]
    assert answered[0] is singles[0]
    assert sum(one.group is not None for one in answered) == 20


# --- how long others wait --------------------------------------------------------------------

PILE: Final = 3000


class Line:
    """A pool whose workers take the time that they are told to, one request after the other."""

    def __init__(self, workers: int, durations: Sequence[float]) -> None:
        self.pool = pool_of(workers, DEFAULT)
        self._durations = itertools.cycle(durations)
        self._takes: dict[PendingRequest, float] = {}

    def next_answer(self) -> PendingRequest:
        """Go on until a worker is done with a request."""
        process = min((one for one in self.pool.processes.values() if one.inbox), key=self._ends_at)
        self.pool.now = max(self._ends_at(process), self.pool.now)
        return self.pool.answer(process)

    def _ends_at(self, process: SimulatedWorker) -> float:
        takes = self._takes
        first = process.inbox[0]
        if first not in takes:
            takes[first] = next(self._durations)
        return process.runs_since + takes[first]

    def run_until_started(self, request: PendingRequest) -> list[PendingRequest]:
        """Go on until a worker begins with a request; return what was answered meanwhile."""
        answered = []
        while not any(
            one.inbox and one.inbox[0] is request for one in self.pool.processes.values()
        ):
            answered.append(self.next_answer())
        return answered


@given(
    seconds=st.sampled_from([1e-5, 1e-4, 2e-4, 5e-4, 9e-4, 2e-3, 9e-3, 0.02, 0.05]),
    workers=st.integers(1, 2),
    before=st.integers(1, 300),
    phase=st.floats(0.0, 0.99),
)
def test_a_batch_holds_a_single_request_up_for_a_bounded_time(
    seconds: float, workers: int, before: int, phase: float
) -> None:
    line = Line(workers, [seconds])
    line.pool.submit_group(PILE, 100)
    for _ in range(before):
        line.next_answer()
    line.pool.now += phase * seconds
    begun = line.pool.now
    line.run_until_started(line.pool.submit())
    bound = max(DEFAULT.bulk_seconds, DEFAULT.short_ahead * DEFAULT.short_seconds) + 3 * seconds
    assert line.pool.now - begun <= bound


@given(
    durations=st.lists(st.sampled_from([1e-5, 4e-4, 4e-3, 0.1]), min_size=1, max_size=40),
    before=st.integers(1, 300),
)
def test_a_single_request_starts_after_a_bounded_number_of_records(
    durations: list[float], before: int
) -> None:
    line = Line(1, durations)
    line.pool.submit_group(PILE, 100)
    for _ in range(before):
        line.next_answer()
    assert len(line.run_until_started(line.pool.submit())) <= DEFAULT.bulk_ahead + 1


def test_a_worker_has_many_records_at_hand_only_where_nobody_else_calls() -> None:
    line = Line(1, [1e-5])
    process = line.pool.only
    line.pool.submit_group(PILE, 100)
    for _ in range(200):
        line.next_answer()
    assert len(process.inbox) == DEFAULT.bulk_ahead
    line.run_until_started(line.pool.submit())
    for _ in range(200):
        line.next_answer()
    assert len(process.inbox) == DEFAULT.short_ahead


# --- what the numbers are for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("durations", "ahead"),
    [
        ([0.0005], DEFAULT.short_ahead),
        ([0.005], DEFAULT.brief_ahead),
        ([0.05], 1),
        ([0.0001] * 50 + [0.03] + [0.0001] * 15, DEFAULT.brief_ahead),
        ([0.0001] * 50 + [0.03] + [0.0001] * 30, DEFAULT.short_ahead),
    ],
    ids=["short", "brief", "long", "short, one was long just now", "short, one was long before"],
)
def test_a_worker_has_as_many_at_hand_as_are_worth_it(durations: list[float], ahead: int) -> None:
    line = Line(1, durations)
    process = line.pool.only
    for _ in durations:
        line.pool.submit()
        line.next_answer()
    for _ in range(40):
        line.pool.submit()
    assert len(process.inbox) == ahead


def test_a_worker_that_is_held_up_gets_nothing_and_another_one_all() -> None:
    line = Line(2, [0.0001])
    for _ in range(5):
        line.pool.submit()
        line.next_answer()
    line.pool.submit()
    (stuck,) = (one for one in line.pool.processes.values() if one.inbox)
    line.pool.now += DEFAULT.calm_seconds + 0.001
    for _ in range(10):
        line.pool.submit()
    assert len(stuck.inbox) == 1


@pytest.mark.parametrize(("growth_seconds", "more"), [(0.002, 2), (5.0, 0)])
def test_workers_grow_where_a_wait_is_worth_a_start(growth_seconds: float, more: int) -> None:
    pool = SimulatedPool(PoolSize(1, 3), SchedulerSettings(growth_seconds=growth_seconds))
    pool.expect_workers(1)
    for _ in range(2):
        pool.submit()
        pool.now += 0.05
        pool.answer(pool.only)
    for _ in range(8):
        pool.submit()
    assert pool.starting == more


def test_no_more_wait_than_the_limit_lets() -> None:
    pool = pool_of(1, SMALL)
    requests = [pool.submit() for _ in range(SMALL.queue_limit + 2)]
    assert isinstance(pool.outcomes[requests[-1]], QueueFull)
    assert len(pool.outcomes) == 1
    requests[3].abandon()
    pool.abandoned.add(requests[3])
    pool.now += 2 * SMALL.sweep_seconds
    assert pool.submit() not in pool.outcomes, "one that nobody waits for makes room"


@pytest.mark.parametrize(
    ("durations", "waiting", "is_refused"),
    [
        ([0.001], 2000, False),
        ([0.001] * 99 + [5.0], 500, False),
        ([1.0], 50, False),
        ([1.0], 70, True),
    ],
    ids=["short", "one of them slow", "slow and few", "slow and many"],
)
def test_those_wait_that_are_expected_to_be_done_within_the_deadline(
    durations: list[float], waiting: int, is_refused: bool
) -> None:
    line = Line(2, durations)
    for _ in durations:
        line.pool.submit()
        line.next_answer()
    *_, last = [line.pool.submit() for _ in range(waiting)]
    outcome = line.pool.outcomes.get(last)
    assert isinstance(outcome, Overloaded) is is_refused
    if isinstance(outcome, Overloaded):
        assert "would wait for about 30 s" in outcome.message
        for _ in range(10):
            line.next_answer()
        assert line.pool.submit() not in line.pool.outcomes, "there is room again"


def test_nobody_is_sent_away_for_the_slow_first_call_of_a_worker() -> None:
    line = Line(2, [5.0, 5.0, *[0.001] * 100])
    waiting = [line.pool.submit() for _ in range(102)]
    for _ in range(4):
        line.next_answer()
    assert line.pool.submit() not in line.pool.outcomes
    line.run_until_started(waiting[-1])
    assert line.pool.submit() not in line.pool.outcomes


def test_calls_that_never_end_are_expected_of_those_that_wait() -> None:
    pool = pool_of(1)
    pool.submit()
    pool.now += DEFAULT.deadline_seconds + 1
    pool.tick()
    pool.lose(pool.only)
    pool.start_worker()
    *_, last = [pool.submit() for _ in range(4)]
    assert isinstance(pool.outcomes.get(last), Overloaded)


def test_a_group_goes_on_at_an_idle_worker_where_the_one_that_answered_has_no_room() -> None:
    pool = SimulatedPool(PoolSize(2, 2), SMALL)
    pool.expect_workers(1, batch_size=3)
    pool.submit()
    pool.answer(pool.only)
    for _ in range(3):
        pool.submit_group(4, 1)
    pool.expect_workers(1, batch_size=3)
    first, second = pool.processes.values()
    assert (len(first.inbox), len(second.inbox)) == (3, 0)
    pool.now += 1.0
    pool.answer(first)
    pool.check_nothing_waits_in_vain()
    assert second.inbox


# --- workers that end ------------------------------------------------------------------------


def test_starts_in_vain_are_tried_with_growing_pauses_and_callers_learn_why() -> None:
    pool = SimulatedPool(PoolSize(1, 1), DEFAULT)
    waiting = pool.submit()
    for _ in range(3):
        assert waiting not in pool.outcomes
        pool.fail_to_start("")
    told = pool.outcomes[waiting]
    assert isinstance(told, ServiceUnavailable)
    assert told.headers == {"Retry-After": "1"}
    assert "Its processes end as soon as they are started." in told.message
    pauses = []
    for _ in range(8):
        pauses.append(pool.wake_ups[-1] - pool.now)
        assert isinstance(pool.outcomes[pool.submit()], ServiceUnavailable)
        assert (pool.starting, pool.scheduler.state) == (0, State.FAILING)
        pool.now = pool.wake_ups[-1]
        pool.wake_up()
        assert pool.starting == 1
        pool.fail_to_start("")
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    pool.now = pool.wake_ups[-1]
    pool.wake_up()
    pool.start_worker()
    assert pool.scheduler.state is State.READY


def fail(pool: SimulatedPool, code: int = 3) -> PendingRequest:
    """Have a call end its process, and another process take its place."""
    request = pool.submit()
    pool.lose(next(one for one in pool.processes.values() if request in one.inbox))
    pool.tell_exit(request, code)
    for _ in range(pool.starting):
        pool.start_worker()
    return request


def test_a_version_whose_processes_keep_ending_is_failing_until_a_call_succeeds() -> None:
    pool = pool_of(1)
    assert all(isinstance(pool.outcomes[fail(pool)], CodeEnded) for _ in range(3))
    assert pool.scheduler.failure == "Its processes keep ending (exit code 3)."
    starts = len(pool.processes)
    for _ in range(40):
        told = pool.outcomes[pool.submit()]
        assert isinstance(told, ServiceUnavailable)
        assert "(exit code 3)" in told.message
    assert len(pool.processes) + pool.starting == starts
    pool.now += 1.0
    pool.wake_up()
    pool.start_worker()
    assert pool.scheduler.failure, "no call has succeeded yet"
    assert isinstance(pool.outcomes[fail(pool)], CodeEnded)
    assert isinstance(pool.outcomes[pool.submit()], ServiceUnavailable), "a longer pause"
    pool.now += 2.0
    pool.wake_up()
    pool.start_worker()
    first, second = pool.submit(), pool.submit()
    assert isinstance(pool.outcomes[second], ServiceUnavailable), "one call shows if it works"
    assert pool.answer(pool.only) is first
    assert pool.scheduler.state is State.READY
    assert pool.submit() not in pool.outcomes


def test_processes_that_end_together_or_with_successes_between_do_not_make_it_fail() -> None:
    pool = pool_of(4)
    pool.now += 1.0
    for process in [*pool.processes.values()]:
        pool.lose(process, may_have_run=False)
    for _ in range(pool.starting):
        pool.start_worker()
    for _ in range(5):
        fail(pool)
        pool.submit()
        pool.answer(next(one for one in pool.processes.values() if one.inbox))
    assert pool.scheduler.state is State.READY
    assert pool.health.is_well


def test_ends_that_are_far_apart_do_not_make_it_fail() -> None:
    pool = pool_of(1)
    for _ in range(9):
        fail(pool)
        pool.now += 61.0
    assert not pool.health.is_failing


def test_a_group_of_a_failing_version_comes_back_but_for_the_one_that_tries_it() -> None:
    pool = pool_of(1)
    for _ in range(3):
        fail(pool)
    group = pool.submit_group(3, 3)
    assert all(isinstance(each, ServiceUnavailable) for each in pool.group_outcomes[group])
    pool.now += 1.0
    pool.wake_up()
    pool.start_worker()
    group = pool.submit_group(3, 3)
    pool.answer(pool.only)
    kinds = [type(each).__name__ for each in pool.group_outcomes[group]]
    assert kinds == ["ScoringAnswer", "ServiceUnavailable", "ServiceUnavailable"]


@pytest.mark.parametrize("code", [None, -9, -15])
def test_a_call_whose_worker_was_ended_runs_once_more(code: int | None) -> None:
    pool = pool_of(1)
    first = fail(pool, -9)
    assert first in pool.only.inbox
    pool.lose(pool.only)
    pool.tell_exit(first, code)
    told = pool.outcomes[first]
    assert isinstance(told, WorkerEnded)
    assert (told.status, told.headers) == (503, {"Retry-After": "1"})
    assert "for the second time" in told.message


def test_a_call_with_effects_never_runs_twice() -> None:
    pool = SimulatedPool(PoolSize(1, 1), DEFAULT, has_effects=True)
    pool.expect_workers(1)
    told = pool.outcomes[fail(pool, -9)]
    assert isinstance(told, WorkerEnded)
    assert "calls of this version have effects" in told.message
    assert told.headers == {"Retry-After": "1"}


def test_calls_run_again_in_vain_are_run_again_no_more_for_a_while() -> None:
    pool = pool_of(1)

    def lose_twice() -> int:
        """Return how many workers a call takes with it that always ends its worker."""
        request = fail(pool, -9)
        times = 1
        while request not in pool.outcomes:
            pool.lose(pool.only)
            pool.tell_exit(request)
            for _ in range(pool.starting):
                pool.start_worker()
            times += 1
        pool.submit()
        pool.answer(pool.only)
        return times

    assert [lose_twice() for _ in range(5)] == [2, 2, 2, 1, 1]
    pool.now += DEFAULT.vain_seconds + 1
    assert lose_twice() == 2
    request = fail(pool, -9)
    pool.now += DEFAULT.vain_seconds + 1
    assert request in pool.outcomes
    request = fail(pool, -9)
    pool.answer(pool.only)
    assert [lose_twice() for _ in range(4)] == [2, 2, 2, 1], "one that succeeded counts for all"


def test_what_ran_together_when_a_worker_ended_runs_alone_and_only_one_fails() -> None:
    pool = SimulatedPool(PoolSize(1, 1), DEFAULT)
    pool.expect_workers(1, batch_size=8)
    pool.submit()
    pool.answer(pool.only)
    requests = [pool.submit() for _ in range(3)]
    pool.lose(pool.only)
    assert not pool.exits
    process = pool.start_worker(8)
    assert [*process.inbox] == requests[:1]
    pool.answer(process)
    pool.lose(process)
    pool.tell_exit(requests[1])
    assert isinstance(pool.outcomes[requests[1]], WorkerEnded)
    pool.finish()
    assert requests[2] in pool.outcomes


def test_a_group_goes_on_as_soon_as_it_is_known_how_its_worker_ended() -> None:
    pool = pool_of(3)
    pool.submit_group(2, 1)
    running = next(one for one in pool.processes.values() if one.inbox)
    pool.lose(running)
    pool.check_nothing_waits_in_vain()
    pool.tell_exit(pool.exits[0])
    pool.check_nothing_waits_in_vain()
    assert any(one.inbox for one in pool.processes.values())


def test_nobody_waits_for_two_deadlines_behind_those_of_a_killed_worker() -> None:
    pool = SimulatedPool(PoolSize(1, 1), DEFAULT)
    pool.expect_workers(1)
    pool.submit()
    pool.answer(pool.only)
    pool.submit()
    for _ in range(DEFAULT.short_ahead):
        pool.submit()
    late = pool.submit()
    for _ in range(2):
        pool.tick(DEFAULT.deadline_seconds * 0.6)
    pool.check_deadlines()
    assert isinstance(pool.outcomes[late], WaitTooLong)


def test_a_request_over_its_deadline_is_ended_with_its_worker_and_those_behind_it_run() -> None:
    pool = SimulatedPool(PoolSize(1, 1), DEFAULT)
    pool.expect_workers(1)
    pool.submit()
    pool.answer(pool.only)
    slow, behind = pool.submit(), pool.submit()
    pool.tick(DEFAULT.deadline_seconds + 0.01)
    assert isinstance(pool.outcomes[slow], RunTooLong)
    process = pool.only
    assert process.is_killed
    pool.finish()
    assert behind in pool.outcomes


def test_a_group_gets_back_what_no_worker_had_room_for_but_for_one() -> None:
    pool = pool_of(1)
    group = pool.submit_group(5, 5)
    pool.tick(DEFAULT.group_seconds + 0.01)
    assert [type(each) for each in pool.outcomes.values()] == [WaitTooLong] * 3
    assert group.waiting == 1


@pytest.mark.parametrize(("after", "left"), [(50.0, 2), (70.0, 1)])
def test_a_worker_above_the_minimum_ends_when_it_is_idle_for_long(after: float, left: int) -> None:
    pool = pool_of(2)
    pool.scheduler.resize(PoolSize(1, 2), pool.now)
    pool.tick(after)
    assert sum(not one.is_closed for one in pool.processes.values()) == left
