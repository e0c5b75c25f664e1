"""Requests that come at once, in reads of any size, are answered one by one as if alone."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.front.connection import Connection, Limits
from jupyter_mlsvc_server.front.messages import Trusted
from jupyter_mlsvc_server.front.process import Front
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.request import PendingRequest

HEAD_BYTES = 300


@dataclass(frozen=True)
class Sent:
    """A request, by its size."""

    body: int
    more_head: int
    is_chunked: bool = False
    number: int = 0

    @property
    def content(self) -> bytes:
        return (b"%d," % self.number * self.body)[: self.body]

    @property
    def head(self) -> bytes:
        length = (
            b"Transfer-Encoding: chunked" if self.is_chunked else b"Content-Length: %d" % self.body
        )
        return b"POST /api/a/1 HTTP/1.1\r\nAuthorization: Bearer known\r\nX: %b\r\n%b\r\n\r\n" % (
            b"x" * self.more_head,
            length,
        )

    @property
    def data(self) -> bytes:
        if not self.is_chunked:
            return self.head + self.content
        half = self.body // 2
        pieces = [each for each in (self.content[:half], self.content[half:]) if each]
        return self.head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"

    @property
    def is_taken(self) -> bool:
        return len(self.head) <= HEAD_BYTES


class Engine:
    """Answers with the body, some calls at once and others a turn of the loop later."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls = 0

    def submit(
        self, key: DefinitionKey, body: bytes, ended: Callable[[Any], None]
    ) -> PendingRequest:
        call = PendingRequest(key, body, ended)
        self._calls += 1
        answer = ScoringAnswer(200, body, True)
        if self._calls % 2:
            call.end(answer)
        else:
            self._loop.call_soon(call.end, answer)
        return call


class Client(asyncio.Transport):
    """Gives a connection its reads while it takes any, and keeps what it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = b""
        self.is_paused = False
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.answers += bytes(data)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return False


async def talk(reads: list[bytes]) -> Client:
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with ours, theirs:
        front = Front(ours)

        async def verify(_: str) -> Trusted:
            return Trusted(Principal("ana", Role.READER), 60)

        front.tokens._verify = verify
        front.engine = Engine(front.loop)  # type: ignore[assignment]
        front.limits = Limits(body_bytes=10_000, head_bytes=HEAD_BYTES)
        front.beginnings = {
            status: b"HTTP/1.1 %d x\r\nX-Request-Id: " % status for status in (200, 400, 431)
        }
        client = Client()
        connection = Connection(front)
        connection.connection_made(client)
        waiting = deque(reads)
        quiet = 0
        # A turn of the loop for the tokens, one for the engine and one for what is queued.
        while waiting or quiet < 5 * len(reads) + 50:
            quiet = 0 if waiting and not client.is_paused else quiet + 1
            if waiting and not client.is_paused:
                connection.data_received(waiting.popleft())
            assert quiet < 10_000, "the connection takes no more"
            await asyncio.sleep(0)
        return client


def answers_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
        yield int(head.split()[1]), data[:length]
        data = data[length:]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    reads, at = [], 0
    for size in [*sizes, len(data)]:
        reads.append(data[at : at + size])
        at += size
    return [read for read in reads if read]


USUAL = len(Sent(10, 0).head)
REQUESTS = st.builds(
    Sent,
    body=st.sampled_from([0, 1, 40, 299, 300, 301, 3000]) | st.integers(0, 500),
    more_head=st.integers(0, HEAD_BYTES - USUAL - 10)
    | st.sampled_from([HEAD_BYTES - USUAL, HEAD_BYTES - USUAL + 1, 10_000]),
    is_chunked=st.booleans(),
)


@given(
    requests=st.lists(REQUESTS, min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 40) | st.integers(1, 5000), max_size=60),
)
@example(requests=[Sent(10, 0)] * 40, sizes=[40 * (USUAL + 10) - 15])
@example(requests=[Sent(3000, 0)] * 3, sizes=[3000 + USUAL - 5, 20])
@example(requests=[Sent(10, 0), Sent(10, 300), Sent(10, 0)], sizes=[])
@example(requests=[Sent(0, 5000)], sizes=[])
@example(requests=[Sent(0, 5000)], sizes=[10] * 300)
async def test_each_head_counts_its_own_bytes_however_the_reads_are_cut(
    requests: list[Sent], sizes: list[int]
) -> None:
    requests = [
        Sent(each.body, each.more_head, each.is_chunked, number)
        for number, each in enumerate(requests)
    ]
    client = await talk(cut(b"".join(each.data for each in requests), sizes))
    expected = list[tuple[int, bytes]]()
    for each in requests:
        if not each.is_taken:
            expected.append((431, b""))
            break
        expected.append((200, each.content))
    answers = [
        (status, b"" if status == 431 else body) for status, body in answers_in(client.answers)
    ]
    assert answers == expected
    assert client.is_closed == (expected[-1][0] == 431)
