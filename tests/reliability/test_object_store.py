"""Two servers of one database and one object store, each with a data folder of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.postgresql import postgresql, programs
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

moto = pytest.importorskip("moto.server", reason="pip install 'moto[s3]' flask-cors")
pytest.importorskip("obstore", reason="pip install obstore")

PASSWORD = secrets.token_urlsafe(12)


class Bucket:
    """A bucket of an S3 server that can be stopped."""

    def __init__(self) -> None:
        self._server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.url = f"http://127.0.0.1:{self.port}"
        assert requests.put(f"{self.url}/bucket", timeout=60).ok

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server = moto.ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def blobs(self) -> int:
        """How many blobs there are, other than in the trash."""
        return requests.get(f"{self.url}/bucket", timeout=60).text.count("<Key>ours/blobs/")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    bucket = Bucket()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    yield bucket
    bucket.stop()


@pytest.fixture
def doors(tmp_path: Path, bucket: Bucket) -> Iterator[list[Door]]:
    """The public APIs of both servers, which collect what is unused at once."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    with postgresql(tmp_path) as url:
        options = [
            f"--Database.url={url}",
            "--BlobStore.url=s3://bucket/ours",
            "--BlobStore.grace_seconds=0",
            "--BlobStore.trash_seconds=0",
            "--SnapshotManager.collect_interval=0",
            "--SnapshotManager.hold_seconds=0",
            "--MachineMonitor.look_seconds=0",
        ]
        one, other = (
            ServerProcess(data_dir=tmp_path / name, admin_password=PASSWORD, options=options)
            for name in ("one", "other")
        )
        # One after the other: that there are contents is no reason for a new server not to join.
        with one:
            doors = [sign_in(one.public_url, "admin", PASSWORD)]
            publish(doors[0], "first")
            with other:
                yield [*doors, sign_in(other.public_url, "admin", PASSWORD)]


def test_servers_share_what_is_stored_and_go_on_without_the_object_store(
    doors: list[Door], bucket: Bucket
) -> None:
    one, other = doors
    assert call(other, "first") == "first"
    publish(one, "second")
    kept = bucket.blobs()

    bucket.stop()
    assert call(other, "first") == "first"
    answer = other.post("/services/third/1.0", json=model_service("third", "no such snapshot"))
    assert answer.status_code == 404
    session = opened(one)
    answer = one.post(f"/sessions/{session}/snapshot", json={"name": "lost"})
    assert (answer.status_code, answer.json()["errorCode"]) == (503, "ObjectStoreUnavailable")
    assert "Retry-After" in answer.headers
    assert "lost" not in {each["name"] for each in one.get("/snapshots").json()}
    status = one.get("/status").json()
    assert status["components"]["objectStore"]["statusCode"] == "warn"
    assert status["components"]["objectStore"]["details"]["problem"] == "ObjectStoreUnavailable"

    bucket.start()
    assert one.get("/status").json()["components"]["objectStore"]["statusCode"] == "pass"
    # What the other one has not read yet, it reads now; what nothing names any more goes.
    wait_until(lambda: call(other, "second") == "second")
    assert one.delete("/services/second/1.0").ok
    assert one.delete(f"/snapshots/{snapshot_of(one, 'second')}").ok
    wait_until(lambda: bucket.blobs() < kept)
    assert call(other, "first") == "first"


def opened(door: Door) -> str:
    answer = door.post("/sessions", json={"name": "session", "runtimeType": "Python"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["sessionId"])


def publish(door: Door, name: str) -> None:
    """Publish a service that answers with what is in its snapshot."""
    session = opened(door)
    code = {"code": f"found = {name!r}"}
    assert door.post(f"/sessions/{session}/execute", json=code).json()["success"]
    taken = door.post(f"/sessions/{session}/snapshot", json={"name": name})
    assert taken.status_code == 201, taken.text
    body = model_service(name, taken.json()["snapshotId"])
    answer = door.post(f"/services/{name}/1.0", json=body)
    assert answer.status_code == 201, answer.text


def model_service(name: str, snapshot: str) -> dict[str, Any]:
    return {
        "code": "y = found",
        "snapshotId": snapshot,
        "outputParameterDefinitions": [{"name": "y", "type": "character"}],
    }


def snapshot_of(door: Door, name: str) -> str:
    found = [each for each in door.get("/snapshots").json() if each["name"] == name]
    return str(found[0]["id"])


def call(door: Door, name: str) -> str:
    answer = door.post(f"/api/{name}/1.0", json={})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["outputParameters"]["y"])
