"""Batches of a server that is killed, stopped and started again, and what they take of memory."""

from __future__ import annotations

import json
import time
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.gates import once_there_is
from tests.memory import Memory
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

PASSWORD = "a password for one test"
DEFINITION = {
    "code": "import time\nstamp = time.time()\ntime.sleep(wait)\ny = 2 * x",
    "inputParameterDefinitions": [
        {"name": "x", "type": "integer"},
        {"name": "wait", "type": "numeric"},
    ],
    "outputParameterDefinitions": [
        {"name": "y", "type": "integer"},
        {"name": "stamp", "type": "numeric"},
    ],
}


def server_in(folder: Path) -> ServerProcess:
    """A server on a data folder that survives it."""
    return ServerProcess(data_dir=folder, admin_password=PASSWORD)


def start(door: Door, records: list[dict[str, Any]]) -> str:
    answer = door.post("/api/slow/1/batch", json=records)
    assert answer.status_code == 202, answer.text
    return f"/api/slow/1/batch/{answer.json()['batchExecutionId']}"


def wait_for(door: Door, path: str, count: int) -> dict[str, Any]:
    """Poll until so many records have a result; gives the answer with results."""
    query = f"{path}?showPartialResults=true"
    wait_until(lambda: door.get(query).json()["completedItemCount"] >= count)
    return dict(door.get(query).json())


def finished(door: Door, path: str) -> dict[str, Any]:
    running = {"Pending", "InProgress"}
    wait_until(lambda: door.get(f"{path}?count=0").json()["state"] not in running)
    return dict(door.get(path).json())


def test_a_killed_server_goes_on_where_it_was(tmp_path: Path) -> None:
    records = [{"x": number, "wait": int(number >= 20)} for number in range(60)]
    # However slow the machine is, it is killed before all records have a result.
    gate = tmp_path / "gate"
    waiting = indent(once_there_is(gate), " ")
    code = f"import time\nstamp = time.time()\nif wait:\n{waiting}\ny = 2 * x"
    with server_in(tmp_path) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        definition = DEFINITION | {"code": code}
        assert door.post("/services/slow/1", json=definition).status_code == 201
        path = start(door, records)
        before = wait_for(door, path, 5)
        server.kill()
    # A batch whose folder was made and whose row was not, and an upload that was cut.
    stray = tmp_path / "batches" / "stray"
    stray.mkdir()
    (stray / "records").write_bytes(b"{}")
    killed_at = time.time()
    gate.touch()
    with server_in(tmp_path) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        body = finished(door, path)
        assert body["state"] == "Complete"
        results = body["batchExecutionResults"]
        assert [result["outputParameters"]["y"] for result in results] == [
            2 * number for number in range(60)
        ]
        stamps = [result["outputParameters"]["stamp"] for result in results]
        kept = sum(stamp < killed_at for stamp in stamps)
        assert before["completedItemCount"] <= kept
        # A start removes nothing; what it does not know is put away later.
        assert stray.exists()


def test_a_stopped_server_keeps_what_is_finished_and_goes_on(tmp_path: Path) -> None:
    with server_in(tmp_path) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        door.post("/services/slow/1", json=DEFINITION)
        path = start(door, [{"x": 1, "wait": 0}] * 10 + [{"x": 1, "wait": 0.2}] * 10)
        wait_for(door, path, 10)
        server.stop()
    with server_in(tmp_path) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        assert door.get(path).json()["completedItemCount"] >= 10
        body = finished(door, path)
        assert (body["state"], body["completedItemCount"]) == ("Complete", 20)


def test_a_large_batch_takes_little_memory(mlsvc_server: ServerProcess) -> None:
    door = sign_in(mlsvc_server.public_url, "admin", mlsvc_server.admin_password)
    definition = {
        "code": "n = len(text)\nback = text",
        "inputParameterDefinitions": [{"name": "text", "type": "character"}],
        "outputParameterDefinitions": [
            {"name": "n", "type": "integer"},
            {"name": "back", "type": "character"},
        ],
    }
    assert door.post("/services/large/1", json=definition).status_code == 201
    assert door.post("/api/large/1", json={"text": "warm"}).json()["success"]
    body = json.dumps([{"text": "é" * 8000}] * 2500).encode()
    assert len(body) > 100e6
    assert mlsvc_server.process is not None
    with Memory(mlsvc_server.process.pid) as memory:
        started = door.post("/api/large/1/batch", data=body)
        path = f"/api/large/1/batch/{started.json()['batchExecutionId']}"
        wait_until(lambda: door.get(f"{path}?count=0").json()["state"] == "Complete")
        with door.get(path, stream=True) as answer:
            received = sum(len(chunk) for chunk in answer.iter_content(2**20))
    assert received > 2500 * 16000
    grown = memory.most - memory.before
    assert grown < len(body) / 4, f"{grown / 1e6:.0f} MB"
    door.delete(path)
    door.delete("/services/large/1")
