"""The endpoints of snapshots, over real HTTP."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
import requests

pytestmark = pytest.mark.kernel

Api = Callable[..., requests.Response]


@pytest.fixture
def session_id(mlsvc_api: Api) -> Iterator[str]:
    created = mlsvc_api("POST", "/sessions", json={"runtimeType": "Python"})
    session = created.json()["sessionId"]
    code = "x = 1\ndef f(): return x\nopen('data.csv', 'w').write('a,b')"
    assert mlsvc_api("POST", f"/sessions/{session}/execute", json={"code": code}).json()["success"]
    yield session
    mlsvc_api("DELETE", f"/sessions/{session}")


@pytest.fixture
def snapshot_id(mlsvc_api: Api, session_id: str) -> Iterator[str]:
    answer = mlsvc_api("POST", f"/sessions/{session_id}/snapshot", json={"name": None})
    assert answer.status_code == 201
    assert answer.json()["skipped"] == []
    yield answer.json()["snapshotId"]
    mlsvc_api("DELETE", f"/snapshots/{answer.json()['snapshotId']}")


def test_the_members_of_a_snapshot_are_the_contracts(mlsvc_api: Api, snapshot_id: str) -> None:
    (row,) = [row for row in mlsvc_api("GET", "/snapshots").json() if row["id"] == snapshot_id]
    assert {"id", "name", "owner", "creationTime", "contentSize"} <= row.keys()
    assert row["owner"] == "admin"
    assert len(row["creationTime"].partition(".")[2]) == 7


def test_a_snapshot_is_downloaded_as_a_zip(mlsvc_api: Api, snapshot_id: str) -> None:
    answer = mlsvc_api("GET", f"/snapshots/{snapshot_id}", headers={"Accept": "application/json"})
    assert answer.headers["Content-Type"] == "application/zip"
    (row,) = [row for row in mlsvc_api("GET", "/snapshots").json() if row["id"] == snapshot_id]
    assert quote(f"{row['name']}.zip") in answer.headers["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["manifest.json", "workspace.pickle", "files/data.csv"]
    assert archive.read("files/data.csv") == b"a,b"


def test_a_snapshot_is_loaded_into_a_session(
    mlsvc_api: Api, session_id: str, snapshot_id: str
) -> None:
    mlsvc_api("POST", f"/sessions/{session_id}/execute", json={"code": "x = 5"})
    answer = mlsvc_api("POST", f"/sessions/{session_id}/loadsnapshot/{snapshot_id}")
    assert (answer.status_code, answer.json()) == (200, "Loaded 2 objects and 1 file.")
    request = {"code": "y = f()", "outputParameters": ["y"]}
    answer = mlsvc_api("POST", f"/sessions/{session_id}/execute", json=request)
    assert answer.json()["outputParameters"] == [{"name": "y", "value": 1}]


def test_a_deleted_snapshot_is_gone(mlsvc_api: Api, snapshot_id: str) -> None:
    answer = mlsvc_api("DELETE", f"/snapshots/{snapshot_id}")
    assert (answer.status_code, answer.json()) == (200, f"Deleted snapshot {snapshot_id}.")
    for method in ("GET", "DELETE"):
        assert mlsvc_api(method, f"/snapshots/{snapshot_id}").status_code == 404


def test_a_service_has_the_functions_files_and_modules_of_its_snapshot(
    mlsvc_api: Api, session_id: str
) -> None:
    source = (
        "open('mine.py', 'w').write('def shift(n): return n + 1')\n"
        "import mine, xml.etree.ElementTree\n"
        "class Model:\n    def score(self): return mine.shift(n) * FACTOR\n"
        "model, FACTOR = Model(), 10\n"
        "def answer(): return model.score()"
    )
    execute = f"/sessions/{session_id}/execute"
    answer = mlsvc_api("POST", execute, json={"code": source}).json()
    assert answer["success"], answer
    snapshot = mlsvc_api("POST", f"/sessions/{session_id}/snapshot").json()["snapshotId"]
    definition = {
        "snapshotId": snapshot,
        "code": "y = answer(); text = open('data.csv').read() + "
        "xml.etree.ElementTree.fromstring('<a/>').tag",
        "inputParameterDefinitions": [{"name": "n", "type": "integer"}],
        "outputParameterDefinitions": [
            {"name": "y", "type": "integer"},
            {"name": "text", "type": "character"},
        ],
    }
    published = mlsvc_api("POST", "/services/of-snapshot/1", json=definition)
    assert published.status_code == 201, published.text
    assert mlsvc_api("DELETE", f"/snapshots/{snapshot}").status_code == 200
    for n in (1, 2):
        result = mlsvc_api("POST", "/api/of-snapshot/1", json={"n": n}).json()
        assert result["outputParameters"] == {"y": (n + 1) * 10, "text": "a,ba"}, result
    mlsvc_api("DELETE", "/services/of-snapshot/1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sessions/nobody/snapshot"),
        ("POST", "/sessions/nobody/loadsnapshot/nothing"),
        ("GET", "/snapshots/nothing"),
        ("DELETE", "/snapshots/nothing"),
        ("GET", "/snapshots/..%2F..%2Fsecret.key"),
    ],
)
def test_what_is_not_there_is_not_found(mlsvc_api: Api, method: str, path: str) -> None:
    answer = mlsvc_api(method, path)
    assert answer.status_code == 404
    assert answer.json()["exceptionType"] == "NotFoundException"


def test_a_name_of_the_wrong_type_is_refused(mlsvc_api: Api, session_id: str) -> None:
    answer = mlsvc_api("POST", f"/sessions/{session_id}/snapshot", json={"name": 5})
    assert answer.status_code == 400
    assert "name" in answer.json()["message"]
