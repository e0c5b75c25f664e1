"""What a version says of its workers: code that runs once in each, and what calls may see."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error

pytestmark = pytest.mark.kernel


def _publish(door: Door, name: str, **changes: Any) -> None:
    body = {"code": "y = 1", "outputParameterDefinitions": [{"name": "y", "type": "numeric"}]}
    answer = door.post(f"/services/{name}/1.0", json=body | changes)
    assert answer.status_code == 201, answer.text


def _members(door: Door, name: str) -> tuple[str | None, str]:
    (service,) = door.get(f"/services/{name}/1.0").json()
    return service["setupCode"], service["isolation"]


def test_a_version_keeps_setup_and_isolation_until_a_change_names_them(
    door: Door, service_name: str
) -> None:
    _publish(door, service_name)
    assert _members(door, service_name) == (None, "worker")
    changes = [
        ({"setupCode": "k = 1", "isolation": "none"}, ("k = 1", "none")),
        ({"description": "the same"}, ("k = 1", "none")),
        ({"setupCode": None, "isolation": None}, ("k = 1", "none")),
        ({"isolation": "call"}, ("k = 1", "call")),
        ({"setupCode": ""}, (None, "call")),
    ]
    for change, expected in changes:
        answer = door.patch(f"/services/{service_name}/1.0", json=change)
        assert answer.status_code == 200, answer.text
        assert _members(door, service_name) == expected


def test_both_are_there_from_the_start(door: Door, service_name: str) -> None:
    _publish(door, service_name, setupCode="k = 1", isolation="none")
    assert _members(door, service_name) == ("k = 1", "none")


def test_a_version_keeps_how_it_is_confined_until_a_change_names_it(
    door: Door, service_name: str
) -> None:
    code = "import socket\ntry: socket.socket(); y = 1\nexcept PermissionError: y = 0"
    _publish(door, service_name, code=code, network=False)
    path = f"/services/{service_name}/1.0"
    changes: list[tuple[dict[str, Any], tuple[bool, bool]]] = [
        ({}, (False, False)),
        ({"readOnly": True}, (False, True)),
        ({"network": None, "description": "the same"}, (False, True)),
        ({"network": True, "readOnly": False}, (True, False)),
    ]
    for change, expected in changes:
        assert door.patch(path, json=change).status_code == 200
        (service,) = door.get(path).json()
        assert (service["network"], service["readOnly"]) == expected
        answer = door.post(f"/api/{service_name}/1.0", json={}).json()
        assert answer["outputParameters"] == {"y": int(expected[0])}


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no such isolation": ({"isolation": "process"}, ["isolation", "process"]),
    "setup that is no text": ({"setupCode": 7}, ["setupCode"]),
    "setup in R": ({"setupCode": "k <- 1", "runtimeType": "R"}, ["setupCode", "Python only"]),
    "shared state in R": ({"isolation": "none", "runtimeType": "R"}, ["isolation", "'call'"]),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_no_worker_can_do_is_refused(
    door: Door, service_name: str, changes: dict[str, Any], words: list[str]
) -> None:
    answer = door.post(f"/services/{service_name}/1.0", json={"code": "y = 1"} | changes)
    assert_error(answer, 400, *words)


def test_the_check_tells_what_each_call_would_cost_and_what_could_be_kept(
    door: Door, service_name: str
) -> None:
    code = (
        "import sqlite3, threading\nthreading.Thread(target=threading.Event().wait).start()\ny = 1"
    )
    _publish(door, service_name, code=code, check={})
    (service,) = door.get(f"/services/{service_name}/1.0").json()
    notes = " ".join(service["publishCheck"]["notes"])
    assert "a thread was left running" in notes
    assert "sqlite3" in notes
    assert "setupCode" in notes
    door.patch(f"/services/{service_name}/1.0", json={"isolation": "call", "check": {}})
    (service,) = door.get(f"/services/{service_name}/1.0").json()
    assert service["publishCheck"]["notes"] == []


def test_setup_code_that_fails_is_refused_with_its_line(door: Door, service_name: str) -> None:
    body = {"code": "y = 1", "setupCode": "a = 1\nraise OSError('no device')"}
    answer = door.post(f"/services/{service_name}/1.0", json=body)
    assert_error(answer, 400, "setupCode", "line 2", "no device")
    assert door.get(f"/services/{service_name}").json() == []
