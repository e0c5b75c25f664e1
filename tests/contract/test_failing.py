"""Versions whose processes keep ending, and calls that a lost process took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.doors import Door
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

OUTPUTS = [{"name": "y", "type": "integer"}]
KILL_ONCE = """
import os, pathlib, signal
if not (mark := pathlib.Path(path)).exists():
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
y = 1
"""
PATH = [{"name": "path", "type": "character"}]


def _publish(door: Door, name: str, **members: Any) -> None:
    answer = door.post(
        f"/services/{name}/1.0", json={"outputParameterDefinitions": OUTPUTS} | members
    )
    assert answer.status_code == 201, answer.text


def test_failing_version_says_why_until_it_is_mended(door: Door, service_name: str) -> None:
    service = f"/services/{service_name}/1.0"
    _publish(door, service_name, code="import os\nos._exit(3)")
    answers: list[requests.Response] = []

    def is_refused() -> bool:
        answers.append(door.post(f"/api/{service_name}/1.0", json={}))
        return answers[-1].status_code == 503

    wait_until(is_refused)
    refused = answers.pop()
    assert {answer.status_code for answer in answers} == {500}
    reason = "Its processes keep ending (exit code 3)."
    assert reason in refused.json()["message"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert door.get(service).json()[0]["failing"] == reason
    figures = door.get(f"{service}/statistics").json()
    assert (figures["state"], figures["message"]) == ("failing", reason)
    status = door.get("/status").json()
    (node,) = status["components"]["backends"]["components"].values()
    assert (status["statusCode"], node["statusCode"]) == ("warn", "warn")
    assert node["details"]["failingServices"][f"{service_name}/1.0"] == reason
    assert door.patch(service, json={"code": "y = 1"}).status_code == 200
    assert door.post(f"/api/{service_name}/1.0", json={}).json()["outputParameters"] == {"y": 1}
    assert "failing" not in door.get(service).json()[0]
    door.delete(service)


@pytest.mark.parametrize(("effects", "status"), [(False, 200), (True, 503)])
def test_call_of_a_killed_process_runs_once_more_unless_it_has_effects(
    door: Door, service_name: str, writable_dir: Path, effects: bool, status: int
) -> None:
    _publish(door, service_name, code=KILL_ONCE, inputParameterDefinitions=PATH, effects=effects)
    assert door.get(f"/services/{service_name}/1.0").json()[0]["effects"] is effects
    answer = door.post(f"/api/{service_name}/1.0", json={"path": str(writable_dir / service_name)})
    assert answer.status_code == status, answer.text
    if effects:
        assert answer.headers["Retry-After"] == "1"
        assert "have effects" in answer.json()["message"]
        assert door.patch(f"/services/{service_name}/1.0", json={"effects": False}).ok
    door.delete(f"/services/{service_name}/1.0")


def test_init_code_that_fails_is_refused_with_its_line_in_a_patch_too(
    door: Door, published: str
) -> None:
    answer = door.patch(f"/services/{published}/1.0", json={"initCode": "k = 1\n1 / 0"})
    assert answer.status_code == 400
    told = "ZeroDivisionError: division by zero, in line 2 of initCode: 1 / 0"
    assert told in answer.json()["message"]
    assert door.post(f"/api/{published}/1.0", json={"a": 1, "b": 2}).json()["success"]
