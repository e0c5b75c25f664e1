"""Large bodies on the link to a worker: passed on in the pieces in which they come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlsvc_server.formats.envelope import Form, enveloped, opened
from jupyter_mlsvc_server.formats.pieces import LARGE, Body, Pieces, after, beginning
from jupyter_mlsvc_server.formats.protocol import (
    ANSWER,
    REQUEST,
    Kind,
    Notes,
    split_notes,
    with_notes,
)
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.worker_connection import WorkerConnection

READ = 2**18
"""Bytes that the loop reads at once."""


class Transport(asyncio.Transport):
    """Keeps what is written, one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def writelines(self, list_of_data: Any) -> None:
        self.written += list_of_data


class Link:
    """The server's end of a connection to a worker, and the answers that came on it."""

    def __init__(self, *bodies: Body) -> None:
        self.answers: list[tuple[Kind, Body]] = []
        self.transport = Transport()
        self.connection = WorkerConnection(0, Path("none"), self._answered, lambda _: None)
        self.connection.connection_made(self.transport)
        self.connection.data_received(ANSWER.pack(0, 4, Kind.READY))
        for number, body in enumerate(bodies, 1):
            request = PendingRequest(DefinitionKey("a", "1"), body, lambda _: None)
            request.number = number
            self.connection.worker.requests.append(request)
            self.connection.send(request)

    def _answered(
        self, link: WorkerConnection, _number: int, kind: Kind, body: Body, _now: float
    ) -> None:
        link.worker.requests.popleft()
        self.answers.append((kind, body))


def framed(bodies: Sequence[bytes]) -> bytes:
    return b"".join(
        ANSWER.pack(len(body), number, Kind.SUCCESS) + body for number, body in enumerate(bodies, 1)
    )


SIZES = st.sampled_from([0, 5, 1000, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE])


@given(
    sizes=st.lists(SIZES, min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 2**20), max_size=5),
)
def test_answers_are_whole_however_they_are_cut(sizes: list[int], cuts: list[int]) -> None:
    bodies = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    stream = framed(bodies)
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})

    async def receive() -> list[tuple[Kind, Body]]:
        link = Link(*[b""] * len(bodies))
        begin = 0
        for end in ends:
            if end > begin:
                link.connection.data_received(stream[begin:end])
            begin = end
        return link.answers

    found = asyncio.run(receive())
    assert [bytes(body) for _, body in found] == bodies


async def test_a_large_answer_is_neither_joined_nor_copied() -> None:
    size = 50 * READ
    link = Link(b"")
    stream = framed([b"x" * size])
    reads = [stream[at : at + READ] for at in range(0, len(stream), READ)]
    for read in reads:
        link.connection.data_received(read)
    ((kind, body),) = link.answers
    assert (kind, len(body)) == (Kind.SUCCESS, size)
    pieces = list(body)
    assert isinstance(body, Pieces)
    assert all(piece is read for piece, read in zip(pieces[1:-1], reads[1:-1], strict=True))
    assert not list(link.connection._piece)


async def test_a_large_request_is_written_in_its_pieces() -> None:
    pieces = [bytes([65 + number]) * LARGE for number in range(8)]
    body = enveloped(Form.ARROW_IN, Pieces(pieces))
    link = Link(b"{}", body)
    assert link.connection.may_have_run is False
    await asyncio.sleep(0)
    written = link.transport.written
    assert written[2] == REQUEST.pack(len(body), 2, 0)
    assert all(one is piece for one, piece in zip(written[4:], pieces, strict=True))
    assert opened(b"".join(written[3:])).body == b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, 3, 5, 10, 12])
def test_a_body_in_pieces_has_a_beginning_and_a_rest(size: int) -> None:
    whole, pieces = b"abcdefghij", [b"abc", b"de", b"fghij"]
    assert beginning(Pieces(pieces), size) == beginning(whole, size) == whole[:size]
    assert bytes(after(Pieces(pieces), size)) == after(whole, size) == whole[size:]


def test_notes_are_taken_off_a_body_in_pieces() -> None:
    notes = Notes(kind=0, printed=b"said")
    whole = with_notes(notes, b"x" * 100)
    for cut in range(1, 30):
        found, body = split_notes(Pieces([whole[:cut], whole[cut:]]))
        assert (found, bytes(body)) == (notes, b"x" * 100)


def test_pieces_that_are_taken_are_forgotten() -> None:
    body = Pieces([b"ab", b"c"])
    taken = body.take()
    assert next(taken) == b"ab"
    assert (list(body), len(body)) == ([b"c"], 3)
    assert not Pieces([b"a", b"b"]).forget(2)
    assert Pieces([b"a", b"b"]).forget(1)
