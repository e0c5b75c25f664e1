"""The guide to a server for a team: what it starts serves, behind the proxy that it shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
import requests
from packaging.requirements import Requirement

from jupyter_mlsvc import Client
from jupyter_mlsvc_server.launch import ServerProcess, free_port
from jupyter_mlsvc_server.server import MlsvcApp
from tests.docs.tables import DOCS, variables
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

HOW_TO: Final = DOCS / "how-to"
PASSWORD: Final = "correct horse battery"


def block(page: str, start: str) -> str:
    """The block of code of a page that begins so."""
    # Those of a list are indented by three.
    text = re.sub(r"^   (?! )", "", (HOW_TO / page).read_text(), flags=re.MULTILINE)
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    (found,) = [each for each in blocks if each.startswith(start)]
    return str(found)


def arguments_of(command: list[str]) -> list[str]:
    """What follows the program that runs the server, and the command."""
    program, name, *arguments = command
    points = metadata.entry_points(group="console_scripts")
    assert Path(program).name in {point.name for point in points}
    assert name == "serve"
    return arguments


@dataclass(frozen=True)
class Team:
    """A server behind its proxy."""

    url: str
    authority: str
    folder: Path
    data_dir: Path


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """What the guide sets up on a machine, at free ports and with a certificate of its own."""
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("There is no proxy or no certificate: apt install nginx openssl.")
    folder = tmp_path_factory.mktemp("team")
    unit = block("run-as-a-service.md", "# /etc/systemd/system/mlsvc.service")
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    own = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
    assert own.keys() <= variables()
    password = folder / "admin-password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    (folder / "jupyter_mlsvc_config.py").write_text(block("serve-a-team.md", "# /etc/jupyter/"))
    server = ServerProcess(
        data_dir=folder / "data",
        # Its end waits for no balancer here.
        options=[each.replace("=10", "=0") for each in arguments_of(shlex.split(command))],
        environment=own
        | {
            "MLSVC_DATA_DIR": str(folder / "data"),
            "MLSVC_ADMIN_PASSWORD_FILE": str(password),
            "JUPYTER_CONFIG_DIR": str(folder),
        },
    )
    with server, Proxy(folder, server) as url:
        yield Team(url, str(folder / "chain.pem"), folder, folder / "data")


class Proxy:
    """nginx with the configuration of the guide, before a server."""

    def __init__(self, folder: Path, server: ServerProcess) -> None:
        self._folder = folder
        port = free_port()
        self._url = f"https://127.0.0.1:{port}"
        text = block("tls-and-proxy.md", "server {\n    listen 443")
        for before, after in (
            ("listen 443", f"listen 127.0.0.1:{port}"),
            ("http://127.0.0.1:12800", server.public_url),
            ("/etc/nginx", str(folder)),
        ):
            assert before in text
            text = text.replace(before, after)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off;\nuser root;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"
        )

    def __enter__(self) -> str:
        folder = self._folder
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(folder / "key.pem"), "-out", str(folder / "chain.pem")),
            ],
            check=True,
            capture_output=True,
        )
        self._nginx = subprocess.Popen(["nginx", "-c", folder / "nginx.conf"])
        wait_until(self._answers)
        return self._url

    def __exit__(self, *_: object) -> None:
        self._nginx.terminate()
        self._nginx.wait()

    def _answers(self) -> bool:
        try:
            authority = str(self._folder / "chain.pem")
            return requests.get(f"{self._url}/health/ready", verify=authority, timeout=60).ok
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def maria(team: Team) -> str:
    """A file with the password of a user, whom the guide's command has added."""
    command = shlex.split(block("serve-a-team.md", "jupyter mlsvc user"))
    subprocess.run(
        [sys.executable, "-m", "jupyter_mlsvc_server", *command[2:], "--data-dir", team.data_dir],
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )
    return str(team.folder / "admin-password")


@pytest.mark.usefixtures("maria")
def test_a_team_publishes_and_calls_through_the_proxy(team: Team) -> None:
    with Client(team.url, username="maria", password=PASSWORD, verify=team.authority) as client:
        service = client.services.publish(
            "Long",
            "V1.0",
            code="n = len(text)",
            inputs={"text": "character"},
            outputs={"n": "integer"},
        )
        # More than the megabyte that nginx takes by itself.
        assert service(text="x" * 3_000_000).n == 3_000_000
        with client.sessions.create("through") as session:
            assert session.execute("print(6 * 7)").console_output == "42\n"
    # The server knows clients by what its proxy says, and where programs find it.
    page = requests.get(
        team.url, headers={"Accept": "text/html"}, verify=team.authority, timeout=60
    )
    assert "Data science team" in page.text


COLAB: Final = """
import json, os, sys, types
from IPython.core.interactiveshell import InteractiveShell

colab = types.ModuleType("google.colab")
colab.userdata = {"MLSVC_TOKEN": os.environ["SECRET"]}
sys.modules["google"] = types.ModuleType("google")
sys.modules["google.colab"] = colab
shell = InteractiveShell.instance()
for cell in json.load(sys.stdin):
    shell.run_cell(cell).raise_error()
"""


def test_notebooks_elsewhere_publish_and_call(team: Team, maria: str) -> None:
    page = (HOW_TO / "use-a-server-elsewhere.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    install, *cells = [code for language, code in blocks if language in {"", "python"}]
    assert Requirement(install.split()[-1]).name == "jupyter-mlsvc"
    given = json.dumps(cells).replace("https://ml.example.org", team.url)
    given = given.replace("-u maria", f"-u maria --password-file {maria}")
    body = {"username": "maria", "password": PASSWORD}
    login = requests.post(f"{team.url}/login", json=body, verify=team.authority, timeout=60).json()
    outside = {name: text for name, text in os.environ.items() if not name.startswith("MLSVC_")}
    done = subprocess.run(
        [sys.executable, "-c", COLAB],
        env=outside | {"REQUESTS_CA_BUNDLE": team.authority, "SECRET": login["access_token"]},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "42.0"


def instructions(containerfile: str) -> Mapping[str, list[str]]:
    """The lines of a container file by their instruction."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n\s*", " ", containerfile).splitlines():
        if line.strip():
            name, rest = line.strip().split(" ", 1)
            found.setdefault(name, []).append(rest)
    return found


def test_the_containers_command_serves_and_is_found_healthy(tmp_path: Path) -> None:
    lines = instructions((HOW_TO / "Containerfile").read_text())
    package = metadata.metadata("jupyter-mlsvc")
    (version,) = re.findall(r"python:([\d.]+)-", lines["FROM"][0])
    assert f"Programming Language :: Python :: {version}" in package.get_all("Classifier", [])
    (wanted,) = re.findall(r"pip install .*?'(.*?)'", lines["RUN"][0])
    assert Requirement(wanted).extras <= set(package.get_all("Provides-Extra", []))
    own = dict(word.split("=", 1) for word in shlex.split(lines["ENV"][0]))
    assert own.keys() <= variables()
    assert Path(lines["VOLUME"][0]) in Path(own["MLSVC_DATA_DIR"]).parents
    assert f"useradd --uid 1000 --create-home --home-dir {lines['VOLUME'][0]} " in lines["RUN"][0]
    assert lines["RUN"][0].endswith(f" {lines['USER'][0]}")
    assert int(lines["EXPOSE"][0]) == MlsvcApp().public_port
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o400)
    server = ServerProcess(
        data_dir=tmp_path / "data",
        options=arguments_of(json.loads(lines["CMD"][0])),
        environment=own
        | {
            "MLSVC_DATA_DIR": str(tmp_path / "data"),
            "MLSVC_ADMIN_PASSWORD_FILE": str(password),
        },
    )
    with server:
        (probe,) = re.findall(r"CMD (\[.*\])", lines["HEALTHCHECK"][0])
        _, *arguments = json.loads(probe.replace("12800", str(server.public_port)))
        subprocess.run([sys.executable, *arguments], check=True)
        with Client(server.public_url, username="admin", password=PASSWORD) as client:
            assert list(client.services.list()) == []
        assert server.stop() == 0
