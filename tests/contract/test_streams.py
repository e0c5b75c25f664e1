"""Services whose answers come item by item, through both doors."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import openapi_spec_validator
import pytest
import requests

from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
ENDLESS = """
import time
n = 0
while n != last:
    n += 1
    print(n)
    yield n / (5 - n if last == 9 else 1)
    time.sleep(0.001)
"""


@pytest.fixture
def stream(door: Door, service_name: str) -> Iterator[str]:
    """The path of a service that counts to an input, or for ever with -1, and fails at 5 with 9."""
    answer = publish(door, service_name, checks={"inputs": {"last": 2}})
    assert answer.status_code == 201, answer.text
    yield f"/api/{service_name}/1.0"
    door.delete(f"/services/{service_name}/1.0")


def publish(
    door: Door, name: str, code: str = ENDLESS, checks: Any = None, **output: Any
) -> requests.Response:
    body = {
        "code": code,
        "inputParameterDefinitions": [{"name": "last", "type": "integer"}],
        "outputParameterDefinitions": [{"name": "y"} | output],
        "runtimeType": "Python",
    }
    return door.post(f"/services/{name}/1.0", json=body | ({"check": checks} if checks else {}))


def events_of(answer: requests.Response) -> Iterator[tuple[str, Any]]:
    kind = ""
    for line in answer.iter_lines(chunk_size=1):
        name, _, value = line.decode().partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def test_items_come_as_events_before_the_end(door: Door, stream: str) -> None:
    with door.post(stream, json={"last": -1}, headers={"Accept": EVENTS}, stream=True) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == EVENTS
        assert answer.headers["X-Accel-Buffering"] == "no"
        events = [*islice(events_of(answer), 3)]
    assert events == [("item", {"output": "y", "value": n}) for n in (1.0, 2.0, 3.0)]
    # It left in the middle: the code has ended all the same, and the call counts.
    figures = f"/services/{stream.split('/')[2]}/1.0/statistics"
    wait_until(lambda: door.get(figures).json()["calls"] == 1, "the code went on")


def test_streams_keep_to_the_connection_of_their_caller(door: Door, stream: str) -> None:
    own = {"Authorization": f"Bearer {door.token}", "Accept": EVENTS}
    host, body = urlsplit(door.url), b'{"last": 2}'
    with closing(HTTPConnection(host.netloc, timeout=60)) as connection:
        kept, packed = [], {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
        for _ in range(2):
            connection.request("POST", host.path + stream, gzip.compress(body), own | packed)
            answer = connection.getresponse()
            assert answer.getheader("Content-Encoding") is None, "each item comes at once"
            assert answer.read().count(b"event: ") == 3
            kept.append(connection.sock)
        assert kept[0] is kept[1] is not None
    with closing(HTTPConnection(host.netloc, timeout=60)) as connection:
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
        connection.request("POST", host.path + stream, body, own)
        old = connection.getresponse()
        assert old.getheader("Transfer-Encoding") is None
        assert old.read().endswith(b"\n\n"), "it ends with the connection"
    head = door.call("HEAD", stream, headers={"Accept": EVENTS})
    assert (head.status_code, head.content) == (405, b"")


def test_result_or_failure_is_the_last_part(door: Door, stream: str) -> None:
    answer = door.post(stream, json={"last": 2}, headers={"Accept": EVENTS})
    *items, (kind, result) = events_of(answer)
    assert len(items) == 2
    assert kind == "result"
    assert result["success"] is True
    assert result["outputParameters"] == {}
    assert result["consoleOutput"] == "1\n2\n"
    answer = door.post(stream, json={"last": 9}, headers={"Accept": f"{LINES}, */*;q=0.1"})
    assert answer.headers["Content-Type"] == LINES
    *lines, last = map(json.loads, answer.text.splitlines())
    assert [line["value"] for line in lines] == [1 / 4, 2 / 3, 3 / 2, 4]
    assert last["success"] is False
    assert last["errorMessage"] == "ZeroDivisionError: division by zero"


def test_who_takes_no_stream_gets_all_at_once(door: Door, stream: str) -> None:
    for accept in ("*/*", "application/json", f"application/json, {EVENTS};q=0.5"):
        answer = door.post(stream, json={"last": 2}, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["outputParameters"] == {"y": [1.0, 2.0]}


def test_what_is_wrong_before_the_first_item_has_its_status(door: Door, stream: str) -> None:
    headers = {"Accept": EVENTS}
    assert_error(door.post(stream, json={}, headers=headers), 400, "'last'")
    assert_error(door.post("/api/no-such/1.0", json={}, headers=headers), 404, "no-such")


def test_service_says_that_it_streams(door: Door, stream: str) -> None:
    name = stream.split("/")[2]
    (row,) = door.get(f"/services/{name}/1.0").json()
    assert row["outputParameterDefinitions"] == [{"name": "y", "type": "vector", "streams": True}]
    document = door.get(f"/api/{name}/1.0/openapi.json").json()
    openapi_spec_validator.validate(document)
    content = document["paths"][stream]["post"]["responses"]["200"]["content"]
    assert {*content} >= {"application/json", EVENTS, LINES}
    changed = door.patch(f"/services/{name}/1.0", json={"concurrency": 3, "deadlineSeconds": 9})
    assert changed.ok, changed.text
    door.patch(f"/services/{name}/1.0", json={"description": "counts"})
    (now,) = door.get(f"/services/{name}/1.0").json()
    assert now["outputParameterDefinitions"] == row["outputParameterDefinitions"]
    assert (now["concurrency"], now["deadlineSeconds"], now["description"]) == (3, 9, "counts")
    door.patch(f"/services/{name}/1.0", json={"concurrency": 1})
    first = door.get(f"/services/{name}/1.0/calls").json()
    door.post(stream, json={"last": 2}, headers={"Accept": EVENTS})
    wait_until(lambda: door.get(f"/services/{name}/1.0/calls").json() != first)
    newest = door.get(f"/services/{name}/1.0/calls").json()[0]
    assert 0 < newest["firstItemMilliseconds"] <= newest["milliseconds"]


@pytest.mark.parametrize(
    ("code", "output", "problem"),
    [
        ("y = last\nyield 1", {"type": "vector"}, None),
        ("yield 1", {"type": "integer", "streams": True}, "vector"),
        ("yield 1\nreturn", {"type": "vector"}, "outside function"),
    ],
)
def test_publish_says_what_can_not_stream(
    door: Door, service_name: str, code: str, output: dict[str, Any], problem: str | None
) -> None:
    answer = publish(door, service_name, code, **output)
    if problem is None:
        assert answer.status_code == 201
        (row,) = door.get(f"/services/{service_name}/1.0").json()
        assert row["outputParameterDefinitions"][0]["streams"] is True
        door.delete(f"/services/{service_name}/1.0")
    else:
        assert_error(answer, 400, problem)
