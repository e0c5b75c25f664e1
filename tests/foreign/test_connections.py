"""Clients that keep their connections, as most do, go on after an answer that refuses them."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import door_urls

pytestmark = pytest.mark.kernel

REFUSED = [
    ("GET", "/snapshots", b""),
    ("GET", "/nothing", b""),
    ("POST", "/sessions", b'{"runtimeType": "Python"}'),
    ("POST", "/sessions/x/workspace/y", b"x" * 500_000),
    ("POST", "/api/x/1.0/batch", b"[%s 1]" % (b"1, " * 100_000)),
    ("DELETE", "/services/x/1.0", b""),
    ("PUT", "/services/x/1.0", b"{}"),
]


@pytest.mark.parametrize("door", ["public", "jupyter"])
@pytest.mark.parametrize(("method", "path", "body"), REFUSED, ids=lambda value: str(value)[:20])
def test_a_connection_lives_on_after_a_call_without_a_token(
    mlsvc_server: ServerProcess, door: str, method: str, path: str, body: bytes
) -> None:
    url = urlsplit(door_urls(mlsvc_server)[door])
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    for _ in range(3):
        connection.request(method, url.path + path, body)
        answer = connection.getresponse()
        assert answer.status == 401
        assert json.loads(answer.read())["message"]
        assert answer.getheader("Connection") is None
        connection.auto_open = 0  # a second connection would be an error
    connection.close()


@pytest.mark.parametrize("door", ["public", "jupyter"])
def test_a_body_that_is_not_read_closes_the_connection_and_the_answer_says_so(
    mlsvc_server: ServerProcess, door: str
) -> None:
    url = urlsplit(door_urls(mlsvc_server)[door])
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    connection.putrequest("POST", f"{url.path}/sessions")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.getheader("Connection") == "close"
    connection.close()
