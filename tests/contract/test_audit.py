"""Who did what, as the server keeps it."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_mlsvc_server.audit.log import files
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of its own: of what nobody known is refused, only so many records are kept."""
    with ServerProcess(data_dir=tmp_path, admin_password=secrets.token_urlsafe(12)) as server:
        yield server


def test_a_login_a_service_and_what_was_refused_are_in_the_audit_log(
    server: ServerProcess,
) -> None:
    nobody = Door(server.public_url, None)
    name, wrong = f"Audited{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    stranger = f"stranger{wrong[:8]}"
    refused = nobody.post("/login", json={"username": stranger, "password": wrong})
    unknown = nobody.get("/services")
    door = sign_in(server.public_url, "admin", server.admin_password)
    published = door.post(f"/services/{name}/1.0", json={"code": "secret_code = 1"})
    door.post(f"/api/{name}/1.0", json={})
    deleted = door.delete(f"/services/{name}/1.0")
    ids = {
        answer.headers["X-Request-Id"]: answer for answer in (refused, unknown, published, deleted)
    }

    def found() -> list[dict[str, object]]:
        lines = [line for path in files(server.data_dir) for line in path.open()]
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["request"] in ids]

    wait_until(lambda: len(found()) == len(ids))
    assert [(e["operation"], e["object"], e["who"], e["by"], e["result"]) for e in found()] == [
        ("login", stranger, "", "", "refused"),
        ("getAllWebServices", "", "", "", "refused"),
        ("publishWebServiceVersion", f"{name}/1.0", "admin", "token", "done"),
        ("deleteWebServiceVersion", f"{name}/1.0", "admin", "token", "done"),
    ]
    assert [bool(event["id"]) for event in found()] == [False, False, True, True]
    assert {event["address"] for event in found()} == {"127.0.0.1"}
    text = "".join(path.read_text() for path in files(server.data_dir))
    assert door.token is not None
    for secret in (wrong, server.admin_password, door.token, "secret_code", f"/api/{name}"):
        assert str(secret) not in text
