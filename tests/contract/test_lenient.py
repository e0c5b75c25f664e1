"""Requests that are not as the documents have them: read as they are meant, or refused by name."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import requests

from jupyter_mlsvc.wire.operations import OPERATIONS, Operation
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in

pytestmark = pytest.mark.kernel

WITH_BODY = {
    operation.id: operation
    for operation in OPERATIONS
    if operation.body is not None and operation.body is not bytes
}
WITH_FORM = {
    operation.id: operation
    for operation in OPERATIONS
    if any(parameter.place == "formData" for parameter in operation.parameters)
}


@pytest.fixture(scope="module")
def session_id(door: Door) -> Iterator[str]:
    """A session that all tests here share."""
    identifier = door.post("/sessions", json={"runtimeType": "Python"}).json()["sessionId"]
    yield identifier
    door.delete(f"/sessions/{identifier}")


@pytest.fixture(scope="module")
def published(door: Door) -> Iterator[str]:
    """The name of a service that all tests here share; its version 1.0 doubles a number."""
    name = f"svc-{uuid.uuid4().hex[:8]}"
    body = (
        "{Code: 'y = 2 * x', // as somebody may write it by hand\n"
        "input_parameter_definitions: [{'Name': 'x', type: 'integer'},],\n"
        "OutputParameterDefinitions: [{name: 'y', type: 'integer'}], /* no more */}"
    )
    assert door.post(f"/services/{name}/1.0", data=body).status_code == 201
    yield name
    door.delete(f"/services/{name}/1.0")


def send(door: Door, operation: Operation, session_id: str, name: str, **sent: Any) -> str:
    """Send an operation something and give the message of the refusal."""
    path = operation.path.format(id=session_id, name=name, version="1.0")
    answer = door.call(operation.method.upper(), path, **sent)
    assert answer.status_code == 400, answer.text
    message: str = answer.json()["message"]
    return message


@pytest.mark.parametrize("operation", WITH_BODY.values(), ids=WITH_BODY)
def test_a_member_that_nobody_knows_is_never_ignored(
    door: Door, session_id: str, published: str, operation: Operation
) -> None:
    for field in msgspec.structs.fields(operation.body):
        known = field.encode_name
        message = send(door, operation, session_id, published, json={f"{known}s_": 1})
        assert f"'{known}s_'" in message
        assert f"Did you mean '{known}'" in message


@pytest.mark.parametrize("operation", WITH_FORM.values(), ids=WITH_FORM)
def test_a_part_that_nobody_knows_is_never_ignored(
    door: Door, session_id: str, published: str, operation: Operation
) -> None:
    for parameter in operation.parameters:
        wrong = f"{parameter.name}x"
        for sent in ({"data": {wrong: "1"}, "files": {"file": b"1"}}, {"files": {wrong: b"1"}}):
            if "data" in sent and "file" not in {each.name for each in operation.parameters}:
                sent["files"] = {"model": b"1"}
            message = send(door, operation, session_id, published, **sent)
            assert f"Did you mean '{parameter.name}'" in message


def test_a_login_is_read_in_any_case(door: Door, mlsvc_server: ServerProcess) -> None:
    body = {"UserName": "admin", "PASSWORD": mlsvc_server.admin_password}
    assert door.with_token(None).post("/login", json=body).status_code == 200


def test_what_was_published_by_hand_is_what_was_meant(door: Door, published: str) -> None:
    (service,) = door.get(f"/services/{published}/1.0").json()
    assert service["code"] == "y = 2 * x"
    assert service["inputParameterDefinitions"] == [{"name": "x", "type": "integer"}]


CALLS = ["{'x': 4}", "{x: 4}", '{"x": 4,}', '{"x": 4} // four', "/* four */ {'x': 4,}"]


@pytest.mark.parametrize("body", CALLS)
def test_a_call_by_hand_is_read(door: Door, published: str, body: str) -> None:
    answer = door.post(f"/api/{published}/1.0", data=body)
    assert answer.json()["outputParameters"] == {"y": 8}


def test_names_of_inputs_are_read_as_they_are(door: Door, published: str) -> None:
    assert "'X'" in error_of(door.post(f"/api/{published}/1.0", json={"X": 4}))


def test_records_by_hand_are_read(door: Door, published: str) -> None:
    path = f"/api/{published}/1.0/batch"
    started = door.post(path + "?ParallelCount=2", data="[{'x': 1}, {x: 2,},] // two")
    assert started.status_code == 202, started.text
    url = f"{path}/{started.json()['batchExecutionId']}"
    while (status := door.get(url).json())["state"] in {"Pending", "InProgress"}:
        pass
    assert status["parallelCount"] == 2
    results = status["batchExecutionResults"]
    assert [result["outputParameters"]["y"] for result in results] == [2, 4]
    door.delete(url)


@pytest.mark.parametrize("spelling", ["InitialPoolSize", "initialPoolSize", "initial_pool_size"])
def test_the_size_of_a_pool_is_read_in_any_spelling(
    door: Door, published: str, spelling: str
) -> None:
    path = f"/services/{published}/1.0/pool"
    answer = door.post(path, json={spelling: 3, "maxPoolSize": 2})
    assert "3" in error_of(answer)  # so it was read, not ignored
    assert door.post(path, json={spelling: 1, "MaxPoolSize": 1}).status_code == 200
    door.delete(path)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The public API of a server with the setting off."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("strict"),
        admin_password="Strict-1234",
        options=["--MlsvcApp.lenient_json=False"],
    ) as server:
        yield sign_in(server.public_url, "admin", "Strict-1234")


def test_where_nothing_is_forgiven_text_has_to_be_json(strict: Door) -> None:
    body: dict[str, Any] = {
        "code": "y = x",
        "inputParameterDefinitions": [{"name": "x", "type": "integer"}],
        "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
    }
    assert "JSON" in error_of(strict.post("/services/s/1", data=str(body)))
    assert strict.post("/services/s/1", json=body).status_code == 201
    assert strict.post("/api/s/1", json={"x": 4}).json()["outputParameters"] == {"y": 4}
    for call in CALLS:
        assert "JSON" in error_of(strict.post("/api/s/1", data=call))
    assert "JSON" in error_of(strict.post("/api/s/1/batch", data="[{'x': 1}]"))


def test_where_nothing_is_forgiven_members_have_their_own_names(strict: Door) -> None:
    answer = strict.post("/sessions", json={"RuntimeType": "Python"})
    assert "Did you mean 'runtimeType'" in error_of(answer)


def error_of(answer: requests.Response) -> str:
    """Check that it was refused and give the message."""
    assert answer.status_code == 400, answer.text
    message: str = json.loads(answer.content)["message"]
    return message
