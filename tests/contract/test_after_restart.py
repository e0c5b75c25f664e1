"""What a client with an old address reads after the server was restarted."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import change_users, sign_in

pytestmark = pytest.mark.kernel

PASSWORD = "Restart-1234"


def test_a_session_of_before_a_restart_is_gone_and_one_that_never_was_is_not_found(
    tmp_path: Path,
) -> None:
    server = ServerProcess(data_dir=tmp_path, admin_password=PASSWORD)
    with server:
        admin = sign_in(server.public_url, "admin", PASSWORD)
        session_id = admin.post("/sessions", json={"runtimeType": "Python"}).json()["sessionId"]
        change_users(server, PASSWORD, "add", "ben", "--role", "owner")
        server.kill()
        server.start()
        admin, ben = (sign_in(server.public_url, name, PASSWORD) for name in ("admin", "ben"))
        for method, rest in (
            ("GET", "/workspace"),
            ("POST", "/execute"),
            ("GET", "/files"),
            ("DELETE", ""),
        ):
            answer = admin.call(method, f"/sessions/{session_id}{rest}", json={})
            assert answer.status_code == 410, answer.text
            assert answer.json()["exceptionType"] == "GoneException"
            assert "restarted" in answer.json()["message"]
            answer = ben.call(method, f"/sessions/{session_id}{rest}", json={})
            assert answer.status_code == 404
            answer = admin.call(method, f"/sessions/{uuid.uuid4()}{rest}", json={})
            assert answer.status_code == 404
