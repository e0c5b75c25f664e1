"""Large answers: written piece by piece, none of them joined or copied."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from jupyter_mlsvc_server.errors import NotServing
from jupyter_mlsvc_server.formats.pieces import Pieces
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from tests.server.api.stub import Client, Stub

HEAD = b"POST /api/a/never HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"
CALL = HEAD + b"Content-Length: 2\r\n\r\n{}"
NEXT = HEAD.replace(b"never", b"1") + b"Content-Length: 3\r\n\r\n{ }"
PIECES = [bytes([48 + number]) * 2**18 for number in range(10)]
BODY = b"".join(PIECES)


class Reader(Client):
    """Keeps what is written, one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        super().write(data)
        self.written.append(data)


async def pass_turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def stub() -> Stub:
    return Stub()


@pytest_asyncio.fixture
async def reader(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr("tests.server.api.stub.Client", Reader)
    connection, client = stub.connect()
    assert isinstance(client, Reader)
    connection.data_received(CALL)
    stub.engine.calls[-1].end(ScoringAnswer(200, Pieces(PIECES), True))
    return client


async def test_each_turn_writes_one_piece_as_it_is(stub: Stub, reader: Reader) -> None:
    assert b"Content-Length: %d\r\n" % len(BODY) in reader.written[0]
    for count in range(len(reader.written), len(PIECES) + 1):
        await pass_turns(1)
        assert len(reader.written) == count + 1
    assert all(got is piece for got, piece in zip(reader.written[1:], PIECES, strict=True))


async def test_nothing_is_written_to_who_does_not_read(stub: Stub, reader: Reader) -> None:
    (connection,) = stub.server.connections
    await pass_turns(2)
    connection.pause_writing()
    written = len(reader.written)
    await pass_turns(5)
    assert len(reader.written) == written
    for _ in range(3):  # each would begin another row of turns
        connection.resume_writing()
        connection.pause_writing()
    connection.resume_writing()
    await pass_turns(1)
    assert len(reader.written) == written + 1
    await pass_turns(20)
    assert reader.answers.endswith(BODY)


async def test_the_next_call_is_answered_after_it(stub: Stub, reader: Reader) -> None:
    (connection,) = stub.server.connections
    connection.data_received(NEXT)
    assert connection.is_busy
    await pass_turns(30)
    assert BODY in reader.answers
    assert reader.answers.endswith(b"{ }")
    assert reader.answers.count(b"HTTP/1.1 200") == 2


async def test_a_connection_that_ends_meanwhile_is_cut_off(stub: Stub, reader: Reader) -> None:
    (connection,) = stub.server.connections
    await pass_turns(2)
    connection.end(NotServing(is_stopping=True))
    assert reader.is_cut_off
    written = len(reader.written)
    await pass_turns(20)
    assert len(reader.written) == written


async def test_the_last_answer_of_a_server_that_drains_is_whole(stub: Stub) -> None:
    connection, client = stub.connect()
    connection.data_received(CALL)
    stub.server.drain()
    stub.engine.calls[-1].end(ScoringAnswer(200, Pieces(PIECES), True))
    await pass_turns(2)
    assert not client.is_closed
    await pass_turns(20)
    assert client.answers.endswith(BODY)
    assert b"Connection: close" in client.answers
    assert client.is_closed
