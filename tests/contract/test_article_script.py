"""A script written for the original server in 2017 runs unchanged but for address and account."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.deployrclient_maker import load, write_client
from tests.contract.doors import Door
from tests.reference import ABSENT, ARTICLE, FOLDER

pytestmark = pytest.mark.kernel

if not ARTICLE.exists():
    pytest.skip(ABSENT, allow_module_level=True)


def script(server_url: str, username: str, password: str) -> str:
    """The article's first code block, with its placeholders filled in."""
    block = re.search(r"```python\n(.*?)```", ARTICLE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return (
        block[1]
        .replace("http://localhost:12800", server_url)
        .replace("<<your-username>>", username)
        .replace("<<your-password>>", password)
    )


@pytest.mark.parametrize(
    "source", ["rserver-swagger-9.1.0.json", "mlserver-swagger-9.3.0.json", "served"]
)
def test_the_articles_script_runs_with_a_client_generated_from(
    source: str, mlsvc_server: ServerProcess, mlsvc_admin_token: str, tmp_path: Path
) -> None:
    door = Door(mlsvc_server.public_url, mlsvc_admin_token)
    served = source == "served"
    write_client(door.get("/swagger.json").json() if served else load(FOLDER / source), tmp_path)
    assert mlsvc_server.admin_password is not None
    program = tmp_path / "article.py"
    program.write_text(script(mlsvc_server.public_url, "admin", mlsvc_server.admin_password))
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    door.delete("/services/Iris/V1.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pass\nresult: [1]\nother_result: [1]\n")
    assert done.stdout.count('"success": true') == 4
    assert '"iris_species": [\n   "I. versicolor"\n  ]' in done.stdout
    assert '"iris_species": "I. setosa"' in done.stdout
    assert (tmp_path / "iris_swagger.json").read_text().startswith("{")
    assert not done.stderr
