"""Packages that a session installs are its own: the server's Python stays as it is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.pytest_plugin import Api

pytestmark = pytest.mark.kernel

Wheel = Callable[..., Path]
Execute = Callable[..., dict[str, Any]]


@pytest.fixture
def wheel(readable_dir: Path) -> Wheel:
    """A function that makes a wheel of a package with one module."""

    def make(name: str, release: str = "1.0", code: str = "", needs: str = "") -> Path:
        path = readable_dir / f"{name}-{release}-py3-none-any.whl"
        info = f"{name}-{release}.dist-info"
        files = {
            f"{name}/__init__.py": code or f"RELEASE = {release!r}\ndef twice(x): return 2 * x\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n{needs}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(path, "w") as archive:
            for each, text in (files | {f"{info}/RECORD": record}).items():
                archive.writestr(each, text)
        return path

    return make


@pytest.fixture
def name() -> str:
    """A name that the server has no package of."""
    return f"demo_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def start(mlsvc_api: Api) -> Iterator[Callable[..., Execute]]:
    """A function that starts a session, and gives one that runs code there."""
    made = list[str]()

    def start(**members: Any) -> Execute:
        answer = mlsvc_api("POST", "/sessions", json=members)
        assert answer.status_code == 201, answer.text
        session = answer.json()["sessionId"]
        made.append(session)

        def execute(code: str, *outputs: str) -> dict[str, Any]:
            body = {"code": code, "outputParameters": list(outputs)}
            answer = mlsvc_api("POST", f"/sessions/{session}/execute", json=body)
            result: dict[str, Any] = answer.json()
            return result | {"id": session}

        return execute

    yield start
    for session in made:
        mlsvc_api("DELETE", f"/sessions/{session}")


@pytest.fixture
def execute(start: Callable[..., Execute]) -> Execute:
    """Run code in a session."""
    return start()


@pytest.mark.parametrize(
    "way",
    ["%pip install --no-index {}", "!{python} -m pip install --no-index {}", "subprocess"],
)
def test_what_pip_installs_is_the_sessions_own(
    start: Callable[..., Execute], wheel: Wheel, name: str, way: str
) -> None:
    execute = start()
    command = way.format(wheel(name), python=sys.executable)
    if way == "subprocess":
        words = ["-m", "pip", "install", "--no-index", str(wheel(name))]
        command = f"import subprocess, sys\nsubprocess.run([sys.executable, *{words}], check=True)"
    # In the cell that installs it, too, where an import had failed before.
    tried = f"try:\n    import {name}\nexcept ImportError: pass"
    code = f"{tried}\n{command}\nimport {name}\ny = {name}.twice(4)"
    result = execute(code, "y")
    assert result["success"], result
    assert result["outputParameters"][0]["value"] == 8
    assert result["changedFiles"] == []
    assert not start()(f"import {name}")["success"]
    assert importlib.util.find_spec(name) is None
    in_server = [sys.executable, "-m", "pip", "show", name]
    assert subprocess.run(in_server, capture_output=True, check=False).returncode != 0


def test_snapshots_and_their_services_have_what_was_installed(
    start: Callable[..., Execute], mlsvc_api: Api, wheel: Wheel, name: str
) -> None:
    code = "class Model:\n    def predict(self, x): return x + 1\n"
    result = start()(
        f"%pip install --no-index {wheel(name, code=code)}\nfrom {name} import Model\nm = Model()"
    )
    assert result["success"], result
    taken = mlsvc_api("POST", f"/sessions/{result['id']}/snapshot", json={"name": "packages"})
    snapshot = taken.json()["snapshotId"]
    service = f"/services/{name}/1.0"
    try:
        again = start(snapshotId=snapshot)("y = m.predict(1)\nz = Model().predict(2)", "y", "z")
        assert [each["value"] for each in again["outputParameters"]] == [2, 3]
        definition = {
            "code": f"import {name}, os\n"
            f"y = m.predict({name}.Model().predict(x))\nfiles = os.listdir()",
            "snapshotId": snapshot,
            "inputParameterDefinitions": [{"name": "x", "type": "integer"}],
            "outputParameterDefinitions": [
                {"name": "y", "type": "integer"},
                {"name": "files", "type": "vector"},
            ],
            "runtimeType": "Python",
        }
        answer = mlsvc_api("POST", service, json=definition)
        assert answer.status_code == 201, answer.text
        for x in (1, 5):
            called = mlsvc_api("POST", f"/api/{name}/1.0", json={"x": x}).json()
            assert called["success"], called
            # Workers share one copy, which is none of the files that each call finds anew.
            assert called["outputParameters"] == {"y": x + 2, "files": []}
    finally:
        mlsvc_api("DELETE", service)
        mlsvc_api("DELETE", f"/snapshots/{snapshot}")


def test_another_version_takes_the_place_of_the_first(
    execute: Execute, wheel: Wheel, name: str
) -> None:
    for release in ("1.0", "2.0"):
        assert execute(f"%pip install --no-index {wheel(name, release)}")["success"]
    result = execute(f"import {name}\ny = {name}.RELEASE", "y")
    assert result["outputParameters"][0]["value"] == "2.0"


def test_what_the_server_has_is_not_replaced(execute: Execute, wheel: Wheel) -> None:
    own = wheel("msgspec", "0.0.1")
    result = execute(f"%pip install --no-index {own}\nimport msgspec\ny = msgspec.__version__", "y")
    assert result["success"], result
    assert result["outputParameters"][0]["value"] == version("msgspec")
    assert (
        f"msgspec 0.0.1 was left out: the server has {version('msgspec')}"
        in result["consoleOutput"]
    )
    left = execute("import os\ny = [each for _, _, names in os.walk('.') for each in names]", "y")
    assert left["outputParameters"][0]["value"] == []


def test_packages_of_the_session_alone_are_uninstalled(
    execute: Execute, wheel: Wheel, name: str
) -> None:
    assert execute(f"%pip install --no-index {wheel(name)}\nimport {name}")["success"]
    refused = execute("%pip uninstall -y msgspec")
    assert "msgspec is no package of this session" in refused["errorMessage"]
    gone = execute(f"%pip uninstall -y {name}")
    assert f"Uninstalled {name} 1.0 from this session." in gone["consoleOutput"]
    code = f"import sys; del sys.modules['{name}']\nimport {name}"
    assert "ModuleNotFoundError" in execute(code)["errorMessage"]
    assert version("msgspec")


@pytest.mark.parametrize("magic", ["conda", "mamba", "micromamba", "uv"])
def test_what_would_change_the_server_is_refused(execute: Execute, magic: str) -> None:
    message = execute(f"%{magic} install x")["errorMessage"]
    assert "%pip install installs packages for this session" in message
