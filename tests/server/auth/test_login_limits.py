"""Limits of failed logins, and the queue of those who wait for theirs."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.auth.addresses import network_of
from jupyter_mlsvc_server.auth.login_limits import LoginLimits
from jupyter_mlsvc_server.auth.login_queue import LoginQueue
from jupyter_mlsvc_server.errors import Busy, TooManyRequests
from tests.clocks import ManualClock

HOME, OFFICE, ATTACKER = "192.0.2.1", "192.0.2.2", "203.0.113.9"
_NAMES = st.sampled_from(["ann", "bob", "root"])
_OTHERS = st.sampled_from([OFFICE, ATTACKER, "127.0.0.1", "2001:db8::/64"])
_MANY = st.sampled_from([f"n{number}" for number in range(12)])
_SECONDS = st.floats(0, 40, allow_nan=False)
_GUESSES = st.lists(st.tuples(_NAMES, _OTHERS, _SECONDS), max_size=60)


def make_limits(**changed: Any) -> tuple[LoginLimits, ManualClock]:
    clock = ManualClock(1000.0)
    options: dict[str, Any] = {"failures": 3, "address_failures": 5, "window": 60.0, "clock": clock}
    return LoginLimits(**(options | changed)), clock


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::1", "::1"),
        ("", ""),
        ("testclient", ""),
    ],
)
def test_an_address_counts_with_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


@given(_GUESSES, st.booleans())
def test_nobody_is_shut_out_by_guesses_from_elsewhere(guesses: Any, is_known: bool) -> None:
    limits, clock = make_limits()
    if is_known:
        limits.succeeded("ann", HOME)
    for name, network, seconds in guesses:
        limits.failed(name, network)
        clock.advance(seconds)
        delay = limits.check("ann", HOME)
        assert delay == 0 if is_known else delay <= 3


@given(st.lists(st.tuples(_NAMES, _SECONDS), min_size=1, max_size=80))
def test_no_more_guesses_get_through_than_are_allowed(attempts: Any) -> None:
    limits, clock = make_limits()
    looked_at: list[tuple[str, float]] = []
    for name, seconds in attempts:
        with contextlib.suppress(TooManyRequests):
            limits.check(name, ATTACKER)
            limits.failed(name, ATTACKER)
            looked_at.append((name, clock()))
        recent = [name for name, at in looked_at if at > clock() - 60]
        assert len(recent) <= 5
        assert max(map(recent.count, recent), default=0) <= 3
        clock.advance(seconds)


@given(st.lists(st.tuples(_MANY, _MANY, st.booleans())))
def test_what_is_remembered_is_bounded(events: Any) -> None:
    limits, _ = make_limits(kept=4)
    for name, network, fits in events:
        (limits.succeeded if fits else limits.failed)(name, network)
    assert len(limits._known) <= 4
    for failures in (limits._by_pair, limits._by_name, limits._by_address):
        assert len(failures) <= 4


def test_who_waits_as_long_as_was_said_may_try_again() -> None:
    limits, clock = make_limits()
    for _ in range(3):
        limits.failed("ann", ATTACKER)
    with pytest.raises(TooManyRequests, match=ATTACKER) as refusal:
        limits.check("ann", ATTACKER)
    clock.advance(refusal.value.retry_after)
    limits.check("ann", ATTACKER)


def test_ever_new_names_from_one_address_are_refused() -> None:
    limits, _ = make_limits()
    for number in range(5):
        assert limits.check(f"name{number}", ATTACKER) == 0
        limits.failed(f"name{number}", ATTACKER)
    with pytest.raises(TooManyRequests, match="5 logins failed from your address"):
        limits.check("another", ATTACKER)


def test_an_address_that_logged_in_under_a_name_may_do_so_again() -> None:
    limits, _ = make_limits()
    limits.succeeded("ann", ATTACKER)
    for number in range(50):
        limits.failed(f"name{number}", ATTACKER)
    assert limits.check("ann", ATTACKER) == 0


def test_what_may_be_a_proxy_is_delayed_and_not_refused() -> None:
    limits, _ = make_limits()
    for number in range(50):
        limits.failed(f"name{number}", "127.0.0.1")
    assert limits.check("ann", "127.0.0.1") == 3


def test_guesses_from_many_addresses_delay_further_ones() -> None:
    limits, _ = make_limits()
    delays = []
    for number in range(7):
        delays.append(limits.check("ann", f"192.0.2.{number}"))
        limits.failed("ann", f"192.0.2.{number}")
    assert delays == [0, 0, 0, 0.5, 1, 2, 3]


def test_no_limit_is_none() -> None:
    limits, _ = make_limits(failures=0)
    for _ in range(100):
        limits.failed("ann", ATTACKER)
    assert limits.check("ann", ATTACKER) == 0


# --- the queue -------------------------------------------------------------------------------


class Logins:
    """Logins of a queue with one slot, each of which ends when it is told to."""

    def __init__(self) -> None:
        self.queue = LoginQueue(slots=1, places=100)
        self.begun: list[str] = []
        self.go_on = asyncio.Semaphore(0)
        self.tasks: list[asyncio.Task[None]] = []

    async def add(self, *networks: str, is_known: bool = False) -> None:
        for network in networks:
            work = self.queue.run(network, partial(self.work, network), is_known=is_known)
            self.tasks.append(asyncio.create_task(work))
            await self.turns()

    async def work(self, network: str) -> None:
        self.begun.append(network)
        await self.go_on.acquire()

    async def turns(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        for _ in self.tasks:
            self.go_on.release()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_addresses_take_turns() -> None:
    logins = Logins()
    await logins.add("a", "a", "a", "a", "b", "b", "c")
    await logins.finish()
    assert logins.begun == ["a", "a", "b", "c", "a", "b", "a"]


async def test_in_a_crowd_the_latest_comes_first() -> None:
    logins = Logins()
    await logins.add(*["a"] * 20)
    await logins.add("b")
    own = [*logins.tasks]
    for _ in range(3):
        logins.go_on.release()
        await logins.turns()
    assert [own.index(task) for task in own if task.done()] == [0, 19, 20]
    await logins.finish()
    assert len(logins.begun) == 21


async def test_who_is_known_comes_first() -> None:
    logins = Logins()
    await logins.add("a", "a", "a")
    await logins.add("b", is_known=True)
    await logins.finish()
    assert logins.begun == ["a", "b", "a", "a"]


async def test_nothing_is_begun_for_who_left_and_others_go_on() -> None:
    logins = Logins()
    await logins.add("a", "b", "c")
    logins.tasks[1].cancel()
    await logins.turns()
    await logins.finish()
    assert logins.begun == ["a", "c"]


async def test_what_was_begun_keeps_its_slot_though_its_client_left() -> None:
    logins = Logins()
    await logins.add("a", "b")
    logins.tasks[0].cancel()
    await logins.turns()
    assert logins.begun == ["a"]
    logins.go_on.release()
    await logins.turns()
    assert logins.begun == ["a", "b"]
    await logins.finish()


async def test_who_leaves_as_they_are_let_in_gives_the_slot_on() -> None:
    logins = Logins()
    await logins.add("a", "b", "c")
    logins.go_on.release()
    await asyncio.wait(logins.tasks[:1])
    logins.tasks[1].cancel()
    await logins.finish()
    assert "c" in logins.begun
    await logins.add("d")
    assert logins.begun[-1] == "d"
    await logins.finish()


def test_an_address_has_a_share_of_the_places() -> None:
    queue = LoginQueue(slots=1, places=8)
    queue.enter(ATTACKER)
    queue.enter(ATTACKER)
    with pytest.raises(Busy, match="2 logins from your address"):
        queue.enter(ATTACKER)
    queue.enter(ATTACKER, is_known=True)
    queue.enter(HOME)
    queue.leave(ATTACKER)
    queue.leave(ATTACKER)
    queue.enter(ATTACKER)


def test_all_places_may_be_taken_but_for_who_is_known() -> None:
    queue = LoginQueue(slots=1, places=4)
    for number in range(4):
        queue.enter(f"198.51.100.{number}")
    with pytest.raises(Busy, match="4 logins wait"):
        queue.enter(HOME)
    queue.enter(HOME, is_known=True)


def test_what_becomes_of_logins_counts_at_all_servers() -> None:
    limits, clock = make_limits()
    other, _ = make_limits(clock=clock)
    limits.share = other.take
    for _ in range(3):
        limits.failed("ann", ATTACKER)
    with pytest.raises(TooManyRequests):
        other.check("ann", ATTACKER)
    limits.forgive("ann", ATTACKER)
    other.check("ann", ATTACKER)
    limits.succeeded("ann", HOME)
    assert other.knows("ann", HOME)
