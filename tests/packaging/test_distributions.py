"""What is in the sdist and the wheel, and that a wheel alone gives a working install."""

from __future__ import annotations

import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from .conftest import REPOSITORY
from .environment import Environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DATA = "jupyter_mlsvc-{version}.data/data/"
LABEXTENSION = DATA + "share/jupyter/labextensions/jupyter-mlsvc/"


@pytest.fixture(scope="session")
def members(wheel: Path) -> dict[str, bytes]:
    """Files of the wheel, the version taken out of their names."""
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.replace(f"-{version}.", "-{version}."): archive.read(name)
            for name in archive.namelist()
        }


def test_the_wheel_holds_every_module_of_both_packages(members: dict[str, bytes]) -> None:
    expected = {
        path.relative_to(root).as_posix()
        for root, package in [
            (REPOSITORY, "jupyter_mlsvc"),
            (REPOSITORY / "server_ext", "jupyter_mlsvc_server"),
        ]
        for suffix in ("py", "R")
        for path in (root / package).rglob(f"*.{suffix}")
    }
    modules = {name for name in members if name.endswith((".py", ".R")) and ".data/" not in name}
    assert modules == expected
    assert "jupyter_mlsvc_server/kernel/r/agent.R" in expected


@pytest.mark.parametrize(
    "name",
    [
        "jupyter_mlsvc/py.typed",
        "jupyter_mlsvc_server/py.typed",
        DATA + "etc/jupyter/jupyter_server_config.d/jupyter_mlsvc_server.json",
        DATA + "etc/ipython/ipython_kernel_config.py",
        LABEXTENSION + "install.json",
        LABEXTENSION + "package.json",
        LABEXTENSION + "schemas/jupyter-mlsvc/plugin.json",
        LABEXTENSION + "static/style.js",
        "jupyter_mlsvc/widgets/static/licenses.txt",
        "jupyter_mlsvc/widgets/static/widget.css",
        "jupyter_mlsvc/widgets/static/widget.js",
        "jupyter_mlsvc_server/api/static/manifest.json",
        "jupyter_mlsvc_server/api/static/licenses.txt",
        "jupyter_mlsvc-{version}.dist-info/licenses/LICENSE",
    ],
)
def test_the_wheel_holds(name: str, members: dict[str, bytes]) -> None:
    assert name in members


def test_the_wheel_holds_the_migrations_of_the_database(members: dict[str, bytes]) -> None:
    folder = "jupyter_mlsvc_server/storage/migrations/"
    assert folder + "env.py" in members
    assert any(name.startswith(folder + "versions/") for name in members)


def test_the_wheel_holds_the_front_end_once_and_built_for_production(
    members: dict[str, bytes],
) -> None:
    entries = [name for name in members if "remoteEntry" in name]
    (load,) = re.findall(
        rb'"load": "(static/remoteEntry[^"]+)"', members[LABEXTENSION + "package.json"]
    )
    assert entries == [LABEXTENSION + load.decode()]
    assert not [name for name in members if name.endswith(".map")]


def test_the_wheel_holds_no_pages_of_the_documentation(members: dict[str, bytes]) -> None:
    assert [name for name in members if name.endswith(".md")] == []


def test_the_wheel_holds_the_tutorials_where_the_panel_opens_them(
    members: dict[str, bytes],
) -> None:
    notebooks = sorted(file.name for file in (REPOSITORY / "notebooks").glob("*.ipynb"))
    found = sorted(name for name in members if name.endswith(".ipynb"))
    assert found == [f"{LABEXTENSION}tutorials/{name}" for name in notebooks]


def test_the_sdist_holds_what_is_needed_to_build_and_test(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    wanted = {
        "jupyter_mlsvc/labextension/package.json",
        "jupyter_mlsvc/widgets/static/widget.js",
        "server_ext/jupyter_mlsvc_server/api/static/manifest.json",
        "labextension/src/index.ts",
        "labextension/yarn.lock",
        "tests/packaging/test_distributions.py",
        "Makefile",
        "CONTRIBUTING.md",
        "server_ext/docs/conf.py",
        "server_ext/docs/reference/settings.md",
    }
    assert wanted <= names
    unwanted = ("node_modules", "/_build/")
    assert not [name for name in names if any(part in name for part in unwanted)]
    assert not [name for name in names if name.startswith((".venv", ".github"))]


def test_client_half_works_without_the_server_which_may_follow(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", wheel)
    client = environment.bring(environment.requires)
    assert {"ipykernel", "requests"} <= client
    assert not client & {"sqlalchemy", "scikit-learn", "uvicorn", "jupyter-server"}

    used = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'jupyter_mlsvc')\n"
        "import jupyter_mlsvc\n"
        "for name in jupyter_mlsvc.__all__: getattr(jupyter_mlsvc, name)\n"
        "import jupyter_mlsvc_server\n"
        "print(jupyter_mlsvc_server._jupyter_server_extension_points())"
    )
    assert "jupyter_mlsvc_server.not_installed" in environment.python("-c", used)
    refused = subprocess.run(
        [environment.folder / "bin/jupyter-mlsvc", "--version"],
        env=environment.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "pip install 'jupyter-mlsvc[server]'" in refused.stderr
    assert "Traceback" not in refused.stderr

    assert {"sqlalchemy", "uvicorn"} <= environment.bring(environment.requires, {"server"})

    magics = "import jupyter_mlsvc; print(jupyter_mlsvc.load_ipython_extension.__name__)"
    assert "load_ipython_extension" in environment.python("-c", magics)
    server = environment.python("-m", "jupyter_server", "extension", "list")
    assert re.search(r"jupyter_mlsvc_server \S+ .*OK", server), server
    version = environment.python("-m", "jupyter", "mlsvc", "--version")
    assert wheel.name.split("-")[1] in version

    environment.bring(["jupyterlab"])
    lab = environment.python("-m", "jupyterlab.labextensions", "list")
    assert re.search(r"jupyter-mlsvc v\S+ .*enabled.*OK", lab), lab
