"""A client that openapi-generator writes from the core document calls every operation."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, door_urls
from tests.foreign.conftest import ROOT
from tests.foreign.environment import environment, variables
from tests.reference import ABSENT, SWAGGER

# The first test also installs what generated code needs.
pytestmark = [pytest.mark.kernel, pytest.mark.external, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="session")
def document(
    request: pytest.FixtureRequest,
    mlsvc_server: ServerProcess,
    mlsvc_admin_token: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The document to make a client from: the one that the server sends, or Microsoft's."""
    if request.param == "Microsoft's":
        if not SWAGGER.exists():
            pytest.skip(ABSENT)
        return SWAGGER
    served = tmp_path_factory.mktemp("served") / "core.json"
    served.write_text(Door(mlsvc_server.public_url, mlsvc_admin_token).get("/swagger.json").text)
    return served


@pytest.fixture(scope="session")
def client(document: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a client made from the document."""
    folder = tmp_path_factory.mktemp("client")
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("openapi-generator-cli")), "generate"),
            *("-g", "python", "--package-name", "mlsclient"),
            *("-i", str(document), "-o", str(folder)),
        ],
        check=True,
        capture_output=True,
        timeout=100,
    )
    return folder


@pytest.fixture(scope="session")
def client_python(client: Path, pytestconfig: pytest.Config) -> Path:
    """A Python with what the generated code needs."""
    assert pytestconfig.cache is not None
    needs = (client / "requirements.txt").read_text().splitlines()
    return environment(pytestconfig.cache.mkdir("foreign"), needs)


@pytest.mark.parametrize("document", ["served", "Microsoft's"], indirect=True)
@pytest.mark.parametrize("door", ["public", "jupyter"])
def test_a_generated_client_calls_every_operation(
    client: Path,
    client_python: Path,
    model_file: Path,
    mlsvc_server: ServerProcess,
    door: str,
) -> None:
    assert mlsvc_server.admin_password is not None
    prefix = f"generated-{uuid.uuid4().hex[:8]}"
    done = subprocess.run(
        [
            *(str(client_python), "-m", "tests.foreign.generated", door_urls(mlsvc_server)[door]),
            *("admin", prefix, str(model_file)),
        ],
        cwd=ROOT,
        env=variables(PYTHONPATH=str(client), TEST_PASSWORD=mlsvc_server.admin_password),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "every operation was called\n"
