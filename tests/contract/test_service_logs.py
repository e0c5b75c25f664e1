"""Logs and newest calls of services, read by whoever may change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.doors import Door
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

CODE = """
import os, sys
if how == "prints":
    print("one")
    print("two", file=sys.stderr)
if how == "raises":
    print("before")
    def inner():
        raise KeyError("secret of the code")
    inner()
if how == "prints below Python":
    os.write(1, b"from C")
if how == "ends":
    os._exit(3)
y = 1
"""
DEFINITION = {
    "code": CODE,
    "inputParameterDefinitions": [{"name": "how", "type": "character"}],
    "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
}


def _entries(door: Door, name: str, query: str = "") -> list[dict[str, Any]]:
    answer = door.get(f"/services/{name}/1.0/logs{query}")
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()
    return entries


def _calls(door: Door, name: str, query: str = "") -> list[dict[str, Any]]:
    answer = door.get(f"/services/{name}/1.0/calls{query}")
    assert answer.status_code == 200, answer.text
    calls: list[dict[str, Any]] = answer.json()
    return calls


def _call(door: Door, name: str, number: int) -> dict[str, Any]:
    answer = door.get(f"/services/{name}/1.0/calls/{number}")
    assert answer.status_code == 200, answer.text
    call: dict[str, Any] = answer.json()
    return call


def test_log_has_what_calls_printed_and_raised(door: Door, service_name: str) -> None:
    assert door.post(f"/services/{service_name}/1.0", json=DEFINITION).status_code == 201
    assert _entries(door, service_name) == []

    def call(how: str) -> str:
        answer = door.post(f"/api/{service_name}/1.0", json={"how": how})
        return str(answer.headers["X-Request-Id"])

    printed, raised, below = call("prints"), call("raises"), call("prints below Python")
    call("is silent")
    first, second, third = _entries(door, service_name)
    assert (first["level"], first["problem"], first["text"]) == ("info", "", "one\ntwo\n")
    assert (second["level"], second["problem"]) == ("error", "KeyError: 'secret of the code'")
    assert second["text"].startswith("before\nTraceback (most recent call last):\n")
    assert ", in inner\n" in second["text"]
    assert (third["level"], third["text"]) == ("info", "from C")
    assert [each["requestId"] for each in (first, second, third)] == [printed, raised, below]
    assert first["id"] < second["id"] < third["id"]
    assert _entries(door, service_name, "?limit=1") == [third]
    calls = _calls(door, service_name)
    assert [each["id"] for each in calls] == [4, 3, 2, 1]
    assert [each["requestId"] for each in calls[1:]] == [below, raised, printed]
    (failed,) = _calls(door, service_name, "?errors=true")
    assert (failed["id"], failed["status"], failed["success"]) == (2, 200, False)
    assert failed["problem"] == "KeyError: 'secret of the code'"
    assert _call(door, service_name, 2) == failed | {"text": second["text"]}
    assert _call(door, service_name, 1)["text"] == "one\ntwo\n"
    assert _call(door, service_name, 4)["text"] == ""
    assert _entries(door, service_name, f"?after={first['id']}&limit=1") == [second]
    assert _entries(door, service_name, f"?after={third['id']}") == []
    # A new revision goes on with the log of the one before.
    door.patch(f"/services/{service_name}/1.0", json={"code": "print('new')\ny = 2"})
    call("is silent")
    assert [each["text"] for each in _entries(door, service_name)][3:] == ["new\n"]
    door.delete(f"/services/{service_name}/1.0")
    assert door.get(f"/services/{service_name}/1.0/logs").status_code == 404


def test_log_says_how_a_worker_ended(door: Door, service_name: str) -> None:
    assert door.post(f"/services/{service_name}/1.0", json=DEFINITION).status_code == 201
    assert door.post(f"/api/{service_name}/1.0", json={"how": "ends"}).status_code == 500
    wait_until(lambda: bool(_entries(door, service_name)))
    (entry,) = _entries(door, service_name)
    assert (entry["level"], entry["text"]) == ("error", "")
    assert entry["problem"] == "A worker ended unexpectedly during a call (exit code 3)."
    (call,) = _calls(door, service_name)
    assert (call["status"], call["success"], call["answerBytes"]) == (500, False, 0)
    assert "(exit code 3)" in call["problem"]
    door.delete(f"/services/{service_name}/1.0")


def test_log_of_a_batch_names_its_records(door: Door, service_name: str) -> None:
    assert door.post(f"/services/{service_name}/1.0", json=DEFINITION).status_code == 201
    hows = ["is silent", "prints", "is silent"]
    records = [{"how": how} for how in hows]
    started = door.post(f"/api/{service_name}/1.0/batch", json=records)
    batch = started.json()["batchExecutionId"]
    wait_until(lambda: bool(_entries(door, service_name)))
    (entry,) = _entries(door, service_name)
    assert (entry["text"], entry["requestId"]) == ("one\ntwo\n", f"{batch}/1")
    wait_until(lambda: len(_calls(door, service_name)) == len(records))
    calls = _calls(door, service_name)
    assert {each["requestId"] for each in calls} == {f"{batch}/{place}" for place in range(3)}
    assert {(each["caller"], each["callerKind"]) for each in calls} == {("admin", "batch")}
    door.delete(f"/services/{service_name}/1.0")


def test_only_who_may_change_a_service_reads_its_log(
    door: Door, people: Callable[[str], str], service_name: str
) -> None:
    ana, ben, rita = (door.with_token(people(name)) for name in ("ana", "ben", "rita"))
    assert ana.post(f"/services/{service_name}/1.0", json=DEFINITION).status_code == 201
    ben.post(f"/api/{service_name}/1.0", json={"how": "raises"})
    service = f"/services/{service_name}/1.0"
    path = f"{service}/logs"
    (call,) = _calls(ana, service_name)
    assert (call["caller"], call["callerKind"], call["status"]) == ("ben", "person", 200)
    assert call["requestBytes"] == len('{"how": "raises"}')
    assert call["answerBytes"] > 100
    assert call["milliseconds"] > 0
    for hidden in (
        path,
        f"{service}/contents",
        f"{service}/calls",
        f"{service}/calls/{call['id']}",
    ):
        for other in (ben, rita):
            answer = other.get(hidden)
            assert answer.status_code == 403
            assert "secret" not in answer.text
    assert door.with_token(None).get(path).status_code == 401
    assert [each["level"] for each in _entries(ana, service_name)] == ["error"]
    assert [each["level"] for each in _entries(door, service_name)] == ["error"]
    for wrong in ("?limit=1001", "?limit=-1", "?after=x"):
        assert ana.get(path + wrong).status_code == 400
    for wrong in ("?limit=1001", "?errors=perhaps"):
        assert ana.get(f"{service}/calls{wrong}").status_code == 400
    for wrong in ("0", "x", "9" * 5000, "-1"):
        assert ana.get(f"{service}/calls/{wrong}").status_code == 404
    ana.delete(service)


def test_bodies_are_kept_where_the_publisher_asked_for_them(
    door: Door, people: Callable[[str], str], service_name: str
) -> None:
    ana, key = door.with_token(people("ana")), f"of-{service_name}"
    service, sent = f"/services/{service_name}/1.0", '{"how": "é"}'
    assert ana.post(service, json=DEFINITION | {"keepBodies": True}).status_code == 201
    made = ana.post("/keys", json={"name": key, "services": [service_name]}).json()
    by_key = door.with_token(made["key"])
    answer = by_key.post(f"/api/{service_name}/1.0", data=sent.encode())
    refused = by_key.post(f"/api/{service_name}/1.0", json={"what": 1})
    first = _call(ana, service_name, 1)
    assert (first["request"], first["answer"]) == (sent, answer.text)
    assert (first["caller"], first["callerKind"]) == (key, "key")
    second = _call(ana, service_name, 2)
    assert (second["status"], second["request"]) == (400, '{"what": 1}')
    assert second["problem"] in refused.json()["message"]
    assert "request" not in _calls(ana, service_name)[0]
    assert ana.get(service).json()[0]["keepBodies"] is True
    assert ana.patch(service, json={"keepBodies": False}).status_code == 200
    assert "request" not in _call(ana, service_name, 1)
    by_key.post(f"/api/{service_name}/1.0", data=sent)
    assert "request" not in _call(ana, service_name, 3)
    ana.delete(f"/keys/{key}")
    ana.delete(service)
