"""Requests of a front end: which are passed on, and what comes back."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from jupyter_mlsvc.errors import BadRequest, ConnectionFailed
from jupyter_mlsvc.widgets.channel import MAX_REQUESTS, MAX_THREADS, Channel, Refused, Request
from tests.widgets.comm import Message


class Sent:
    """What a channel sends."""

    def __init__(self) -> None:
        self.messages: list[tuple[Message, list[bytes]]] = []
        self.some = threading.Semaphore(0)

    def __call__(self, content: Message, buffers: list[bytes]) -> None:
        self.messages.append((content, buffers))
        self.some.release()

    def take(self) -> tuple[Message, list[bytes]]:
        assert self.some.acquire(timeout=60)
        return self.messages.pop(0)


@pytest.fixture
def sent() -> Sent:
    return Sent()


def request(number: int = 1, **more: Any) -> Message:
    return {"id": f"r{number}", "method": "POST", "path": ["api", "Iris", "V1"], **more}


def test_an_answer_has_the_id_of_its_request(sent: Sent) -> None:
    Channel(sent, lambda each: each.body.upper()).receive(request(), [memoryview(b"abc")])
    assert sent.take() == ({"id": "r1"}, [b"ABC"])


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            BadRequest("No.", status=400, inputs={"x": "is missing."}),
            {"status": 400, "message": "No.", "exceptionType": "", "inputs": {"x": "is missing."}},
        ),
        (KeyError("lost"), {"status": 500, "message": "KeyError: 'lost'"}),
    ],
)
def test_a_failure_is_told(sent: Sent, error: Exception, problem: Message) -> None:
    def answer(_: Request) -> bytes:
        raise error

    Channel(sent, answer).receive(request())
    assert sent.take() == ({"id": "r1", "problem": problem}, [])


def test_a_server_that_is_away_has_no_status(sent: Sent) -> None:
    def answer(_: Request) -> bytes:
        raise ConnectionFailed("http://x:1", "connection refused")

    Channel(sent, answer).receive(request())
    (content, _) = sent.take()
    assert content["problem"]["status"] == 0
    assert "connection refused" in content["problem"]["message"]


@pytest.mark.parametrize(
    "content",
    ["text", None, {}, {"id": 1, "method": "GET", "path": []}, request(path="api"), {"cancel": 3}],
)
def test_what_is_no_request_is_left_alone(sent: Sent, content: object) -> None:
    channel = Channel(sent, lambda _: b"1")
    channel.receive(content)
    channel.receive(request())
    assert sent.take() == ({"id": "r1"}, [b"1"])


def test_parts_of_an_answer_come_until_it_is_given_up(sent: Sent) -> None:
    may_go_on, ended = threading.Event(), threading.Event()

    def answer(_: Request) -> Generator[bytes]:
        try:
            yield b"1"
            assert may_go_on.wait(60)
            yield b"2"
        finally:
            ended.set()

    channel = Channel(sent, answer)
    channel.receive(request(lines=True))
    assert sent.take() == ({"id": "r1", "line": True}, [b"1"])
    channel.receive({"cancel": "r1"})
    may_go_on.set()
    assert ended.wait(60)
    channel.receive(request(2, lines=True))
    assert [sent.take() for _ in range(3)] == [
        ({"id": "r2", "line": True}, [b"1"]),
        ({"id": "r2", "line": True}, [b"2"]),
        ({"id": "r2"}, [b""]),
    ]


def test_a_request_that_was_given_up_gets_no_answer_and_is_none_of_the_many(sent: Sent) -> None:
    may_answer = threading.Event()

    def answer(asked: Request) -> bytes:
        assert may_answer.wait(60)
        return asked.id.encode()

    channel = Channel(sent, answer)
    for number in range(MAX_REQUESTS):
        channel.receive(request(number))
    channel.receive(request(99))
    assert sent.take()[0]["problem"]["message"] == "Too much is being asked at once."
    channel.receive({"cancel": "r0"})
    channel.receive(request(100))
    may_answer.set()
    answered = {sent.take()[0]["id"] for _ in range(MAX_REQUESTS)}
    assert answered == {"r100", *(f"r{number}" for number in range(1, MAX_REQUESTS))}


def test_asking_and_giving_up_again_and_again_starts_few_threads(sent: Sent) -> None:
    may_answer = threading.Event()
    asked: list[str] = []

    def answer(request: Request) -> bytes:
        asked.append(request.id)
        assert may_answer.wait(60)
        return b""

    before = threading.active_count()
    channel = Channel(sent, answer)
    for number in range(10 * MAX_THREADS):
        channel.receive(request(number))
        channel.receive({"cancel": f"r{number}"})
    assert threading.active_count() - before <= MAX_THREADS
    channel.receive(request(1000))
    may_answer.set()
    assert sent.take()[0] == {"id": "r1000"}
    # What was given up before a thread was free was not asked of the server.
    assert len(asked) <= MAX_THREADS + 1


def test_a_closed_channel_sends_nothing(sent: Sent) -> None:
    has_begun, may_answer = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def answer(_: Request) -> bytes:
        threads.append(threading.current_thread())
        has_begun.set()
        assert may_answer.wait(60)
        return b""

    channel = Channel(sent, answer)
    channel.receive(request())
    assert has_begun.wait(60)
    channel.close()
    may_answer.set()
    threads[0].join(60)
    assert sent.messages == []


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        (["api", "Iris", "V1"], True),
        (["api", "Iris"], False),
        (["api", "..", "keys"], False),
        (["api", ".", "keys"], False),
        (["api", "", "keys"], False),
        (["API", "Iris", "V1"], False),
    ],
)
def test_a_path_fits_where_it_leads_where_it_says(path: list[str], fits: bool) -> None:
    asked = Request(id="r", method="POST", path=path)
    assert asked.fits("POST", "api", "*", "*") is fits
    assert not asked.fits("DELETE", "api", "*", "*")
    assert "/api" in str(Refused(asked)).lower()
