"""The doors of one real server, people with different rights, and a published service."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, change_users, door_urls, sign_in

PASSWORD = "correct horse battery"

PASSED_ON = {
    "test_bad_input", "test_batch", "test_bodies", "test_heads_of_answers",
    "test_statuses", "test_streams", "test_workflow",
}  # fmt: skip
"""Files whose tests use the Jupyter-mounted API as well, which passes every call on.

They have each operation with each status, and heads and bodies of all kinds. What else a call does
is the server's doing at either door.
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have tests use one door or both."""
    has_own = hasattr(metafunc.module, "door")
    if "door" in metafunc.fixturenames and not has_own:
        passed_on = metafunc.module.__name__.rpartition(".")[2] in PASSED_ON
        doors = ["public", "jupyter"] if passed_on else ["public"]
        metafunc.parametrize("door", doors, indirect=True, scope="session")


@pytest.fixture(scope="session")
def door(request: pytest.FixtureRequest, mlsvc_server: ServerProcess) -> Door:
    """One door after the other, for the account ``admin``."""
    url = door_urls(mlsvc_server)[request.param]
    return sign_in(url, "admin", mlsvc_server.admin_password)


@pytest.fixture(scope="session")
def people(mlsvc_server: ServerProcess) -> Callable[[str], str]:
    """A function that gives a token of ``ana`` or ``ben``, contributors, or ``rita``, a reader."""
    roles = {"ana": "contributor", "ben": "contributor", "rita": "reader"}
    for name, role in roles.items():
        change_users(mlsvc_server, PASSWORD, "add", name, "--role", role)
    tokens = {name: sign_in(mlsvc_server.public_url, name, PASSWORD).token for name in roles}

    def token_of(name: str) -> str:
        token = tokens[name]
        assert token is not None
        return token

    return token_of


@pytest.fixture
def session_id(door: Door) -> Iterator[str]:
    """A fresh session."""
    answer = door.post("/sessions", json={"name": "a session", "runtimeType": "Python"})
    assert answer.status_code == 201, answer.text
    identifier = answer.json()["sessionId"]
    yield identifier
    door.delete(f"/sessions/{identifier}")


@pytest.fixture
def service_name() -> str:
    """A name that no other test uses."""
    return f"svc-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def published(door: Door, service_name: str) -> Iterator[str]:
    """The name of a service whose version 1.0 adds two numbers."""
    answer = door.post(
        f"/services/{service_name}/1.0",
        json={
            "code": "total = a + b",
            "inputParameterDefinitions": [
                {"name": "a", "type": "integer"},
                {"name": "b", "type": "integer"},
            ],
            "outputParameterDefinitions": [{"name": "total", "type": "integer"}],
            "runtimeType": "Python",
        },
    )
    assert answer.status_code == 201, answer.text
    yield service_name
    door.delete(f"/services/{service_name}/1.0")
