"""Questions and answers between the server and the front."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc_server import errors
from jupyter_mlsvc_server.auth.errors import ExpiredAccessToken
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.front.link import Link, LinkEnded, error_of, failure_of
from jupyter_mlsvc_server.front.messages import Consume, Definition, Statistics, ToFront
from jupyter_mlsvc_server.scoring import errors as scoring_errors
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.request import Ended, PendingRequest


def _same(link: Link) -> Link:
    return link


KEY = DefinitionKey("a", "1")
ERRORS: list[MlsvcServerError] = [
    errors.BadRequest("no"),
    errors.Unauthorized("who", token_was_sent=True),
    errors.NotFound("where"),
    errors.Busy("later", retry_after=7),
    errors.TooManyRequests("slowly", retry_after=3),
    errors.MlsvcServerError("ours"),
    scoring_errors.UnservableCode("syntax"),
    scoring_errors.ServiceUnavailable(KEY, "It can't."),
    scoring_errors.QueueFull(KEY, 5, 9),
    scoring_errors.RunTooLong(KEY, 3),
    scoring_errors.WaitTooLong(KEY, 3),
    scoring_errors.WorkerEnded(KEY, -9),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_crosses_as_what_it_is(error: MlsvcServerError) -> None:
    crossed = error_of(failure_of(error))
    assert type(crossed) is type(error)
    assert (crossed.status, crossed.message) == (error.status, error.message)
    assert crossed.headers == error.headers
    assert str(crossed) == str(error)


def test_an_error_of_another_package_crosses_as_its_status() -> None:
    error = ExpiredAccessToken()
    crossed = error_of(failure_of(error))
    assert type(crossed) is errors.Unauthorized
    assert (crossed.message, crossed.headers) == (error.message, error.headers)


def test_an_error_of_a_status_of_its_own_keeps_it() -> None:
    class Teapot(MlsvcServerError):
        status = 418

    crossed = error_of(failure_of(Teapot("short and stout")))
    assert (crossed.status, crossed.message) == (418, "short and stout")


Pair = Callable[[Callable[[Any], Awaitable[Any]]], Awaitable[tuple[Link, Link]]]


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    """A function that makes two ends, of which the second one answers."""
    links: list[Link] = []

    async def make(answer: Callable[[Any], Awaitable[Any]]) -> tuple[Link, Link]:
        log = logging.getLogger("test")
        asker = Link(ToFront, {}, {}, log)
        answerer = Link(ToFront, {Consume: answer, Statistics: answer}, {}, log)
        loop = asyncio.get_running_loop()
        for link, end in zip((asker, answerer), socket.socketpair(), strict=True):
            await loop.create_unix_connection(partial(_same, link), sock=end)
            links.append(link)
        return asker, answerer

    yield make
    for link in links:
        link.close()
    await asyncio.sleep(0)


async def test_many_questions_are_open_at_a_time_and_large_ones_arrive_whole(pair: Pair) -> None:
    async def answer(question: Consume) -> ScoringAnswer:
        await asyncio.sleep(len(question.body) % 7 / 1000)
        return ScoringAnswer(200, question.body[::-1], True)

    asker, _ = await pair(answer)
    bodies = [b"%d" % n * (n * n % 5000) for n in range(300)] + [b"xy" * 10_000_000]
    answers = await asyncio.gather(
        *(asker.ask(Consume("a", "1", body), ScoringAnswer) for body in bodies)
    )
    assert [found.body for found in answers] == [body[::-1] for body in bodies]


async def test_who_gives_up_stops_the_work(pair: Pair) -> None:
    stopped = asyncio.Event()

    async def answer(_: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.set()
            raise

    asker, _ = await pair(answer)
    asking = asyncio.create_task(asker.ask(Statistics()))
    await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.wait_for(stopped.wait(), 5)


async def test_the_end_of_the_link_fails_what_is_open_and_what_comes_later(pair: Pair) -> None:
    async def answer(_: Any) -> None:
        await asyncio.sleep(60)

    asker, answerer = await pair(answer)
    asking = asyncio.create_task(asker.ask(Statistics()))
    await asyncio.sleep(0.05)
    answerer.close()
    with pytest.raises(LinkEnded):
        await asyncio.wait_for(asking, 5)
    with pytest.raises(LinkEnded):
        await asker.ask(Statistics())


async def test_a_fault_of_ours_crosses_without_its_text(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(_: Any) -> None:
        raise RuntimeError("inside")

    asker, _ = await pair(answer)
    with pytest.raises(MlsvcServerError) as caught:
        await asker.ask(Statistics())
    assert caught.value.message == ""
    assert "RuntimeError: inside" in caplog.text


async def test_calls_are_answered_without_a_task_and_forgotten_when_the_asker_leaves() -> None:
    calls: list[PendingRequest] = []

    def submit(question: Consume, ended: Ended) -> PendingRequest:
        call = PendingRequest(KEY, question.body, ended)
        calls.append(call)
        if question.body == b"at once":
            call.end(ScoringAnswer(200, b"now", True))
        elif question.body == b"fails":
            call.end(errors.Busy("later", retry_after=7))
        return call

    log = logging.getLogger("test")
    asker, answerer = Link(ToFront, {}, {}, log), Link(ToFront, {}, {}, log, {Consume: submit})
    loop = asyncio.get_running_loop()
    for link, end in zip((asker, answerer), socket.socketpair(), strict=True):
        await loop.create_unix_connection(partial(_same, link), sock=end)
    assert (await asker.ask(Consume("a", "1", b"at once"), ScoringAnswer)).body == b"now"
    with pytest.raises(errors.Busy) as caught:
        await asker.ask(Consume("a", "1", b"fails"))
    assert caught.value.retry_after == 7
    asking = asyncio.create_task(asker.ask(Consume("a", "1", b"later"), ScoringAnswer))
    leaving = asyncio.create_task(asker.ask(Consume("a", "1", b"never"), ScoringAnswer))
    while len(calls) < 4:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.01)
    leaving.cancel()
    calls[2].end(ScoringAnswer(200, b"then", True))
    assert (await asking).body == b"then"
    assert calls[3].is_over
    asker.close()
    answerer.close()
    await asyncio.sleep(0)


async def test_an_answer_may_be_told_and_an_asker_that_fails_costs_nobody_theirs(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    gone = asyncio.Event()

    async def answer(question: Consume) -> ScoringAnswer:
        if question.body == b"busy":
            raise errors.Busy("later", retry_after=7)
        if question.body == b"never":
            try:
                await asyncio.sleep(60)
            finally:
                gone.set()
        return ScoringAnswer(200, question.body, True)

    asker, answerer = await pair(answer)
    told: list[Any] = []

    def fail(_: Any) -> None:
        raise RuntimeError("the asker's own")

    asker.submit(Consume("a", "1", b"x"), ScoringAnswer, fail)
    for body in (b"busy", b"y"):
        asker.submit(Consume("a", "1", body), ScoringAnswer, told.append)
    number = asker.submit(Consume("a", "1", b"never"), ScoringAnswer, told.append)
    assert (await asker.ask(Consume("a", "1", b"z"), ScoringAnswer)).body == b"z"
    assert isinstance(told[0], errors.Busy)
    assert told[1:] == [ScoringAnswer(200, b"y", True)]
    assert "RuntimeError: the asker's own" in caplog.text
    asker.give_up(number)
    await asyncio.wait_for(gone.wait(), 5)
    asker.submit(Consume("a", "1", b"never"), ScoringAnswer, told.append)
    answerer.close()
    await asyncio.wait_for(asker.ended, 5)
    assert isinstance(told[2], LinkEnded)
    with pytest.raises(LinkEnded):
        asker.submit(Consume("a", "1", b"late"), ScoringAnswer, told.append)
    assert len(told) == 3


async def test_what_is_sent_in_one_turn_goes_out_in_one_piece() -> None:
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    link = Link(ToFront, {}, {}, logging.getLogger("test"))
    await asyncio.get_running_loop().create_unix_connection(partial(_same, link), sock=writer)
    for n in range(10):
        link.submit(Consume("a", "1", b"%d" % n), ScoringAnswer, _ignore)
    with pytest.raises(BlockingIOError):
        reader.recv(1)
    await asyncio.sleep(0.01)
    data = reader.recv(2**16)
    assert data.count(b"Consume") == 10
    link.close()
    reader.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("step", [1, 7, 13, 14, 1000, 2**16, 2**17])
async def test_frames_may_come_in_pieces_of_any_size(step: int) -> None:
    bodies = [b"", b"x", b"y" * 70_000, b"z", b"u" * (2**16 - 24), b"v" * 3000, b"w" * 200_000]
    if step < 100:
        bodies = [b"", b"x", b"y" * 300, b"z"]
    data = b"".join(
        _framed(n, msgspec.msgpack.encode(Consume("a", "1", body))) for n, body in enumerate(bodies)
    )
    found: list[bytes] = []

    def submit(question: Consume, ended: Ended) -> PendingRequest:
        found.append(question.body)
        return PendingRequest(KEY, question.body, ended)

    link = Link(ToFront, {}, {}, logging.getLogger("test"), {Consume: submit})
    while data:
        room = link.get_buffer(-1)
        piece = data[: min(step, len(room))]
        assert piece
        room[: len(piece)] = piece
        link.buffer_updated(len(piece))
        data = data[len(piece) :]
    assert found == bodies


def _framed(number: int, payload: bytes) -> bytes:
    return struct.pack("<IBQ", len(payload), 0, number) + payload


def _ignore(_: Any) -> None:
    pass


def test_a_definition_crosses_with_all_that_it_has() -> None:
    definition = ServiceDefinition(
        name="a",
        version="1",
        revision_id="r",
        runtime_type="Python",
        code="y = 1",
        init_code=None,
        inputs=(ParameterDefinition(name="x", type="vector"),),
        outputs=(),
        output_files=("plot.png",),
        content=None,
        pool=PoolSize(1, 2),
    )
    data = msgspec.msgpack.encode(Definition.of(definition))
    assert msgspec.msgpack.decode(data, type=Definition).unpacked() == definition
    names = [field.name for field in dataclasses.fields(ServiceDefinition)]
    assert list(Definition.__struct_fields__) == names
