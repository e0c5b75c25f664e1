"""Fixtures for testing services against a real server; use them by installing the package.

The server is started once a test run, with an account ``admin`` and a Jupyter server whose base
URL is not trivial.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess

Api = Callable[..., requests.Response]


@pytest.fixture(scope="session")
def mlsvc_server_options() -> list[str]:
    """Command line options of the test server; override to change its settings."""
    return []


@pytest.fixture(scope="session")
def mlsvc_server(
    tmp_path_factory: pytest.TempPathFactory, mlsvc_server_options: list[str]
) -> Iterator[ServerProcess]:
    """A running server with both APIs."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("mlsvc"),
        admin_password=secrets.token_urlsafe(12),
        base_url="/hub/user%20name/",
        jupyter=True,
        options=mlsvc_server_options,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def mlsvc_admin_token(mlsvc_server: ServerProcess) -> str:
    """An access token of the account ``admin``, taken through the public API."""
    answer = requests.post(
        f"{mlsvc_server.public_url}/login",
        json={"username": "admin", "password": mlsvc_server.admin_password},
        timeout=30,
    )
    answer.raise_for_status()
    token: str = answer.json()["access_token"]
    return token


@pytest.fixture(scope="session")
def mlsvc_api(mlsvc_server: ServerProcess, mlsvc_admin_token: str) -> Api:
    """A function that calls the public API as ``admin``: ``mlsvc_api("GET", "/services")``."""

    def call(method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {mlsvc_admin_token}"} | kwargs.pop("headers", {})
        timeout = kwargs.pop("timeout", 60)
        url = mlsvc_server.public_url + path
        return requests.request(method, url, headers=headers, timeout=timeout, **kwargs)

    return call
