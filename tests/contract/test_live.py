"""Who is asking, what services do, and what changes, at both doors of a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from jupyter_mlsvc import __version__
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, door_urls, sign_in
from tests.contract.test_bad_input import assert_error
from tests.gates import once_there_is
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

PASSWORD = "correct horse battery"


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

        def is_told() -> bool:
            found.extend(self.next(5))
            return wanted in found

        wait_until(is_told, f"{wanted} is not in {found}")
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
    server: dict[str, object] = {
        "serverVersion": __version__,
        "publicUrl": mlsvc_server.public_url,
    }
    admin = door.get("/user").json()
    assert (
        admin.items() >= ({"name": "admin", "role": "owner", "mayRunCode": True} | server).items()
    )
    assert {"publish services", "use sessions", "change how the server runs"} <= set(admin["may"])
    assert 0 < admin["tokenSeconds"] <= 3600
    rita = door.with_token(people("rita")).get("/user").json()
    assert (
        rita.items() >= ({"name": "rita", "role": "reader", "mayRunCode": False} | server).items()
    )
    assert (admin["confinement"] != "", rita["confinement"]) == (True, "")
    assert {"call services", "read services"} <= set(rita["may"])
    assert not {"publish services", "use sessions"} & set(rita["may"])


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
    assert 0 < after["p50Milliseconds"] <= after["p99Milliseconds"]
    assert after["memoryBytes"] > 2**20
    assert after["lastCall"] > door.get(f"/services/{published}").json()[0]["creationTime"]
    assert (len(after["history"]), after["intervalSeconds"]) == (60, 10)
    assert [each["time"][-9:] for each in after["history"]] == ["0.0000000"] * 60
    rows = after["history"]
    assert (sum(each["calls"] for each in rows), sum(each["errors"] for each in rows)) == (4, 1)

    path = f"/services/{published}/1.0/statistics"
    for period, count, seconds in [("hour", 60, 60), ("day", 96, 900), ("week", 168, 3600)]:
        past = door.get(path, params={"period": period}).json()
        assert (len(past["history"]), past["intervalSeconds"]) == (count, seconds)
        assert sum(each["calls"] for each in past["history"]) == 4
        assert past["memoryBytes"] > 2**20
    assert_error(door.get(path, params={"period": "year"}), 400, "'year'; it has to be hour or")

    (row,) = [each for each in door.get("/statistics").json() if each["name"] == published]
    assert (row["version"], row["calls"], row["errors"]) == ("1.0", 4, 1)
    assert "history" not in row


def test_records_of_a_batch_count_as_calls(door: Door, published: str) -> None:
    records = [{"a": n, "b": 1} for n in range(5)]
    started = door.post(f"/api/{published}/1.0/batch", json=records).json()
    batch = f"/api/{published}/1.0/batch/{started['batchExecutionId']}"
    wait_until(lambda: door.get(batch).json()["state"] == "Complete")
    assert statistics(door, published)["calls"] == 5
    door.delete(batch)


def test_a_service_at_work_is_busy_and_one_without_processes_is_idle(
    door: Door, published: str, tmp_path: Path
) -> None:
    door.post(f"/services/{published}/1.0/pool", json={"InitialPoolSize": 0, "MaxPoolSize": 1})
    go_on = tmp_path / "go on"
    code = f"{once_there_is(go_on)}\ntotal = a + b"
    door.patch(f"/services/{published}/1.0", json={"code": code})
    assert statistics(door, published)["state"] == "idle"
    call = threading.Thread(
        target=door.post, args=(f"/api/{published}/1.0",), kwargs={"json": {"a": 1, "b": 2}}
    )
    call.start()
    wait_until(lambda: statistics(door, published)["state"] == "busy")
    go_on.touch()
    call.join()
    assert statistics(door, published)["state"] == "ready"


def test_statistics_of_what_does_not_exist_are_not_found(door: Door, published: str) -> None:
    assert_error(door.get(f"/services/{published}/9.9/statistics"), 404)
    door.delete(f"/services/{published}/1.0")
    assert_error(door.get(f"/services/{published}/1.0/statistics"), 404)
    assert published not in {each["name"] for each in door.get("/statistics").json()}


# --- events ----------------------------------------------------------------------------------


def test_events_of_a_service_go_to_all(
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
    door.post(f"/services/{service_name}/1.0", json={"code": "y = 1"})
    waiting.join(60)
    assert told == [[("service", "created", service_name, "1.0")]]
    door.delete(f"/services/{service_name}/1.0")


def test_events_of_sessions_snapshots_and_batches_go_to_their_owner_only(
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
    assert door.get(f"/events?after={'9' * 5000}").json()["isReset"], "however long it is"


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
    # The last of them may be on their way yet.
    wait_until(lambda: ana.get("/events", params=place | {"wait": 0}).ok)
    answer = ana.get("/events", params=place | {"wait": 1})
    assert answer.status_code == 200, answer.text


# --- sessions --------------------------------------------------------------------------------


def listed(door: Door, session: str) -> dict[str, Any]:
    (row,) = [each for each in door.get("/sessions").json() if each["id"] == session]
    return dict(row)


def executions(door: Door, session: str) -> list[dict[str, Any]]:
    answer = door.get(f"/sessions/{session}/executions")
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def test_a_session_that_nobody_used_is_idle_and_has_its_whole_lease(
    door: Door, session_id: str
) -> None:
    row = listed(door, session_id)
    assert (row["state"], row["executionId"], row["queued"]) == ("idle", None, 0)
    assert row["memoryBytes"] > 10 * 2**20
    assert 0 <= row["idleSeconds"] < 3600
    assert row["idleSeconds"] + row["leaseSeconds"] == pytest.approx(3600, abs=0.01)
    assert executions(door, session_id) == []


def test_the_memory_of_a_session_includes_what_its_code_started(
    door: Door, session_id: str
) -> None:
    before = listed(door, session_id)["memoryBytes"]
    code = (
        "import subprocess, sys\n"
        "other = subprocess.Popen([sys.executable, '-c', "
        "'x = bytearray(60_000_000); print(1, flush=True); input()'], "
        "stdin=subprocess.PIPE, stdout=subprocess.PIPE)\nother.stdout.readline()"
    )
    assert door.post(f"/sessions/{session_id}/execute", json={"code": code}).json()["success"]
    assert listed(door, session_id)["memoryBytes"] > before + 50_000_000


def test_executions_are_listed_from_their_queueing_to_their_end(
    door: Door, session_id: str
) -> None:
    path = f"/sessions/{session_id}/executions"
    ids = [
        door.post(path, json={"code": code}).json()["executionId"]
        for code in ("x = 1", "1 / 0", "import time; time.sleep(600)", "y = 2", "z = 3")
    ]
    wait_until(lambda: executions(door, session_id)[2]["state"] == "running")
    rows = executions(door, session_id)
    assert [each["executionId"] for each in rows] == ids
    assert [each["state"] for each in rows] == [
        *("succeeded", "failed", "running", "queued", "queued")
    ]
    assert rows[0]["code"] == "x = 1"
    assert rows[0]["startTime"] <= rows[0]["endTime"] <= rows[1]["startTime"]
    assert rows[1]["errorMessage"] == "ZeroDivisionError: division by zero"
    assert (rows[2]["endTime"], rows[3]["startTime"]) == (None, None)
    row = listed(door, session_id)
    assert (row["state"], row["executionId"], row["queued"]) == ("busy", ids[2], 2)
    assert (row["idleSeconds"], row["leaseSeconds"]) == (0, 3600)

    door.post(f"/sessions/{session_id}/cancel", params={"executionId": ids[4]})
    door.post(f"/sessions/{session_id}/cancel")
    wait_until(lambda: listed(door, session_id)["state"] == "idle")
    assert [each["state"] for each in executions(door, session_id)[2:]] == [
        *("cancelled", "succeeded", "cancelled")
    ]
    assert listed(door, session_id)["executionId"] == ids[3], "the last that ran"


def test_looking_at_executions_renews_no_lease(door: Door, session_id: str) -> None:
    idle = [listed(door, session_id)["idleSeconds"]]
    for _ in range(3):
        executions(door, session_id)
        idle.append(listed(door, session_id)["idleSeconds"])
    assert idle == sorted(idle)
    assert idle[0] < idle[-1]


def test_executions_of_what_is_not_ones_own_are_not_found(
    door: Door, session_id: str, people: Callable[[str], str]
) -> None:
    ben = door.with_token(people("ben"))
    assert_error(ben.get(f"/sessions/{session_id}/executions"), 404)


# --- snapshots -------------------------------------------------------------------------------


@pytest.fixture
def snapshot_id(door: Door, session_id: str) -> Iterator[str]:
    code = (
        "import threading\nvalues = list(range(1000))\nlock = threading.Lock()\n"
        "import os\nos.makedirs('sub')\nopen('sub/a.txt', 'w').write('abc')\n"
        "os.symlink('/etc/hostname', 'link')"
    )
    assert door.post(f"/sessions/{session_id}/execute", json={"code": code}).json()["success"]
    answer = door.post(f"/sessions/{session_id}/snapshot", json={"name": "kept"})
    identifier = answer.json()["snapshotId"]
    yield identifier
    door.delete(f"/snapshots/{identifier}")


def test_contents_of_a_snapshot_are_listed(door: Door, snapshot_id: str, service_name: str) -> None:
    definition = {"code": "n = len(values)", "snapshotId": snapshot_id}
    assert door.post(f"/services/{service_name}/1.0", json=definition).status_code == 201
    answer = door.get(f"/snapshots/{snapshot_id}/contents")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (row,) = [each for each in door.get("/snapshots").json() if each["id"] == snapshot_id]
    shared = ("id", "name", "owner", "creationTime", "contentSize", "runtimeType")
    assert {name: body[name] for name in shared} == {name: row[name] for name in shared}
    assert body["runtimeVersion"].startswith("3.")
    objects = {each["name"]: each for each in body["objects"]}
    values = objects["values"]
    assert (values["type"], values["kept"], values["reason"]) == ("list", True, "")
    assert values["size"] > 1000
    assert objects["lock"]["kept"] is False
    assert objects["lock"]["reason"]
    assert body["files"] == [{"path": "sub/a.txt", "size": 3}]
    assert [each["path"] for each in body["skippedFiles"]] == ["link"]
    assert body["services"] == [{"name": service_name, "version": "1.0"}]
    assert "ipykernel" in body["packages"]
    held = door.get(f"/services/{service_name}/1.0/contents").json()
    same = ("runtimeType", "runtimeVersion", "objects", "files", "skippedFiles", "packages")
    assert {name: held[name] for name in same} == {name: body[name] for name in same}
    assert (held["name"], held["version"]) == (service_name, "1.0")
    assert held["size"] > values["size"]
    door.post(f"/services/{service_name}/2.0", json={"code": "n = 1"})
    held = door.get(f"/services/{service_name}/2.0/contents").json()
    door.delete(f"/services/{service_name}/2.0")
    assert (held["runtimeVersion"], held["objects"], held["packages"]) == ("", [], {})
    door.delete(f"/services/{service_name}/1.0")
    assert door.get(f"/snapshots/{snapshot_id}/contents").json()["services"] == []


def test_contents_of_anothers_snapshot_are_not_found(
    door: Door, snapshot_id: str, people: Callable[[str], str]
) -> None:
    answer = door.with_token(people("ben")).get(f"/snapshots/{snapshot_id}/contents")
    assert_error(answer, 404)


# --- the Jupyter server ----------------------------------------------------------------------


def test_a_call_of_a_service_counts_as_activity_of_the_jupyter_server(
    door: Door, published: str, mlsvc_server: ServerProcess
) -> None:
    def last_activity() -> str:
        headers = {"Authorization": f"token {mlsvc_server.jupyter_token}"}
        url = f"{mlsvc_server.jupyter_url}/api/status"
        text: str = requests.get(url, headers=headers, timeout=30).json()["last_activity"]
        return text

    before = last_activity()
    door.get("/services")
    door.post(f"/api/{published}/1.0", json={"a": 1, "b": 2})
    wait_until(lambda: last_activity() != before, "the call was not told")


def test_a_server_stops_at_once_though_somebody_waits(tmp_path_factory: Any) -> None:
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("stopped"),
        admin_password=PASSWORD,
        jupyter=True,
        options=["--KernelFactory.preload_at_start=false", "--LocalEngine.preload=[]"],
    ) as server:
        waiting = []
        for url in door_urls(server).values():
            door = sign_in(url, "admin", PASSWORD)
            known = door.get("/events").json()
            parts = urlsplit(url)
            waiting.append(socket.create_connection((parts.hostname, parts.port), timeout=60))
            query = f"run={known['run']}&after={known['last']}&wait=55"
            head = f"GET {parts.path}/events?{query} HTTP/1.1\r\nHost: localhost\r\n"
            waiting[-1].sendall(f"{head}Authorization: Bearer {door.token}\r\n\r\n".encode())
            # It was sent before these, so the server waits for events once they are answered.
            for _ in range(3):
                assert door.get("/services").ok
        assert server.stop(timeout=60) == 0
        for client in waiting:
            with client:
                assert client.recv(2**16).startswith(b"HTTP/1.1 200 ")
