"""Bytes that are nearly HTTP: what is taken for requests is what another parser takes them for.

Where two programs in a row disagree about where a request ends, somebody can hide one in another.
So the requests that are answered here are compared with those that h11 reads from the same bytes.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Iterator

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.calls import Effort
from tests.server.api.stub import Client, Stub, turns

_EXAMPLES = os.environ.get("MLSVC_FUZZ_EXAMPLES")
_EFFORT = Effort.of(str(100 * int(_EXAMPLES)) if _EXAMPLES else None)

_METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"get", b"X-Y", b"PO ST", b""])
_TARGETS = st.sampled_from(
    [b"/a", b"/b?x=1", b"/%2e", b"*", b"http://x/a", b"/a b", b"/a#b", b"", b"/\x80", b"//x"]
)
_VERSIONS = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1", b""])
_HEADERS = st.sampled_from(
    [
        b"Content-Length: 3", b"Content-Length: 5", b"content-length:3", b"Content-Length: 3, 3",
        b"Content-Length: +3", b"Content-Length: 0x3", b"Content-Length : 3", b"Content-Length:",
        b"Content-Length: 03", b"Content-Length: 3\t", b"Content-Length: -1", b" Content-Length: 3",
        b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked", b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: identity",
        b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding", b"Transfer-Encoding: xchunked",
        b"Connection: close", b"Connection: keep-alive", b"Connection: Content-Length",
        b"Host: y", b"Expect: 100-continue", b"Upgrade: h2c", b"X: y", b"X: y\r\n folded", b"X",
        b"X: \x00", b"X: \xff", b"X\x00: y", b": y", b"X: y\rContent-Length: 3",
        b"X: y\nContent-Length: 3", b"Authorization: Bearer known",
    ]
)  # fmt: skip
_BODIES = st.sampled_from(
    [
        b"", b"abc", b"abcde", b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n", b"03\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n00\r\n\r\n", b"1%016x\r\nabc\r\n0\r\n\r\n" % 3,
        b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n", b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
)  # fmt: skip
_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n\r\n"])
_USUAL = st.sampled_from([[b"Host: x"]] * 8 + [[], [b"Host: x", b"Host: x"]])
_EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 2), st.sampled_from(list(b"\r\n\t \0:;,3a\xff"))),
    max_size=2,
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make up one request, or what looks like one."""
    first = b" ".join((draw(_METHODS), draw(_TARGETS), draw(_VERSIONS)))
    headers = draw(_USUAL) + draw(st.lists(_HEADERS, max_size=3))
    head = b"".join(line + draw(_ENDS) for line in (first, *headers))
    return head + b"\r\n" + draw(_BODIES)


@st.composite
def plain_requests(draw: st.DrawFn) -> bytes:
    """Make up one that is as it should be."""
    body = draw(st.sampled_from([b"", b"abc", b"a" * 70]))
    return b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def edited(data: bytes, edits: list[tuple[int, int, int]]) -> bytes:
    """Put bytes in, take them out or change them."""
    changed = bytearray(data)
    for at, removed, new in edits:
        place = at % (len(changed) + 1)
        changed[place : place + removed] = bytes([new])
    return bytes(changed)


def read_by_h11(data: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], str]:
    """Give methods, targets and bodies of whole requests, and why the next one is refused."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**16)
    connection.receive_data(data)
    found, body, head = [], b"", None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                # Here the application gets the path alone, whatever server it is asked of.
                target = re.sub(rb"^http://[^/]*", b"", head.target)
                found.append((head.method, target, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return found, ""
                connection.start_next_cycle()
            else:
                return found, ""
    except h11.RemoteProtocolError as error:
        return found, str(error)


async def read_here(data: bytes, sizes: list[int]) -> tuple[list[tuple[bytes, bytes, bytes]], int]:
    """Give the same of what is answered here, and the status that ends it; 0 for none."""
    stub = Stub()
    connection, client = stub.connect()
    waiting = deque(_cut(data, sizes))
    quiet = 0
    while (waiting or connection.is_busy) and quiet < 50 and not client.is_gone:
        quiet += 1
        if waiting and not client.is_paused:
            quiet = 0
            connection.data_received(waiting.popleft())
        await asyncio.sleep(0)
    await turns()
    answers = list(_answers(client))
    asked = [
        (
            scope["method"].encode(),
            scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b""),
        )
        for scope in stub.app.scopes
    ]
    whole = [body for status, body in answers if status == 200]
    refused = [status for status, _ in answers if status != 200]
    connection.connection_lost(None)
    await turns()
    return [(*head, body) for head, body in zip(asked, whole, strict=False)], [*refused, 0][0]


def _cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in [*sizes, len(data)]:
        if data[at : at + size]:
            yield data[at : at + size]
        at += size


def _answers(client: Client) -> Iterator[tuple[int, bytes]]:
    data = client.answers
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            continue
        found = re.search(rb"(?i)content-length: (\d+)", head)
        length = int(found[1]) if found else 0
        yield int(head.split()[1]), data[:length]
        data = data[length:]


@settings(_EFFORT.settings(costly=False), max_examples=max(_EFFORT.examples, 300))
@given(
    parts=st.lists(requests() | plain_requests(), min_size=1, max_size=4),
    edits=_EDITS,
    sizes=st.lists(st.integers(1, 60), max_size=10),
)
@example(
    parts=[
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    ],
    edits=[],
    sizes=[],
)
async def test_what_is_answered_is_what_another_parser_reads(
    parts: list[bytes], edits: list[tuple[int, int, int]], sizes: list[int]
) -> None:
    data = edited(b"".join(parts), edits)
    here, status = await read_here(data, sizes)
    there, refusal = read_by_h11(data)
    both = min(len(here), len(there))
    assert here[:both] == there[:both], data
    # Empty lines before a request are skipped here, and spaces in its first line may be doubled.
    assert len(here) <= len(there) or "request line" in refusal, data
    if status:
        assert 400 <= status < 500 or status in {501, 505}
