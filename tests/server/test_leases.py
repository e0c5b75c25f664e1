"""When a hosted server ends."""

from __future__ import annotations

import asyncio

from jupyter_mlsvc_server.hosting import Leases


def leases_of(ended: asyncio.Event, *, grace: float = 0, first_lease: float = 60) -> Leases:
    leases = Leases(ended.set, grace=grace, first_lease=first_lease)
    leases.start()
    return leases


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_server_ends_after_its_last_host() -> None:
    ended = asyncio.Event()
    leases = leases_of(ended)
    with leases.hold():
        with leases.hold():
            assert leases.count == 2
        await turns()
        assert not ended.is_set()
    await ended.wait()


async def test_server_ends_where_no_host_comes() -> None:
    ended = asyncio.Event()
    leases_of(ended, first_lease=0)
    await ended.wait()


async def test_host_that_comes_back_in_time_keeps_the_server() -> None:
    ended = asyncio.Event()
    leases = leases_of(ended, grace=3600)
    with leases.hold():
        pass
    with leases.hold():
        await turns()
    assert not ended.is_set()
    leases.stop()


async def test_last_host_that_says_farewell_is_not_waited_for() -> None:
    ended = asyncio.Event()
    leases = leases_of(ended, grace=3600)
    with leases.hold():
        with leases.hold():
            assert not leases.say_farewell()
        assert leases.say_farewell()
    await ended.wait()


async def test_server_without_hosts_does_not_depend_on_them() -> None:
    leases = Leases()
    leases.start()
    with leases.hold():
        assert not leases.say_farewell()
    leases.stop()
