"""Each call of snapshots at both doors, and snapshots that move from one server to another."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in

pytestmark = pytest.mark.kernel

NOBODY = "0e8fd4a1-90b8-4ee7-a9f1-618430a2febf"
PASSWORD = "correct horse battery"
SOURCE = """
import numpy as np
weights = np.arange(50_000.0)
rate = 2
def score(x): return x * rate
open("data ü.csv", "w").write("a,b")
import os
os.makedirs("sub", exist_ok=True)
open("sub/deep.txt", "w").write("deep")
"""


@pytest.fixture(scope="module")
def snapshot_id(door: Door) -> Iterator[str]:
    """A snapshot with objects and files, of a session that is gone."""
    session = door.post("/sessions", json={}).json()["sessionId"]
    assert door.post(f"/sessions/{session}/execute", json={"code": SOURCE}).json()["success"]
    answer = door.post(f"/sessions/{session}/snapshot", json={"name": "größe"})
    assert answer.status_code == 201, answer.text
    door.delete(f"/sessions/{session}")
    yield answer.json()["snapshotId"]
    door.delete(f"/snapshots/{answer.json()['snapshotId']}")


def outputs(door: Door, session: str, code: str, *names: str) -> dict[str, Any]:
    answer = door.post(
        f"/sessions/{session}/execute", json={"code": code, "outputParameters": list(names)}
    ).json()
    assert answer["success"], answer
    return {each["name"]: each["value"] for each in answer["outputParameters"]}


def check_content(door: Door, session: str) -> None:
    code = "total, y, text = weights.sum(), score(3), open('data ü.csv').read()"
    code += "\ndeep = open('sub/deep.txt').read()"
    assert outputs(door, session, code, "total", "y", "text", "deep") == {
        "total": sum(range(50_000)),
        "y": 6,
        "text": "a,b",
        "deep": "deep",
    }


def archive_of(door: Door, snapshot_id: str) -> bytes:
    answer = door.get(f"/snapshots/{snapshot_id}")
    assert answer.status_code == 200
    return answer.content


def test_a_snapshot_is_listed_with_its_size_and_time(door: Door, snapshot_id: str) -> None:
    (row,) = [each for each in door.get("/snapshots").json() if each["id"] == snapshot_id]
    assert (row["name"], row["owner"]) == ("größe", "admin")
    assert row["contentSize"] > 400_000
    assert len(row["creationTime"].partition(".")[2]) == 7


def test_a_session_starts_from_a_snapshot(door: Door, snapshot_id: str) -> None:
    answer = door.post("/sessions", json={"snapshotId": snapshot_id, "name": "from it"})
    assert answer.status_code == 201
    session = answer.json()["sessionId"]
    check_content(door, session)
    door.delete(f"/sessions/{session}")


def test_a_snapshot_is_loaded_over_what_a_session_has(
    door: Door, session_id: str, snapshot_id: str
) -> None:
    code = "rate = 7; kept = 'kept'\nopen('data ü.csv', 'w').write('other')\n"
    code += "open('mine.txt', 'w').write('mine')"
    outputs(door, session_id, code)
    answer = door.post(f"/sessions/{session_id}/loadsnapshot/{snapshot_id}")
    assert (answer.status_code, type(answer.json())) == (200, str)
    check_content(door, session_id)
    code = "mine = open('mine.txt').read()"
    assert outputs(door, session_id, code, "kept", "mine") == {"kept": "kept", "mine": "mine"}


def test_a_snapshot_comes_as_a_zip_of_files_and_workspace(door: Door, snapshot_id: str) -> None:
    answer = door.get(f"/snapshots/{snapshot_id}", headers={"Accept": "application/json"})
    assert answer.headers["Content-Type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert archive.read("files/data ü.csv") == b"a,b"
    assert {"manifest.json", "workspace.pickle", "buffers/0"} <= set(archive.namelist())


def test_a_snapshot_comes_back_from_its_zip(door: Door, snapshot_id: str) -> None:
    data = archive_of(door, snapshot_id)
    answer = door.post(
        "/snapshots", files={"file": ("any.zip", data, "application/zip")}, data={"name": "moved"}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"snapshotId": answer.json()["snapshotId"], "skipped": []}
    moved = answer.json()["snapshotId"]
    assert moved != snapshot_id
    rows = {each["id"]: each for each in door.get("/snapshots").json()}
    assert rows[moved]["name"] == "moved"
    assert rows[moved]["contentSize"] == rows[snapshot_id]["contentSize"]
    assert archive_of(door, moved) == data
    session = door.post("/sessions", json={"snapshotId": moved}).json()["sessionId"]
    check_content(door, session)
    door.delete(f"/sessions/{session}")
    assert door.delete(f"/snapshots/{moved}").status_code == 200


def test_what_was_uploaded_can_be_published(
    door: Door, snapshot_id: str, service_name: str
) -> None:
    files = {"file": ("any.zip", archive_of(door, snapshot_id))}
    moved = door.post("/snapshots", files=files).json()["snapshotId"]
    definition = {
        "code": "y = score(x)",
        "snapshotId": moved,
        "inputParameterDefinitions": [{"name": "x", "type": "integer"}],
        "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
    }
    assert door.post(f"/services/{service_name}/1", json=definition).status_code == 201
    assert door.delete(f"/snapshots/{moved}").status_code == 200
    answer = door.post(f"/api/{service_name}/1", json={"x": 21})
    assert answer.json()["outputParameters"] == {"y": 42}
    door.delete(f"/services/{service_name}/1")


def test_a_snapshot_that_was_uploaded_is_its_uploaders_alone(
    door: Door, snapshot_id: str, people: Any
) -> None:
    reader = door.with_token(people("rita"))
    files = {"file": ("any.zip", archive_of(door, snapshot_id))}
    answer = reader.post("/snapshots", files=files)
    assert answer.status_code == 201
    mine = answer.json()["snapshotId"]
    assert door.get(f"/snapshots/{mine}").status_code == 404
    assert [each["id"] for each in reader.get("/snapshots").json()] == [mine]
    reader.delete(f"/snapshots/{mine}")


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"file": ("a.zip", b"no zip")}},
        {"files": {"other": ("a.zip", b"x")}},
        {"data": b"raw", "headers": {"Content-Type": "application/zip"}},
        {"data": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {},
    ],
    ids=["no zip", "other part", "no form", "no parts", "nothing"],
)
def test_an_upload_that_is_no_snapshot_is_400_and_leaves_nothing(
    door: Door, body: dict[str, Any]
) -> None:
    before = door.get("/snapshots").json()
    answer = door.post("/snapshots", **body)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert door.get("/snapshots").json() == before


def test_a_name_that_is_too_long_is_400(door: Door, snapshot_id: str) -> None:
    files = {"file": ("any.zip", archive_of(door, snapshot_id))}
    assert door.post("/snapshots", files=files, data={"name": "x" * 256}).status_code == 400


def test_a_deleted_snapshot_is_gone(door: Door, snapshot_id: str) -> None:
    files = {"file": ("any.zip", archive_of(door, snapshot_id))}
    gone = door.post("/snapshots", files=files).json()["snapshotId"]
    answer = door.delete(f"/snapshots/{gone}")
    assert (answer.status_code, type(answer.json())) == (200, str)
    for method in ("GET", "DELETE"):
        assert door.call(method, f"/snapshots/{gone}").status_code == 404
    assert door.post("/sessions", json={"snapshotId": gone}).status_code == 404


CALLS = [
    ("GET", "/snapshots"),
    ("POST", "/snapshots"),
    ("GET", f"/snapshots/{NOBODY}"),
    ("DELETE", f"/snapshots/{NOBODY}"),
]


@pytest.mark.parametrize(("method", "path"), CALLS, ids=[f"{m} {p}" for m, p in CALLS])
def test_nobody_may_without_a_token(door: Door, method: str, path: str) -> None:
    assert door.with_token(None).call(method, path).status_code == 401


@pytest.mark.parametrize(("method", "path"), CALLS[2:], ids=["GET", "DELETE"])
def test_what_never_was_is_404(door: Door, method: str, path: str) -> None:
    assert door.call(method, path).status_code == 404


def test_loading_what_never_was_is_404(door: Door, session_id: str) -> None:
    answer = door.post(f"/sessions/{session_id}/loadsnapshot/{NOBODY}")
    assert answer.status_code == 404
    assert NOBODY in answer.json()["message"]


def test_a_snapshot_moves_to_another_server(mlsvc_server: ServerProcess, tmp_path: Path) -> None:
    here = sign_in(mlsvc_server.public_url, "admin", mlsvc_server.admin_password)
    session = here.post("/sessions", json={}).json()["sessionId"]
    assert here.post(f"/sessions/{session}/execute", json={"code": SOURCE}).json()["success"]
    snapshot = here.post(f"/sessions/{session}/snapshot", json={}).json()["snapshotId"]
    data = archive_of(here, snapshot)
    here.delete(f"/snapshots/{snapshot}")
    here.delete(f"/sessions/{session}")
    with ServerProcess(data_dir=tmp_path / "other", admin_password=PASSWORD) as server:
        there = sign_in(server.public_url, "admin", PASSWORD)
        answer = there.post("/snapshots", files={"file": ("any.zip", data)})
        assert answer.status_code == 201
        moved = answer.json()["snapshotId"]
        session = there.post("/sessions", json={"snapshotId": moved}).json()["sessionId"]
        check_content(there, session)
