"""How many records may be on their way, and whose turn it is."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jupyter_mlsvc_server.batches.limiter import QUICK_SECONDS, SLOW_SECONDS, AdaptiveLimiter

MINIMUM, MAXIMUM = 2, 9
TIMES = (0.01, QUICK_SECONDS + 0.01, SLOW_SECONDS + 0.01, 1.0)


class LimiterMachine(RuleBasedStateMachine):
    """Batches of several owners at one limiter, with a clock that the test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter: AdaptiveLimiter[int] = AdaptiveLimiter(MINIMUM, MAXIMUM)
        self.now = 0.0
        self.sent: list[tuple[float, int]] = []
        """When records were sent together, and how many."""
        self.waiting: list[int] = []
        self.count = 0

    @rule(count=st.integers(1, 6))
    def send(self, count: int) -> None:
        room = max(self.limiter.limit - sum(size for _, size in self.sent), 0)
        granted = self.limiter.acquire(count)
        assert granted == min(count, room), "what fits is let in, and no more"
        if granted:
            self.sent.append((self.now, granted))
        else:
            self.count += 1
            self.waiting.append(self.count)
            self.limiter.wait(self.count)

    @rule(seconds=st.sampled_from(TIMES))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if not self.sent:
            return
        sent, size = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        before, seconds = self.limiter.limit, self.now - sent
        self.limiter.release(size, self.now, seconds)
        if seconds < QUICK_SECONDS:
            assert self.limiter.limit == min(before + size, MAXIMUM)
        elif seconds <= SLOW_SECONDS:
            assert self.limiter.limit == before
        else:
            assert self.limiter.limit <= before
        self.let_in()

    @rule()
    def lose(self) -> None:
        if self.sent:
            _, size = self.sent.pop()
            before = self.limiter.limit
            self.limiter.release(size, self.now)
            assert self.limiter.limit == before, "what did not run says nothing about the speed"
            self.let_in()

    @rule()
    def find_no_room(self) -> None:
        self.limiter.back_off()
        assert self.limiter.limit == MINIMUM

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.waiting:
            gone = data.draw(st.sampled_from(self.waiting))
            self.waiting.remove(gone)
            self.limiter.forget(gone)

    def let_in(self) -> None:
        """Let each who may come send one record, as a batch does."""
        while (waiter := self.limiter.next_waiter()) is not None:
            assert waiter == self.waiting.pop(0), "in their turn"
            assert self.limiter.acquire() == 1, "nobody is called in vain"
            self.sent.append((self.now, 1))
        assert not self.waiting or self.limiter.in_flight >= self.limiter.limit, "nobody is left"

    @invariant()
    def counts_what_is_on_its_way(self) -> None:
        assert self.limiter.in_flight == sum(size for _, size in self.sent)
        assert MINIMUM <= self.limiter.limit <= MAXIMUM


TestLimiterMachine = LimiterMachine.TestCase


def fill(limiter: AdaptiveLimiter[str]) -> int:
    """Send records one by one until there is no room; return their number."""
    count = 0
    while limiter.acquire():
        count += 1
    return count


def raised(minimum: int, maximum: int) -> AdaptiveLimiter[str]:
    """Make one whose limit quick answers have raised to its maximum."""
    limiter: AdaptiveLimiter[str] = AdaptiveLimiter(minimum, maximum)
    while limiter.limit < maximum:
        assert limiter.acquire()
        limiter.release(1, 0.0, 0.001)
    return limiter


def test_slow_answers_lower_the_limit_to_its_minimum() -> None:
    limiter = raised(2, 5)
    for now in range(9):
        assert limiter.acquire()
        limiter.release(1, 10.0 * now, 5.0)
    assert fill(limiter) == 2


def test_answers_that_are_neither_quick_nor_slow_leave_the_limit_as_it_is() -> None:
    limiter = raised(2, 40)
    for _ in range(3):
        assert limiter.acquire(10) == 10
        limiter.release(10, 1.0, (QUICK_SECONDS + SLOW_SECONDS) / 2)
    assert limiter.limit == 40
    limiter.back_off()
    assert limiter.acquire() == 1
    limiter.release(1, 2.0, (QUICK_SECONDS + SLOW_SECONDS) / 2)
    assert limiter.limit == 2


def test_one_delay_lowers_the_limit_once_for_all_that_it_held_up() -> None:
    limiter = raised(2, 40)
    for _ in range(3):
        assert limiter.acquire(10) == 10
    for _ in range(3):
        limiter.release(10, 1.0, 2 * SLOW_SECONDS)
    assert limiter.limit == 20
    assert limiter.acquire(10) == 10
    limiter.release(10, 2.0, 2 * SLOW_SECONDS)
    assert limiter.limit == 10


def test_a_record_without_room_takes_all_surplus_back_at_once() -> None:
    limiter = raised(2, 50)
    assert limiter.surplus == 48
    limiter.back_off()
    assert fill(limiter) == 2
