"""Call the same API at either door."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import requests

from jupyter_mlsvc_server.launch import ServerProcess


@dataclass
class Door:
    """One of the two doors, and somebody's token."""

    url: str
    token: str | None = field(repr=False)

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send one request."""
        headers = kwargs.pop("headers", {})
        if self.token is not None:
            headers = {"Authorization": f"Bearer {self.token}"} | headers
        kwargs.setdefault("timeout", 60)
        return requests.request(method, self.url + path, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        """GET."""
        return self.call("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> requests.Response:
        """POST."""
        return self.call("POST", path, **kwargs)

    def patch(self, path: str, **kwargs: Any) -> requests.Response:
        """PATCH."""
        return self.call("PATCH", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> requests.Response:
        """PUT."""
        return self.call("PUT", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> requests.Response:
        """DELETE."""
        return self.call("DELETE", path, **kwargs)

    def with_token(self, token: str | None) -> Door:
        """The same door for somebody else."""
        return Door(self.url, token)


def sign_in(url: str, username: str, password: str | None) -> Door:
    """Open a door with a user name and a password."""
    answer = Door(url, None).post("/login", json={"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    return Door(url, answer.json()["access_token"])


def door_urls(server: ServerProcess) -> dict[str, str]:
    """The addresses of both doors."""
    return {"public": server.public_url, "jupyter": server.notebook_url}


def change_users(server: ServerProcess, password: str, *arguments: str) -> None:
    """Run ``jupyter mlsvc user`` beside a server, as an operator does."""
    subprocess.run(
        [
            *(sys.executable, "-m", "jupyter_mlsvc_server", "user", *arguments),
            *("--data-dir", str(server.data_dir)),
        ],
        input=f"{password}\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=60,
    )
