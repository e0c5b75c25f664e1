"""What commands about users and keys do to a running server."""

from __future__ import annotations

import subprocess
import sys
import uuid

import psutil
import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, change_users, sign_in
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

PASSWORD = "correct horse battery"
FOR_EVER = {"code": "import time\nwhile True: time.sleep(0.1)"}


def command(server: ServerProcess, *arguments: str) -> str:
    """Run ``jupyter mlsvc`` beside a server; returns what it prints."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "jupyter_mlsvc_server", *arguments),
            *("--data-dir", str(server.data_dir)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def newcomer(server: ServerProcess, name: str, *options: str) -> Door:
    change_users(server, PASSWORD, "add", name, *options)
    return sign_in(server.public_url, name, PASSWORD)


def test_what_ran_for_a_removed_user_ends_and_nobody_inherits(mlsvc_server: ServerProcess) -> None:
    name = f"tmp-{uuid.uuid4().hex[:6]}"
    door = newcomer(mlsvc_server, name)
    session = f"/sessions/{door.post('/sessions', json={}).json()['sessionId']}"
    asked = {"code": "import os\npid = os.getpid()", "outputParameters": ["pid"]}
    answer = door.post(f"{session}/execute", json=asked).json()
    pid = answer["outputParameters"][0]["value"]
    assert door.post(f"{session}/snapshot", json={}).status_code == 201
    assert door.post(f"{session}/executions", json=FOR_EVER).ok
    assert psutil.pid_exists(pid)

    said = command(mlsvc_server, "user", "remove", name)
    assert "What stays: 0 service versions and 1 snapshot." in said
    # The command has told the server: this is the very next call.
    assert door.get("/user").status_code == 401
    wait_until(lambda: not psutil.pid_exists(pid))

    after = newcomer(mlsvc_server, name, "--take-over")
    assert after.get(session).status_code in {404, 405}
    assert after.get("/sessions").json() == []
    (snapshot,) = after.get("/snapshots").json()
    assert after.delete(f"/snapshots/{snapshot['id']}").ok

    command(mlsvc_server, "user", "role", name, "caller")
    assert after.get("/user").json()["role"] == "caller"
    assert after.get("/sessions").status_code == 403
    command(mlsvc_server, "user", "rename", name, f"{name}-2")
    assert after.get("/user").json()["name"] == f"{name}-2"
    command(mlsvc_server, "user", "disable", f"{name}-2")
    assert after.get("/user").status_code == 401


def test_a_service_key_calls_its_services_and_does_nothing_else(
    mlsvc_server: ServerProcess, door: Door, published: str
) -> None:
    name = f"key-{uuid.uuid4().hex[:6]}"
    key = command(mlsvc_server, "key", "add", name, "--services", published)
    app = Door(mlsvc_server.public_url, key)
    other = f"{published}-other"
    assert door.post(f"/services/{other}/1", json={"code": "x = 1"}).status_code == 201
    call = f"/api/{published}/1.0"
    for _ in range(3):  # the later ones go the short way
        answer = app.post(call, json={"a": 1, "b": 2})
        assert answer.json()["outputParameters"] == {"total": 3}
        assert app.post(f"/api/{other}/1", json={}).status_code == 403
    assert {each["name"] for each in app.get("/services").json()} == {published}
    assert app.get(f"/api/{published}/1.0/swagger.json").ok
    for refused in ("/sessions", "/snapshots", "/status", "/statistics", f"/services/{other}/1"):
        assert app.get(refused).status_code == 403, refused
    assert app.delete(f"/services/{published}/1.0").status_code == 403
    assert (name, published) == tuple(
        next(
            line for line in command(mlsvc_server, "key", "list").splitlines() if name in line
        ).split()[:2]
    )
    command(mlsvc_server, "key", "revoke", name)
    assert app.post(call, json={"a": 1, "b": 2}).status_code == 401
    door.delete(f"/services/{other}/1")
