"""Stored files that change while no server runs: no wrong answer, and good content heals them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression

from jupyter_mlsvc.wire.model_file import serialize_model
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.reliability.conftest import definition
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

PASSWORD = "a password for one test"
SOURCES = {
    "buffer": ("import numpy as np\nmodel = np.arange(50_000.0)", "y = float(model[n])"),
    "stream": ("table = {'seven': 7.0}", "y = table['seven']"),
    "file": ("open('data.txt', 'w').write('7.0')", "y = float(open('data.txt').read())"),
}


def take(door: Door, source: str) -> str:
    """Take a snapshot of a new session that has run some code."""
    session = door.post("/sessions", json={}).json()["sessionId"]
    assert door.post(f"/sessions/{session}/execute", json={"code": source}).json()["success"]
    snapshot = door.post(f"/sessions/{session}/snapshot", json={"name": "x"})
    assert snapshot.status_code == 201, snapshot.text
    door.delete(f"/sessions/{session}")
    return str(snapshot.json()["snapshotId"])


def publish(door: Door, name: str, snapshot_id: str, code: str) -> None:
    body = definition(code, snapshotId=snapshot_id)
    answer = door.post(f"/services/{name}/1.0", json=body)
    assert answer.status_code == 201, answer.text


def call(door: Door, name: str) -> Any:
    return door.post(f"/api/{name}/1.0", json={"n": 7})


def is_answered(door: Door, name: str) -> bool:
    answer = call(door, name)
    return answer.ok and bool(answer.json()["outputParameters"] == {"y": 7.0})


def flip_all(folder: Path) -> set[str]:
    """Turn a bit in the middle of each file; gives their names."""
    names = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.chmod(0o600)
            path.write_bytes(content)
            names.add(path.name)
    return names


def test_a_turned_bit_in_any_blob_is_an_error_that_names_it(tmp_path: Path) -> None:
    options = ["--KernelFactory.preload_at_start=false", "--LocalEngine.retry_seconds=0"]
    server = ServerProcess(data_dir=tmp_path, admin_password=PASSWORD, options=options)
    with server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        snapshots = {name: take(door, source) for name, (source, _) in SOURCES.items()}
        for name, (_, code) in SOURCES.items():
            publish(door, name, snapshots[name], code)
            assert call(door, name).json()["outputParameters"] == {"y": 7.0}
        model = serialize_model(LinearRegression().fit([[0], [1]], [0, 2]))
        answer = door.post("/realtime-services/model/1.0", files={"model": ("model", model)})
        assert answer.status_code == 201, answer.text
        server.stop()
        damaged = flip_all(tmp_path / "blobs")
        server.start()
        door = sign_in(server.public_url, "admin", PASSWORD)
        for name in (*SOURCES, "model"):
            answer = call(door, name)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), answer.text
            message = answer.json()["message"]
            assert "The stored content is damaged in" in message
            assert any(digest in message for digest in damaged)
            assert door.get(f"/services/{name}/1.0/statistics").json()["state"] == "failing"
        for snapshot_id in snapshots.values():
            answer = door.get(f"/snapshots/{snapshot_id}")
            assert (answer.status_code, answer.json()["errorCode"]) == (500, "ContentDamaged")
        # Good content takes the place of damaged content, also for those that had it before.
        for name, (source, code) in SOURCES.items():
            publish(door, f"{name}-again", take(door, source), code)
            for each in (f"{name}-again", name):
                # It is tried again after a pause.
                wait_until(partial(is_answered, door, each), f"{each} is not served")
