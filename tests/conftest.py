"""What all tests share. The fixtures of a real server come from the package's own pytest plugin."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_core.paths import jupyter_data_dir

from jupyter_mlsvc_server.launch import ServerProcess
from tests.fast import OPTION, ProcessGuard
from tests.on_postgresql import DATABASE, is_of_sqlite, use_postgresql
from tests.postgresql import postgresql, programs
from tests.watching import watched_answers

# How long an example takes says something about the machine only, and a suite that makes up other
# examples each time fails for whoever changed nothing. `make fuzz` is there to find new ones.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

_USER_FOLDERS = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of ``make test-fast``."""
    parser.addoption(
        OPTION,
        action="store_true",
        help="run only tests that start no process; one that does fails",
    )
    parser.addoption(
        DATABASE,
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="what data folders of tests have as their database",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Give the run user folders of its own, and guard what runs with that option.

    Servers and kernels of Jupyter share some files of a person: a server removes connection files
    that killed ones left, kernels write one history, and servers one store of signatures.
    """
    home = tempfile.TemporaryDirectory(prefix="mlsvc-user-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    # Kernels that the person has installed are found all the same.
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, (os.environ.get("JUPYTER_PATH"), jupyter_data_dir()))
    )
    for name in _USER_FOLDERS:
        folder = Path(home.name, name.lower())
        folder.mkdir()
        os.environ[name] = str(folder)
    if config.getoption(DATABASE) == "postgresql":
        use_postgresql(config)
    if config.getoption(OPTION):
        # Where it is not given the number of cores, joblib asks a program for it.
        os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
        guard = ProcessGuard()
        sys.addaudithook(guard)
        config.pluginmanager.register(guard)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the file of SQLite, where there is none."""
    if config.getoption(DATABASE) == "postgresql":
        config.hook.pytest_deselected(items=[item for item in items if is_of_sqlite(item)])
        items[:] = [item for item in items if not is_of_sqlite(item)]


@pytest.fixture(scope="session")
def needs_r() -> None:
    """Skip the test where there is no R."""
    try:
        KernelSpecManager().get_kernel_spec("ir")
    except NoSuchKernel:
        pytest.skip("R with IRkernel is not installed: apt install r-base-core r-cran-irkernel")


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a database of a real PostgreSQL server, on which tests make databases of their own."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    with postgresql(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


DEADLINE = "--LocalEngine.deadline_seconds=300"
"""A busy machine is no reason to stop code; servers with a deadline to be seen are others."""


@pytest.fixture(scope="session")
def readable_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that code on the plugin's server may read."""
    return tmp_path_factory.mktemp("readable")


@pytest.fixture(scope="session")
def writable_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that code on the plugin's server may write into."""
    return tmp_path_factory.mktemp("writable")


@pytest.fixture(scope="session")
def mlsvc_server_options(readable_dir: Path, writable_dir: Path) -> list[str]:
    """Options of the plugin's server."""
    return [
        DEADLINE,
        f"--Confinement.readable_paths={readable_dir}",
        f"--Confinement.writable_paths={writable_dir}",
    ]


@pytest.fixture(scope="session")
def user_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for tests that show all there is, and clear all of it away: those of a notebook.

    What tests of the API leave on the plugin's server would be among it.
    """
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("user"),
        admin_password=secrets.token_urlsafe(12),
        base_url="/hub/user%20name/",
        jupyter=True,
        options=[DEADLINE, "--MlsvcSessionManager.cull_interval=1"],
    ) as server:
        yield server


@pytest.fixture(scope="session")
def unexpected_answers() -> Iterator[list[str]]:
    """What was wrong with answers so far."""
    with watched_answers() as found:
        yield found


@pytest.fixture(autouse=True)
def _every_answer_is_as_the_contract_says(unexpected_answers: list[str]) -> Iterator[None]:
    """Every test that talks to a server is a contract test as well."""
    yield
    found = list(unexpected_answers)
    unexpected_answers.clear()
    if found:
        pytest.fail("\n".join(found), pytrace=False)
