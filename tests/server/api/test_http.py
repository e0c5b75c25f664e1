"""HTTP at the public API, as clients speak it and as they should not."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.pytest_plugin import Api
from tests.gates import once_there_is
from tests.server.api.conftest import Answer, Publish, RawConnection, y_of
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

Connect = Callable[[], RawConnection]


def body(n: object) -> bytes:
    return json.dumps({"n": n}).encode()


def assert_error(answer: Answer, status: int) -> None:
    assert answer.status == status, answer
    assert {"message", "link", "exceptionType"} <= set(answer.json())
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "jupyter_mlsvc_server" not in answer.json()["message"]


def test_a_connection_serves_many_calls_and_other_requests_in_turn(
    connection: RawConnection, echo: str
) -> None:
    for n in range(5):
        connection.send(connection.request(echo, body(n)))
        assert y_of(connection.receive()) == n
        connection.send(connection.request("/health/ready", method="GET"))
        assert connection.receive().json() == {"status": "ready"}


def test_requests_sent_at_once_are_answered_in_their_order(
    connection: RawConnection, echo: str, sleeper: str
) -> None:
    requests_ = [
        connection.request(sleeper, body(0.2)),
        *(connection.request(echo, body(n)) for n in range(20)),
        connection.request("/health/live", method="GET"),
        connection.request("/health/live", method="HEAD"),
        connection.request(echo, body("last")),
    ]
    connection.send(*requests_)
    assert y_of(connection.receive()) == 0.2
    assert [y_of(connection.receive()) for _ in range(20)] == list(range(20))
    assert connection.receive().json() == {"status": "alive"}
    head = connection.receive(has_body=False)
    assert (head.status, head.headers["content-length"]) == (200, "18")
    assert y_of(connection.receive()) == "last"


def test_hundreds_of_requests_sent_at_once_are_all_answered(
    connection: RawConnection, echo: str
) -> None:
    connection.send(*(connection.request(echo, body(n)) for n in range(400)))
    assert [y_of(connection.receive()) for _ in range(400)] == [*range(400)]


def test_a_request_may_come_byte_by_byte(connection: RawConnection, echo: str) -> None:
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in connection.request(echo, body("slow")):
        connection.send(bytes([byte]))
    assert y_of(connection.receive()) == "slow"


def test_a_chunked_body_is_put_together(connection: RawConnection, echo: str) -> None:
    data = body("in pieces")
    connection.send(connection.request(echo, b"", "Transfer-Encoding: chunked"))
    for start in range(0, len(data), 3):
        piece = data[start : start + 3]
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")
    assert y_of(connection.receive()) == "in pieces"


def test_expect_100_is_answered_with_continue(connection: RawConnection, echo: str) -> None:
    data = body(1)
    head = connection.request(echo, b"", "Expect: 100-continue", f"Content-Length: {len(data)}")
    connection.send(head)
    assert connection.receive().status == 100
    connection.send(data)
    assert y_of(connection.receive()) == 1


def test_who_asks_whether_to_go_on_without_a_token_is_refused_before_the_body(
    connection: RawConnection, echo: str
) -> None:
    connection.token = "nonsense"
    connection.send(connection.request(echo, b"", "Expect: 100-continue", "Content-Length: 10"))
    assert_error(connection.receive(), 401)
    assert connection.is_closed()


def test_another_protocol_is_offered_in_vain(connection: RawConnection, echo: str) -> None:
    """As Java's client does by default, with a body."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    for n in range(2):
        connection.send(connection.request(echo, body(n), *offer))
        assert y_of(connection.receive()) == n
    connection.send(connection.request("/health/live", b"", *offer, method="GET"))
    assert connection.receive().status == 200


def test_the_connection_ends_where_the_client_says_so(connection: RawConnection, echo: str) -> None:
    connection.send(connection.request(echo, body(1), "Connection: close"))
    answer = connection.receive()
    assert answer.headers["connection"] == "close"
    assert connection.is_closed()


def test_http_1_0_is_spoken_too(connect: Connect, echo: str) -> None:
    for path, method in ((echo, "POST"), ("/health/live", "GET")):
        connection = connect()
        request = connection.request(path, body(1) if method == "POST" else b"", method=method)
        connection.send(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = connection.receive()
        assert answer.status == 200
        assert "transfer-encoding" not in answer.headers
        assert connection.is_closed()


@pytest.mark.parametrize("slash", ["", "/", "?a=b", "/?a=b"])
def test_a_slash_and_a_query_are_forgiven(connection: RawConnection, echo: str, slash: str) -> None:
    connection.send(connection.request(echo + slash, body(1)))
    assert y_of(connection.receive()) == 1


def test_names_are_unquoted(connection: RawConnection, publish: Publish) -> None:
    path = publish("y = n", "a b~1".replace("~", "-"))
    connection.send(connection.request(path.replace(" ", "%20"), body(1)))
    assert y_of(connection.receive()) == 1
    connection.send(connection.request("/api/%FF/1.0", body(1)))
    assert_error(connection.receive(), 400)


def test_headers_are_those_of_the_other_answers(connection: RawConnection, echo: str) -> None:
    connection.send(connection.request(echo, body(1)), connection.request("/status", method="GET"))
    own, relayed = connection.receive().headers, connection.receive().headers
    # No browser shows the answer of a call as a page.
    assert set(own) == set(relayed) - {"etag", "referrer-policy", "cross-origin-resource-policy"}
    ours = set(own) - {"x-request-id", "content-length", "date"}
    assert {name: own[name] for name in ours} == {name: relayed[name] for name in ours}
    assert own["x-request-id"] != relayed["x-request-id"]


@pytest.mark.parametrize(("origin", "is_let"), [("http://page.example", True), ("http://x", False)])
def test_pages_may_call_from_origins_that_are_allowed(
    connection: RawConnection, echo: str, origin: str, is_let: bool
) -> None:
    connection.send(
        connection.request(echo, body(1), f"Origin: {origin}"),
        connection.request(echo, b"", f"Origin: {origin}", method="OPTIONS"),
    )
    for answer in (connection.receive(), connection.receive()):
        assert (answer.headers.get("access-control-allow-origin") == origin) is is_let
        assert ("vary" in answer.headers) is is_let
    connection.token = "nonsense"
    connection.send(connection.request(echo, body(1), f"Origin: {origin}"))
    refusal = connection.receive()
    assert_error(refusal, 401)
    assert ("access-control-allow-origin" in refusal.headers) is is_let


@pytest.mark.parametrize(
    "nonsense",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /api/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /api/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nhello",
        b"POST /api/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nName : value\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"POST /api/a/b HTTP/1.1\r\nAuthorization: TOKEN\r\nContent-Length: 2\r\n\r\n{}",
        b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(connection: RawConnection, nonsense: bytes) -> None:
    connection.send(nonsense.replace(b"TOKEN", f"Bearer {connection.token}".encode()))
    assert_error(connection.receive(), 400)
    assert connection.is_closed()


def test_nonsense_after_a_request_does_not_cost_its_answer(
    connection: RawConnection, sleeper: str
) -> None:
    connection.send(connection.request(sleeper, body(0.1)), b"nonsense\r\n\r\n")
    assert y_of(connection.receive()) == 0.1
    assert_error(connection.receive(), 400)
    assert connection.is_closed()


@pytest.mark.parametrize("path", ["/api/a/b", "/login"])
def test_a_chunk_that_is_none_ends_the_request(connection: RawConnection, path: str) -> None:
    connection.send(connection.request(path, b"", "Transfer-Encoding: chunked"), b"5\r\nhello\r\n")
    time.sleep(0.05)
    connection.send(b"nonsense\r\n")
    assert_error(connection.receive(), 400)
    assert connection.is_closed()


def test_a_connect_request_is_refused(connection: RawConnection) -> None:
    connection.send(b"CONNECT host:443 HTTP/1.1\r\nHost: host\r\n\r\n")
    assert_error(connection.receive(), 405)
    assert connection.is_closed()


def test_a_head_without_end_is_refused(connection: RawConnection) -> None:
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
    for _ in range(200):
        connection.send(b"X-Header: " + b"x" * 1000 + b"\r\n")
    assert_error(connection.receive(), 431)


def test_a_large_head_is_refused_in_words(connection: RawConnection) -> None:
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000)
    time.sleep(0.05)
    connection.send(b"y")
    assert_error(connection.receive(), 431)
    assert connection.is_closed()


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("way", ["answered here", "passed on"])
def test_a_head_may_be_as_large_as_the_limit_and_no_larger(
    connection: RawConnection, echo: str, way: str, pieces: int
) -> None:
    method, path = ("POST", echo) if way == "answered here" else ("GET", "/status")
    sent = body(1) if way == "answered here" else b""
    bare = len(connection.request(path, sent, "X: ", method=method)) - len(sent)
    for size, status in ((2**16, 200), (2**16 + 1, 431)):
        request = connection.request(path, sent, f"X: {'x' * (size - bare)}", method=method)
        step = -(-len(request) // pieces)
        for at in range(0, len(request), step):
            connection.send(request[at : at + step])
            time.sleep(0.02)
        assert connection.receive().status == status
    assert connection.is_closed()


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(
    connection: RawConnection, echo: str
) -> None:
    connection.send(connection.request(echo, b"", "Content-Length: 100001"))
    answer = connection.receive()
    assert_error(answer, 413)
    assert "100,000 bytes" in answer.json()["message"]
    assert connection.is_closed()


def test_a_body_that_grows_too_large_is_refused_while_it_comes(
    connection: RawConnection, echo: str
) -> None:
    connection.send(connection.request(echo, b"", "Transfer-Encoding: chunked"))
    piece = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
    for _ in range(3):
        connection.send(piece)
    assert_error(connection.receive(), 413)


def test_who_sends_all_of_a_body_that_is_refused_reads_why(limited_api: Api, echo: str) -> None:
    """Closing the connection at once would cost the answer."""
    for data in (b"x" * 20_000_000, iter([b"x" * 100_000] * 100)):
        answer = limited_api("POST", echo, data=data)
        assert answer.status_code == 413
    answer = limited_api("POST", "/services/x/1", data=b"x" * 20_000_000)
    assert answer.status_code == 413


def test_the_largest_body_is_taken(limited_api: Api, echo: str) -> None:
    text = "x" * (100_000 - len(body("")))
    assert y_of(limited_api("POST", echo, data=body(text))) == text


def test_a_body_without_a_token_does_not_end_the_connection(
    connection: RawConnection, echo: str
) -> None:
    token, connection.token = connection.token, "nonsense"
    connection.send(connection.request(echo, b"x" * 90_000))
    assert_error(connection.receive(), 401)
    connection.token = token
    connection.send(connection.request(echo, body(1)))
    assert y_of(connection.receive()) == 1


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(
    connect: Connect, connection: RawConnection, echo: str, sleeper: str
) -> None:
    cut_short = [
        connection.request(echo, body(1))[:-3],
        connection.request(echo, body(1)),
        connection.request(sleeper, body(0.01)),
        connection.request("/status", method="GET"),
    ]
    for _ in range(20):
        for sent in cut_short:
            with connect() as leaver:
                leaver.send(sent)
    for n in range(20):
        connection.send(connection.request(echo, body(n)))
        assert y_of(connection.receive()) == n


def test_nobody_comes_in_by_saying_who_they_are(
    connection: RawConnection, limited_server: ServerProcess
) -> None:
    connection.token = "nonsense"
    lies = ("X-Forwarded-For: 127.0.0.1", "X-Real-Ip: 127.0.0.1", "X-Scheme: https")
    connection.send(connection.request("/services", b"", *lies, method="GET"))
    assert_error(connection.receive(), 401)


def test_a_queue_that_is_full_tells_when_to_come_again(
    connect: Connect, publish: Publish, tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"
    path = publish(f"{once_there_is(go_on)}\ny = n")
    connections = [connect() for _ in range(12)]
    for each in connections:
        each.send(each.request(path, body(1)))
    sockets = [each.socket for each in connections]
    # Who is refused is answered at once.
    wait_until(lambda: len(select.select(sockets, [], [], 0)[0]) >= 3)
    go_on.touch()
    answers = [each.receive() for each in connections]
    refused = [answer for answer in answers if answer.status == 503]
    assert 3 <= len(refused) <= 10
    for answer in refused:
        assert_error(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
    # A very busy machine may not come to the others before their deadline.
    assert {answer.status for answer in answers} <= {200, 503, 504}


def test_a_deadline_that_passed_is_504(connection: RawConnection, sleeper: str, echo: str) -> None:
    connection.send(connection.request(sleeper, body(20)))
    assert_error(connection.receive(), 504)
    connection.send(connection.request(echo, body(1)))
    assert y_of(connection.receive()) == 1


def test_uploads_and_downloads_pass_through_unharmed(limited_api: Api) -> None:
    session = limited_api("POST", "/sessions", json={}).json()["sessionId"]
    content = bytes(range(256)) * 40_000
    path = f"/sessions/{session}/files"
    answer = limited_api("POST", path, files={"file": ("large.bin", content)})
    assert answer.ok, answer.text
    assert limited_api("GET", f"{path}/large.bin").content == content
    with_pauses = limited_api("GET", f"{path}/large.bin", stream=True)
    time.sleep(0.2)
    assert b"".join(with_pauses.iter_content(50_000)) == content
    limited_api("DELETE", f"/sessions/{session}")


def test_a_stream_arrives_as_it_is_written(limited_api: Api) -> None:
    session = limited_api("POST", "/sessions", json={}).json()["sessionId"]
    # It goes on only once its first line has been read here.
    code = (
        "import os, time\n"
        "print('first', flush=True)\n"
        "while not os.path.exists('read'): time.sleep(0.01)\n"
        "print('second', flush=True)"
    )
    path = f"/sessions/{session}/executions"
    execution = limited_api("POST", path, json={"code": code}).json()["executionId"]
    answer = limited_api("GET", f"{path}/{execution}/events", stream=True)
    lines = (line for line in answer.iter_lines(chunk_size=None) if b"stdout" in line)
    assert b"first" in next(lines)
    written = limited_api("POST", f"/sessions/{session}/files", files={"file": ("read", b"1")})
    assert written.ok, written.text
    assert b"second" in next(lines)
    limited_api("DELETE", f"/sessions/{session}")


def test_results_never_cross(
    connect: Connect, publish: Publish, limited_server: ServerProcess
) -> None:
    """Some thousands of distinct inputs, many on the way at once, of two services."""
    paths = [publish("y = n"), publish("y = [n, n]")]
    connections = [connect() for _ in range(4)]
    for turn in range(40):
        for number, each in enumerate(connections):
            base = turn * 1000 + number * 100
            each.send(
                *(each.request(paths[i % 2], body(f"{base + i}" * (i + 1))) for i in range(20))
            )
        for number, each in enumerate(connections):
            base = turn * 1000 + number * 100
            for i in range(20):
                text = f"{base + i}" * (i + 1)
                assert y_of(each.receive()) == (text if i % 2 == 0 else [text, text])


def test_a_revoked_token_is_refused_by_the_next_request(
    limited_server: ServerProcess, echo: str
) -> None:
    for _ in range(2):
        pair = requests.post(
            f"{limited_server.public_url}/login",
            json={"username": "admin", "password": limited_server.admin_password},
            timeout=30,
        ).json()
        with RawConnection(limited_server.public_port, pair["access_token"]) as connection:
            for n in range(3):
                connection.send(connection.request(echo, body(n)))
                assert y_of(connection.receive()) == n
            revoked = requests.delete(
                f"{limited_server.public_url}/login/refreshToken",
                params={"refreshToken": pair["refresh_token"]},
                headers={"Authorization": f"Bearer {pair['access_token']}"},
                timeout=30,
            )
            assert revoked.ok, revoked.text
            connection.send(connection.request(echo, body(1)))
            assert_error(connection.receive(), 401)


def test_a_change_or_deletion_is_seen_by_the_next_call(
    connection: RawConnection, limited_api: Api, publish: Publish
) -> None:
    path = publish("y = 0", "changes")
    definition = "/services/changes/1.0"

    def call() -> Answer:
        connection.send(connection.request(path, body(1)))
        return connection.receive()

    for n in range(1, 4):
        assert limited_api("PATCH", definition, json={"code": f"y = {n}"}).ok
        assert [y_of(call()) for _ in range(2)] == [n, n]
    assert limited_api("DELETE", definition).ok
    assert call().status == 404
