"""Clients that stall."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_mlsvc_server.api.protocol import Limits
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from tests.server.api.stub import Stub, turns
from tests.waiting import until

LIMITS = Limits()
HEAD = b"POST /api/a/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"
TO_APP = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
NEVER = HEAD.replace(b"/1 ", b"/never ") + b"Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize("pause", [0, 4])
async def test_a_head_that_does_not_come_or_trickles_is_given_up(pause: int) -> None:
    stub = Stub()
    connection, client = stub.connect()
    for at in range(6):
        connection.data_received(HEAD[at : at + 1])
        stub.wait(pause)
    assert not client.answers
    stub.wait(LIMITS.head_seconds + 1)
    assert client.answers.startswith(b"HTTP/1.1 408 ")
    assert b"did not come in time" in client.answers
    assert client.is_closed


@pytest.mark.parametrize("beginning", [HEAD, TO_APP])
async def test_a_body_that_stalls_is_given_up(beginning: bytes) -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(beginning + b"Content-Length: 10\r\n\r\n")
    await turns()
    connection.data_received(b"12345")
    await turns()
    stub.wait(LIMITS.stall_seconds - 1)
    assert not client.answers
    stub.wait(2)
    assert client.answers.startswith(b"HTTP/1.1 408 ")
    assert client.is_closed
    await turns()
    assert not stub.engine.calls
    assert stub.app.disconnects == stub.app.has_ended == (beginning == TO_APP)


@pytest.mark.parametrize("beginning", [HEAD, TO_APP])
async def test_a_body_that_is_slow_but_goes_on_is_taken(beginning: bytes) -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(beginning + b"Content-Length: 10\r\n\r\n")
    for _ in range(10):
        await turns()
        stub.wait(LIMITS.stall_seconds - 1)
        connection.data_received(b"x")
    await turns()
    assert client.answers.startswith(b"HTTP/1.1 200 ")
    assert client.answers.endswith(b"x" * 10)


async def test_a_body_that_nobody_wants_yet_does_not_stall() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(TO_APP + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000)
    assert stub.is_paused(client)
    stub.wait(LIMITS.stall_seconds + 1)
    await turns()
    assert not stub.is_paused(client)
    stub.wait(1)
    connection.data_received(b"x" * 100_000)
    await turns()
    assert client.answers.startswith(b"HTTP/1.1 200 ")


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    stub = Stub()
    connection, client = stub.connect()
    for n, seconds in enumerate((LIMITS.anonymous_idle_seconds, LIMITS.idle_seconds)):
        stub.wait(seconds)
        connection.data_received(HEAD + b"Content-Length: 0\r\n\r\n")
        await turns()
        assert client.answers.count(b"HTTP/1.1 200 ") == n + 1
    before = client.answers
    stub.wait(LIMITS.idle_seconds + 1)
    assert client.answers == before
    assert client.is_gone


@pytest.mark.parametrize("goes_on", [False, True])
async def test_who_was_refused_is_heard_for_a_while(goes_on: bool) -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(
        b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
    )
    await turns()
    assert client.answers.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in client.answers
    assert client.is_closed
    if goes_on:
        for _ in range(10):
            stub.wait(LIMITS.linger_seconds)
            assert not client.is_gone
            connection.data_received(b"x" * 100)
        stub.wait(LIMITS.longest_linger_seconds)
    stub.wait(LIMITS.linger_seconds + 1)
    assert client.is_gone


@pytest.mark.parametrize("request_", [NEVER, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_who_waits_for_an_answer_is_not_idle(request_: bytes) -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(request_)
    await turns()
    stub.wait(10 * LIMITS.idle_seconds)
    assert not client.is_gone
    for call in stub.engine.calls:
        call.end(ScoringAnswer(200, b"late", True))
        assert client.answers.endswith(b"late")


async def test_a_client_that_leaves_is_forgotten() -> None:
    stub = Stub()
    for request in (NEVER, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 2):
        connection, _ = stub.connect()
        connection.data_received(request)
        await turns()
        connection.connection_lost(None)
        await turns()
    (call,) = stub.engine.calls
    assert call.is_over
    assert len(stub.app.scopes) == stub.app.disconnects == stub.app.has_ended == 1


async def test_answers_that_nobody_reads_end_the_connection() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(NEVER)
    connection.pause_writing()
    stub.wait(LIMITS.stall_seconds - 1)
    connection.resume_writing()
    stub.wait(2)
    assert not client.is_gone
    connection.pause_writing()
    stub.wait(LIMITS.stall_seconds + 1)
    assert client.is_gone


async def test_a_long_answer_may_be_read_for_long() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(NEVER)
    client.unread = 1000
    connection.pause_writing()
    for _ in range(10):
        stub.wait(LIMITS.stall_seconds)
        assert not client.is_gone
        client.unread -= 1
    stub.wait(LIMITS.stall_seconds + 2)
    assert client.is_cut_off


async def test_the_end_of_an_answer_that_nobody_reads_does_not_keep_a_connection() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await turns()
    assert client.is_gone
    stub.wait(LIMITS.anonymous_idle_seconds)
    assert not client.is_cut_off
    stub.wait(1)
    assert client.is_cut_off


async def test_a_head_that_was_not_read_meanwhile_is_not_late() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(HEAD + b"Content-Length: 0\r\n\r\n" + HEAD)
    connection.pause_writing()
    stub.wait(LIMITS.head_seconds + 1)
    connection.resume_writing()
    stub.wait(1)
    assert b" 408 " not in client.answers
    stub.wait(LIMITS.head_seconds)
    assert b" 408 " in client.answers


async def test_answers_that_nobody_reads_do_not_pile_up() -> None:
    """By a real socket, with a server that looks at its connections itself."""
    stub = Stub(look_seconds=0.01)
    async with stub.running():
        _, writer = await asyncio.open_connection("127.0.0.1", stub.port)
        request = HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000

        async def send_for_ever() -> None:
            while True:
                writer.write(request)
                await writer.drain()

        def is_given_up() -> bool:
            stub.clock.advance(1)
            return not stub.server.connections

        sending = asyncio.create_task(send_for_ever())
        await until(lambda: stub.server.connections)
        await until(is_given_up)
        with pytest.raises(ConnectionError):
            await sending
        assert len(stub.engine.calls) < 100_000
        writer.transport.abort()
