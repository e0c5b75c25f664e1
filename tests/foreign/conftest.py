"""Clients that nobody here wrote, each a process of its own against one real server."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.svm import SVC

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import sign_in
from tests.foreign.environment import environment, variables

ROOT = Path(__file__).parents[2]

Job = Callable[[str], None]


@pytest.fixture(scope="session")
def sdk_python(pytestconfig: pytest.Config) -> Path:
    """A Python that has Microsoft's SDK, and scikit-learn for its models."""
    assert pytestconfig.cache is not None
    # Pickled models want the same versions on both sides.
    shared = ("numpy", "pandas", "scikit-learn")
    same = [f"{name}=={importlib.metadata.version(name)}" for name in shared]
    return environment(
        pytestconfig.cache.mkdir("foreign"), ["azureml-model-management-sdk==1.0.1b6.post1", *same]
    )


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for realtime services."""
    iris = load_iris()
    file = tmp_path_factory.mktemp("model") / "iris.bin"
    file.write_bytes(serialize_model(SVC().fit(iris.data, iris.target), response="species"))
    return file


@pytest.fixture(scope="session")
def sdk(sdk_python: Path, mlsvc_server: ServerProcess, model_file: Path) -> Iterator[Job]:
    """A function that has a job done by a program on the SDK, signed in with a password."""
    auth = ["admin", mlsvc_server.admin_password]
    with _program(sdk_python, f"{mlsvc_server.public_url}/", auth, model_file) as do:
        yield do


@pytest.fixture(scope="session")
def sdk_with_prefix(
    sdk_python: Path, mlsvc_server: ServerProcess, model_file: Path
) -> Iterator[Job]:
    """The same under the path prefix of a Jupyter server, with a token."""
    url = mlsvc_server.notebook_url
    token = sign_in(url, "admin", mlsvc_server.admin_password).token
    with _program(sdk_python, url, token, model_file) as do:
        yield do


@contextmanager
def _program(python: Path, url: str, auth: object, model_file: Path) -> Iterator[Job]:
    with subprocess.Popen(
        [str(python), "-m", "tests.foreign.sdk", url, str(model_file)],
        cwd=ROOT,
        env=variables(SDK_TEST_AUTH=json.dumps(auth)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        stdin, stdout = program.stdin, program.stdout

        def do(job: str) -> None:
            print(job, file=stdin)
            answer = stdout.readline()
            assert answer, f"The program ended with {program.wait()}."
            problem = json.loads(answer)
            if problem is not None:
                pytest.fail(problem, pytrace=False)

        yield do
        stdin.close()
        try:
            program.wait(60)
        except subprocess.TimeoutExpired:
            program.kill()
