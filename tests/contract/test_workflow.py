"""The whole workflow by REST, at both doors: from signing in to deleting a service."""

from __future__ import annotations

import time

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door

pytestmark = pytest.mark.kernel

SETOSA, VERSICOLOR = [5.1, 3.5, 1.4, 0.2], [7, 3.2, 4.7, 1.4]
CODE = "iris_species = [names[x] for x in clf.predict(flower_data)]"
FLOWER = [{"name": "flower_data", "type": "vector"}]


@pytest.fixture(scope="module")
def trained(door: Door) -> str:
    """A session with a classifier, trained in the three steps of the walkthrough."""
    session = door.post("/sessions", json={"name": "Session 1", "runtimeType": "Python"})
    assert session.status_code == 201
    assert list(session.json()) == ["sessionId"]
    execute = f"/sessions/{session.json()['sessionId']}/execute"
    steps = [
        "from sklearn import svm\nfrom sklearn import datasets",
        "clf=svm.SVC()\niris=datasets.load_iris()\n"
        "names={0:'I. setosa',1:'I. versicolor',2:'I. virginica'}",
    ]
    for code in steps:
        answer = door.post(execute, json={"code": code})
        assert (answer.status_code, answer.json()["success"]) == (200, True)
    answer = door.post(
        execute,
        json={
            "code": "clf.fit(iris.data, iris.target)\n"
            "result=clf.predict(species_1)\nother_result=clf.predict(species_2)",
            "inputParameters": [
                {"name": "species_1", "value": VERSICOLOR},
                {"name": "species_2", "value": [3, 2.6, 3, 2.5]},
            ],
            "outputParameters": ["result", "other_result"],
        },
    )
    assert answer.status_code == 200
    assert list(answer.json()) == [
        "success",
        "errorMessage",
        "outputParameters",
        "consoleOutput",
        "changedFiles",
    ]
    assert answer.json()["outputParameters"] == [
        {"name": "result", "value": [1]},
        {"name": "other_result", "value": [1]},
    ]
    return str(session.json()["sessionId"])


@pytest.fixture(scope="module")
def snapshot_id(door: Door, trained: str) -> str:
    """A snapshot of the trained session."""
    answer = door.post(f"/sessions/{trained}/snapshot", json={"name": "Iris Snapshot"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["snapshotId"])


def test_login_gives_a_pair_of_tokens_in_compact_json(mlsvc_server: ServerProcess) -> None:
    door = Door(mlsvc_server.public_url, None)
    credentials = {"username": "admin", "password": mlsvc_server.admin_password}
    answer = door.post("/login/", json=credentials)
    body = answer.json()
    assert answer.status_code == 200
    assert '"access_token":"' in answer.text
    assert set(body) == {
        "token_type",
        "access_token",
        "expires_in",
        "expires_on",
        "refresh_token",
    }
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3600
    assert abs(body["expires_on"] - time.time() - 3600) < 60


def test_a_listed_snapshot_has_the_members_of_the_contract(door: Door, snapshot_id: str) -> None:
    (snapshot,) = [s for s in door.get("/snapshots").json() if s["id"] == snapshot_id]
    assert snapshot["name"] == "Iris Snapshot"
    assert snapshot["owner"] == "admin"
    assert snapshot["contentSize"] > 1000
    assert len(snapshot["creationTime"].split(".")[1]) == 7


def test_a_model_is_published_described_called_changed_and_deleted(
    door: Door, snapshot_id: str, service_name: str
) -> None:
    v1, v2 = f"/services/{service_name}/V1.0", f"/services/{service_name}/V2.0"
    request = {
        "code": CODE,
        "inputParameterDefinitions": FLOWER,
        "outputParameterDefinitions": [{"name": "iris_species", "type": "vector"}],
        "runtimeType": "Python",
        "snapshotId": snapshot_id,
    }
    answer = door.post(v1, json=request)
    assert answer.status_code == 201, answer.text
    assert isinstance(answer.json(), str)

    (service,) = door.get(v1).json()
    assert service["code"] == CODE
    assert service["versionPublishedBy"] == "admin"
    assert service["myPermissionOnService"] == "read/write"
    assert service["inputParameterDefinitions"] == FLOWER

    swagger = door.get(f"/api/{service_name}/V1.0/swagger.json").json()
    assert f"/api/{service_name}/V1.0" in swagger["paths"]
    assert list(swagger["definitions"]["InputParameters"]["properties"]) == ["flower_data"]
    assert "outputParameters" in swagger["definitions"]["WebServiceResult"]["properties"]

    for flower, species in [(VERSICOLOR, "I. versicolor"), (SETOSA, "I. setosa")]:
        answer = door.post(f"/api/{service_name}/V1.0", json={"flower_data": flower})
        assert answer.status_code == 200, answer.text
        assert list(answer.json()) == [
            "success",
            "errorMessage",
            "outputParameters",
            "outputFiles",
            "consoleOutput",
            "changedFiles",
        ]
        assert answer.json()["outputParameters"] == {"iris_species": [species]}

    text = "Determines the species"
    answer = door.patch(v1, json={"description": text, "runtimeType": "Python"})
    assert (answer.status_code, type(answer.json())) == (200, str)
    assert door.get(v1).json()[0] == service | {"description": text, "neverAnswered": False}

    as_text = request | {
        "code": CODE + "[0]",
        "outputParameterDefinitions": [{"name": "iris_species", "type": "string"}],
    }
    assert door.post(v2, json=as_text).status_code == 201
    answer = door.post(f"/api/{service_name}/V2.0", json={"flower_data": SETOSA})
    assert answer.json()["outputParameters"] == {"iris_species": "I. setosa"}

    versions = [s["version"] for s in door.get(f"/services/{service_name}").json()]
    assert versions == ["V1.0", "V2.0"]
    assert {(s["name"], s["version"]) for s in door.get("/services").json()} >= {
        (service_name, "V1.0"),
        (service_name, "V2.0"),
    }

    assert door.delete(v2).status_code == 200
    assert [s["version"] for s in door.get(f"/services/{service_name}").json()] == ["V1.0"]
    assert door.delete(v1).status_code == 200


def test_a_service_outlives_its_session_and_its_snapshot(door: Door, service_name: str) -> None:
    session = door.post("/sessions", json={"runtimeType": "Python"}).json()["sessionId"]
    door.post(f"/sessions/{session}/execute", json={"code": "rate = 3"})
    snapshot = door.post(f"/sessions/{session}/snapshot", json={}).json()["snapshotId"]
    request = {
        "code": "price = rate * amount",
        "inputParameterDefinitions": [{"name": "amount", "type": "integer"}],
        "outputParameterDefinitions": [{"name": "price", "type": "integer"}],
        "snapshotId": snapshot,
    }
    assert door.post(f"/services/{service_name}/1", json=request).status_code == 201
    assert door.delete(f"/sessions/{session}").status_code == 200
    assert door.delete(f"/snapshots/{snapshot}").status_code == 200
    answer = door.post(f"/api/{service_name}/1", json={"amount": 14})
    assert answer.json()["outputParameters"] == {"price": 42}
    assert door.get(f"/services/{service_name}/1").json()[0]["snapshotId"] == snapshot
    door.delete(f"/services/{service_name}/1")
