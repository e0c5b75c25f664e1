"""Each route that streams, with a failure at each piece: the answer has no end then."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from jupyter_mlsvc_server import api
from jupyter_mlsvc_server.api.batches import BatchRoutes
from jupyter_mlsvc_server.api.host import HostRoutes
from jupyter_mlsvc_server.api.routing import Routes
from jupyter_mlsvc_server.api.sessions import SessionRoutes, WorkspaceRoutes
from jupyter_mlsvc_server.api.snapshots import SnapshotRoutes
from tests.serving import served, tokens_of

PIECE = bytes(range(65, 91)) * 4000
"""Longer than what a batch's answer gathers before its head is sent."""

PIECES = 3


async def pieces(fails_at: int) -> AsyncGenerator[bytes]:
    """Some pieces; a failure in place of one of them, or in place of the end."""
    for number in range(PIECES + 1):
        if number == fails_at:
            raise OSError("the disk is gone")
        if number < PIECES:
            yield PIECE


def asynchronous(value: Any) -> Callable[..., Any]:
    async def give(*_: object, **__: object) -> Any:
        return value

    return give


class Source:
    """A file that gives pieces, and ends too early or fails."""

    def __init__(self, fails_at: int, *, ends: bool = False) -> None:
        self._left, self._ends = fails_at, ends

    def read(self, size: int) -> bytes:
        if not self._left:
            if self._ends:
                return b""
            raise OSError("the disk is gone")
        self._left -= 1
        return PIECE[:size]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def snapshot(fails_at: int) -> Routes:
    snapshots = SimpleNamespace(
        get=asynchronous(SimpleNamespace(name="x")),
        archive_size=asynchronous(PIECES * len(PIECE) + 1),
        zip_stream=asynchronous(pieces(fails_at)),
    )
    return SnapshotRoutes(
        snapshots=cast("Any", snapshots), sessions=cast("Any", None), forms=cast("Any", None)
    ).table()


def batch(fails_at: int) -> Routes:
    batches = SimpleNamespace(
        get=asynchronous(None), results=SimpleNamespace(status=lambda *_, **__: pieces(fails_at))
    )
    return BatchRoutes(batches=cast("Any", batches)).table()


def execution(fails_at: int) -> Routes:
    session = SimpleNamespace(events=lambda *_: pieces(fails_at), touch=lambda: None)
    sessions = SimpleNamespace(get=asynchronous(session), heartbeat_interval=30.0)
    return SessionRoutes(sessions=cast("Any", sessions), forms=cast("Any", None)).table()


def file(fails_at: int, *, ends: bool = False) -> Routes:
    opened = SimpleNamespace(
        size=PIECES * len(PIECE) + 1, stream=Source(fails_at, ends=ends), object_suffix=""
    )
    session = SimpleNamespace(
        open_file=asynchronous(opened), get_object=asynchronous(opened), object_suffix=""
    )
    sessions = SimpleNamespace(get=asynchronous(session))
    return WorkspaceRoutes(sessions=cast("Any", sessions), forms=cast("Any", None)).table()


def cut_file(fails_at: int) -> Routes:
    return file(fails_at, ends=True)


def lease(fails_at: int) -> Routes:
    calls = iter(range(PIECES + 2))

    async def last() -> None:
        if next(calls) == fails_at:
            raise OSError("the disk is gone")

    routes = HostRoutes(
        leases=cast("Any", SimpleNamespace(hold=lambda: Source(0))),
        tokens=cast("Any", None),
        activity=cast("Any", SimpleNamespace(last=last, current=dict)),
        lifecycle=cast("Any", SimpleNamespace(public_url="", problem="")),
        authentication=cast("Any", SimpleNamespace(is_host=lambda _: True)),
        account_watch=cast("Any", None),
    )
    return routes.table()


@dataclass(frozen=True)
class Stream:
    """A route that streams.

    Attributes
    ----------
    path : str
        What is asked for.
    routes
        Makes the routes of it, with a failure at a piece.
    first : int
        First piece that belongs to the stream, and does not come before the head.
    """

    path: str
    routes: Callable[[int], Routes]
    first: int = 0


STREAMS = {
    "snapshot": Stream("/snapshots/1", snapshot),
    "batch": Stream("/api/a/1/batch/1", batch, 1),
    "execution": Stream("/sessions/1/executions/1/events", execution),
    "file": Stream("/sessions/1/files/a", file),
    "object": Stream("/sessions/1/workspace/a", file),
    "cut file": Stream("/sessions/1/files/a", cut_file),
    "lease": Stream("/host", lease),
}


def test_each_use_of_a_stream_is_tested() -> None:
    folder = Path(api.__path__[0])
    uses = sum(
        len(re.findall(r"return StreamedResponse\(", each.read_text()))
        for each in folder.glob("*.py")
    )
    # Files and objects are sent by one function. Large answers come from memory, in two places, and
    # what goes wrong with a call that answers item by item is the last part of its answer.
    assert uses - 3 == len(STREAMS) - 2


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_failure_at_any_piece_cuts_the_answer(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.api.host._PAUSE", 0)
    stream = STREAMS[kind]
    for fails_at in range(stream.first, PIECES + 1):
        async with served(stream.routes(fails_at), tokens=tokens_of("ann")) as port:
            head, body = await answer(port, stream.path)
        assert head.startswith(b"HTTP/1.1 200"), head
        if b"chunked" in head:
            assert not body.endswith(b"0\r\n\r\n")
        else:
            (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
            assert len(body) < int(length)
        assert b"HTTP/1.1" not in body  # nothing follows, not even what was asked next


async def test_a_failure_before_the_head_is_an_error() -> None:
    async with served(batch(0), tokens=tokens_of("ann")) as port:
        head, _ = await answer(port, STREAMS["batch"].path)
    assert head.startswith(b"HTTP/1.1 500")


async def answer(port: int, path: str) -> tuple[bytes, bytes]:
    """Ask twice on one connection; give what came until the server closed it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for connection in ("keep-alive", "close"):
        lines = [f"GET {path} HTTP/1.1", "Host: here", "Authorization: Bearer t"]
        lines.append(f"Connection: {connection}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
    data = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body
