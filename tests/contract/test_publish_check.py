"""What a version is tried with before it is published, what of that is kept, and replacing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from jupyter_mlsvc import Client, serialize_model
from tests.contract.doors import Door
from tests.contract.test_bad_input import assert_error
from tests.contract.test_realtime import FLOWERS, by_name
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

DOUBLE: dict[str, Any] = {
    "code": "print('doubling'); y = x * 2",
    "inputParameterDefinitions": [{"name": "x", "type": "numeric"}],
    "outputParameterDefinitions": [{"name": "y"}],
}


@pytest.fixture
def name(door: Door, service_name: str) -> Iterator[str]:
    """A name whose versions go afterwards."""
    yield service_name
    for row in door.get(f"/services/{service_name}").json():
        door.delete(f"/services/{service_name}/{row['version']}")


def published(door: Door, name: str, **changes: Any) -> requests.Response:
    return door.post(f"/services/{name}/V1", json=DOUBLE | changes)


def described(door: Door, name: str) -> dict[str, Any]:
    (row,) = door.get(f"/services/{name}/V1").json()
    found: dict[str, Any] = row
    return found


def test_a_check_that_calls_is_kept_and_gives_types(door: Door, name: str) -> None:
    assert published(door, name, check={"inputs": {"x": 2.5}}).status_code == 201
    row = described(door, name)
    assert row["publishCheck"].pop("time") >= row["creationTime"]
    assert row["publishCheck"] == {
        "called": True,
        "success": True,
        "errorMessage": "",
        "outputParameters": {"y": 5.0},
        "consoleOutput": "doubling\n",
        "notes": [],
    }
    assert row["outputParameterDefinitions"] == [{"name": "y", "type": "numeric"}]
    answer = door.post(f"/api/{name}/V1", json={"x": 3})
    assert answer.json()["outputParameters"] == {"y": 6}


def test_what_is_said_of_a_version_changes_without_its_check(door: Door, name: str) -> None:
    published(door, name, check={"inputs": {"x": 1}})
    door.patch(f"/services/{name}/V1", json={"description": "Doubles."})
    assert described(door, name)["publishCheck"]["called"] is True
    door.patch(f"/services/{name}/V1", json={"code": "y = x"})
    assert "publishCheck" not in described(door, name)


def test_an_output_without_a_type_passes_as_json(door: Door, name: str) -> None:
    assert published(door, name, inputParameterDefinitions=[{"name": "x"}]).status_code == 201
    row = described(door, name)
    assert row["inputParameterDefinitions"] == [{"name": "x", "type": "json"}]
    assert row["outputParameterDefinitions"] == [{"name": "y", "type": "json"}]
    assert "publishCheck" not in row
    for x, y in ((3, 6), ("ab", "abab"), ([1], [1, 1])):
        answer = door.post(f"/api/{name}/V1", json={"x": x})
        assert answer.json()["outputParameters"] == {"y": y}


def test_without_a_value_no_call_is_made(door: Door, name: str) -> None:
    assert published(door, name, code="1 / 0", check={"inputs": {}}).status_code == 201
    check = described(door, name)["publishCheck"]
    assert check["called"] is False
    assert check["notes"] == ["The code was not called: there is no value for input 'x'."]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"code": "y = pipe"}, "NameError: name 'pipe' is not defined, in line 1: y = pipe"),
        ({"code": "z = x"}, "The code did not set the output 'y'."),
        (
            {"code": "y = 'a'", "outputParameterDefinitions": [{"name": "y", "type": "numeric"}]},
            "Output y must be a number (numeric), got the string 'a'.",
        ),
        ({"initCode": "q"}, "NameError: name 'q' is not defined, in line 1 of initCode: q"),
    ],
)
def test_what_is_certain_to_fail_is_refused_unless_it_is_forced(
    door: Door, name: str, changes: dict[str, Any], told: str
) -> None:
    answer = published(door, name, **changes, check={"inputs": {"x": 1}})
    assert_error(answer, 400)
    assert answer.json()["message"].startswith(f"{told}\nNothing was published.")
    assert door.get(f"/services/{name}").json() == []
    forced = published(door, name, **changes, check={"inputs": {"x": 1}, "force": True})
    assert forced.status_code == 201
    check = described(door, name)["publishCheck"]
    assert check["success"] is False
    assert check["errorMessage"] == told


def test_publish_check_reports_console_output(door: Door, name: str) -> None:
    answer = published(door, name, code="print('reading')\n1 / 0", check={"inputs": {"x": 1}})
    first, second, *rest = answer.json()["message"].splitlines()
    assert first == "ZeroDivisionError: division by zero, in line 2: 1 / 0"
    assert second.startswith("Nothing was published.")
    assert rest == ["It had printed:", "reading"]


def test_publish_check_reports_a_wrong_output_once(door: Door, name: str) -> None:
    answer = published(door, name, code="y = object()", check={"inputs": {"x": 1}})
    assert answer.json()["message"].count("Output y must be") == 1
    assert "It had printed" not in answer.json()["message"]


def test_init_code_is_run_without_being_asked(door: Door, name: str) -> None:
    for code in ("raise SystemExit(1)", "import os; os._exit(1)", "1 / 0"):
        answer = published(door, name, initCode=code)
        assert_error(answer, 400)
        assert f"in line 1 of initCode: {code}" in answer.json()["message"]


def test_a_long_answer_is_not_kept(door: Door, name: str) -> None:
    published(door, name, code="print('x' * 100000); y = 'a' * 100000", check={"inputs": {"x": 1}})
    check = described(door, name)["publishCheck"]
    assert check["success"] is True
    assert check["outputParameters"] == {}
    assert check["notes"] == ["The answer of the check has 100,008 bytes and is not kept."]
    assert len(check["consoleOutput"]) < 11_000


def test_what_a_check_found_is_for_those_who_may_see_the_code(
    door: Door, name: str, people: Callable[[str], str]
) -> None:
    published(door, name, check={"inputs": {"x": 1}})
    rita = door.with_token(people("rita"))
    assert "publishCheck" not in described(rita, name)
    assert described(rita, name)["neverAnswered"] is True


def test_a_realtime_model_is_called_with_an_example(door: Door, name: str) -> None:
    def send(example: Any, **fields: str) -> requests.Response:
        check = json.dumps({"inputs": {"inputData": example}})
        model = ("model", serialize_model(by_name()))
        return door.post(
            f"/realtime-services/{name}/V1",
            files={"model": model},
            data={"check": check, **fields},
        )

    answer = send({"a": [1.0]})
    assert_error(answer, 400)
    assert "lacks the columns 'b', 'c', 'd'" in answer.json()["message"]
    assert send(FLOWERS).status_code == 201
    check = described(door, name)["publishCheck"]
    assert check["success"] is True
    assert len(check["outputParameters"]["outputData"]["y_Pred"]) == 2
    assert_error(send(FLOWERS), 409)
    assert send(FLOWERS, replace="true").status_code == 201
    answer = send(FLOWERS, replace="perhaps")
    assert_error(answer, 400)


def test_a_version_may_be_replaced_until_it_has_answered(door: Door, name: str) -> None:
    assert published(door, name, code="1 / 0").status_code == 201
    assert described(door, name)["neverAnswered"] is True
    assert_error(published(door, name), 409)
    # A failure is no answer.
    assert door.post(f"/api/{name}/V1", json={"x": 1}).json()["success"] is False
    assert published(door, name, replace=True).status_code == 201
    assert door.post(f"/api/{name}/V1", json={"x": 1}).json()["outputParameters"] == {"y": 2}
    wait_until(lambda: described(door, name)["neverAnswered"] is False)
    answer = published(door, name, replace=True)
    assert_error(answer, 409)
    assert "has answered calls" in answer.json()["message"]


def test_only_its_publisher_replaces_a_version(
    door: Door, name: str, people: Callable[[str], str]
) -> None:
    published(door.with_token(people("ana")), name)
    answer = published(door.with_token(people("ben")), name, replace=True)
    assert answer.status_code == 409
    assert published(door.with_token(people("ana")), name, replace=True).status_code == 201


def test_a_version_that_the_server_made_up_is_never_the_newest(door: Door, name: str) -> None:
    for version in ("/1.0", "", "/0.5", ""):
        assert door.post(f"/services/{name}{version}", json=DOUBLE).status_code == 201
    versions = [row["version"] for row in door.get(f"/services/{name}").json()]
    assert [len(version) for version in versions] == [36, 36, 3, 3]
    assert versions[2:] == ["1.0", "0.5"]
    everything = [row["version"] for row in door.get("/services").json() if row["name"] == name]
    assert everything == versions
    client = Client(door.url, token=door.token)
    assert client.services.get(name).version == "0.5"


def test_what_was_meant_is_asked(door: Door, name: str) -> None:
    published(door, name)
    called = door.post(f"/api/{name}/v1", json={})
    assert_error(called, 404, f"There is no version 'v1' of service '{name}'. Did you mean 'V1'?")
    called = door.post(f"/api/{name}x/V1", json={})
    assert_error(called, 404, f"There is no service '{name}x'. Did you mean '{name}'?")
    called = door.post(f"/api/{name}/V1", json={"X": 1})
    assert_error(called, 400, "the service takes x (numeric). Did you mean 'x'?")
