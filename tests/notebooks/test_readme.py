"""The documentation says what is so: its lines run when pasted, its tables are the code's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.notebooks.tables import (
    README,
    REST,
    ROOT,
    between,
    magics_table,
    operations_table,
    settings_table,
    variables,
)

_TESTED = re.compile(r"<!-- tested -->\n```bash\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
REMEDY = "run 'python -m tests.notebooks.tables'"


def shell_lines() -> str:
    """All lines of the README that a reader may paste into a shell, in their order."""
    return "\n".join(_TESTED.findall(README.read_text()))


@pytest.mark.kernel
def test_the_shell_lines_work_when_pasted(mlsvc_server: ServerProcess) -> None:
    assert mlsvc_server.admin_password is not None
    # A newline after each answer, so that they can be told apart here.
    script = "set -e\ncurl() { command curl --fail-with-body -w '\\n' \"$@\"; }\n" + shell_lines()
    result = subprocess.run(
        ["bash", "-c", script],
        env=os.environ
        | {
            "MLSVC_PUBLIC_URL": mlsvc_server.public_url,
            "MLSVC_ADMIN_PASSWORD": mlsvc_server.admin_password,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    answers = [
        json.loads(line) for line in result.stdout.splitlines() if line.startswith(('{"', "[", '"'))
    ]
    assert {"name": "result", "value": [1]} in answers[1]["outputParameters"]
    assert {"iris_species": ["I. versicolor"]} in [
        answer.get("outputParameters") for answer in answers if isinstance(answer, dict)
    ]
    assert answers[-1] == "Deleted version V1.0 of service Iris-shell."


def test_the_settings_are_those_of_the_server() -> None:
    assert between(README.read_text(), "settings") == settings_table(), REMEDY


def test_the_settings_of_the_magics_are_theirs() -> None:
    assert between(README.read_text(), "magics") == magics_table(), REMEDY


def test_the_calls_are_those_of_the_core_document() -> None:
    assert between(REST.read_text(), "operations") == operations_table(), REMEDY


def test_every_environment_variable_is_explained() -> None:
    explained = set(re.findall(r"MLSVC_[A-Z0-9_]+", between(README.read_text(), "environment")))
    assert variables() - explained == set()


def test_every_setting_is_in_some_test() -> None:
    places = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "tables.py"]
    # Also by its flag, such as --as-ml-server.
    texts = [path.read_text().replace("-", "_") for path in places]
    words = {word.lstrip("_") for text in texts for word in re.findall(r"\w+", text)}
    settings = re.findall(r"^\| `\w+\.(\w+)`", README.read_text(), re.MULTILINE)
    assert len(settings) > 50
    assert set(settings) - words == set()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is what is tried")
def test_make_serve_takes_its_variables() -> None:
    own = {"MLSVC_BASE_URL": "/own/", "MLSVC_JUPYTER_PORT": "9876"}
    said = subprocess.run(
        ["make", "--dry-run", "serve"],
        env=os.environ | own,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert '--ServerApp.base_url="/own/"' in said
    assert '--ServerApp.port="9876"' in said


def test_every_subcommand_is_named() -> None:
    from jupyter_mlsvc.magics.mlsvc import COMMANDS

    text = README.read_text()
    assert [command.name for command in COMMANDS if f"`{command.name}`" not in text] == []


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "server_ext/docs/rest.md"])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_picture_is_small() -> None:
    pictures = list((ROOT / "notebooks" / "images").glob("*.png"))
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 200_000] == []


def test_the_architecture_names_every_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = [
        path.parent.relative_to(base).as_posix()
        for base in (ROOT, ROOT / "server_ext")
        for top in ("jupyter_mlsvc", "jupyter_mlsvc_server")
        for path in Path(base / top).glob("*/__init__.py")
    ]
    assert packages
    assert [name for name in packages if f"`{name.partition('/')[2]}/`" not in text] == []
