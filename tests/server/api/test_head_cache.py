"""Heads that are known by their bytes mean what a parser makes of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_mlsvc_server.api.head_cache import CallHead, HeadCache
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from tests.server.api.conftest import RawConnection, y_of
from tests.server.api.stub import Engine, Stub, make_score, turns

LINE_ENDS = st.sampled_from(["\r\n"] * 30 + ["\n", "\r", "\r\n ", "\r\n\t", "\r\n\r\n"])
USUAL = ["Host: localhost", "Authorization: Bearer known", "Content-Length: 5"]
OTHERS = st.lists(
    st.sampled_from(
        [
            "Host: localhost", "Authorization: Bearer known", "authorization: Bearer b",
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
async def test_only_what_every_parser_reads_alike_is_remembered(
    before: str, first: str, usual: list[str], others: list[str], ends: list[str]
) -> None:
    lines = [first, *usual, *others, ""]
    text = before + "".join(line + end for line, end in zip(lines, ends, strict=False))
    stub = Stub()
    connection, _ = stub.connect()
    # What comes behind the body is no request.
    connection.data_received(text.encode() + b"body\r\n\r\nand more")
    await turns()
    for raw, known in stub.server.heads._known.items():
        assert raw == text.encode()[: len(raw)]
        names = [line.partition(":")[0].lower() for line in raw.decode().splitlines()[1:-1]]
        assert names.count("host") == 1
        assert names.count("content-length") == 1
        assert names.count("authorization") == 1
        assert not {"transfer-encoding", "expect", "upgrade"} & set(names)
        assert raw.startswith(b"POST /api/N/V HTTP/1.1\r\n")
        assert b"\r\n\r\n" not in raw[:-4]
        assert known.length in (5, 7)
        assert known.key == ("N", "V")


def known_call(token: str, more: str = "") -> tuple[bytes, CallHead]:
    first = f"POST /api/N/V HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    raw = f"{first}{more}Content-Length: 4\r\n\r\n".encode()
    return raw, CallHead(DefinitionKey("N", "V"), b"/api/N/V", token, 4, None)


def test_a_usual_head_is_remembered() -> None:
    heads = HeadCache()
    raw, head = known_call("a")
    heads.add(raw + b"body", head)
    assert heads.get(raw) is head


async def test_who_is_known_by_the_head_needs_a_token_that_is_good_now() -> None:
    stub = Stub()
    raw, _ = known_call("known")
    connection, client = stub.connect()
    for _ in range(2):
        connection.data_received(raw + b"body")
        await turns()
    assert len(stub.engine.calls) == 2
    assert not stub.app.scopes
    stub.tokens.forget()
    connection.data_received(raw + b"body")
    await turns()
    assert len(stub.engine.calls) == 2
    assert len(stub.app.scopes) == 1
    assert client.answers.count(b"HTTP/1.1 200 OK") == 3


def test_no_end_of_heads_is_kept_and_no_long_ones() -> None:
    heads = HeadCache()
    last = b""
    for n in range(5000):
        last, head = known_call(str(n))
        heads.add(last, head)
    assert heads.get(last) is not None
    assert len(heads._known) <= 1000
    long, head = known_call("a", f"X: {'x' * 5000}\r\n")
    heads.add(long, head)
    assert heads.get(long) is None


async def test_long_paths_are_read_and_not_kept() -> None:
    score = make_score(Engine())
    for number in range(20):
        url = b"/api/name/%d?%b" % (number, b"x" * 60_000)
        assert score.key_of(url) == ("name", str(number))
    assert score.key_of(b"/api/name/1") == ("name", "1")
    assert [*score._paths] == [b"/api/name/1"]


async def test_a_known_head_with_more_or_less_behind_it() -> None:
    stub = Stub()
    raw, _ = known_call("known")
    first, second = raw + b"1111", raw + b"2222"
    ways = [
        [first],
        [first, second],
        [first + second],
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + first],
    ]
    # In pieces, cut in the head, at its end and in the body.
    ways += [
        [first[:cut], first[cut:] + second] for cut in (1, 20, *range(len(raw) - 4, len(first)))
    ]
    connection, client = stub.connect()
    for reads in ways * 2:
        client.answers = b""
        for read in reads:
            connection.data_received(read)
            await turns()
        bodies = [answer for answer in (b"1111", b"2222") if answer in b"".join(reads)]
        count = b"".join(reads).count(b" HTTP/1.1\r\n")
        assert client.answers.count(b"HTTP/1.1 200 OK\r\n") == count
        assert client.answers.endswith(bodies[-1])
        assert all(body in client.answers for body in bodies)


# --- at a real server ------------------------------------------------------------------------


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
def test_what_is_too_large_is_refused_each_time(connection: RawConnection, echo: str) -> None:
    data = b" " * 100_001
    for _ in range(3):
        with RawConnection(connection.port, connection.token) as another:
            another.send(another.request(echo, data))
            assert another.receive().status == 413


def test_calls_are_known_below_what_a_proxy_leaves_and_without_it() -> None:
    score = make_score(Engine(), base_path="/services/h.b")
    for url in (b"/services/h.b/api/N/V", b"/api/N/V"):
        assert score.key_of(url) == DefinitionKey("N", "V")
    for url in (b"/services/hub/api/N/V", b"/services/h.bapi/N/V", b"/services/h.b//api/N/V"):
        assert score.key_of(url) is None
