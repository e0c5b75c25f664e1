"""The guides to other languages show calls that run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.pytest_plugin import Api
from tests.docs.tables import DOCS

pytestmark = pytest.mark.kernel

CHURN = {
    "code": "risk = [months / 24 for months in customer.tenure]",
    "inputParameterDefinitions": [{"name": "customer", "type": "data.frame"}],
    "outputParameterDefinitions": [{"name": "risk", "type": "vector"}],
}
HTTR2 = [Path("/usr/lib/R/site-library/httr2"), Path("/usr/local/lib/R/site-library/httr2")]


@pytest.fixture(scope="module")
def churn(mlsvc_api: Api) -> None:
    """The service of the guides."""
    assert mlsvc_api("POST", "/services/churn/V1.0", json=CHURN).status_code == 201


def blocks(page: str, language: str, server: ServerProcess) -> list[str]:
    """Code of a page, at the address of a server."""
    text = (DOCS / f"how-to/{page}.md").read_text()
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert "http://localhost:12800" in found[0]
    return [block.replace("http://localhost:12800", server.public_url) for block in found]


def run(command: Sequence[str | Path], folder: Path, token: str = "") -> str:
    environment = os.environ | {"MLSVC_TOKEN": token}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("churn")
@pytest.mark.skipif(shutil.which("mcs") is None, reason="apt install mono-mcs")
def test_the_call_in_csharp_runs(
    mlsvc_server: ServerProcess, mlsvc_admin_token: str, tmp_path: Path
) -> None:
    call, *_ = blocks("call-from-csharp", "csharp", mlsvc_server)
    (tmp_path / "call.cs").write_text(call)
    run(["mcs", "-r:System.Net.Http.dll", "call.cs"], tmp_path)
    said = run(["mono", "call.exe"], tmp_path, mlsvc_admin_token)
    assert '"outputParameters":{"risk":[0.5]}' in said.replace(" ", "")


@pytest.mark.usefixtures("churn")
@pytest.mark.skipif(not any(map(Path.is_dir, HTTR2)), reason="apt install r-cran-httr2")
def test_the_calls_in_r_run(
    mlsvc_server: ServerProcess, mlsvc_admin_token: str, tmp_path: Path
) -> None:
    (tmp_path / "call.R").write_text("\n".join(blocks("call-from-r", "r", mlsvc_server)))
    said = run(["Rscript", "--vanilla", "call.R"], tmp_path, mlsvc_admin_token)
    assert said.splitlines() == ["$risk", "[1] 0.5", "", "[1] 0.500 0.125"]
