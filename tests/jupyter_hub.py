"""A JupyterHub on loopback, which runs the server as a service and a Jupyter server a person."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psutil
import requests

from jupyter_mlsvc_server.launch import free_port

SERVICE: Final = "mlsvc"
TOKEN: Final = "0123456789abcdef0123456789abcdef"
_PATIENCE: Final = 60.0
_OTHER_EXTENSIONS: Final = (
    "jupyter_lsp",
    "jupyter_server_terminals",
    "jupyterlab",
    "notebook",
    "notebook_shim",
)
"""What a server of a person would take seconds to import."""

_CONFIG: Final = """
import json, sys
from jupyterhub.spawner import SimpleLocalProcessSpawner

given = json.loads({given!r})
access = "access:services!service=" + given["service"]
c = get_config()
c.JupyterHub.bind_url = given["url"]
c.JupyterHub.hub_port = given["hub_port"]
c.JupyterHub.db_url = "sqlite:///:memory:"
c.JupyterHub.cookie_secret = bytes(32)
# A request to start a server is answered at once, so that several start together.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.ConfigurableHTTPProxy.api_url = given["proxy_url"]
c.ConfigurableHTTPProxy.auth_token = given["token"]
c.ConfigurableHTTPProxy.command = given["proxy"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.load_groups = {{name: {{"users": users}} for name, users in given["groups"].items()}}
c.JupyterHub.services = [
    {{"name": "tester", "api_token": given["token"]}},
    {{
        "name": given["service"],
        "url": given["service_url"],
        "command": given["command"],
        "cwd": given["folder"],
        "environment": given["environment"],
    }},
]
c.JupyterHub.load_roles = [
    {{
        "name": "tester",
        "scopes": ["admin:users", "admin:servers", "tokens", "access:servers"],
        "services": ["tester"],
    }},
    {{"name": "user", "scopes": ["self", access]}},
    {{"name": "server", "scopes": ["users:activity!user", "access:servers!server", access]}},
]


class Spawner(SimpleLocalProcessSpawner):
    home_dir_template = given["folder"] + "/{{username}}"


c.JupyterHub.spawner_class = Spawner
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", *given["arguments"]]
c.Spawner.environment = {{
    "JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp",
    "JUPYTER_CONFIG_DIR": given["folder"],
}}
"""


class JupyterHub:
    """The hub; serves from ``with`` on.

    Parameters
    ----------
    folder
        Where all its files are, and the homes of people.
    groups
        Names of groups, with their members.
    settings
        Of the server that is its service, by class.
    """

    def __init__(
        self,
        folder: Path,
        *,
        groups: Mapping[str, Sequence[str]],
        settings: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self.server_url = f"http://127.0.0.1:{free_port()}"
        """Where the server itself listens."""
        self.service_url = f"{self.url}/services/{SERVICE}"
        """Where the hub's proxy has the server."""
        self._groups = groups
        self._settings = settings
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"token {TOKEN}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        config = self.folder / "jupyterhub_config.py"
        config.write_text(_CONFIG.format(given=json.dumps(self._given())))
        command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
        with (self.folder / "hub.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_for(f"{self.service_url}/health/ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process is not None
        hub = psutil.Process(self._process.pid)
        # The hub would end one after the other.
        ending = [hub, *hub.children(recursive=True)]
        for process in ending:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(ending, timeout=_PATIENCE)
        for process in alive:
            process.kill()
        self._process.wait()

    def _given(self) -> dict[str, Any]:
        server_config = self.folder / "jupyter_mlsvc_config.json"
        server_config.write_text(json.dumps(self._settings))
        extensions = dict.fromkeys(_OTHER_EXTENSIONS, False)
        of_people = {"ServerApp": {"jpserver_extensions": extensions}}
        (self.folder / "jupyter_server_config.json").write_text(json.dumps(of_people))
        kept = ("PATH", "JUPYTER_PATH", "HOME", "TMPDIR")
        return {
            "url": self.url,
            "hub_port": free_port(),
            "proxy_url": f"http://127.0.0.1:{free_port()}",
            "proxy": [str(Path(sys.executable).with_name("configurable-http-proxy"))],
            "token": TOKEN,
            "groups": self._groups,
            "folder": str(self.folder),
            "service": SERVICE,
            "service_url": self.server_url,
            "command": [
                sys.executable,
                *("-m", "jupyter_mlsvc_server", "serve"),
                f"--MlsvcApp.public_port={self.server_url.rpartition(':')[2]}",
                f"--MlsvcApp.data_dir={self.folder / 'data'}",
                f"--config={server_config}",
            ],
            "environment": {name: os.environ[name] for name in kept if name in os.environ},
            "arguments": [f"--MlsvcExtension.server_url={self.service_url}"],
        }

    # --- people ------------------------------------------------------------------------------

    def start_server_of(self, *names: str) -> None:
        """Start Jupyter servers of people, and wait until all of them serve."""
        for name in names:
            self.ask("POST", f"/users/{name}/server")
        for name in names:
            self._wait_for(f"{self.url}/user/{name}/mlsvc/health/ready")

    def make_token(self, name: str, scopes: Sequence[str]) -> tuple[str, str]:
        """Make a token of a person; returns its id and itself."""
        made = self.ask("POST", f"/users/{name}/tokens", json={"scopes": list(scopes)}).json()
        return made["id"], made["token"]

    def ask(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Ask the hub's API as its admin."""
        answer = self._session.request(method, f"{self.url}/hub/api{path}", timeout=60, **kwargs)
        answer.raise_for_status()
        return answer

    def at_lab_of(self, name: str, path: str, token: str = TOKEN) -> requests.Response:
        """Ask the Jupyter-mounted API of somebody's Jupyter server."""
        headers = {"Authorization": f"token {token}"} if token else {}
        url = f"{self.url}/user/{name}/mlsvc{path}"
        return requests.get(url, headers=headers, timeout=60, allow_redirects=False)

    def connection_file_of(self, name: str) -> Path:
        """Return the file by which kernels of somebody find the server."""
        (found,) = (self.folder / name).rglob("mlsvc-*.json")
        return found

    def log(self) -> str:
        """Return what the hub, the server and all Jupyter servers wrote."""
        return (self.folder / "hub.log").read_text(errors="replace")

    def _wait_for(self, url: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                if requests.get(url, timeout=30, allow_redirects=False).status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"{url} does not answer.\n{self.log()[-6000:]}")
