"""Heads that are known by their bytes mean what a parser makes of them."""

from __future__ import annotations

import contextlib
import json
import time

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_mlsvc_server.front.connection import Request, key_of
from jupyter_mlsvc_server.front.heads import Heads
from tests.server.front.conftest import RawConnection, y_of

LINE_ENDS = st.sampled_from(["\r\n"] * 30 + ["\n", "\r", "\r\n ", "\r\n\t", "\r\n\r\n"])
USUAL = ["Host: localhost", "Authorization: Bearer a", "Content-Length: 5"]
OTHERS = st.lists(
    st.sampled_from(
        [
            "Host: localhost", "Authorization: Bearer a", "authorization: Bearer b",
            "Content-Length: 5", "content-length: 7", "Content-Length: 99999",
            "Transfer-Encoding: chunked", "Expect: 100-continue", "Origin: http://page.example",
            "Connection: close", "Connection: keep-alive", "Upgrade: h2c", "X-Request-Id: 7",
        ]
    ),
    max_size=2,
)  # fmt: skip


@given(
    before=st.sampled_from(["", "", "", "\r\n", "\n"]),
    first=st.sampled_from(
        ["POST /api/N/V HTTP/1.1"] * 4
        + ["POST /api/N/V HTTP/1.0", "GET /api/N/V HTTP/1.1", "POST /services HTTP/1.1"]
    ),
    usual=st.permutations(USUAL) | st.lists(st.sampled_from(USUAL), max_size=3),
    others=OTHERS,
    ends=st.lists(LINE_ENDS, min_size=8, max_size=8),
)
@example(
    before="",
    first="POST /api/N/V HTTP/1.1",
    usual=USUAL,
    others=["Upgrade: h2c"],
    ends=["\r\n"] * 8,
)
def test_only_what_every_parser_reads_alike_is_remembered(
    before: str, first: str, usual: list[str], others: list[str], ends: list[str]
) -> None:
    lines = [first, *usual, *others, ""]
    text = before + "".join(line + end for line, end in zip(lines, ends, strict=False))
    data = text.encode() + b"body\r\n\r\nand more"
    seen = _Parsed()
    parser = httptools.HttpRequestParser(seen)
    seen.parser = parser
    # What comes behind the body is no request.
    with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
        parser.feed_data(data)
    if seen.request is None:
        return
    heads = Heads(1000)
    heads.add(data, seen.request)
    head = data[: data.find(b"\r\n\r\n") + 4]
    known = heads.get(head)
    if known is None:
        return
    assert head == text.encode()[: len(head)]
    names = [line.partition(":")[0].lower() for line in head.decode().splitlines()[1:-1]]
    assert names.count("content-length") == 1
    assert not {"transfer-encoding", "expect", "upgrade"} & set(names)
    assert head.startswith(b"POST /api/N/V HTTP/1.1\r\n")
    assert known.length in (5, 7)
    assert known.key == ("N", "V")


class _Parsed:
    """Takes the first request, as a connection does."""

    parser: httptools.HttpRequestParser

    def __init__(self) -> None:
        self.request: Request | None = None
        self._reading = Request()

    def on_url(self, url: bytes) -> None:
        self._reading.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._reading.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.request is None:
            self.request = request = self._reading
            request.method = self.parser.get_method()
            request.version = self.parser.get_http_version()
            request.is_kept_alive = self.parser.should_keep_alive()
            if request.method == b"POST":
                request.key = key_of(request.url)
            for name, value in request.headers:
                if name.lower() == b"authorization":
                    request.authorization = value
                elif name.lower() == b"content-length":
                    request.length = int(value)
                elif name.lower() == b"transfer-encoding":
                    request.is_chunked = True
                elif name.lower() == b"expect":
                    request.expects = True
        self._reading = Request()


def test_a_usual_head_is_remembered() -> None:
    heads = Heads(1000)
    request = Request()
    request.headers = [(b"content-length", b"4")]
    request.key, request.authorization = key_of(b"/api/N/V"), b"Bearer a"
    request.length = 4
    head = b"POST /api/N/V HTTP/1.1\r\nAuthorization: Bearer a\r\nContent-Length: 4\r\n\r\n"
    heads.add(head + b"body", request)
    known = heads.get(head)
    assert known is not None
    assert (known.key, known.length, known.authorization) == (("N", "V"), 4, b"Bearer a")


def test_no_end_of_heads_is_kept() -> None:
    heads = Heads(1000)
    last = b""
    for n in range(5000):
        last = b"POST /api/N/V HTTP/1.1\r\nX-Request-Id: %d\r\n\r\n" % n
        request = Request()
        request.headers = [(b"Content-Length", b"0")]
        request.key, request.authorization = key_of(b"/api/N/V"), b"Bearer a"
        heads.add(last, request)
    assert heads.get(last) is not None
    assert len(heads._known) <= 1000


# --- at a real door --------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize(
    "headers",
    [(), ("Origin: http://page.example",), ("X-Trace: 1", "X-Trace: 2")],
    ids=["plain", "from a page", "twice"],
)
def test_a_known_head_is_answered_as_an_unknown_one(
    connection: RawConnection, echo: str, headers: tuple[str, ...]
) -> None:
    ids, seen = set(), []
    for n in (1, 2, 3):
        connection.send(connection.request(echo, json.dumps({"n": n}).encode(), *headers))
        answer = connection.receive()
        assert y_of(answer) == n
        ids.add(answer.headers.pop("x-request-id"))
        answer.headers.pop("date")
        seen.append(answer.headers)
    assert seen[0] == seen[1] == seen[2]
    assert len(ids) == 3


@pytest.mark.kernel
def test_a_known_head_with_more_or_less_behind_it(connection: RawConnection, echo: str) -> None:
    first, second = (connection.request(echo, json.dumps({"n": n}).encode()) for n in (1, 2))
    for _ in range(2):
        connection.send(first)
        assert y_of(connection.receive()) == 1
    # Two at once, then one in pieces, cut in the head, at its end and in the body.
    connection.send(first, second)
    assert [y_of(connection.receive()), y_of(connection.receive())] == [1, 2]
    end = first.index(b"\r\n\r\n") + 4
    for cut in (1, 20, end - 2, end, end + 3):
        connection.send(first[:cut])
        time.sleep(0.05)
        connection.send(first[cut:], second)
        assert [y_of(connection.receive()), y_of(connection.receive())] == [1, 2]
    connection.send(connection.request("/health/ready", method="GET"))
    assert connection.receive().json() == {"status": "ready"}
    connection.send(second)
    assert y_of(connection.receive()) == 2


@pytest.mark.kernel
def test_what_is_too_large_is_refused_each_time(connection: RawConnection, echo: str) -> None:
    data = b" " * 100_001
    for _ in range(3):
        with RawConnection(connection.port, connection.token) as another:
            another.send(another.request(echo, data))
            assert another.receive().status == 413
