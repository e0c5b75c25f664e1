"""The access log: requests through the application, and calls that go the short way."""

from __future__ import annotations

import asyncio
import logging

import pytest
import requests
from starlette.responses import Response

from jupyter_mlsvc_server.api.logged_protocol import LoggedProtocol
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import Routes, route
from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
from jupyter_mlsvc_server.monitoring.logs import access_log, note_access
from tests.server.api.stub import Client, Stub, turns
from tests.serving import served, tokens_of

CALL = (
    b"POST /api/%b HTTP/1.1\r\nHost: x\r\n"
    b"Authorization: Bearer known\r\nContent-Length: 2\r\n\r\nhi"
)


class Things:
    """Operations to look at."""

    def table(self) -> Routes:
        return [route("/things/{name}", get=self.get)]

    async def get(self, request: ApiRequest, name: str) -> Response:
        if name == "broken":
            raise OSError("of the test")
        return json_response(name)


async def ask(port: int, path: str) -> requests.Response:
    headers = {"Authorization": "Bearer of-ann"}
    url = f"http://127.0.0.1:{port}{path}"
    return await asyncio.to_thread(requests.get, url, headers=headers, timeout=60)


async def test_requests_are_noted_with_user_route_and_status() -> None:
    noted: list[AnsweredRequest] = []
    async with served(Things().table(), tokens=tokens_of("ann"), observers=[noted.append]) as port:
        answers = [await ask(port, path) for path in ("/things/a", "/things/broken", "/nothing")]
    assert [each[:5] for each in noted] == [
        (answers[0].headers["X-Request-Id"], "GET", "/things/a", "/things/{name}", 200),
        (answers[1].headers["X-Request-Id"], "GET", "/things/broken", "/things/{name}", 500),
        (answers[2].headers["X-Request-Id"], "GET", "/nothing", "", 404),
    ]
    assert {each.user for each in noted} == {"ann"}
    assert all(0 < each.seconds < 60 for each in noted)


async def test_errors_and_the_log_have_the_id_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(Things().table(), tokens=tokens_of("ann")) as port:
        answer = await ask(port, "/things/broken")
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]
    (failure,) = [each for each in caplog.records if "failed" in each.getMessage()]
    assert failure.exc_info


async def test_logged_calls_have_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    stub, client = Stub(), Client()
    stub.server.call_observers = [note_access]
    connection = LoggedProtocol(stub.server)
    connection.connection_made(client)
    with caplog.at_level(logging.INFO, access_log.name):
        for _ in range(2):  # the second one by its known head
            connection.data_received(CALL % b"Iris/1")
            await turns()
    connection.connection_lost(None)
    first, second = [each for each in caplog.records if each.name == access_log.name]
    assert first.getMessage().startswith('ana "POST /api/Iris/1" 200 ')
    ids = [vars(each)["request"] for each in (first, second)]
    assert len(set(ids)) == 2
    assert all(each.encode() in client.answers for each in ids)


async def test_other_calls_have_none(caplog: pytest.LogCaptureFixture) -> None:
    stub = Stub()
    connection, client = stub.connect()
    with caplog.at_level(logging.INFO, access_log.name):
        connection.data_received(CALL % b"Iris/1")
        await turns()
    connection.connection_lost(None)
    assert client.answers.startswith(b"HTTP/1.1 200 ")
    assert not caplog.records
