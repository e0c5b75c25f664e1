"""The budget of bytes for bodies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from jupyter_mlsvc_server.api.body_memory import BodyMemory
from jupyter_mlsvc_server.api.protocol import Protocol
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import public, route, upload
from jupyter_mlsvc_server.errors import Busy
from tests.server.api.stub import Client, Stub, turns
from tests.server.api.test_app import ANN, ask, read_answer
from tests.serving import served, tokens_of

_STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.booleans()))


@given(_STEPS)
def test_no_more_is_held_than_the_budget_and_no_more_than_half_by_one(steps: Any) -> None:
    memory = BodyMemory(100)
    held: list[tuple[str, int]] = []
    for caller, size, gives_back in steps:
        if gives_back and held:
            memory.release(*held.pop())
        elif memory.take(caller, size):
            held.append((caller, size))
        else:
            assert memory.refusal(caller, size).retry_after
        sums = {name: sum(size for who, size in held if who == name) for name in "abc"}
        assert memory.held == sum(sums.values()) <= 100
        assert max(sums.values()) <= 50
    for each in held:
        memory.release(*each)
    assert memory.held == 0
    assert memory.take("a", 50)


def test_one_body_of_the_largest_size_always_fits() -> None:
    assert BodyMemory(10, largest=70).take("a", 70)


def test_who_holds_too_much_is_told_so_and_others_that_all_is_taken() -> None:
    memory = BodyMemory(100)
    assert memory.take("a", 40)
    refusal = memory.refusal("a", 20)
    assert (refusal.status, "40 bytes" in refusal.message) == (429, True)
    assert memory.take("b", 50)
    assert isinstance(memory.refusal("c", 20), Busy)


class Bodies:
    """Operations that read a body and wait."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.has_read = asyncio.Event()

    async def hold(self, request: ApiRequest) -> Response:
        body = await request.body()
        self.has_read.set()
        await self.go_on.wait()
        return json_response(len(body))

    def table(self) -> list[Any]:
        return [
            route("/hold", post=self.hold),
            route("/open", post=public(self.hold)),
            route("/file", post=upload(self.hold)),
        ]


async def test_a_body_counts_until_its_request_is_answered() -> None:
    bodies = Bodies()
    async with served(
        bodies.table(), tokens=tokens_of("ann"), max_bytes=1000, max_held_bytes=2000
    ) as port:
        first = asyncio.create_task(ask(port, "POST", "/hold", body=b"x" * 900))
        await bodies.has_read.wait()
        refused = await ask(port, "POST", "/hold", body=b"x" * 200)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        bodies.go_on.set()
        assert (await first).status == 200
        assert (await ask(port, "POST", "/hold", body=b"x" * 900)).status == 200


@pytest.mark.parametrize(("path", "limit"), [("/open", 8 * 2**10), ("/hold", 2**20)])
async def test_a_body_over_the_operations_limit_is_refused_before_it_is_sent(
    path: str, limit: int
) -> None:
    async with served(Bodies().table(), tokens=tokens_of("ann"), max_bytes=2**25) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {limit + 1}\r\n\r\n".encode()
        )
        answer = await read_answer(reader)
        writer.close()
    assert answer.status == 413
    assert f"({limit:,} bytes)" in answer.body["message"]
    assert f"{limit + 1:,}" in answer.body["message"]


@pytest.mark.parametrize(("path", "limit"), [("/open", 8 * 2**10), ("/hold", 2**20)])
async def test_a_chunked_body_over_the_operations_limit_is_refused(path: str, limit: int) -> None:
    async with served(Bodies().table(), tokens=tokens_of("ann"), max_bytes=2**25) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{ANN}Transfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"%x\r\n" % (limit + 1) + b"x" * (limit + 1))
        assert (await read_answer(reader)).status == 413
        writer.close()


def call(connection: Protocol, size: int) -> None:
    head = b"POST /api/a/%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"
    connection.data_received(head % b"never" + b"Content-Length: %d\r\n\r\n" % size + b"x")


async def test_calls_that_are_not_short_count_until_they_are_over() -> None:
    stub = Stub(max_body_bytes=200_000)
    connections: list[tuple[Protocol, Client]] = [stub.connect() for _ in range(3)]
    for (connection, _), size in zip(connections, (60_000, 100_000, 150_000), strict=True):
        call(connection, size)
    assert stub.memory.held == 250_000
    for connection, _ in connections:
        connection.connection_lost(None)
    assert stub.memory.held == 0


async def test_a_call_that_has_no_room_goes_to_the_application() -> None:
    stub = Stub(max_body_bytes=200_000)
    assert stub.memory.take("ana", 5 * 2**20 - 1000)
    connection, _ = stub.connect()
    call(connection, 100_000)
    await turns()
    assert len(stub.app.scopes) == 1
    assert not stub.engine.calls


async def test_an_answered_call_counts_no_more() -> None:
    stub = Stub(max_body_bytes=200_000)
    connection, client = stub.connect()
    head = b"POST /api/a/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"
    connection.data_received(head + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000)
    assert stub.memory.held == 100_000
    connection.data_received(b"x" * 50_000)
    await turns()
    assert client.answers.startswith(b"HTTP/1.1 200")
    assert stub.memory.held == 0
