"""Logs of services: what their code has printed, read by whoever may change them."""

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
    door.delete(f"/services/{service_name}/1.0")


def test_only_who_may_change_a_service_reads_its_log(
    door: Door, people: Callable[[str], str], service_name: str
) -> None:
    ana, ben, rita = (door.with_token(people(name)) for name in ("ana", "ben", "rita"))
    assert ana.post(f"/services/{service_name}/1.0", json=DEFINITION).status_code == 201
    ben.post(f"/api/{service_name}/1.0", json={"how": "raises"})
    path = f"/services/{service_name}/1.0/logs"
    for other in (ben, rita):
        answer = other.get(path)
        assert answer.status_code == 403
        assert "secret" not in answer.text
    assert door.with_token(None).get(path).status_code == 401
    assert [each["level"] for each in _entries(ana, service_name)] == ["error"]
    assert [each["level"] for each in _entries(door, service_name)] == ["error"]
    for wrong in ("?limit=1001", "?limit=-1", "?after=x"):
        assert ana.get(path + wrong).status_code == 400
    ana.delete(f"/services/{service_name}/1.0")
