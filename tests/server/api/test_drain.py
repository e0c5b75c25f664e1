"""The stages between the signal to end and the end, and what becomes of connections in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from jupyter_mlsvc_server.api.drain import Drain
from jupyter_mlsvc_server.api.lifecycle import Lifecycle, Stage
from jupyter_mlsvc_server.api.protocol import Protocol
from jupyter_mlsvc_server.errors import NotServing
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from tests.clocks import ManualClock
from tests.server.api.stub import Client, Stub, turns

CALL = (
    b"POST /api/a/1 HTTP/1.1\r\nHost: x\r\n"
    b"Authorization: Bearer known\r\nContent-Length: 2\r\n\r\nhi"
)
NEVER = CALL.replace(b"/a/1", b"/a/never")
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"


async def asked(stub: Stub, *reads: bytes) -> tuple[Protocol, Client]:
    """Connect and send."""
    connection, client = stub.connect()
    for read in reads:
        connection.data_received(read)
        await turns()
    return connection, client


def answers_of(client: Client) -> list[tuple[int, bool]]:
    """Status of each answer, and whether it is said to be the last one."""
    _, *answers = client.answers.split(b"HTTP/1.1 ")
    return [(int(each[:3]), b"connection: close" in each.lower()) for each in answers]


def problem_of(client: Client) -> Any:
    """The Error body of the only answer."""
    head, _, body = client.answers.partition(b"\r\n\r\n")
    assert b"\r\nRetry-After: 1" in head
    return json.loads(body)


@pytest.mark.parametrize("request_", [CALL, GET], ids=["call", "other"])
async def test_an_answer_of_a_draining_server_is_the_last_one_of_its_connection(
    request_: bytes,
) -> None:
    stub = Stub()
    connection, client = await asked(stub, request_)
    stub.server.drain()
    connection.data_received(request_)
    await turns()
    assert answers_of(client) == [(200, False), (200, True)]
    assert client.is_closed
    # What was sent meanwhile may not cost the client the answer.
    assert not client.is_gone
    assert not stub.server.is_busy


async def test_a_call_that_runs_when_the_drain_begins_is_answered_and_parts() -> None:
    stub = Stub()
    _, client = await asked(stub, NEVER)
    stub.server.drain()
    assert stub.server.is_busy
    stub.engine.calls[0].end(ScoringAnswer(200, b"late", True))
    assert client.answers.endswith(b"late")
    assert answers_of(client) == [(200, True)]
    assert not stub.server.is_busy


async def test_requests_that_came_together_are_all_answered() -> None:
    stub = Stub()
    connection, client = await asked(stub, NEVER + GET + GET)
    stub.server.drain()
    connection.data_received(GET[:9])
    stub.engine.calls[0].end(ScoringAnswer(200, b"", True))
    await turns()
    assert answers_of(client) == [(200, False)] * 3
    connection.data_received(GET[9:])
    await turns()
    assert answers_of(client) == [(200, False)] * 3 + [(200, True)]


async def test_calls_go_through_the_application_which_may_refuse_them() -> None:
    stub = Stub()
    stub.server.drain()
    await asked(stub, CALL)
    assert (len(stub.engine.calls), len(stub.app.scopes)) == (0, 1)


async def test_a_connection_without_a_request_is_kept_while_the_server_drains() -> None:
    stub = Stub()
    _, client = await asked(stub, GET)
    stub.server.drain()
    assert not client.is_closed


@pytest.mark.parametrize(
    "request_", [NEVER, WAIT, GET[:9], WAIT + GET], ids=["call", "other", "half", "two"]
)
async def test_who_waits_for_an_answer_at_the_end_is_told_that_the_server_stops(
    request_: bytes,
) -> None:
    stub = Stub()
    connection, client = await asked(stub, request_)
    asyncio.get_running_loop().call_later(0, connection.connection_lost, None)
    await stub.server.close()
    assert answers_of(client) == [(503, True)]
    assert problem_of(client)["message"] == "The server is stopping."
    assert client.is_gone
    assert not client.is_cut_off
    for call in stub.engine.calls:
        call.end(ScoringAnswer(200, b"late", True))
    assert answers_of(client) == [(503, True)]


async def test_who_waits_for_nothing_at_the_end_is_told_nothing() -> None:
    stub = Stub()
    connection, client = await asked(stub, GET)
    asyncio.get_running_loop().call_later(0, connection.connection_lost, None)
    await stub.server.close()
    assert answers_of(client) == [(200, False)]
    assert client.is_gone


async def test_the_end_of_half_an_answer_is_no_end() -> None:
    stub = Stub()
    connection, client = stub.connect()
    connection.data_received(WAIT)
    running = connection.cycle
    await running.send({"type": "http.response.start", "status": 200, "headers": []})
    asyncio.get_running_loop().call_later(0, connection.connection_lost, None)
    await stub.server.close()
    assert answers_of(client) == [(200, False)]
    assert client.is_cut_off


# --- stages ----------------------------------------------------------------------------------


@dataclass
class Ending:
    """A drain on a clock of its own, and what can be seen of it."""

    runs_until: float = 0.0
    """Time at which the last call ends."""
    hurried_at: float = float("inf")
    """Time of the second signal."""
    clock: ManualClock = field(default_factory=lambda: ManualClock(0.0))
    lifecycle: Lifecycle = field(default_factory=lambda: Lifecycle(Stage.SERVING))
    seen: list[tuple[float, str]] = field(default_factory=list)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def drain(self) -> None:
        self.seen.append((self.clock.now, "connections"))

    async def end_waits(self) -> None:
        self.seen.append((self.clock.now, "waits"))

    async def pause(self, event: asyncio.Event, seconds: float) -> None:
        self.seen.append((self.clock.now, self.lifecycle.stage.name))
        self.clock.advance(min(seconds, self.hurried_at - self.clock.now))
        if self.clock.now >= self.hurried_at:
            event.set()

    async def run(self, drain_seconds: float, stop_seconds: float) -> float:
        """Go through the stages; tells when the server may end."""
        drain = Drain(
            lifecycle=self.lifecycle,
            connections=self,
            end_waits=self.end_waits,
            is_busy=lambda: self.clock.now < self.runs_until,
            drain_seconds=drain_seconds,
            stop_seconds=stop_seconds,
            clock=self.clock,
            pause=self.pause,
        )
        await drain.run(self.hurry)
        assert self.lifecycle.stage is Stage.STOPPING
        assert self.lifecycle.stopping.is_set()
        return self.clock.now


async def test_an_idle_server_ends_at_once() -> None:
    ending = Ending()
    assert await ending.run(0, 30) == 0
    assert ending.seen == [(0, "connections"), (0, "waits")]


async def test_a_server_drains_and_then_lets_end_what_runs() -> None:
    ending = Ending(runs_until=12)
    assert await ending.run(10, 30) == pytest.approx(12, abs=0.02)
    assert ending.seen[:3] == [(0, "connections"), (0, "DRAINING"), (10, "waits")]
    assert {stage for _, stage in ending.seen[3:]} == {"STOPPING"}


async def test_what_runs_for_too_long_is_not_waited_for() -> None:
    assert await Ending(runs_until=1e9).run(10, 30) == pytest.approx(40, abs=0.02)


@pytest.mark.parametrize("second", [5, 25])
async def test_a_second_signal_ends_the_wait(second: float) -> None:
    ending = Ending(runs_until=1e9, hurried_at=second)
    assert await ending.run(10, 30) == pytest.approx(second)


@pytest.mark.parametrize(
    ("stage", "serves", "is_ready", "word"),
    [
        (Stage.STARTING, False, False, "starting"),
        (Stage.SERVING, True, True, ""),
        (Stage.DRAINING, True, False, "stopping"),
        (Stage.STOPPING, False, False, "stopping"),
    ],
)
def test_a_draining_server_answers_and_is_not_ready(
    stage: Stage, serves: bool, is_ready: bool, word: str
) -> None:
    lifecycle = Lifecycle(stage)
    assert refusal_of(lifecycle.require_serving) == ("" if serves else word)
    assert refusal_of(lifecycle.require_ready) == ("" if is_ready else word)


def refusal_of(requires: Callable[[], None]) -> str:
    try:
        requires()
    except NotServing as refusal:
        return "stopping" if "stopping" in refusal.message else "starting"
    return ""
