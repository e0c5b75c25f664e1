"""The notebooks are the manual: each runs as it stands and gives what is stored in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.notebooks.record import NOTEBOOKS, kernel_environment

HERE = Path(__file__).parent
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
NAMES = [path.stem for path in PATHS]

Result = subprocess.CompletedProcess[str]


def cells(path: Path, kind: str) -> list[dict[str, object]]:
    """Cells of a notebook, of one kind."""
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def run_nbval(path: Path, server: ServerProcess) -> Result:
    """Run every cell in a kernel and compare its outputs with the stored ones."""
    environment = kernel_environment(server)
    environment.pop("PYTEST_ADDOPTS", None)
    # The plugins of the suite take longer to import than most cells to run.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "nbval.plugin",
            "--nbval",
            f"--nbval-sanitize-with={HERE / 'sanitize.cfg'}",
            "--nbval-current-env",
            "--nbval-cell-timeout=100",
            "--color=no",
            "-c",
            str(HERE / "nbval.ini"),
            "-p",
            "no:cacheprovider",
            "-q",
            str(path),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def first_run(notebook_server: ServerProcess) -> Callable[[Path], Result]:
    """A function that runs a notebook on the new server, once however often it is asked."""
    results: dict[Path, Result] = {}

    def run(path: Path) -> Result:
        if path not in results:
            results[path] = run_nbval(path, notebook_server)
        return results[path]

    return run


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_gives_the_stored_outputs(
    path: Path, first_run: Callable[[Path], Result]
) -> None:
    result = first_run(path)
    assert result.returncode == 0, result.stdout[-12_000:] + result.stderr[-4_000:]


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_may_be_run_again(
    path: Path, first_run: Callable[[Path], Result], notebook_server: ServerProcess
) -> None:
    first_run(path)
    result = run_nbval(path, notebook_server)
    assert result.returncode == 0, result.stdout[-12_000:] + result.stderr[-4_000:]


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_begins_with_what_you_will_have(path: Path) -> None:
    first = json.loads(path.read_text())["cells"][0]
    text = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    assert text.startswith("# ")
    assert "When you have run this notebook to its end, you will have" in text


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_is_stored_as_it_ran(path: Path) -> None:
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_tells_nothing_of_where_it_was_recorded(path: Path) -> None:
    without_images = re.sub(r'"image/png": "[^"]*"', "", path.read_text())
    assert not re.findall(r"(?:/(?:root|home|tmp|work|usr)/[^\"\s]*)|site-packages", without_images)
