"""Many callers at once on kept-alive connections, each of which looks at every answer it gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from tests.contract.doors import Door
from tests.server.api.conftest import Answer

PATIENCE = 60.0
"""Seconds after which an answer is missing rather than late."""


class Line:
    """A kept-alive connection to a door; requests may be sent ahead of their answers."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._address = urlsplit(door.url)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._address.hostname, self._address.port
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def request(self, path: str, body: object = b"", method: str = "POST") -> bytes:
        """Write a request; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = (
            f"{method} {self._address.path}{path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self.door.token}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def receive(self) -> Answer:
        """Read an answer.

        Raises
        ------
        OSError, EOFError
            The connection ended before.
        """
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().strip().split("\r\n")
            pairs = (line.partition(": ") for line in lines)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    async def ask(self, path: str, body: object) -> Answer:
        """Send a request and read its answer."""
        self.send(self.request(path, body))
        return await self.receive()

    def leave(self) -> None:
        """End the connection at once, whatever is on the way."""
        self._writer.transport.abort()


Turn = Callable[[Line], Awaitable[None]]


@dataclass
class Callers:
    """What they have done so far."""

    turns: int = 0
    is_over: bool = False
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition, repr=False)

    async def go_on(self, turns: int) -> None:
        """Wait until they have taken so many more turns."""
        until = self.turns + turns
        async with asyncio.timeout(PATIENCE), self._moved:
            await self._moved.wait_for(lambda: self.turns >= until)

    async def call(self, door: Door, turn: Turn, pause: float) -> None:
        """Take turns on one connection."""
        async with Line(door) as line:
            while not self.is_over:
                await turn(line)
                self.turns += 1
                async with self._moved:
                    self._moved.notify_all()
                await asyncio.sleep(pause)


@asynccontextmanager
async def lines_to(doors: Iterable[Door]) -> AsyncIterator[list[Line]]:
    """Open a line to each of the doors; all end with the block."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Line(door)) for door in doors]


@asynccontextmanager
async def calling(
    doors: Iterable[Door], turn: Turn, pause: float = 0.004
) -> AsyncIterator[Callers]:
    """Have callers take turns, a connection to each of the doors, while the block runs.

    What one of them finds wrong ends the block. They pause between turns, so that a test has
    thousands of requests and not hundreds of thousands.
    """
    callers = Callers()
    async with asyncio.TaskGroup() as group:
        for door in doors:
            group.create_task(callers.call(door, turn, pause))
        try:
            yield callers
        finally:
            callers.is_over = True


async def in_thread(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make a call of management while the callers go on; it has to be answered well."""
    answer = await asyncio.to_thread(call, *args, **kwargs)
    assert answer.ok, answer.text
    return answer
