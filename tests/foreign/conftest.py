"""Clients that nobody here wrote, each a process of its own against one real server."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
def sdk(sdk_python: Path, mlsvc_server: ServerProcess) -> Iterator[Job]:
    """A function that has a job done by a program on the SDK, signed in with a password."""
    with _program(
        sdk_python, f"{mlsvc_server.public_url}/", ["admin", mlsvc_server.admin_password]
    ) as do:
        yield do


@pytest.fixture(scope="session")
def sdk_with_prefix(sdk_python: Path, mlsvc_server: ServerProcess) -> Iterator[Job]:
    """The same under the path prefix of a Jupyter server, with a token."""
    url = mlsvc_server.notebook_url
    token = sign_in(url, "admin", mlsvc_server.admin_password).token
    with _program(sdk_python, url, token) as do:
        yield do


@contextmanager
def _program(python: Path, url: str, auth: object) -> Iterator[Job]:
    with subprocess.Popen(
        [str(python), "-m", "tests.foreign.sdk", url],
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
            program.wait(10)
        except subprocess.TimeoutExpired:
            program.kill()
