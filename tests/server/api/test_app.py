"""The application: which operation answers a request, and what becomes of its body."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, NamedTuple

import pytest
from starlette.responses import Response

from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import StreamedResponse, json_response
from jupyter_mlsvc_server.api.routing import Router, public, route, upload
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import Unauthorized
from tests.serving import served, tokens_of

LIMIT = 1000
ANN = "Authorization: Bearer of-ann\r\n"


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: Any


class Things:
    """Operations to look at, and what became of them."""

    def __init__(self) -> None:
        self.is_gone = asyncio.Event()
        self.is_closed = asyncio.Event()

    def table(self) -> list[Any]:
        return [
            route("/things", get=self.list, post=self.read),
            route("/things/{name}", get=self.name, post=upload(self.read)),
            route("/things/{name}/now", get=self.answer_at_once),
            route("/things/{name}/wait", post=self.wait),
            route("/things/{name}/stream", get=self.stream),
            route("/broken", get=self.fail),
            route("/full", get=self.fill),
            route("/open", get=public(self.list)),
        ]

    async def list(self, request: ApiRequest) -> Response:
        return json_response([request.query("a"), request.method])

    async def name(self, request: ApiRequest, name: str) -> Response:
        return json_response([name, request.principal.name])

    async def read(self, request: ApiRequest, **names: str) -> Response:
        return json_response(len(await request.body()))

    async def answer_at_once(self, request: ApiRequest, name: str) -> Response:
        return json_response(await request.answer_or_gone(asyncio.sleep(0, name), bool))

    async def wait(self, request: ApiRequest, name: str) -> Response:
        never = asyncio.get_running_loop().create_future()
        return json_response(await request.answer_or_gone(never, self.is_gone.set))

    async def stream(self, request: ApiRequest, name: str) -> Response:
        return StreamedResponse(self._pieces(), headers={"Content-Type": "text/plain"})

    async def _pieces(self) -> AsyncGenerator[bytes]:
        try:
            yield b"begun"
            await asyncio.get_running_loop().create_future()
        finally:
            self.is_closed.set()

    async def fail(self, request: ApiRequest) -> Response:
        raise OSError("/secret/place is full")

    async def fill(self, request: ApiRequest) -> Response:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")


@pytest.fixture
async def things() -> Things:
    return Things()


@pytest.fixture
async def port(things: Things) -> AsyncIterator[int]:
    async with served(things.table(), tokens=tokens_of("ann"), max_bytes=LIMIT) as port:
        yield port


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> Answer:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
    body = await reader.readexactly(length)
    return Answer(int(first.split()[1]), headers, json.loads(body) if body else None)


async def ask(port: int, method: str, target: str, headers: str = ANN, body: bytes = b"") -> Answer:
    """Send a request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: here\r\n{headers}{length}\r\n"
    writer.write(head.encode("latin-1") + body)
    answer = await read_answer(reader, method)
    writer.close()
    return answer


# --- paths and methods -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/things/a", "a"),
        ("/things/a/", "a"),
        ("/things/a%2Fb", "a/b"),
        ("/things/caf%C3%A9", "caf\u00e9"),
        ("/things/a%20b?x=1", "a b"),
    ],
)
async def test_a_parameter_is_decoded_after_the_path_is_matched(
    port: int, target: str, name: str
) -> None:
    assert (await ask(port, "GET", target)).body == [name, "ann"]


async def test_a_parameter_that_is_not_utf_8_is_400(port: int) -> None:
    answer = await ask(port, "GET", "/things/%FF")
    assert answer.status == 400
    assert "UTF-8" in answer.body["message"]


@pytest.mark.parametrize("target", ["/", "/nowhere", "/things//", "/things/a/b", "/THINGS"])
async def test_an_unknown_path_is_404_for_who_is_known(port: int, target: str) -> None:
    assert (await ask(port, "GET", target)).status == 404
    assert (await ask(port, "GET", target, headers="")).status == 401


def test_paths_match_in_any_case_where_that_is_set() -> None:
    routes = [route("/Things/{name}", get=None)]  # type: ignore[arg-type]
    found = Router([routes], any_case=True).find("/tHINGS/Some")
    assert found is not None
    assert found.decoded_parameters() == {"name": "Some"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/services/hub/things/a", "a"),
        ("/services/hub/things/a/", "a"),
        ("/things/a", "a"),
        ("/services/hubs/things/a", None),
        ("/services/hub", None),
        ("/x/services/hub/things/a", None),
        ("/services/hub/services/hub/things/a", None),
    ],
)
def test_paths_are_found_below_what_a_proxy_leaves(path: str, name: str | None) -> None:
    routes = [route("/things/{name}", get=None)]  # type: ignore[arg-type]
    found = Router([routes], base_path="/services/hub").find(path)
    assert (found and found.decoded_parameters()["name"]) == name


@pytest.mark.parametrize(("method", "target"), [("PUT", "/things"), ("HEAD", "/things/a/wait")])
async def test_a_method_that_a_path_does_not_have_is_405(
    port: int, method: str, target: str
) -> None:
    assert (await ask(port, method, target)).status == 405
    assert (await ask(port, method, target, headers="")).status == 401


async def test_head_is_get_without_the_body(port: int) -> None:
    head, whole = await ask(port, "HEAD", "/things"), await ask(port, "GET", "/things")
    assert head.status == 200
    # The body names the method, which is one letter longer.
    assert int(head.headers["content-length"]) == int(whole.headers["content-length"]) + 1


async def test_options_need_no_token(port: int) -> None:
    assert (await ask(port, "OPTIONS", "/anything", headers="")).status == 204


async def test_a_public_operation_needs_no_token(port: int) -> None:
    assert (await ask(port, "GET", "/open", headers="")).status == 200


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("a=1", "1"),
        ("A=1", "1"),
        ("a=1&a=2", "2"),
        ("a=%C3%A9+b", "\u00e9 b"),
        ("a=", ""),
        ("", ""),
    ],
)
async def test_a_query_argument_is_read_in_any_case(port: int, query: str, value: str) -> None:
    assert (await ask(port, "GET", f"/things?{query}")).body[0] == value


async def test_a_query_argument_that_is_not_utf_8_is_400(port: int) -> None:
    assert (await ask(port, "GET", "/things?a=%FF")).status == 400


async def test_a_failure_tells_nothing_of_the_inside(port: int) -> None:
    answer = await ask(port, "GET", "/broken")
    assert answer.status == 500
    assert "secret" not in answer.body["message"]
    assert answer.headers["x-request-id"] in answer.body["message"]


async def test_a_full_disk_is_told_as_that_without_a_path(port: int) -> None:
    answer = await ask(port, "GET", "/full")
    assert (answer.status, answer.body["errorCode"]) == (507, "DiskFull")
    assert answer.body["exceptionType"] == "InsufficientStorageException"
    assert "secret" not in answer.body["message"]


async def test_a_host_names_its_user_on_its_own_connections_only(port: int) -> None:
    answer = await ask(port, "GET", "/things/a", headers=ANN + "X-Mlsvc-User: root\r\n")
    assert answer.body == ["a", "ann"]


# --- bodies ----------------------------------------------------------------------------------


class Nobody:
    """A verifier that knows no token."""

    async def principal_of(self, _token: str) -> Principal:
        raise Unauthorized("Nobody is known.", token_was_sent=True)

    def recall(self, _token: str) -> None:
        return None


async def test_a_short_body_of_nobody_is_read_and_the_connection_kept() -> None:
    async with served(Things().table(), tokens=Nobody()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(f"POST /things HTTP/1.1\r\nHost: x\r\n{ANN}".encode())
            writer.write(b"Content-Length: 5\r\n\r\nabcde")
            answer = await read_answer(reader)
            assert answer.status == 401
            assert "connection" not in answer.headers
        writer.close()


@pytest.mark.parametrize(
    ("headers", "target", "status"),
    [
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", "/nowhere", 404),
        ("Transfer-Encoding: chunked\r\n", "/nowhere", 404),
        (f"Content-Length: {LIMIT + 1}\r\n", "/things", 413),
    ],
    ids=["waits for leave", "comes in pieces", "too long"],
)
async def test_a_body_that_is_refused_is_not_waited_for(
    port: int, headers: str, target: str, status: int
) -> None:
    answer = await ask(port, "POST", target, headers=ANN + headers)
    assert answer.status == status
    assert answer.headers["connection"] == "close"


async def test_a_body_in_pieces_is_read_until_the_limit(port: int) -> None:
    def in_pieces(size: int) -> bytes:
        return b"".join(b"a\r\n0123456789\r\n" for _ in range(size // 10)) + b"0\r\n\r\n"

    for size, status in ((LIMIT, 200), (LIMIT + 10, 413)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /things HTTP/1.1\r\nHost: x\r\n{ANN}Transfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + in_pieces(size))
        assert (await read_answer(reader)).status == status
        writer.close()


@pytest.mark.parametrize("path", ["/things", "/things/a/now"])
async def test_a_body_that_nobody_reads_does_not_reach_the_next_request(
    port: int, path: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\n{ANN}Content-Length: 5\r\n\r\n"
        writer.write(f"{head}abcde".encode())
        answer = await asyncio.wait_for(read_answer(reader), 30)
        assert answer.status == 200
    writer.close()


# --- clients that leave ----------------------------------------------------------------------


async def leave(port: int, request: str) -> None:
    """Send a request, and go away once its answer has begun, or at once where none does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.readuntil(b"begun"), 0.5)
    writer.close()


async def test_client_that_left_ends_its_waiting_handler(port: int, things: Things) -> None:
    head = f"POST /things/a/wait HTTP/1.1\r\nHost: x\r\n{ANN}Content-Length: 0\r\n\r\n"
    await leave(port, head)
    await asyncio.wait_for(things.is_gone.wait(), 20)


async def test_a_stream_to_nobody_is_ended(port: int, things: Things) -> None:
    await leave(port, f"GET /things/a/stream HTTP/1.1\r\nHost: x\r\n{ANN}\r\n")
    await asyncio.wait_for(things.is_closed.wait(), 20)
