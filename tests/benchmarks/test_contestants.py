"""Only right answers count, and each has to reach those who asked."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from . import load
from .contestants import Contestant
from .peers import PeerFailed, Target

QUESTIONS = [b"[7]", b"[3]", b"[5]"]
EXPECTED = [["7"], ["3"], ["5"]]


class Server(ThreadingHTTPServer):
    """One that many may knock at in the same moment."""

    request_queue_size = 64


@contextmanager
def answering(answer: Callable[[bytes], bytes], status: int = 200) -> Iterator[Contestant]:
    """A contestant whose server makes each answer by a function."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its own name
            pass

    with Server(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Contestant(
            Target("some", url, None), QUESTIONS, lambda found: [str(n) for n in found]
        )
        server.shutdown()
        thread.join()


def test_right_answers_are_remembered_byte_by_byte() -> None:
    with answering(lambda body: body + b" ") as one:
        one.check_answers(EXPECTED)
    assert one.answers == [b"[7] ", b"[3] ", b"[5] "]


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        pytest.param(lambda _body: b"[8]", 200, "answered b'[8]' to b'[7]'", id="wrong"),
        pytest.param(lambda body: body, 201, "answered 201", id="status"),
    ],
)
def test_a_wrong_answer_is_refused(
    answer: Callable[[bytes], bytes], status: int, word: str
) -> None:
    with answering(answer, status) as one, pytest.raises(PeerFailed) as refused:
        one.check_answers(EXPECTED)
    assert word in str(refused.value)


def test_answers_that_reach_others_than_those_who_asked_are_refused() -> None:
    count = itertools.count()

    def crossed(body: bytes) -> bytes:
        # Right at first, when one is asked at a time.
        return body if next(count) < 40 else json.dumps([7]).encode()

    with answering(crossed) as one, pytest.raises(PeerFailed, match="before"):
        one.check_answers(EXPECTED)


def test_answers_that_were_not_right_do_not_count_for_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = load.Load(
        8,
        requests=100,
        bytes=1,
        seconds=2,
        p50=1,
        p99=1,
        slowest=1,
        errors={"connect": 0, "status": 10, "timeout": 2},
        answers={b"[7]": 80, b"[8]": 10, b"500 ": 10},
    )
    monkeypatch.setattr(load, "run", lambda *_, **__: found)
    one = Contestant(Target("some", "", None), [b"[7]"], list, answers=[b"[7]"])
    one.measure("wrk", 8, 2)
    assert one.rates(8) == [40.0]
    assert one.failures() == {"status": 10, "timeout": 2, "wrong": 10}


def test_no_answer_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = load.Load(8, requests=0, bytes=0, seconds=2, p50=0, p99=0, slowest=0)
    monkeypatch.setattr(load, "run", lambda *_, **__: nothing)
    one = Contestant(Target("some", "", None), [b"[7]"], list, answers=[b"[7]"])
    with pytest.raises(load.LoadFailed, match="some: no answer came at 8"):
        one.measure("wrk", 8, 2)
