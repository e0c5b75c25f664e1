"""A disk with less room than is to be kept free: new things are refused, all else goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import sign_in
from tests.reliability.conftest import definition

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

PASSWORD = "correct horse battery"


@pytest.fixture
def full_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that wants more room than any disk has."""
    with ServerProcess(
        data_dir=tmp_path / "data",
        admin_password=PASSWORD,
        options=["--KernelFactory.preload_at_start=false", f"--DiskSpace.reserve_bytes={2**62}"],
    ) as server:
        yield server


def is_refused(answer: requests.Response) -> bool:
    body = answer.json()
    assert "/" not in body["message"], body
    return (answer.status_code, body["errorCode"]) == (507, "DiskFull")


def test_new_things_are_refused_on_a_full_disk_and_the_rest_goes_on(
    full_server: ServerProcess,
) -> None:
    door = sign_in(full_server.public_url, "admin", PASSWORD)
    answer = door.post("/services/a/1.0", json=definition("y = str(n + 1)"))
    assert answer.status_code == 201, answer.text
    session = door.post("/sessions", json={"name": "s"}).json()["sessionId"]
    answer = door.post(f"/sessions/{session}/execute", json={"code": "x = 1"})
    assert answer.json()["success"]

    assert is_refused(door.post(f"/sessions/{session}/snapshot", json={"name": "s"}))
    assert is_refused(door.post(f"/sessions/{session}/files", files={"file": ("a", b"text")}))
    assert is_refused(door.post("/snapshots", files={"file": ("a.zip", b"PK")}))
    batch = json.dumps([{"n": 1}])
    assert is_refused(door.post("/api/a/1.0/batch", data=batch))

    assert door.post("/api/a/1.0", json={"n": 1}).json()["outputParameters"] == {"y": "2"}
    status = door.get("/status").json()
    assert (status["statusCode"], status["components"]["disk"]["statusCode"]) == ("warn", "warn")
    ready = door.with_token(None).get("/health/ready")
    assert (ready.status_code, ready.json()["problems"]) == (200, ["DiskShort"])
    assert door.delete("/services/a/1.0").status_code == 200
    assert door.delete(f"/sessions/{session}").status_code == 200
    sign_in(full_server.public_url, "admin", PASSWORD)
