"""What the hub keeps, to whom it sends it, and whom it lets wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from traitlets.config import Config

from jupyter_mlsvc.wire.models import EventList
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.events.errors import TooManyPolls, TooManyWaiters
from jupyter_mlsvc_server.events.hub import KEPT, Cursor, EventHub, Waiter
from jupyter_mlsvc_server.events.record import Change, EventAction, Kind
from tests.waiting import until

ANN = Principal("ann", "ann", Role.OWNER)
BEN = Principal("ben", "ben", Role.READER)


def a_hub(**settings: Any) -> EventHub:
    return EventHub(config=Config({"EventHub": settings}))


def a_change(kind: Kind = Kind.SERVICE, owner: str = "ann", **members: Any) -> Change:
    return Change(kind=kind, action=EventAction.CREATED, owner=Owner(owner, owner), **members)


async def ask(
    hub: EventHub, after: int | None, *, by: Principal = ANN, seconds: float = 0, epoch: str = ""
) -> EventList:
    cursor = None if after is None else Cursor(epoch or hub.epoch, after)
    return await hub.events_after(Waiter(by), cursor, seconds)


async def start_to_wait(hub: EventHub, *, by: Principal = ANN) -> asyncio.Task[EventList]:
    """Ask for what comes next, and return as soon as that waits."""
    waiting = asyncio.create_task(ask(hub, hub._last, by=by, seconds=600))
    await until(lambda: len(hub._waiters) == 1)
    return waiting


async def test_call_without_a_cursor_is_answered_at_once() -> None:
    hub = a_hub()
    hub.publish_event(a_change())
    answer = await ask(hub, None, seconds=60)
    assert answer == EventList(run=hub.epoch, last=1, events=[], is_reset=False)


async def test_events_after_a_cursor_are_returned_at_once_and_in_order() -> None:
    hub = a_hub()
    for name in "abc":
        hub.publish_event(a_change(name=name, version="1.0"))
    answer = await ask(hub, 1, seconds=60)
    assert [(each.number, each.name) for each in answer.events] == [(2, "b"), (3, "c")]
    assert answer.last == 3


async def test_waiting_call_is_answered_with_the_next_event() -> None:
    hub = a_hub()
    waiting = await start_to_wait(hub)
    hub.publish_event(a_change(name="Iris"))
    answer = await asyncio.wait_for(waiting, 30)
    assert [each.name for each in answer.events] == ["Iris"]


async def test_a_wait_in_which_nothing_happens_ends_with_nothing() -> None:
    hub = a_hub()
    waiting = asyncio.create_task(ask(hub, 0, seconds=0.1))
    await until(lambda: hub._waiters)
    answer = await asyncio.wait_for(waiting, 30)
    assert (answer.events, answer.is_reset) == ([], False)


@pytest.mark.parametrize("kind", [Kind.SESSION, Kind.SNAPSHOT, Kind.BATCH])
async def test_others_neither_hear_of_a_persons_things_nor_wake_for_them(kind: Kind) -> None:
    hub = a_hub()
    ben = await start_to_wait(hub, by=BEN)
    (waiter,) = hub._waiters
    hub.publish_event(a_change(kind, id="1"))
    assert not waiter._woken.done()
    hub.publish_event(a_change(Kind.SERVICE, name="Iris"))
    answer = await asyncio.wait_for(ben, 30)
    assert [each.kind for each in answer.events] == ["service"]
    assert answer.last == 2
    assert [each.kind for each in (await ask(hub, 0)).events] == [kind, "service"]


@pytest.mark.parametrize(("epoch", "after"), [("another", 1), ("", 3), ("", 0)], ids=str)
async def test_unknown_cursor_is_answered_with_a_reset(epoch: str, after: int) -> None:
    hub = a_hub()
    for _ in range(2 if after else KEPT + 1):
        hub.publish_event(a_change())
    answer = await ask(hub, after, epoch=epoch, seconds=60)
    assert (answer.is_reset, answer.events, answer.run) == (True, [], hub.epoch)
    assert answer.last == hub._last


async def test_the_oldest_event_that_is_kept_can_be_read() -> None:
    hub = a_hub()
    for _ in range(KEPT + 1):
        hub.publish_event(a_change())
    assert len((await ask(hub, 1)).events) == KEPT


async def test_a_person_waits_in_so_many_places_and_gets_room_back() -> None:
    hub = a_hub(max_waiting_per_user=1)
    first = await start_to_wait(hub)
    with pytest.raises(TooManyPolls):
        await ask(hub, 0, seconds=60)
    assert (await ask(hub, 0)).events == [], "who does not wait needs no room"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await ask(hub, 0, seconds=0.01)).events == []


async def test_all_people_together_wait_in_so_many_places() -> None:
    hub = a_hub(max_waiting=1)
    first = await start_to_wait(hub)
    with pytest.raises(TooManyWaiters):
        await ask(hub, 0, by=BEN, seconds=60)
    await hub.stop()
    await asyncio.wait_for(first, 30)


async def test_a_hub_that_stops_answers_those_who_wait_and_those_who_come() -> None:
    hub = a_hub()
    waiting = await start_to_wait(hub)
    await hub.stop()
    assert (await asyncio.wait_for(waiting, 30)).is_reset is False
    assert (await asyncio.wait_for(ask(hub, 0, seconds=60), 30)).events == []


async def test_events_of_other_servers_are_seen_and_go_no_further() -> None:
    hub, shared = a_hub(), list[Change]()
    hub.share = shared.append
    hub.publish_event(a_change(name="ours"))
    hub.take(a_change(name="theirs"))
    answer = await ask(hub, 0)
    assert [each.name for each in answer.events] == ["ours", "theirs"]
    assert [each.name for each in shared] == ["ours"]


async def test_who_waits_looks_at_everything_where_events_may_have_been_missed() -> None:
    hub = a_hub()
    waiting = await start_to_wait(hub)
    epoch = hub.epoch
    hub.begin_anew()
    answer = await waiting
    assert answer.is_reset
    assert answer.run != epoch
