"""Following what changes, and what the server tells of services, sessions and snapshots."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jupyter_mlsvc.client import event_stream, formatting
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.event_stream import Event
from jupyter_mlsvc.client.transport import ApiRequest, ApiResponse
from jupyter_mlsvc.errors import ConnectionFailed, Unauthorized

from .fake import Answer, FakeTransport, answer, problem

CREATED = Event("service", "created", "", "Iris", "1.0")
MINE = Event("session", "changed", "77", "mine")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(event_stream, "_MAX_PAUSE", 0.002)


def told(last: int, *events: Event, run: str = "a", is_reset: bool = False) -> ApiResponse:
    rows = [event._asdict() | {"number": n} for n, event in enumerate(events, 1)]
    return answer({"run": run, "last": last, "events": rows, "isReset": is_reset})


def broken(request: ApiRequest) -> ApiResponse:
    raise ConnectionFailed("https://fake:1", "connection refused")


def take(client: Client, count: int, **options: Any) -> list[Event]:
    found = client.events.follow(**options)
    return [next(found) for _ in range(count)]


def test_events_are_followed_from_the_call_on_and_from_number_to_number(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [told(7), told(9, CREATED, MINE), told(9), told(10, CREATED)]
    assert take(client, 3) == [CREATED, MINE, CREATED]
    assert [request.query for request in transport.requests] == [
        {},
        {"run": "a", "after": "7", "wait": "25"},
        {"run": "a", "after": "9", "wait": "25"},
        {"run": "a", "after": "9", "wait": "25"},
    ]


def test_what_is_asked_first_is_asked_before_the_first_event_is_taken(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [told(7)]
    client.events.follow()
    assert len(transport.requests) == 1


def test_only_events_of_the_kinds_asked_for_are_given(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [told(0), told(2, MINE, CREATED)]
    assert take(client, 1, kinds={"service"}) == [CREATED]


@pytest.mark.parametrize(
    "away",
    [[broken, broken, broken], [problem(503, "starting")], [problem(429, "too many")]],
    ids=["down", "starting", "full"],
)
def test_event_stream_waits_for_the_server_and_reports_its_new_run(
    client: Client, transport: FakeTransport, away: list[Answer]
) -> None:
    reset = told(0, run="b", is_reset=True)
    transport.answers = [told(7), *away, reset, told(1, CREATED, run="b")]
    assert take(client, 2, kinds={"service"}) == [Event("reset"), CREATED]
    assert transport.requests[-1].query == {"run": "b", "after": "0", "wait": "25"}


def test_a_server_that_is_not_there_at_first_is_an_error(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [broken]
    with pytest.raises(ConnectionFailed):
        client.events.follow()


def test_a_token_that_is_no_longer_valid_ends_it(client: Client, transport: FakeTransport) -> None:
    transport.answers = [told(7), problem(401, "not valid")]
    with pytest.raises(Unauthorized):
        take(client, 1)


def test_it_ends_when_its_time_is_over(client: Client, transport: FakeTransport) -> None:
    def late(request: ApiRequest) -> ApiResponse:
        assert request.query["wait"] == "1"
        time.sleep(0.1)
        return told(8, CREATED)

    transport.answers = [told(7), late]
    assert list(client.events.follow(timeout=0.1)) == [CREATED]
    transport.answers = [told(7), *[broken] * 1000]
    assert list(client.events.follow(timeout=0.05)) == []


def test_the_client_waits_longer_than_the_server_does(
    client: Client, transport: FakeTransport
) -> None:
    client._api.timeout = (1.0, 3.0)
    transport.answers = [told(7), told(8, CREATED)]
    take(client, 1)
    assert transport.requests[-1].timeout == (1.0, 45.0)


def test_statistics_show_themselves(client: Client, transport: FakeTransport) -> None:
    row = {
        "name": "Iris",
        "version": "1.0",
        "state": "failing",
        "message": "No module named 'gone'.",
        "workers": 0,
        "waiting": 0,
        "calls": 12,
        "errors": 3,
        "callsPerMinute": 2,
        "p50Milliseconds": 1.23456,
        "p99Milliseconds": 1234.5,
        "lastCall": "2017-10-05T22:49:33.7832670",
    }
    interval = {"time": "T", "calls": 1, "errors": 0}
    interval |= {"p50Milliseconds": None, "p99Milliseconds": None}
    detail = row | {"memoryBytes": 2**20, "intervalSeconds": 10, "history": [interval]}
    transport.answers = [answer([row]), answer(detail), answer([])]
    text = repr(client.services.statistics())
    assert "1.23 ms" in text
    assert "1,234 ms" in text
    one = client.services.statistics_of("Iris", "1.0")
    assert transport.requests[-1].path == "/services/Iris/1.0/statistics"
    assert (one.calls, one.memory_bytes, len(one.history)) == (12, 2**20, 1)
    assert "failing: No module named 'gone'." in repr(one)
    assert "1.05 MB" in one._repr_html_()
    assert repr(client.services.statistics()) == "No service was called."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0 s"), (59.9, "59 s"), (3599, "59 min"), (3600, "1 h"), (90_000, "1 d")],
    ids=str,
)
def test_lengths_of_time_are_short(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    # The side panel's test has the same ones.
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1024, "1.02 kB"),
        (99_949, "99.9 kB"),
        (999_500, "1 MB"),
        (123_456_789, "123 MB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_a_size_has_three_digits_and_powers_of_a_thousand(count: int, text: str) -> None:
    assert formatting.size(count) == text
