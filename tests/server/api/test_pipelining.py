"""Requests that come at once, in reads of any size, are answered one by one as if alone."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_mlsvc_server.api.protocol import Limits
from tests.server.api.stub import Client, Stub

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
        return (
            b"POST /api/a/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"
            b"X: %b\r\n%b\r\n\r\n"
        ) % (
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


async def talk(reads: list[bytes], limits: Limits) -> Client:
    stub = Stub(limits)
    connection, client = stub.connect()
    waiting = deque(reads)
    quiet = 0
    while waiting or quiet < 20 or connection.is_busy:
        quiet = 0 if waiting and not client.is_paused else quiet + 1
        if waiting and not client.is_paused:
            connection.data_received(waiting.popleft())
        assert quiet < 10_000, "the connection takes no more"
        await asyncio.sleep(0)
    return client


def answers_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
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
    reads = cut(b"".join(each.data for each in requests), sizes)
    client = await talk(reads, Limits(head_bytes=HEAD_BYTES))
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


async def test_hundreds_of_requests_sent_at_once_are_all_answered() -> None:
    request = Sent(40, 239).data
    assert len(request) == 368
    client = await talk([request * 400], Limits())
    assert [status for status, _ in answers_in(client.answers)] == [200] * 400


async def test_thousands_of_requests_in_one_read_are_not_all_kept() -> None:
    client = await talk([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5000], Limits())
    statuses = [status for status, _ in answers_in(client.answers)]
    assert statuses == [200] * 1001 + [429]
    assert client.is_closed


async def test_nothing_is_read_while_requests_wait() -> None:
    """One after the other is answered, and what waits does not grow with what is sent."""
    stub = Stub()
    connection, client = stub.connect()
    for n in range(100):
        if stub.is_paused(client):
            break
        connection.data_received(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n * 10)
    assert stub.is_paused(client)
    assert len(connection.pipeline) < 30
    while stub.is_paused(client):
        await asyncio.sleep(0)
        assert not stub.is_paused(client) or connection.is_busy
    assert not connection.pipeline


async def test_no_request_is_answered_while_answers_wait_to_be_read() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    connection.pause_writing()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(stub.app.scopes) == 1
    connection.resume_writing()
    for _ in range(50):
        await asyncio.sleep(0)
    assert [status for status, _ in answers_in(client.answers)] == [200] * 3


@pytest.mark.parametrize("path", ["/api/a/1", "/stream"], ids=["call", "application"])
async def test_an_idle_connection_keeps_nothing_of_what_was_asked(path: str) -> None:
    connection, client = Stub(Limits()).connect()
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n" % path.encode()
    for number in range(2):
        connection.data_received(head + b"Content-Length: 2\r\nX: %d\r\n\r\n" % number)
        connection.data_received(b"{}")
        for _ in range(20):
            await asyncio.sleep(0)
        assert client.answers.count(b"HTTP/1.1 200") == number + 1
        assert not any((connection.headers, connection.scope, connection.cycle))
