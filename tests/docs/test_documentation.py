"""The documentation says what is so: its lines run when pasted, its tables are the code's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from jupyter_mlsvc.wire.problem import STATUS_OF
from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.server import MlsvcApp
from tests.docs.tables import DOCS, PAGES, README, ROOT, between, variables

_TESTED = re.compile(r"<!-- tested -->\n```bash\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
REMEDY = "run 'python -m tests.docs.tables'"
PROSE = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
TABLES = [(page, mark) for page, tables in PAGES.items() for mark in tables]


def shell_answers(page: Path, server: ServerProcess) -> list[Any]:
    """Paste the lines of a page into a shell, in their order, and return the JSON answers."""
    assert server.admin_password is not None
    lines = "\n".join(_TESTED.findall(page.read_text()))
    # A newline after each answer, so that they can be told apart here.
    script = f"set -e\ncurl() {{ command curl --fail-with-body -w '\\n' \"$@\"; }}\n{lines}"
    result = subprocess.run(
        ["bash", "-c", script],
        env=os.environ
        | {
            "MLSVC_PUBLIC_URL": server.public_url,
            "MLSVC_ADMIN_PASSWORD": server.admin_password,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return [
        json.loads(line) for line in result.stdout.splitlines() if line.startswith(('{"', "[", '"'))
    ]


@pytest.mark.kernel
def test_the_shell_lines_of_the_readme_work_when_pasted(mlsvc_server: ServerProcess) -> None:
    _, answer, deleted = shell_answers(README, mlsvc_server)
    assert answer["outputParameters"] == {"area": 6}
    assert deleted == "Deleted version V1.0 of service Area."


@pytest.mark.kernel
def test_the_shell_lines_of_the_guide_work_when_pasted(mlsvc_server: ServerProcess) -> None:
    answers = shell_answers(DOCS / "how-to/call-from-a-shell.md", mlsvc_server)
    assert {"name": "result", "value": [1]} in answers[1]["outputParameters"]
    assert {"iris_species": ["I. versicolor"]} in [
        answer.get("outputParameters") for answer in answers if isinstance(answer, dict)
    ]
    assert answers[-1] == "Deleted version V1.0 of service Iris-shell."


@pytest.mark.kernel
def test_the_kubernetes_example_asks_what_a_server_answers(mlsvc_server: ServerProcess) -> None:
    page = (DOCS / "how-to/run-as-a-service.md").read_text()
    (text,) = re.findall(r"```yaml\n(spec:.*?)```", page, re.DOTALL)
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[name]["httpGet"]
        assert probe["port"] == container["ports"][0]["containerPort"] == MlsvcApp().public_port
        answer = requests.get(mlsvc_server.public_url + probe["path"], timeout=60)
        assert answer.status_code == 200, probe
    program, *arguments = container["command"]
    assert program in {point.name for point in entry_points(group="console_scripts")}
    app = MlsvcApp()
    app.parse_command_line(arguments[1:])
    assert arguments[0] in app.subcommands
    assert pod["terminationGracePeriodSeconds"] == app.drain_seconds + app.stop_seconds + 30


@pytest.mark.parametrize(("page", "mark"), TABLES)
def test_a_table_is_what_the_code_has(page: str, mark: str) -> None:
    assert between((DOCS / page).read_text(), mark) == PAGES[page][mark](), REMEDY


def test_every_environment_variable_is_explained() -> None:
    table = between((DOCS / "reference/environment.md").read_text(), "environment")
    assert variables() - set(re.findall(r"MLSVC_[A-Z0-9_]+", table)) == set()


def test_every_status_and_exception_type_is_explained() -> None:
    table = between((DOCS / "reference/errors.md").read_text(), "statuses")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.MULTILINE)
    assert {name: int(status) for status, name in rows} == STATUS_OF


def test_every_setting_is_in_some_test() -> None:
    places = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "tables.py"]
    # Also by its flag, such as --as-ml-server.
    texts = [path.read_text().replace("-", "_") for path in places]
    words = {word.lstrip("_") for text in texts for word in re.findall(r"\w+", text)}
    pages = [(DOCS / f"reference/{name}.md").read_text() for name in ("settings", "magics")]
    settings = re.findall(r"^\| `\w+\.(\w+)`", "".join(pages), re.MULTILINE)
    assert len(settings) > 50
    assert set(settings) - words == set()


@pytest.mark.process
@pytest.mark.skipif(shutil.which("make") is None, reason="make is what is tried")
def test_make_serve_takes_its_variables() -> None:
    own = {"JUPYTER": "1", "MLSVC_BASE_URL": "/own/", "MLSVC_JUPYTER_PORT": "9876"}
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


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not _leads_somewhere(page.parent / link)] == []


def _leads_somewhere(target: Path) -> bool:
    # Building the documentation copies the notebooks to the tutorials.
    is_tutorial = target.suffix == ".ipynb" and target.parent.name == "tutorials"
    return (ROOT / "notebooks" / target.name if is_tutorial else target).exists()


def test_the_pictures_are_small_and_shown() -> None:
    pictures = list((ROOT / "notebooks" / "images").glob("*.png"))
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 150_000] == []
    texts = "".join(page.read_text() for page in PROSE)
    assert [path.name for path in pictures if f"images/{path.name})" not in texts] == []


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
