"""A server with the defaults of the original, as scripts that were written for that one expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("needs_r")]

PASSWORD = "Original-1234"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that was started with the switch."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("original"),
        admin_password=PASSWORD,
        jupyter=True,
        options=["--as-ml-server"],
    ) as server:
        yield server


@pytest.fixture
def door(original: ServerProcess) -> Door:
    """Its public API."""
    return sign_in(original.public_url, "admin", PASSWORD)


def published(door: Door, name: str, **changes: Any) -> str:
    """Publish a service in R that adds two numbers, without saying that it is in R."""
    body = {
        "code": "total <- a + b",
        "inputParameterDefinitions": [
            {"name": "a", "type": "numeric"},
            {"name": "b", "type": "numeric"},
        ],
        "outputParameterDefinitions": [{"name": "total", "type": "numeric"}],
    }
    answer = door.post(f"/services/{name}/V1", json=body | changes)
    assert answer.status_code == 201, answer.text
    return f"/api/{name}/V1"


def test_a_new_installation_is_tried_out(door: Door) -> None:
    """What the tool does that comes with the original: each kind of call, once, in R."""
    status = door.get("/status").json()
    assert status["statusCode"] == "pass"
    (backend,) = status["components"]["backends"]["components"].values()
    assert backend["details"]["rCanOpenShell"] == "True"

    session = door.post("/sessions", json={"name": "ValidateSetup"})
    assert session.status_code == 201
    session_id = session.json()["sessionId"]
    (row,) = [row for row in door.get("/sessions").json() if row["id"] == session_id]
    assert row["runtimeType"] == "R"
    code = "x <- 5\nadd <- function(a, b) a + b + x\ncat(add(1, 2))"
    executed = door.post(f"/sessions/{session_id}/execute", json={"code": code}).json()
    assert (executed["success"], executed["errorMessage"]) == (True, "")
    assert executed["consoleOutput"].strip() == "8"
    assert set(door.get(f"/sessions/{session_id}/workspace").json()) >= {"x", "add"}
    snapshot = door.post(f"/sessions/{session_id}/snapshot", json={"name": "ValidateSetup"})
    assert snapshot.status_code == 201
    snapshot_id = snapshot.json()["snapshotId"]

    path = published(door, "Validate", code="total <- add(a, b)", snapshotId=snapshot_id)
    (service,) = door.get("/services/Validate/V1").json()
    assert service["runtimeType"] == "R"
    assert path in door.get(f"{path}/swagger.json").json()["paths"]
    result = door.post(path, json={"a": 1, "b": 2}).json()
    assert (result["success"], result["outputParameters"]) == (True, {"total": 8})

    assert door.delete(f"/sessions/{session_id}").status_code == 200
    assert door.delete(f"/snapshots/{snapshot_id}").status_code == 200
    assert door.post(path, json={"a": 2, "b": 2}).json()["outputParameters"] == {"total": 9}
    assert door.delete("/services/Validate/V1").status_code == 200
    assert door.get("/services/Validate/V1").status_code == 404


def test_paths_are_found_in_any_case_but_names_are_not(door: Door) -> None:
    published(door, "Any")
    assert door.get("/API/Any/V1/Swagger.JSON").status_code == 200
    assert door.get("/Services").status_code == 200
    assert door.get("/SERVICES/Any/V1").status_code == 200
    for _ in range(3):
        answer = door.post("/Api/Any/V1", json={"a": 1, "b": 2})
        assert answer.json()["outputParameters"] == {"total": 3}
    assert door.post("/api/any/V1", json={"a": 1, "b": 2}).status_code == 404
    assert door.get("/SERVICES/Any/v1").status_code == 404
    door.delete("/services/Any/V1")


def test_states_of_batches_are_spelled_as_the_document_has_them(door: Door) -> None:
    path = published(door, "Many")
    document = door.get(f"{path}/swagger.json").json()
    state = document["definitions"]["BatchWebServiceResult"]["properties"]["state"]
    started = door.post(f"{path}/batch", json=[{"a": 1, "b": 2}]).json()
    url = f"{path}/batch/{started['batchExecutionId']}"
    seen = set()
    while "complete" not in seen:
        seen.add(door.get(url).json()["state"])
        assert seen <= set(state["enum"])
    door.delete(url)
    door.delete("/services/Many/V1")


def test_the_document_says_which_runtime_is_meant(door: Door) -> None:
    assert "R is meant" in door.get("/swagger.json").json()["info"]["description"]


def test_what_is_set_elsewhere_counts_for_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("mixed"),
        admin_password=PASSWORD,
        options=["--as-ml-server", "--MlsvcSessionManager.default_runtime=Python"],
    ) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        door.post("/Sessions", json={})
        (row,) = door.get("/sessions").json()
        assert row["runtimeType"] == "Python"
