"""Counts, times and intervals of requests, on a clock that the test sets."""

from __future__ import annotations

import sys
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.scoring.percentiles import Times
from jupyter_mlsvc_server.scoring.statistics import (
    INTERVALS,
    KEPT,
    LATENCY_BOUNDS,
    Interval,
    Latency,
    Timings,
)

NOON = 1_500_000_000


class Clock:
    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timings(clock: Clock) -> Timings:
    return Timings(clock)


def test_the_calls_of_a_minute_are_those_of_the_last_sixty_seconds(
    timings: Timings, clock: Clock
) -> None:
    for moment in (0, 0.5, 1, 30, 59.9):
        clock.now = NOON + moment
        timings.add(0.001)
    assert timings.calls_per_minute() == 5
    clock.now = NOON + 60
    assert timings.calls_per_minute() == 3, "the first second is over a minute ago"
    clock.now = NOON + 90
    assert timings.calls_per_minute() == 1
    clock.now = NOON + 500
    assert timings.calls_per_minute() == 0
    timings.add_failure()
    assert timings.calls_per_minute() == 1
    assert timings.count == 6


def test_the_history_has_sixty_intervals_with_gaps_as_zeros(timings: Timings, clock: Clock) -> None:
    for moment, seconds in [(0, 0.01), (9.9, 0.03), (10, 0.02), (45, 0.05)]:
        clock.now = NOON + moment
        timings.add(seconds, failed=moment == 45)
    timings.add_failure()
    history = timings.history()
    assert len(history) == INTERVALS
    assert [each.start for each in history] == [
        NOON + 40 - 10 * ago for ago in reversed(range(INTERVALS))
    ]
    assert history[-5:] == [
        Interval(NOON, 2, 0, 0.03, 0.03),
        Interval(NOON + 10, 1, 0, 0.02, 0.02),
        Interval(NOON + 20),
        Interval(NOON + 30),
        Interval(NOON + 40, 2, 2, 0.05, 0.05),
    ]


def test_what_is_over_ten_minutes_ago_is_forgotten(timings: Timings, clock: Clock) -> None:
    timings.add(0.01)
    clock.now = NOON + 599
    assert timings.history()[0] == Interval(NOON, 1, 0, 0.01, 0.01)
    clock.now = NOON + 600
    assert sum(each.calls for each in timings.history()) == 0
    assert timings.count == 1


def test_each_interval_has_the_times_of_its_own_requests(timings: Timings, clock: Clock) -> None:
    for _ in range(100):
        timings.add(0.001)
    clock.now = NOON + 10
    for thousandths in range(1, 101):
        timings.add(thousandths)
    before, now = timings.history()[-2:]
    assert (before.p50, before.p99) == pytest.approx((0.001, 0.001))
    assert (now.p50, now.p99) == pytest.approx((51, 100), rel=0.05)
    assert timings.percentiles(0.5, 0.99) == pytest.approx([1, 99], rel=0.05)


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=200), st.data())
def test_a_percentile_is_within_five_percent_of_the_true_one(
    times: list[float], data: st.DataObject
) -> None:
    early = data.draw(st.integers(0, len(times)))
    before, recent = Times(), Times()
    before.add(times[:early])
    recent.add(times[early:])
    ordered = sorted(times)
    true = [ordered[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99)]
    assert recent.percentiles(0.5, 0.99, before=before) == pytest.approx(true, rel=0.052)


def test_percentiles_are_of_the_newest_requests(timings: Timings, clock: Clock) -> None:
    for seconds in (1.0, 0.001, 0.002):
        for _ in range(KEPT):
            timings.add(seconds)
        clock.now += 1
    assert timings.percentiles(0.5, 0.99) == pytest.approx([0.002, 0.002])


def test_an_interval_of_failures_without_answers_has_no_times(timings: Timings) -> None:
    timings.add_failure()
    assert timings.history()[-1] == Interval(NOON, 1, 1)
    assert timings.percentiles(0.5) == [None]


def test_a_clock_that_is_set_back_spoils_nothing(timings: Timings, clock: Clock) -> None:
    timings.add(0.001)
    clock.now = NOON - 3600
    timings.add(0.002)
    assert timings.calls_per_minute() == 1
    assert timings.history()[-1] == Interval(NOON - 3600, 1, 0, 0.002, 0.002)
    assert timings.count == 2


def test_counting_a_request_takes_little_time_and_no_room() -> None:
    timings = Timings()

    def size() -> int:
        return sum(sys.getsizeof(getattr(timings, name)) for name in Timings.__slots__)

    for _ in range(KEPT):
        timings.add(0.001)
    before = size()
    seconds = min(timeit.repeat(lambda: timings.add(0.001), number=100_000, repeat=5)) / 100_000
    assert size() <= before + 64
    assert seconds < 5e-6, "some hundred nanoseconds on any machine, with room for a busy one"


def test_the_histogram_has_all_answered_requests(timings: Timings, clock: Clock) -> None:
    for seconds in (0.0004, 0.003, 0.004, 40.0):
        timings.add(seconds)
    clock.now += 1
    timings.add(0.003, failed=True)
    timings.add_rejection(0.0001)
    timings.add_rejection()
    timings.add_failure()
    latency = timings.latency()
    within = dict(zip(LATENCY_BOUNDS, latency.counts, strict=False))
    assert (within[0.0005], within[0.0025], within[0.005], within[30.0]) == (2, 2, 5, 5)
    assert latency.counts[-1] == 6
    assert latency.seconds == pytest.approx(40.0105)
    assert timings.latency() == latency, "nothing is counted twice"
    assert timings.unanswered == 1


def test_the_newest_of_a_busy_second_stand_for_all_of_it(timings: Timings, clock: Clock) -> None:
    for _ in range(KEPT):
        timings.add(0.02)
    for number in range(KEPT):
        timings.add(0.2 if number % 2 else 0.002)
    clock.now += 1
    timings.add(0.002)
    counts = dict(zip(LATENCY_BOUNDS, timings.latency().counts, strict=False))
    assert counts[0.0025] == KEPT + 1
    assert counts[0.1] == KEPT + 1
    assert counts[0.25] == timings.latency().counts[-1] == 2 * KEPT + 1


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(0, 10**6))
def test_a_sample_that_stands_for_more_keeps_the_histogram_whole(
    times: list[float], more: int
) -> None:
    latency = Latency().with_sample(times, len(times) + more)
    assert list(latency.counts) == sorted(latency.counts)
    assert latency.counts[-1] == len(times) + more
