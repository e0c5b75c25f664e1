"""Which connections are taken, how long they are kept, and which heads."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets import TraitError

from jupyter_mlsvc_server.api.admission import Admission, connections_possible
from jupyter_mlsvc_server.api.protocol import Limits, Protocol
from jupyter_mlsvc_server.api.proxies import TrustedProxies
from jupyter_mlsvc_server.auth.addresses import network_of
from jupyter_mlsvc_server.server import MlsvcApp
from tests.server.api.stub import Client, Stub, turns

LIMITS = Limits()
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
CALL = b"POST /api/a/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"
NETWORKS = ["127.0.0.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "10.0.0.1"]


class Idler:
    """A connection that may be idle."""

    def __init__(self, address: str, idle_since: float | None) -> None:
        self.client: tuple[str, int] | None = (address, 4711)
        self.network = network_of(address)
        self.idle_since = idle_since
        self.is_ended = False

    def end_idle(self) -> None:
        self.is_ended = True


def make(most: int = 8, of_address: int = 2) -> Admission:
    return Admission(most, of_address, TrustedProxies(["10.0.0.0/8"]))


_EVENTS = st.lists(
    st.tuples(st.sampled_from(NETWORKS), st.none() | st.floats(0, 100), st.booleans()), max_size=60
)


@given(_EVENTS)
def test_no_more_are_taken_than_may_be_in_all_and_of_an_address(events: Any) -> None:
    admission = make()
    taken: list[Idler] = []
    for address, idle_since, leaves in events:
        if leaves and taken:
            admission.forget(taken.pop())
            continue
        new = Idler(address, idle_since)
        if (refusal := admission.admit(new)) is None:
            taken.append(new)
        else:
            assert refusal.status in {429, 503}
        taken = [each for each in taken if not each.is_ended]
        assert len(taken) <= 8
        counts = [each.network for each in taken]
        for network in counts:
            is_of_many = network in {"127.0.0.1", "10.0.0.1"}
            assert counts.count(network) <= (6 if is_of_many else 2)
    for each in taken:
        admission.forget(each)
    assert not admission._admitted
    assert not admission._by_network


def test_who_has_been_idle_longest_and_is_not_known_makes_room() -> None:
    admission = make()
    busy, long_idle, idle = (Idler(f"192.0.2.{n}", since) for n, since in enumerate((None, 1, 2)))
    others = [Idler(f"198.51.100.{n}", None) for n in range(5)]
    for each in (busy, long_idle, idle, *others):
        assert admission.admit(each) is None
    assert admission.admit(Idler("203.0.113.1", None)) is None
    assert [busy.is_ended, long_idle.is_ended, idle.is_ended] == [False, True, False]
    assert admission.admit(Idler("203.0.113.2", None)) is None
    refusal = admission.admit(Idler("203.0.113.3", None))
    assert refusal is not None
    assert "8 clients are connected" in refusal.message


# --- connections -----------------------------------------------------------------------------


async def is_idle_for(stub: Stub, connection: Protocol, client: Client, seconds: float) -> bool:
    stub.wait(seconds - 1)
    is_kept = not client.is_gone
    stub.wait(3)
    connection.connection_lost(None)
    return is_kept and client.is_gone


@pytest.mark.parametrize("sent", [b"", GET], ids=["nothing", "anonymous"])
async def test_a_connection_of_nobody_is_closed_soon(sent: bytes) -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(sent)
    await turns()
    assert await is_idle_for(stub, connection, client, LIMITS.anonymous_idle_seconds)


@pytest.mark.parametrize("calls", [1, 2], ids=["parsed", "known by its bytes"])
async def test_a_connection_of_somebody_is_kept_for_long(calls: int) -> None:
    stub = Stub()
    for _ in range(calls):
        connection, client = stub.connect()
        connection.data_received(CALL + b"Content-Length: 2\r\n\r\n{}")
        await turns()
    assert len(stub.engine.calls) == calls
    assert await is_idle_for(stub, connection, client, LIMITS.idle_seconds)


async def test_a_connection_is_kept_for_long_once_the_application_knows_who_asks() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(GET.replace(b"/a", b"/known"))
    await turns()
    assert await is_idle_for(stub, connection, client, LIMITS.idle_seconds)


async def test_a_connection_too_many_is_told_so_and_closed() -> None:
    stub = Stub(Limits(connections=4, connections_of_address=1))
    connections = []
    for _ in range(4):
        connection, client = stub.connect()
        connection.data_received(GET[:10])
        connections.append((connection, client))
    assert connections[-1][1].is_gone
    head, _, body = connections[-1][1].answers.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 1" in head
    assert "3 connections here" in json.loads(body)["message"]
    connections[0][0].connection_lost(None)
    connection, client = stub.connect()
    assert not client.is_gone


# --- heads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "status", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"one Host header; this one has 0"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, b"this one has 2"),
        (CALL.replace(b"Host: x\r\n", b"") + b"Content-Length: 0\r\n\r\n", 400, b"has 0"),
        (CALL + b"host: y\r\nContent-Length: 0\r\n\r\n", 400, b"has 2"),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, b"this one has 2"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, b"gzip"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, b"gzip"),
        (CALL + b"Transfer-Encoding: xchunked\r\n\r\n", 501, b"xchunked"),
        (GET[:-2] + b"X: y\r\n" * 99 + b"\r\n", 200, b""),
        (GET[:-2] + b"X: y\r\n" * 100 + b"\r\n", 431, b"101 headers; 100 are taken"),
        (CALL + b"X: y\r\n" * 99 + b"Content-Length: 0\r\n\r\n", 431, b"102 headers"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, b"HTTP/2.0"),
    ],
)
@pytest.mark.parametrize("size", [7, 10_000], ids=["pieces", "whole"])
async def test_heads_that_are_not_taken(head: bytes, status: int, words: bytes, size: int) -> None:
    stub = Stub()
    connection, client = stub.connect()
    for at in range(0, len(head), size):
        connection.data_received(head[at : at + size])
    await turns()
    assert client.answers.startswith(b"HTTP/1.1 %d " % status)
    assert words in client.answers
    assert client.is_closed == (status != 200)


async def test_ten_megabytes_of_a_head_are_refused_with_the_first_of_them() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(b"GET /" + b"a" * 10_000_000)
    await turns()
    assert client.answers.startswith(b"HTTP/1.1 431 ")
    assert client.is_closed


# --- settings --------------------------------------------------------------------------------


def test_connections_leave_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    assert [connections_possible(most) for most in (100, 10_000)] == [100, 750]


def test_settings_of_connections_are_counts() -> None:
    app = MlsvcApp(max_connections=5, max_connections_of_address=2, max_held_bytes=2**20)
    assert app.max_connections > app.max_connections_of_address
    with pytest.raises(TraitError, match="max_connections"):
        MlsvcApp(max_connections=0)
