"""Answers that a worker keeps, and what the server makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.formats.protocol import ANSWER, Flush, Kind
from jupyter_mlsvc_server.formats.reply_buffer import ReplyBuffer, ReplyBufferReader
from jupyter_mlsvc_server.scoring.worker_connection import WorkerConnection
from tests.server.scoring.serving import give


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


class Answered:
    """A link with the answers that came, and a worker's reply buffer at its other end."""

    def __init__(
        self, link: WorkerConnection, reply_buffer: ReplyBuffer, bodies: list[bytes]
    ) -> None:
        self.link = link
        self.reply_buffer = reply_buffer
        self.bodies = bodies
        self.lost = asyncio.Event()

    def send(self, *bodies: bytes) -> None:
        give(self.link, *bodies)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.bodies) < count:  # noqa: ASYNC110  # the link tells nobody
                await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def answered(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> AsyncIterator[Answered]:
    ours, theirs = ends
    bodies: list[bytes] = []
    path = tmp_path / "replies"
    reply_buffer = ReplyBuffer(theirs, path)

    def answered(
        link: WorkerConnection, _number: int, _kind: Kind, body: Body, _now: float
    ) -> None:
        link.worker.requests.popleft()
        bodies.append(bytes(body))

    _, link = await asyncio.get_running_loop().create_unix_connection(
        lambda: WorkerConnection(0, path, answered, lambda _: None),
        sock=ours,
    )
    theirs.sendall(ANSWER.pack(0, 1, Kind.READY))
    await link.started
    yield Answered(link, reply_buffer, bodies)
    link.abort()


async def test_what_is_kept_is_taken_once(answered: Answered) -> None:
    answered.send(b"1", b"2", b"3")
    answered.reply_buffer.put(1, Kind.SUCCESS, b"one", Flush.SOON)
    await answered.wait(1)
    answered.reply_buffer.put(2, Kind.FAILURE, b"two", Flush.SOON)
    answered.reply_buffer.put(3, Kind.SUCCESS, b"three", Flush.NOW)
    await answered.wait(3)
    answered.send(b"4")
    answered.reply_buffer.put(4, Kind.SUCCESS, b"four", Flush.NOW)
    await answered.wait(4)
    assert answered.bodies == [b"one", b"two", b"three", b"four"]
    assert not answered.link.worker.requests
    assert not answered.link.worker.is_lost


async def test_what_is_too_large_to_keep_goes_in_its_turn(answered: Answered) -> None:
    answered.send(*(b"x" for _ in range(5)))
    large = bytes(300_000)
    sending = asyncio.to_thread(_put_all, answered.reply_buffer, [b"1", large, b"3", large, b"5"])
    await asyncio.gather(sending, answered.wait(5))
    assert answered.bodies == [b"1", large, b"3", large, b"5"]


def _put_all(reply_buffer: ReplyBuffer, bodies: list[bytes]) -> None:
    for number, body in enumerate(bodies, start=1):
        reply_buffer.put(number, Kind.SUCCESS, body, int(number < len(bodies)))


async def test_what_a_worker_kept_when_it_ended_is_taken(
    answered: Answered, ends: tuple[socket.socket, socket.socket]
) -> None:
    answered.send(b"1", b"2", b"3")
    answered.reply_buffer.put(1, Kind.SUCCESS, b"one", Flush.SOON)
    answered.reply_buffer.put(2, Kind.SUCCESS, b"two", Flush.SOON)
    ends[1].close()
    await answered.wait(2)
    assert answered.bodies == [b"one", b"two"]
    assert [call.body for call in answered.link.worker.requests] == [b"3"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"\xff\xff\xff\xff", b"\x10\0\0\0" + b"\xff" * 60, b"\x30\0\0\0" + bytes(60)],
    ids=["empty", "short", "too long", "nonsense", "zeros"],
)
async def test_what_the_users_code_wrote_there_is_no_answer(
    answered: Answered, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "replies").write_bytes(content)
    answered.send(b"1", b"2")
    await asyncio.sleep(0.05)
    assert answered.bodies == []
    assert len(answered.link.worker.requests) == 2


async def test_where_no_file_can_be_made_each_answer_is_sent(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    reply_buffer = ReplyBuffer(ends[1], tmp_path / "missing" / "replies")
    reply_buffer.put(1, Kind.SUCCESS, b"one", Flush.SOON)
    assert ends[0].recv(100) == ANSWER.pack(3, 1, Kind.SUCCESS) + b"one"
    assert ReplyBufferReader(tmp_path / "missing" / "replies").look() == b""


async def test_a_file_that_others_have_put_there_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "replies")
    opening = threading.Thread(
        target=lambda: ReplyBufferReader(tmp_path / "replies").close(), daemon=True
    )
    opening.start()
    await asyncio.to_thread(opening.join, 60)
    assert not opening.is_alive()


async def test_nobody_looks_where_no_request_is_left(answered: Answered, tmp_path: Path) -> None:
    answered.send(b"1", b"2")
    (tmp_path / "replies").write_bytes(b"\x10\0\0\0" + b"\xff" * 60)
    answered.reply_buffer.send([1, 2], [(Kind.SUCCESS, b"one"), (Kind.SUCCESS, b"two")])
    await answered.wait(2)
    await asyncio.sleep(0.05)
    assert answered.link._looking is None


async def test_one_look_at_a_time_is_due_however_many_answers_were_taken_early(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    def send_another(link: WorkerConnection, *_: object) -> None:
        link.worker.requests.popleft()
        give(link, b"")
        taken.append(None)

    loop = asyncio.get_running_loop()
    taken: list[None] = []
    reply_buffer = ReplyBuffer(ends[1], tmp_path / "replies")
    _, link = await loop.create_unix_connection(
        lambda: WorkerConnection(0, tmp_path / "replies", send_another, lambda _: None),
        sock=ends[0],
    )
    ends[1].sendall(ANSWER.pack(0, 1, Kind.READY))
    await link.started
    for _ in range(2):
        give(link, b"")
    for number in range(1, 5):
        reply_buffer.put(number, Kind.SUCCESS, b"", Flush.SOON)
        async with asyncio.timeout(60):
            while len(taken) < number:  # noqa: ASYNC110  # the link tells nobody
                await asyncio.sleep(0.001)
    looks = [each for each in loop._scheduled if each._callback == link._look]  # type: ignore[attr-defined]
    assert len(looks) == 1
    link.abort()


def test_answers_of_groups_are_kept_longer_unless_somebody_waits(
    ends: tuple[socket.socket, socket.socket],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.formats.reply_buffer.monotonic", lambda: 0.0)
    ours, theirs = ends
    box = ReplyBuffer(theirs, tmp_path / "replies")

    def numbers() -> list[int]:
        with contextlib.suppress(BlockingIOError):
            return [number for _, number, _ in ANSWER.iter_unpack(ours.recv(2**16))]
        return []

    for number in range(20):
        box.put(number, Kind.SUCCESS, b"", Flush.BULK)
    assert numbers() == []
    box.put(20, Kind.SUCCESS, b"", Flush.SOON)
    assert numbers() == [*range(21)]
    for number in range(3):
        box.put(number, Kind.SUCCESS, b"", Flush.SOON)
    for number in range(3, 8):
        box.put(number, Kind.SUCCESS, b"", Flush.BULK)
    assert numbers() == [*range(8)]
    box.put(0, Kind.SUCCESS, b"", Flush.BULK)
    box.put(1, Kind.SUCCESS, b"", Flush.NOW)
    assert numbers() == [0, 1]
