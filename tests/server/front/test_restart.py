"""The public door's process ends in the middle of its work, or is started in other ways."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess, free_port
from jupyter_mlsvc_server.pytest_plugin import Api
from tests.server.front.conftest import Publish, RawConnection, front_of, y_of

pytestmark = pytest.mark.kernel


def body(n: object) -> bytes:
    return json.dumps({"n": n}).encode()


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_front_comes_back_with_its_services_and_leaves_nothing_behind(
    limited_server: ServerProcess, limited_api: Api, limited_token: str, publish: Publish
) -> None:
    path = publish("y = n", "again")
    pool = {"InitialPoolSize": 2, "MaxPoolSize": 2}
    assert limited_api("POST", "/services/again/1.0/pool", json=pool).ok
    assert y_of(limited_api("POST", path, json={"n": 1})) == 1
    statuses: list[int | str] = []
    is_over = threading.Event()

    def call() -> None:
        with requests.Session() as client:
            client.headers["Authorization"] = f"Bearer {limited_token}"
            while not is_over.is_set():
                try:
                    answer = client.post(
                        limited_server.public_url + path, json={"n": 2}, timeout=30
                    )
                    statuses.append(answer.status_code)
                except requests.ConnectionError:
                    statuses.append("broken")

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    time.sleep(0.3)
    front = front_of(limited_server)
    family = [front, *front.children(recursive=True)]
    assert len(family) >= 5  # the forkserver, a template, two workers
    front.kill()
    killed_at = time.monotonic()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    # No connection is refused meanwhile: the port is held, and who comes waits.
    assert y_of(limited_api("POST", path, json={"n": 3})) == 3
    assert time.monotonic() - killed_at < 20
    is_over.set()
    for caller in callers:
        caller.join()
    assert statuses.count("broken") <= 2 * len(callers), statuses
    assert set(statuses) <= {200, 500, 503, "broken"}
    assert statuses[-1] == 200
    until(lambda: limited_api("GET", "/services/again/1.0/pool").json()[0]["status"] == "Success")
    jupyter = requests.post(
        limited_server.notebook_url + path,
        json={"n": 4},
        headers={"Authorization": f"Bearer {limited_token}"},
        timeout=30,
    )
    assert y_of(jupyter) == 4


def test_a_request_of_the_jupyter_door_is_told_that_the_front_ended(
    limited_server: ServerProcess, limited_token: str, sleeper: str
) -> None:
    front = front_of(limited_server)
    killer = threading.Timer(0.5, front.kill)
    killer.start()
    answer = requests.post(
        limited_server.notebook_url + sleeper,
        json={"n": 1.8},
        headers={"Authorization": f"Bearer {limited_token}"},
        timeout=30,
    )
    assert answer.status_code == 500
    assert "ended unexpectedly" in answer.json()["message"]


def test_a_signal_that_is_meant_for_the_server_does_not_end_the_front(
    limited_server: ServerProcess, limited_api: Api, echo: str
) -> None:
    assert y_of(limited_api("POST", echo, json={"n": 1})) == 1
    front = front_of(limited_server)
    for number in (signal.SIGINT, signal.SIGTERM):
        front.send_signal(number)
    time.sleep(0.2)
    assert front_of(limited_server) == front
    assert y_of(limited_api("POST", echo, json={"n": 1})) == 1


def own_server(folder: Path, *options: str) -> ServerProcess:
    return ServerProcess(
        data_dir=folder,
        admin_password="correct horse",
        options=["--WarmKernels.warm_kernels=0", "--LocalEngine.preload=[]", *options],
    )


def sign_in(server: ServerProcess, url: str, **kwargs: object) -> str:
    answer = requests.post(
        f"{url}/login",
        json={"username": "admin", "password": server.admin_password},
        timeout=30,
        **kwargs,  # type: ignore[arg-type]
    )
    token: str = answer.json()["access_token"]
    return token


DEFINITION = {
    "code": "y = n",
    "inputParameterDefinitions": [{"name": "n", "type": "string"}],
    "outputParameterDefinitions": [{"name": "y", "type": "string"}],
}


def test_the_server_can_do_it_all_by_itself(tmp_path: Path) -> None:
    with own_server(tmp_path, "--MlsvcApp.public_process=False") as server:
        assert server.process is not None
        below = psutil.Process(server.process.pid).children()
        assert not any("jupyter_mlsvc_server.front" in each.cmdline() for each in below)
        token = sign_in(server, server.public_url)
        headers = {"Authorization": f"Bearer {token}"}
        url = server.public_url
        published = requests.post(
            f"{url}/services/own/1", json=DEFINITION, headers=headers, timeout=30
        )
        assert published.status_code == 201
        for door in (url, server.notebook_url):
            answer = requests.post(f"{door}/api/own/1", json={"n": 1}, headers=headers, timeout=30)
            assert y_of(answer) == 1


def test_the_front_serves_without_uvloop(tmp_path: Path) -> None:
    """And a killed server leaves nothing of it behind."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "uvloop.py").write_text("raise ImportError('not here')\n")
    server = own_server(tmp_path)
    path = os.pathsep.join(filter(None, [str(tmp_path / "hidden"), os.environ.get("PYTHONPATH")]))
    server.environment = {"PYTHONPATH": path}
    with server:
        token = sign_in(server, server.public_url)
        headers = {"Authorization": f"Bearer {token}"}
        requests.post(
            f"{server.public_url}/services/own/1", json=DEFINITION, headers=headers, timeout=30
        )
        with RawConnection(server.public_port, token) as connection:
            connection.send(*(connection.request("/api/own/1", body(n)) for n in range(50)))
            assert [y_of(connection.receive()) for _ in range(50)] == list(range(50))
        front = front_of(server)
        family = [front, *front.children(recursive=True)]
        server.kill()
        _, alive = psutil.wait_procs(family, timeout=15)
        assert not alive


def test_a_port_in_use_leaves_the_other_door_open(tmp_path: Path) -> None:
    port = free_port()
    with own_server(tmp_path / "first") as first:
        server = own_server(tmp_path / "second")
        server.public_port = first.public_port
        server.jupyter_port = port
        # The first server answers for the second one's public door.
        server.front_end = True
        with server:
            until(lambda: _is_ready(f"{server.notebook_url}/health/ready"))
            token = sign_in(server, server.notebook_url)
            headers = {"Authorization": f"Bearer {token}"}
            url = server.notebook_url
            requests.post(f"{url}/services/own/1", json=DEFINITION, headers=headers, timeout=30)
            answer = requests.post(f"{url}/api/own/1", json={"n": 1}, headers=headers, timeout=30)
            assert y_of(answer) == 1


def _is_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
