"""Jupyter servers that run a server, join one, and end it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import sign_in
from tests.processes import that_have
from tests.server.extension.conftest import PASSWORD, Make, as_person, until_gone
from tests.server.extension.waiting import until
from tests.server.scoring.serving import UNTIL_OPEN

pytestmark = pytest.mark.kernel


def user_of(server: ServerProcess) -> Any:
    """Who the person at the keyboard is to the server; None while it does not answer."""
    answer = as_person(server, "GET", "/user")
    return answer.json() if answer.ok else None


def server_pids(server: ServerProcess) -> list[int]:
    """Ids of the servers that run on its data folder."""
    lock = server.data_dir / "server.lock"
    return [
        process.pid
        for process in psutil.process_iter()
        if is_server(process) and any(Path(file.path) == lock for file in open_files(process))
    ]


def is_server(process: psutil.Process) -> bool:
    try:
        return "jupyter_mlsvc_server" in process.cmdline()
    except psutil.Error:
        return False


def open_files(process: psutil.Process) -> list[Any]:
    try:
        return process.open_files()
    except psutil.Error:
        return []


def test_two_jupyter_servers_have_one_server_until_the_last_ends(make: Make) -> None:
    first = make(base_url="/first/")
    second = make(base_url="/second/", public_port=first.public_port)
    # Both find nobody, and one is quicker.
    starts = [threading.Thread(target=each.start) for each in (first, second)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    (pid,) = server_pids(first)
    made = as_person(first, "POST", "/sessions", json={"name": "shared"})
    assert made.status_code == 201
    assert [each["name"] for each in as_person(second, "GET", "/sessions").json()] == ["shared"]

    first.stop()
    assert server_pids(second) == [pid]
    assert as_person(second, "GET", "/sessions").status_code == 200
    assert sign_in(second.public_url, "admin", PASSWORD).get("/status").status_code == 200

    second.stop()
    assert server_pids(second) == []
    assert not second.connection_file.exists()
    assert not (second.data_dir / "server.sock").exists()


def test_server_ends_after_its_jupyter_server_was_killed(make: Make) -> None:
    jupyter = make().start()
    pid = jupyter.server_pid
    left = jupyter.connection_file
    jupyter.kill()
    until_gone(pid)
    assert left.exists()
    jupyter.start()
    assert not left.exists()


def test_killed_server_is_started_again(make: Make) -> None:
    jupyter = make().start()
    killed, before = jupyter.server_pid, jupyter.connection_file.read_text()
    os.kill(killed, signal.SIGKILL)
    until_gone(killed)
    # Calls wait for the next one, but for those that the last one took with it.
    until(lambda: user_of(jupyter) is not None)
    until(lambda: jupyter.connection_file.read_text() != before)
    connection = json.loads(jupyter.connection_file.read_text())
    with Client(connection["url"], connection["token"]) as client:
        assert client.whoami().role == "contributor"
    jupyter.stop()
    assert server_pids(jupyter) == []


def test_who_only_reads_is_answered_by_the_server_that_comes_after(make: Make) -> None:
    jupyter = make().start()
    began = as_person(jupyter, "GET", "/events").json()
    path = f"/events?run={began['run']}&after={began['last']}&wait=55"
    with ThreadPoolExecutor() as threads:
        reads = threads.submit(as_person, jupyter, "GET", path)
        until(lambda: sockets_of(jupyter) > 2)  # the lease is one
        os.kill(jupyter.server_pid, signal.SIGKILL)
        answer = reads.result()
    assert answer.status_code == 200
    assert answer.json()["isReset"]
    assert answer.json()["run"] != began["run"]


def sockets_of(jupyter: ServerProcess) -> int:
    """How many ends the server's socket has: the one that listens, and one for each connection."""
    return Path("/proc/net/unix").read_text().count(str(jupyter.data_dir / "server.sock"))


def children_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def has_forkserver(server: int) -> bool:
    ours = {child.pid for child in children_of(server)}
    return any(process.pid in ours for process in that_have("worker.forkserver"))


def test_server_that_is_told_to_end_is_followed_by_another_one(make: Make, tmp_path: Path) -> None:
    jupyter = make(options=["--MlsvcApp.stop_seconds=60"]).start()
    told = jupyter.server_pid
    session = as_person(jupyter, "POST", "/sessions", json={}).json()["sessionId"]
    code = f"door = {str(tmp_path / 'door')!r}\n{UNTIL_OPEN}"
    with ThreadPoolExecutor() as threads:
        path = f"/sessions/{session}/execute"
        runs = threads.submit(as_person, jupyter, "POST", path, json={"code": code})
        until(lambda: as_person(jupyter, "GET", "/sessions").json()[0]["state"] == "busy")
        # Who has a session may publish soon.
        until(lambda: has_forkserver(told))
        os.kill(told, signal.SIGTERM)
        (tmp_path / "door").touch()
        # Who asks meanwhile waits for the next one.
        until(lambda: user_of(jupyter) is not None)
        assert runs.result().json()["success"]
    until_gone(told)
    assert user_of(jupyter) is not None
    assert "does not run" not in jupyter.log_file.read_text()


def test_kernel_finds_the_server_that_came_back_at_another_port(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    jupyter = make(JupyterOnly, options=["--MlsvcApp.public_port=0"]).start()
    assert user_of(jupyter)["role"] == "owner"
    monkeypatch.setenv("MLSVC_CONNECTION_FILE", str(jupyter.connection_file))
    with Client() as client:
        before = client.url
        assert client.whoami().public_url == before
        # Nobody else gets the port meanwhile, the next server neither.
        os.kill(jupyter.server_pid, signal.SIGKILL)
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            until(lambda: binds(holder, urlsplit(before).port or 0))
            until(lambda: before not in jupyter.connection_file.read_text())
            assert client.whoami().public_url == client.url != before


def binds(holder: socket.socket, port: int) -> bool:
    """Take a port without listening there, once it is free."""
    with contextlib.suppress(OSError):
        holder.bind(("127.0.0.1", port))
        return True
    return False


def test_jupyter_joins_a_server_that_runs_already_and_leaves_it(make: Make) -> None:
    alone = make(jupyter=False).start()
    jupyter = make(public_port=alone.public_port).start()
    assert as_person(jupyter, "GET", "/sessions").json() == []
    assert alone.process is not None
    assert server_pids(alone) == [alone.process.pid]
    jupyter.stop()
    assert sign_in(alone.public_url, "admin", PASSWORD).get("/sessions").json() == []


def test_second_server_of_a_data_folder_says_that_it_is_in_use(make: Make) -> None:
    first = make(jupyter=False).start()
    second = subprocess.run(
        [sys.executable, "-m", "jupyter_mlsvc_server", "serve"],
        env={**os.environ, "MLSVC_DATA_DIR": str(first.data_dir), "MLSVC_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert second.returncode == 75
    assert "another server uses the data folder" in second.stderr
    assert sign_in(first.public_url, "admin", PASSWORD).get("/status").status_code == 200


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--MlsvcApp.public_port=99999", "public_port is 99999; it has to be 0 to 65535."),
        ("--MlsvcApp.data_dir={file}", "cannot be used: File exists."),
        ("--MlsvcApp.public_certfile=/no/such.pem", "No such file"),
        ("--MlsvcApp.hosts_file=/no/such.hosts", "/no/such.hosts cannot be read"),
    ],
)
def test_jupyter_works_and_says_why_the_server_does_not(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, said: str
) -> None:
    (tmp_path / "file").touch()
    jupyter = make(JupyterOnly, options=[option.format(file=tmp_path / "file")]).start()
    answer = as_person(jupyter, "GET", "/user")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    problem = answer.json()
    assert problem["exceptionType"]
    assert problem["message"].startswith("The server of jupyter-mlsvc does not run.")
    assert said in problem["message"]
    assert said in jupyter.log_file.read_text()
    monkeypatch.setenv("MLSVC_CONNECTION_FILE", str(jupyter.connection_file))
    with pytest.raises(MlsvcError, match=re.escape(said)):
        Client()
    # Jupyter's line of an error, with its headers, would come each time that a panel asks.
    as_person(jupyter, "GET", "/services")
    assert "503 GET" not in jupyter.log_file.read_text()


def test_busy_public_port_leaves_notebooks_working(make: Make) -> None:
    other = make(jupyter=False, data_dir=Path(make().data_dir).parent / "other").start()
    jupyter = make(
        public_port=other.public_port, options=["--MlsvcApp.notebook_role=owner"]
    ).start()
    assert user_of(jupyter)["publicUrl"] == ""
    assert "Choose another port with MLSVC_PORT" in jupyter.log_file.read_text()
    connection = json.loads(jupyter.connection_file.read_text())
    assert connection["url"] == f"http://localhost:{jupyter.jupyter_port}/mlsvc"
    with Client(connection["url"], connection["token"]) as client:
        assert client.whoami().role == "owner"


def test_kernels_get_a_file_and_no_token(make: Make) -> None:
    jupyter = make().start()
    assert jupyter.process is not None
    assert jupyter.connection_file.stat().st_mode & 0o777 == 0o600
    token = json.loads(jupyter.connection_file.read_text())["token"]
    kernel = kernel_of(jupyter)
    for process in (jupyter.process.pid, jupyter.server_pid, kernel):
        words = Path(f"/proc/{process}/environ").read_bytes()
        words += Path(f"/proc/{process}/cmdline").read_bytes()
        assert token.encode() not in words
        assert PASSWORD.encode() not in words
    for process in (jupyter.process.pid, jupyter.server_pid):
        words = Path(f"/proc/{process}/environ").read_bytes()
        assert jupyter.jupyter_token.encode() not in words
    inherited = Path(f"/proc/{kernel}/environ").read_bytes()
    assert str(jupyter.connection_file).encode() in inherited
    answer = as_person(jupyter, "POST", "/sessions", json={})
    session = answer.json()["sessionId"]
    code = "import os; print(sorted(name for name in os.environ if name.startswith('MLSVC')))"
    ran = as_person(jupyter, "POST", f"/sessions/{session}/execute", json={"code": code})
    assert "MLSVC_CONNECTION_FILE" not in ran.json()["consoleOutput"]
    assert "MLSVC_TOKEN" not in ran.json()["consoleOutput"]


def kernel_of(jupyter: ServerProcess) -> int:
    """Id of the process of a kernel that Jupyter starts."""
    assert jupyter.process is not None
    requests.post(
        f"{jupyter.jupyter_url}/api/kernels",
        headers={"Authorization": f"token {jupyter.jupyter_token}"},
        timeout=60,
    ).raise_for_status()
    return next(
        child.pid
        for child in psutil.Process(jupyter.process.pid).children()
        if "ipykernel_launcher" in child.cmdline()
    )


def test_start_that_fails_late_is_not_tried_all_the_time(make: Make) -> None:
    # The socket is there already when the first account is made.
    short = {"MLSVC_ADMIN_PASSWORD": "short"}
    jupyter = make(JupyterOnly, environment=short).start()
    for _ in range(2):
        answer = as_person(jupyter, "GET", "/user")
        assert answer.status_code == 503
        assert "A password has 8 to 1024 characters" in answer.json()["message"]
        time.sleep(int(answer.headers["Retry-After"]))
    assert jupyter.log_file.read_text().count("A password has 8 to") < 10


class JupyterOnly(ServerProcess):
    """A Jupyter server whose server does not start."""

    @property
    def _urls(self) -> list[str]:
        # Jupyter's own status; what is added to the address goes into a query.
        return [f"{self.jupyter_url}/api/status?token={self.jupyter_token}&rest="]

    def _refusal(self) -> str | None:
        return None
