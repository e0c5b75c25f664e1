"""A real server under load, and both of its doors."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, door_urls, sign_in

Doors = Mapping[str, Door]
Publish = Callable[..., str]

BASE_URL = "/hub/user%20name/"


@pytest.fixture(scope="session")
def loaded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own: its processes are killed and its services come and go."""
    with serve(tmp_path_factory.mktemp("loaded")) as server:
        yield server


@pytest.fixture(scope="session")
def doors(loaded_server: ServerProcess) -> Doors:
    """Both doors, by name, for the account ``admin``."""
    return doors_of(loaded_server)


@pytest.fixture
def publish(doors: Doors) -> Iterator[Publish]:
    """A function that publishes a service and gives the path to call; see :func:`definition`."""
    yield from publishing(doors)


def serve(data_dir: Path, *options: str) -> ServerProcess:
    """Make a server with a folder of its own, to be used as a context manager."""
    return ServerProcess(
        data_dir=data_dir,
        admin_password=secrets.token_urlsafe(12),
        base_url=BASE_URL,
        jupyter=True,
        options=["--KernelFactory.preload_at_start=false", *options],
    )


def doors_of(server: ServerProcess) -> Doors:
    """Open both doors as ``admin``."""
    return {
        name: sign_in(url, "admin", server.admin_password)
        for name, url in door_urls(server).items()
    }


def publishing(doors: Doors) -> Iterator[Publish]:
    """Give a function that publishes, and delete what it published."""
    made = list[str]()

    def make(code: str, *, workers: int = 0, name: str = "", **others: Any) -> str:
        name = name or f"svc-{uuid.uuid4().hex[:8]}"
        service = f"/services/{name}/1.0"
        answer = doors["public"].post(service, json=definition(code, **others))
        assert answer.status_code == 201, answer.text
        made.append(service)
        if workers:
            size = {"InitialPoolSize": workers, "MaxPoolSize": workers}
            assert doors["public"].post(f"{service}/pool", json=size).ok
        return f"/api/{name}/1.0"

    yield make
    for service in made:
        doors["public"].delete(service)


def definition(code: str, inputs: str = "n:integer", **others: Any) -> dict[str, Any]:
    """Write a definition with an output ``y`` in short: ``inputs="n:integer text:string"``."""
    pairs = (each.partition(":") for each in inputs.split())
    return {
        "code": code,
        "inputParameterDefinitions": [{"name": name, "type": kind} for name, _, kind in pairs],
        "outputParameterDefinitions": [{"name": "y", "type": "string"}],
    } | others
