"""Control links of which somebody leaves in the middle, and ids of processes that come again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest_asyncio

from jupyter_mlsvc_server.formats.protocol import (
    Exited,
    Fork,
    Forked,
    Inbox,
    Kill,
    ToChild,
    ToServer,
    pack,
)
from jupyter_mlsvc_server.scoring.forkserver_client import ForkserverClient
from tests.server.scoring.serving import define

LARGE = define("y = 1  # " + "x" * 2**21).spec


class Process:
    """The other end of a control link."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self._link = link
        self._inbox: Inbox[ToChild] = Inbox(ToChild)

    async def receive(self) -> list[ToChild]:
        data = await asyncio.get_running_loop().sock_recv(self._link, 2**16)
        return list(self._inbox.feed(data, []))

    async def receive_many(self, count: int) -> list[ToChild]:
        messages: list[ToChild] = []
        while len(messages) < count:
            messages += await self.receive()
        return messages

    def send(self, *messages: ToServer) -> None:
        self._link.send(b"".join(map(pack, messages)))


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[tuple[ForkserverClient, Process]]:
    ours, theirs = socket.socketpair()
    client = ForkserverClient(ours, lambda: None, lambda _pid: None)
    with theirs:
        yield client, Process(theirs)
        await client.close()


Ends = tuple[ForkserverClient, Process]


async def test_a_message_is_sent_whole_though_its_sender_has_left(ends: Ends) -> None:
    client, process = ends
    fork = asyncio.create_task(client.fork(spec=LARGE))
    assert not await process.receive()  # a part of it
    fork.cancel()
    await asyncio.gather(fork, return_exceptions=True)
    kill = asyncio.create_task(client.kill(42))
    async with asyncio.timeout(60):
        first, second = await process.receive_many(2)
    assert isinstance(first, Fork)
    assert first.spec == LARGE
    assert second == Kill(42)
    await kill


async def test_the_end_of_a_process_is_not_that_of_the_next_one_with_its_id(ends: Ends) -> None:
    client, process = ends

    async def fork() -> None:
        forked = asyncio.create_task(client.fork())
        (message,) = await process.receive_many(1)
        assert isinstance(message, Fork)
        process.send(Forked(message.ticket, 7))
        await forked

    await fork()
    process.send(Exited(7, 3))
    await fork()
    assert not client.has_ended(7)
    assert await client.exit_code(7, 0) is None
