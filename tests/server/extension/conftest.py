from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.server.extension.waiting import until

OPTIONS = ["--KernelFactory.preload_at_start=false", "--LocalEngine.preload=[]"]
PASSWORD = "correct horse"

Make = Callable[..., ServerProcess]


@pytest.fixture
def make(tmp_path: Any) -> Iterator[Make]:
    """Make servers on one data folder, not started yet; they end with the test."""
    with ExitStack() as stack:

        def make_one(kind: type[ServerProcess] = ServerProcess, **kwargs: Any) -> ServerProcess:
            settings: dict[str, Any] = {"data_dir": tmp_path / "data", "jupyter": True} | kwargs
            settings["options"] = [*OPTIONS, *settings.get("options", [])]
            server = kind(admin_password=PASSWORD, **settings)
            stack.callback(server.stop)
            return server

        yield make_one


def as_person(server: ServerProcess, method: str, path: str, **kwargs: Any) -> requests.Response:
    """Call the Jupyter-mounted API as the person at the keyboard."""
    headers = {"Authorization": f"token {server.jupyter_token}"} | kwargs.pop("headers", {})
    url = server.notebook_url + path
    return requests.request(method, url, headers=headers, timeout=60, **kwargs)


def until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
