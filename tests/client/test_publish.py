"""``jupyter_mlsvc.publish`` in a program, where no notebook is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy
import pytest
from IPython.core.interactiveshell import InteractiveShell
from sklearn.linear_model import LinearRegression

import jupyter_mlsvc
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.planning.errors import NotPublishable
from jupyter_mlsvc_server.launch import ServerProcess

pytestmark = pytest.mark.kernel

PROGRAM = """
RATE = 2
def clean(value):
    return value * RATE
def score(income: float, age: int = 40) -> float:
    "Score an applicant."
    return clean(income) + age
"""


@pytest.fixture
def client(mlsvc_server: ServerProcess) -> Iterator[Client]:
    assert not InteractiveShell.initialized()
    password = mlsvc_server.admin_password
    with Client(mlsvc_server.public_url, username="admin", password=password) as client:
        yield client
        for service in client.services.list():
            service.delete()
        client.logout()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A program whose functions belong to no module that the server could import."""
    made = ModuleType("__main__")
    monkeypatch.setitem(__import__("sys").modules, "__main__", made)
    exec(PROGRAM, vars(made))
    return made


def test_a_function_of_a_program_goes_with_what_it_uses(
    client: Client, program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {session.id for session in client.sessions.list()}
    service = jupyter_mlsvc.publish(program.score, client=client)
    assert (service.name, service.version) == ("score", "V1.0")
    assert service.description == "Score an applicant."
    assert service(income=1).answer == 42
    assert service(income=1, age=0).answer == 2
    vars(program)["RATE"] = 3
    assert jupyter_mlsvc.publish(program.score, client=client)(income=1).answer == 43
    assert {session.id for session in client.sessions.list()} <= before
    assert capsys.readouterr().out == ""


def test_code_and_models_need_a_name(client: Client) -> None:
    line = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    service = jupyter_mlsvc.publish(line, "Line", client=client, response="height")
    assert service.runtime_type == "Realtime"
    with pytest.raises(InvalidInput, match="needs a name"):
        jupyter_mlsvc.publish(line, client=client)
    with pytest.raises(InvalidInput, match="not of ndarray"):
        jupyter_mlsvc.publish(numpy.zeros(3), "Zeros", client=client)


def test_code_finds_the_names_of_its_namespace(client: Client) -> None:
    namespace = {"factor": 3, "x": 1.5}
    service = jupyter_mlsvc.publish(
        "y = x * FACTOR", "Triple", client=client, namespace={"FACTOR": 3, "x": 1.5}
    )
    assert [(each.name, each.type) for each in service.inputs] == [("x", "numeric")]
    assert service(x=2).y == 6
    with pytest.raises(NotPublishable, match="Did you mean 'factor'"):
        jupyter_mlsvc.publish(
            "y = x * factr", "Triple", inputs=["x"], client=client, namespace=namespace
        )


def test_a_module_beside_a_program_goes_along(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside_it.py").write_text("def f():\n    return 5\n")
    service = jupyter_mlsvc.publish(
        "import beside_it\ny = beside_it.f()", "Beside", client=client, namespace={}
    )
    assert service().y == 5
