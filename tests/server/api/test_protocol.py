"""What the protocol does beside uvicorn's, before a small application."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from jupyter_mlsvc_server.api.protocol import Limits
from jupyter_mlsvc_server.errors import Busy
from tests.server.api.stub import Client, Stub, turns
from tests.waiting import until

CALL = b"POST /api/a/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"


async def answered(stub: Stub, *reads: bytes) -> Client:
    connection, client = stub.connect()
    for read in reads:
        connection.data_received(read)
        await turns()
    return client


@pytest.mark.parametrize(
    ("head", "is_for_engine"),
    [
        (CALL + b"Content-Length: 2\r\n", True),
        (CALL + b"content-length: 2\r\nOrigin: http://page.example\r\n", True),
        (CALL + b"Content-Length: 2\r\nContent-Type: application/json; charset=utf-8\r\n", True),
        (CALL + b"Content-Length: 2\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n", True),
        (CALL.replace(b"known", b"other") + b"Content-Length: 2\r\n", False),
        (CALL.replace(b"Bearer", b"Basic") + b"Content-Length: 2\r\n", False),
        (CALL + b"Authorization: Bearer known\r\nContent-Length: 2\r\n", False),
        (CALL + b"Content-Length: 2\r\nExpect: 100-continue\r\n", False),
        (CALL + b"Content-Length: 2\r\nContent-Encoding: gzip\r\n", False),
        (CALL + b"Content-Length: 2\r\nContent-Type: text/plain; charset=utf-16\r\n", False),
        (CALL + b"Content-Length: 2\r\nConnection: close\r\n", False),
        (CALL.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n", False),
        (CALL.replace(b"POST", b"PUT") + b"Content-Length: 2\r\n", False),
        (CALL.replace(b"/api/", b"/services/") + b"Content-Length: 2\r\n", False),
        (CALL.replace(b"/api/a/", b"/api/%FF/") + b"Content-Length: 2\r\n", False),
    ],
)
async def test_plain_calls_go_to_the_engine_and_all_else_to_the_application(
    head: bytes, is_for_engine: bool
) -> None:
    stub = Stub()
    for _ in range(3):
        client = await answered(stub, head + b"\r\nhi")
        assert client.answers.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(
            b"HTTP/1.1 200 OK\r\n"
        )
        assert client.answers.endswith(b"\r\n\r\nhi")
    assert (len(stub.engine.calls), len(stub.app.scopes)) == ((3, 0) if is_for_engine else (0, 3))


async def test_a_body_over_the_limit_of_calls_is_left_to_the_application() -> None:
    stub = Stub()
    for size in (10_000, 10_001):
        await answered(stub, CALL + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    assert (len(stub.engine.calls), len(stub.app.scopes)) == (1, 1)


async def test_http_1_0_gets_neither_chunks_nor_a_connection_that_stays_unless_it_asks() -> None:
    stub = Stub()
    client = await answered(stub, b"GET /stream HTTP/1.0\r\n\r\n")
    assert client.answers.endswith(b"\r\n\r\nonetwo")
    assert b"transfer-encoding" not in client.answers
    assert client.is_gone
    kept = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    client = await answered(stub, kept, kept)
    assert client.answers.count(b"connection: keep-alive\r\n") == 2
    assert not client.is_gone
    client = await answered(stub, b"GET / HTTP/1.0\r\n\r\n")
    assert b"connection: close\r\n" in client.answers
    assert client.is_gone


async def test_a_stream_is_chunked() -> None:
    client = await answered(Stub(), b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"transfer-encoding: chunked\r\n" in client.answers
    assert client.answers.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert not client.is_closed


@pytest.mark.parametrize(
    "more",
    [
        b"Expect: 100-continue\r\nContent-Length: 9\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
)
async def test_who_was_refused_before_the_body_reads_why(more: bytes) -> None:
    client = await answered(Stub(), b"POST /refuse HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
    assert client.answers.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close\r\n" in client.answers
    assert client.is_closed
    assert not client.is_gone


async def test_trailers_are_no_headers() -> None:
    stub = Stub()
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
    client = await answered(stub, head, b"2\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n")
    assert client.answers.endswith(b"hi")
    names = [name for name, _ in stub.app.scopes[0]["headers"]]
    assert names == [b"host", b"transfer-encoding", b"trailer"]


@pytest.mark.parametrize("framing", [b"1;x=", b"0\r\nX-Late: "])
async def test_what_frames_a_body_is_limited(framing: bytes) -> None:
    stub = Stub()
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    few = [b"x" * 1000] * 60
    client = await answered(stub, head, b"2\r\nhi\r\n" + framing, *few)
    assert not client.answers
    client = await answered(stub, head, b"2\r\nhi\r\n" + framing, *few, *few)
    assert client.answers.startswith(b"HTTP/1.1 431 ")
    assert client.is_closed
    assert stub.app.disconnects == 1


async def test_a_body_in_many_small_chunks_is_taken() -> None:
    stub = Stub()
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [b"1;x=%b\r\na\r\n" % (b"y" * 1000)] * 200
    client = await answered(stub, head, *chunks, b"0\r\n\r\n")
    assert client.answers.startswith(b"HTTP/1.1 200 ")
    assert client.answers.endswith(b"a" * 200)


async def test_a_fault_of_ours_ends_the_connection_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stub = Stub()

    def fail(*_: object) -> None:
        raise ValueError("of the engine")

    stub.server.score.submit = fail  # type: ignore[assignment]
    client = await answered(stub, CALL + b"Content-Length: 2\r\n\r\n", b"hi")
    assert client.is_cut_off
    assert not client.answers
    assert "of the engine" in caplog.text


async def test_one_connection_that_fails_does_not_keep_the_others_from_being_looked_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stub = Stub(look_seconds=0.01)
    async with stub.running():
        broken, client = stub.connect()

        def fail(_now: float) -> None:
            raise ValueError("of a look")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(broken), "look", lambda self, now: fail(now))
            await until(lambda: client.is_cut_off)
        broken.connection_lost(None)
        _, idle = stub.connect()
        stub.clock.advance(Limits().idle_seconds + 1)
        await until(lambda: idle.is_gone)
    assert "of a look" in caplog.text


async def test_an_application_that_fails_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = await answered(Stub(), b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.is_gone
    assert not client.answers
    assert "A request could not be answered." in caplog.text


async def test_the_application_can_cut_its_answer() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    await turns()
    stub.app.scopes[0]["state"]["abort"]()
    assert client.is_gone


@pytest.mark.parametrize(
    ("target", "raw_path", "query"),
    [
        (b"/a%2Fb/c?d=%20", b"/a%2Fb/c", b"d=%20"),
        (b"/%C3%A4?", b"/%C3%A4", b""),
        (b"http://host:80/a%2Fb?q", b"/a%2Fb", b"q"),
    ],
)
async def test_the_path_is_given_as_it_came(target: bytes, raw_path: bytes, query: bytes) -> None:
    stub = Stub()
    await answered(stub, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    (scope,) = stub.app.scopes
    assert (scope["raw_path"], scope["query_string"]) == (raw_path, query)


async def test_each_request_has_an_id_of_its_own() -> None:
    stub = Stub()
    await answered(stub, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    ids = {scope["state"]["request_id"] for scope in stub.app.scopes}
    assert len(ids) == 3


async def test_only_the_unix_socket_is_of_hosts() -> None:
    stub = Stub()
    with tempfile.TemporaryDirectory() as folder:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(Path(folder) / "s"))
        listening.setblocking(False)
        async with stub.running():
            await stub.server.open(listening)
            await stub.get_by(socket.AF_UNIX, str(Path(folder) / "s"))
            await stub.get_by(socket.AF_INET, ("127.0.0.1", stub.port))
    assert [scope["state"]["is_host"] for scope in stub.app.scopes] == [True, False]


async def test_another_users_process_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with tempfile.TemporaryDirectory() as folder:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(Path(folder) / "s"))
        listening.setblocking(False)
        async with stub.running():
            await stub.server.open(listening)
            assert await stub.get_by(socket.AF_UNIX, str(Path(folder) / "s")) == b""
    assert not stub.app.scopes


async def test_of_many_that_are_turned_away_one_has_a_line_and_the_others_a_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stub = Stub()
    refusal = Busy("All workers are busy.", retry_after=1)
    stub.server.score.submit = lambda key, body, ended, *_: ended(refusal)
    for _ in range(5):
        await answered(stub, CALL + b"Content-Length: 2\r\n\r\n", b"hi")
    stub.server.look()
    stub.server.look()
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 2
    assert "All workers are busy." in lines[0]
    assert "4 more requests were answered with 503" in lines[1]
