"""Who is asking, what services do, and what changes, at both doors of a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from jupyter_mlsvc import __version__
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error

pytestmark = pytest.mark.kernel


class Following:
    """Asks for events one answer after the other, from where it began."""

    def __init__(self, door: Door) -> None:
        self.door = door
        answer = door.get("/events").json()
        assert (answer["events"], answer["isReset"]) == ([], False)
        self.run, self.after = answer["run"], answer["last"]

    def next(self, wait: int = 20) -> list[tuple[str, ...]]:
        query = {"run": self.run, "after": self.after, "wait": wait}
        answer = self.door.get("/events", params=query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["run"], body["isReset"]) == (self.run, False)
        self.after = body["last"]
        return [
            (each["kind"], each["action"], each["name"], each["version"] or each["id"])
            for each in body["events"]
        ]

    def until(self, wanted: tuple[str, ...]) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        end = time.monotonic() + 30
        while wanted not in found:
            assert time.monotonic() < end, f"{wanted} is not in {found}"
            found += self.next(5)
        return found


@pytest.fixture
def following(door: Door) -> Following:
    return Following(door)


def statistics(door: Door, name: str) -> dict[str, Any]:
    answer = door.get(f"/services/{name}/1.0/statistics")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


# --- who is asking ---------------------------------------------------------------------------


def test_everybody_learns_who_they_are(
    door: Door, people: Callable[[str], str], mlsvc_server: ServerProcess
) -> None:
    server = {"serverVersion": __version__, "publicUrl": mlsvc_server.public_url}
    assert door.get("/user").json() == {"name": "admin", "role": "owner"} | server
    rita = door.with_token(people("rita"))
    assert rita.get("/user").json() == {"name": "rita", "role": "reader"} | server


# --- statistics ------------------------------------------------------------------------------


def test_calls_and_failures_of_a_service_are_counted(door: Door, published: str) -> None:
    door.patch(f"/services/{published}/1.0", json={"code": "total = a // b"})
    before = statistics(door, published)
    assert (before["calls"], before["errors"], before["lastCall"]) == (0, 0, None)
    assert (before["p50Milliseconds"], before["p99Milliseconds"]) == (None, None)

    for a, b in [(4, 2), (9, 3), (1, 0)]:
        door.post(f"/api/{published}/1.0", json={"a": a, "b": b})
    assert door.post(f"/api/{published}/1.0", json={}).status_code == 400

    after = statistics(door, published)
    assert (after["calls"], after["errors"], after["callsPerMinute"]) == (4, 1, 4)
    assert (after["state"], after["message"], after["workers"]) == ("ready", "", 1)
    assert 0 < after["p50Milliseconds"] <= after["p99Milliseconds"] < 10_000
    assert after["memoryBytes"] > 2**20
    assert after["lastCall"] > door.get(f"/services/{published}").json()[0]["creationTime"]
    assert (len(after["history"]), after["intervalSeconds"]) == (60, 10)
    assert [each["time"][-9:] for each in after["history"]] == ["0.0000000"] * 60
    newest = after["history"][-2:]
    assert (sum(each["calls"] for each in newest), sum(each["errors"] for each in newest)) == (4, 1)

    (row,) = [each for each in door.get("/statistics").json() if each["name"] == published]
    assert (row["version"], row["calls"], row["errors"]) == ("1.0", 4, 1)
    assert "history" not in row


def test_records_of_a_batch_count_as_calls(door: Door, published: str) -> None:
    records = [{"a": n, "b": 1} for n in range(5)]
    started = door.post(f"/api/{published}/1.0/batch", json=records).json()
    batch = f"/api/{published}/1.0/batch/{started['batchExecutionId']}"
    end = time.monotonic() + 30
    while door.get(batch).json()["state"] != "Complete":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert statistics(door, published)["calls"] == 5
    door.delete(batch)


def test_a_service_at_work_is_busy_and_one_without_processes_is_idle(
    door: Door, published: str
) -> None:
    door.post(f"/services/{published}/1.0/pool", json={"InitialPoolSize": 0, "MaxPoolSize": 1})
    door.patch(
        f"/services/{published}/1.0", json={"code": "import time\ntime.sleep(1)\ntotal = a + b"}
    )
    assert statistics(door, published)["state"] == "idle"
    call = threading.Thread(
        target=door.post, args=(f"/api/{published}/1.0",), kwargs={"json": {"a": 1, "b": 2}}
    )
    call.start()
    end = time.monotonic() + 20
    while statistics(door, published)["state"] != "busy":
        assert call.is_alive()
        assert time.monotonic() < end
    call.join()
    assert statistics(door, published)["state"] == "ready"


def test_statistics_of_what_does_not_exist_are_not_found(door: Door, published: str) -> None:
    assert_error(door.get(f"/services/{published}/9.9/statistics"), 404)
    door.delete(f"/services/{published}/1.0")
    assert_error(door.get(f"/services/{published}/1.0/statistics"), 404)
    assert published not in {each["name"] for each in door.get("/statistics").json()}


# --- events ----------------------------------------------------------------------------------


def test_the_life_of_a_service_is_told_to_all(
    door: Door, people: Callable[[str], str], service_name: str
) -> None:
    rita = Following(door.with_token(people("rita")))
    path = f"/services/{service_name}/1.0"
    door.post(path, json={"code": "y = 1"})
    door.patch(path, json={"description": "one"})
    door.delete(path)
    told = rita.until(("service", "deleted", service_name, "1.0"))
    assert [each for each in told if each[2] == service_name] == [
        ("service", action, service_name, "1.0") for action in ("created", "changed", "deleted")
    ]


def test_an_event_wakes_who_waits(door: Door, following: Following, service_name: str) -> None:
    told: list[list[tuple[str, ...]]] = []
    waiting = threading.Thread(target=lambda: told.append(following.next(50)))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    began = time.monotonic()
    door.post(f"/services/{service_name}/1.0", json={"code": "y = 1"})
    waiting.join(30)
    assert time.monotonic() - began < 10
    assert told == [[("service", "created", service_name, "1.0")]]
    door.delete(f"/services/{service_name}/1.0")


def test_only_its_owner_is_told_of_a_session_a_snapshot_and_a_batch(
    door: Door, following: Following, people: Callable[[str], str], published: str
) -> None:
    ben = Following(door.with_token(people("ben")))
    session = door.post("/sessions", json={"name": "mine"}).json()["sessionId"]
    door.post(f"/sessions/{session}/execute", json={"code": "x = 1"})
    snapshot = door.post(f"/sessions/{session}/snapshot", json={"name": "kept"}).json()
    snapshot_id = snapshot["snapshotId"]
    door.delete(f"/snapshots/{snapshot_id}")
    door.delete(f"/sessions/{session}")
    batch = door.post(f"/api/{published}/1.0/batch", json=[{"a": 1, "b": 2}]).json()
    batch_id = batch["batchExecutionId"]
    door.delete(f"/api/{published}/1.0/batch/{batch_id}")
    name = f"{published}-last"
    door.post(f"/services/{name}/1.0", json={"code": "y = 1"})
    door.delete(f"/services/{name}/1.0")

    told = following.until(("service", "created", name, "1.0"))
    about = [each[1] for each in told if each[:3:2] == ("session", "mine")]
    assert about == ["created", "changed", "changed", "changed", "deleted"], "up, busy, idle"
    assert ("snapshot", "created", "kept", snapshot_id) in told
    assert ("snapshot", "deleted", "kept", snapshot_id) in told
    batches = [each[1] for each in told if each[0] == "batch"]
    assert (batches[0], batches[-1]) == ("created", "deleted")
    heard = ben.until(("service", "created", name, "1.0"))
    assert {each[0] for each in heard} == {"service"}


def test_who_does_not_know_this_run_has_to_look_again(door: Door) -> None:
    answer = door.get("/events", params={"run": "of-yesterday", "after": 7}).json()
    assert (answer["isReset"], answer["events"]) == (True, [])
    assert door.get("/events", params={"after": 0}).json()["isReset"], "a number of no run"


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=1&wait=56", "wait=0.5"])
def test_numbers_that_are_none_are_refused(door: Door, query: str) -> None:
    assert_error(door.get(f"/events?{query}"), 400)


def test_a_client_that_goes_away_leaves_its_place(
    door: Door, following: Following, people: Callable[[str], str]
) -> None:
    ana = door.with_token(people("ana"))
    place = {"run": following.run, "after": following.after}
    for _ in range(60):  # more than one person may have waiting
        with pytest.raises(requests.ReadTimeout):
            requests.get(
                f"{door.url}/events",
                params=place | {"wait": 50},
                headers={"Authorization": f"Bearer {ana.token}"},
                timeout=(5, 0.02),
            )
    answer = ana.get("/events", params=place | {"wait": 0})
    assert answer.status_code == 200
    answer = ana.get("/events", params=place | {"wait": 1})
    assert answer.status_code == 200, answer.text
