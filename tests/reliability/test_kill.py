"""What a restart finds after the server was killed in the middle of its work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.processes import that_run_on

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

PASSWORD = "a password for one test"
MODEL = "import numpy as np\nmodel = np.arange(6_000_000, dtype=float)\nscale = 2\n"
DELAYS = [0.02, 0.15, 0.4]
DEFINITION = {
    "code": "y = float(model[int(x)]) * scale",
    "inputParameterDefinitions": [{"name": "x", "type": "integer"}],
    "outputParameterDefinitions": [{"name": "y", "type": "numeric"}],
}


def server_in(folder: Path) -> ServerProcess:
    """A server on a data folder that survives it."""
    return ServerProcess(data_dir=folder, admin_password=PASSWORD)


def killed_during(
    server: ServerProcess, works: Sequence[Callable[[], object]], delay: float
) -> None:
    """Kill the server ``delay`` seconds after works on it began; nothing of it may live on."""
    assert server.process is not None
    family = psutil.Process(server.process.pid).children(recursive=True)

    def quietly(work: Callable[[], object]) -> None:
        with contextlib.suppress(requests.RequestException):
            work()

    threads = [threading.Thread(target=quietly, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    time.sleep(delay)
    family += psutil.Process(server.process.pid).children(recursive=True)
    server.kill()
    for thread in threads:
        thread.join()
    assert not that_run_on(family)


def session_with_model(door: Door) -> str:
    """A session that holds a model of 48 MB."""
    session = str(door.post("/sessions", json={}).json()["sessionId"])
    assert door.post(f"/sessions/{session}/execute", json={"code": MODEL}).json()["success"]
    return session


def leftovers(folder: Path) -> list[Path]:
    """Files that no finished work put there; a run's own lock is none of them."""
    found = (folder / "staging").rglob("*")
    staging = [path for path in found if path.is_file() and path.name != "lock"]
    return staging + list((folder / "blobs").rglob("*tmp*"))


def restored(door: Door, snapshot: str) -> object:
    """What a session on a snapshot answers."""
    session = door.post("/sessions", json={"snapshotId": snapshot}).json()["sessionId"]
    answer = door.post(
        f"/sessions/{session}/execute",
        json={"code": "total = model[5] * scale", "outputParameters": ["total"]},
    )
    return answer.json()["outputParameters"]


def test_snapshots_and_services_are_whole_or_absent(tmp_path: Path) -> None:
    whole: dict[str, object] = {}
    for number, delay in enumerate([*DELAYS, None]):
        # The server that looks at what is left is the next one that is killed.
        with server_in(tmp_path) as server:
            door = sign_in(server.public_url, "admin", PASSWORD)
            assert not leftovers(tmp_path), f"before {delay} s"
            if whole:
                for snapshot in door.get("/snapshots").json():
                    if snapshot["id"] != whole["snapshotId"]:
                        assert restored(door, snapshot["id"]) == [{"name": "total", "value": 10.0}]
                        door.delete(f"/snapshots/{snapshot['id']}")
                path = f"/services/cut/{number - 1}"
                found = door.get(path).status_code
                assert found in {200, 404}, f"before {delay} s"
                if found == 404:
                    assert door.post(path, json=whole).status_code == 201
                answer = door.post(f"/api/cut/{number - 1}", json={"x": 4})
                assert answer.json()["outputParameters"] == {"y": 8.0}
            if delay is not None:
                session = session_with_model(door)
                path = f"/sessions/{session}/snapshot"
                if not whole:
                    taken = door.post(path, json={}).json()["snapshotId"]
                    whole = DEFINITION | {"snapshotId": taken}
                snapshot = partial(door.post, path, json={"name": "cut"})
                service = partial(door.post, f"/services/cut/{number}", json=whole)
                killed_during(server, [snapshot, service], delay)
