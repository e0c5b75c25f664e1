"""What a notebook defines works in a new session and in a service, lines of its code included."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.snapshots import Snapshot
from jupyter_mlsvc.errors import RemoteExecutionError, ServiceFailed
from jupyter_mlsvc_server.launch import ServerProcess
from tests.server.kernel.notebooks_to_restore import NOTEBOOKS

pytestmark = pytest.mark.kernel

SOURCES = """
import inspect
class Model:
    def run(self, x):
        return inverse(x)
class Note:
    text = "no method"
def inverse(v):
    w = 1 / v
    return w
model = Model()
"""


@pytest.fixture
def client(mlsvc_server: ServerProcess) -> Iterator[Client]:
    password = mlsvc_server.admin_password
    with Client(mlsvc_server.public_url, username="admin", password=password) as client:
        yield client


def snapshot_of(client: Client, source: str) -> Snapshot:
    with client.sessions.create("defines") as session:
        session.execute(dedent(source))
        return client.snapshots.create(session, "notebook")


@pytest.mark.parametrize(
    "name",
    [
        "metaclass",
        "hash that uses a constant",
        "singledispatchmethod",
        "setstate that uses later names",
    ],
)
def test_notebook_answers_the_same_in_a_session_and_in_a_service(client: Client, name: str) -> None:
    source, question = NOTEBOOKS[name]
    code = f"answer = repr({question})"
    with client.sessions.create("defines") as session:
        session.execute(dedent(source))
        there = session.execute(code, outputs=["answer"]).outputs
        snapshot = client.snapshots.create(session, "notebook")
    with client.sessions.create("loads") as session:
        client.snapshots.load(snapshot.id, session)
        assert session.execute(code, outputs=["answer"]).outputs == there
    outputs = {"answer": "character"}
    service = client.services.publish(
        "Restored", code=code, outputs=outputs, snapshot_id=snapshot.id
    )
    assert dict(service()) == there
    assert dict(service()) == there
    service.delete()
    client.snapshots.delete(snapshot.id)


def test_tracebacks_and_inspect_show_lines_of_the_notebook(client: Client) -> None:
    snapshot = snapshot_of(client, SOURCES)
    code = (
        "shown = [inspect.getsource(x) for x in (Model, Note, inverse)] if x else None\n"
        "y = model.run(x)"
    )
    inputs: dict[str, Any] = {"x": "numeric"}
    outputs = {"shown": "vector", "y": "numeric"}
    service = client.services.publish(
        "Lines", code=code, inputs=inputs, outputs=outputs, snapshot_id=snapshot.id
    )
    shown = service(x=2.0)["shown"]
    assert [each.splitlines()[-1] for each in shown] == [
        "        return inverse(x)",
        '    text = "no method"',
        "    return w",
    ]
    with pytest.raises(ServiceFailed) as failed:
        service(x=0.0)
    for line in ("return inverse(x)", "w = 1 / v"):
        assert line in failed.value.console_output
    with client.sessions.create("loads") as session:
        client.snapshots.load(snapshot.id, session)
        given = {"x": 2.0}
        assert session.execute(code, given, ["shown"]).outputs["shown"] == shown
        with pytest.raises(RemoteExecutionError) as raised:
            session.run("model.run(0)")
        assert "w = " in "".join(raised.value.remote_traceback)
    service.delete()
    client.snapshots.delete(snapshot.id)
