"""The servers that are measured: ours, and one written by hand with FastAPI."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import psutil
import requests

from jupyter_mlsvc import Client
from jupyter_mlsvc_server.launch import ServerDidNotStart, ServerProcess, free_port
from tests.benchmarks.load import LoadFailed
from tests.benchmarks.startable import Startable

_ROOT = Path(__file__).parents[2]


class PeerFailed(RuntimeError):
    """A server did not start or answered wrongly."""


FAILURES: Final = (PeerFailed, LoadFailed, ServerDidNotStart, OSError, http.client.HTTPException)
"""What may keep one thing from being measured; the others still are."""


class Connection:
    """A kept-alive connection that sends a token and JSON, with as little in between as can be.

    Parameters
    ----------
    url
        Address that paths are added to.
    token
        Bearer token to send.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 300) -> None:
        parts = urllib.parse.urlsplit(url)
        self._prefix = parts.path.rstrip("/")
        self._http = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout)
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call and give the decoded answer.

        Raises
        ------
        PeerFailed
            The status is not 2xx.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, answer = self._send(method, path, None if body is None else data)
        if not 200 <= status < 300:
            raise PeerFailed(f"{method} {path} answered {status}: {answer[:400]!r}")
        return json.loads(answer) if answer else None

    def answer(self, path: str, body: bytes) -> bytes:
        """Post a body and give the bytes of the answer.

        Raises
        ------
        PeerFailed
            The status is not 200.
        """
        status, _, answer = self._send("POST", path, body)
        if status != 200:
            raise PeerFailed(f"POST {path} answered {status}: {answer[:400]!r}")
        return answer

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Call with bytes and give the bytes of the answer.

        Raises
        ------
        PeerFailed
            The status is not 2xx.
        """
        status, _, answer = self._send(method, path, body)
        if not 200 <= status < 300:
            raise PeerFailed(f"{method} {path} answered {status}: {answer[:400]!r}")
        return answer

    def size_of_answer(self, path: str, body: bytes) -> int:
        """Count the bytes of an answer with its head, as a load generator does."""
        _, head, answer = self._send("POST", path, body)
        return head + len(answer)

    def close(self) -> None:
        """Close it; it opens again by itself when used."""
        self._http.close()

    def _send(self, method: str, path: str, data: bytes | None) -> tuple[int, int, bytes]:
        self._http.request(method, self._prefix + path, body=data, headers=self._headers)
        response = self._http.getresponse()
        answer = response.read()
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.getheaders()]
        # Every line ends with two characters, and so does the head.
        return response.status, sum(len(line) + 2 for line in lines) + 2, answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Target:
    """One address under load."""

    name: str
    url: str
    token: str | None = field(repr=False)
    path: str = "/"

    @property
    def address(self) -> str:
        """URL and path in one."""
        return self.url + self.path

    def connect(self, timeout: float = 300) -> Connection:
        """Open a connection to it."""
        return Connection(self.url, self.token, timeout)


class FastApiPeer(Startable):
    """The hand-rolled server: uvicorn with uvloop and httptools, one or more processes.

    Parameters
    ----------
    application
        Name of the factory in ``fastapi_app``.
    path
        Path of its endpoint.
    workers
        Number of processes.
    environment
        Environment variables for it.
    """

    def __init__(
        self,
        application: str,
        path: str,
        *,
        work: Path,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._token = secrets.token_urlsafe(24)
        self._log = work / f"fastapi-{application}-{workers}.log"
        self._port = free_port()
        self._workers = workers
        self._application = application
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.target = Target(
            f"FastAPI, {workers} {'process' if workers == 1 else 'processes'}",
            f"http://127.0.0.1:{self._port}",
            self._token,
            path,
        )

    def start(self) -> Self:
        """Start it without waiting for it."""
        package = __name__.rpartition(".")[0]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "--factory"),
                    f"{package}.fastapi_app:{self._application}",
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                    *("--workers", str(self._workers), "--loop", "uvloop", "--http", "httptools"),
                    *("--no-access-log", "--log-level", "warning"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "BENCHMARK_TOKEN": self._token, **self._environment},
                cwd=_ROOT,
            )
        return self

    def first_answer(self, body: object, timeout: float = 120) -> Any:
        """Ask until it answers."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                with self.target.connect() as connection:
                    return connection.call("POST", self.target.path, body)
            except OSError:
                time.sleep(0.01)
        raise PeerFailed(f"FastAPI did not start: {self._log.read_text(errors='replace')[-2000:]}")

    @property
    def process(self) -> psutil.Process:
        """The process that was started; with several workers, their supervisor."""
        if self._process is None:
            raise PeerFailed("FastAPI was not started.")
        return psutil.Process(self._process.pid)

    @property
    def worker_processes(self) -> list[psutil.Process]:
        """The processes that hold a model."""
        if self._workers == 1:
            return [self.process]
        # The supervisor also keeps a resource tracker, which is no worker.
        children = self.process.children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class OurServer(Startable):
    """Our server as a process of its own, with what measures ask of it.

    Parameters
    ----------
    data_dir
        Its data folder; started again on the same one, it finds what was published.
    workers
        Smallest and largest number of workers of a service version.
    jupyter
        Whether a Jupyter server hosts it.
    options
        Further options of the command line.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        workers: int = 1,
        jupyter: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.database = data_dir / "mlsvc.db"
        self._work = data_dir.parent
        self._further = options
        self._server = ServerProcess(
            data_dir=data_dir,
            admin_password=secrets.token_urlsafe(16),
            options=self._options(workers),
            jupyter=jupyter,
        )
        self._token = ""

    def start(self) -> Self:
        """Start it, wait until it serves, and log in."""
        self._server.start()
        with Connection(self._server.public_url) as connection:
            self._token = self.log_in(connection)
        return self

    def log_in(self, connection: Connection) -> str:
        """Log in, and give the token."""
        credentials = {"username": "admin", "password": self._server.admin_password}
        token: str = connection.call("POST", "/login", credentials)["access_token"]
        return token

    def signal_host(self, number: int) -> None:
        """Send a signal to the process that was started: the Jupyter server, where there is one."""
        if self._server.process is not None:
            self._server.process.send_signal(number)

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()

    def restart(self, *, workers: int = 1) -> None:
        """Stop it and start it on the same data, with every service cold."""
        self._server.stop()
        self._server.options = self._options(workers)
        self._server.start()

    def connect(self) -> Connection:
        """Open a connection to the public API."""
        return Connection(self._server.public_url, self._token)

    def client(self) -> Client:
        """Log in with the Python client."""
        password = self._server.admin_password
        return Client(self._server.public_url, username="admin", password=password)

    def publish_realtime(self, name: str, model: bytes) -> str:
        """Publish the file of a model as version 1.0; give the path to consume it.

        Raises
        ------
        PeerFailed
            The server refused it.
        """
        answer = requests.post(
            f"{self._server.public_url}/realtime-services/{name}/1.0",
            files={"model": ("model", model)},
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=60,
        )
        if not answer.ok:
            raise PeerFailed(f"Publishing {name} answered {answer.status_code}: {answer.text}")
        return f"/api/{name}/1.0"

    def public(self, name: str, path: str) -> Target:
        """A service through the public API."""
        return Target(name, self._server.public_url, self._token, path)

    def processes(self, *, kernels: bool = False) -> list[psutil.Process]:
        """The server and all that it started, without session kernels unless told."""
        own = self._process()
        return [own, *(p for p in own.children(recursive=True) if kernels or not _is_kernel(p))]

    def megabytes(self) -> float:
        """Memory of the server and all that it started."""
        return proportional_bytes(self.processes(kernels=True)) / 1e6

    def processor_seconds(self) -> float:
        """Processor time of the server and all that it started, so far."""
        return _processor_seconds(self._process())

    def wait_until_quiet(self, timeout: float = 20) -> None:
        """Wait until it does no more work in the background, such as importing libraries."""
        if self._server.process is not None:
            wait_until_quiet(self._process(), timeout)

    def _process(self) -> psutil.Process:
        if self._server.process is None:
            raise PeerFailed("The server was not started.")
        return psutil.Process(self._server.process.pid)

    def _options(self, workers: int) -> list[str]:
        return [
            f"--LocalEngine.workers_min={workers}",
            f"--LocalEngine.workers_max={workers}",
            # Models are made once, in a file that each of the contestants reads.
            f"--Confinement.readable_paths={self._work}",
            *self._further,
        ]


def run_in_session(connection: Connection, code: str, session: str | None = None) -> str:
    """Execute code in a session, a new one unless told; give the session's id.

    Raises
    ------
    PeerFailed
        The code failed.
    """
    if session is None:
        session = str(connection.call("POST", "/sessions", {"runtimeType": "Python"})["sessionId"])
    answer = connection.call("POST", f"/sessions/{session}/execute", {"code": code})
    if not answer["success"]:
        raise PeerFailed(f"Code failed in a session: {answer['errorMessage']}")
    return session


def publish(
    connection: Connection,
    name: str,
    code: str,
    *,
    snapshot: str | None,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
) -> str:
    """Publish version 1.0 of a service; give the path to consume it."""
    connection.call(
        "POST",
        f"/services/{name}/1.0",
        {
            "code": code,
            "snapshotId": snapshot,
            "runtimeType": "Python",
            "inputParameterDefinitions": _parameters(inputs),
            "outputParameterDefinitions": _parameters(outputs),
        },
    )
    return f"/api/{name}/1.0"


def wait_until_quiet(process: psutil.Process, timeout: float) -> None:
    """Wait until a process and its descendants use next to no processor time for a while."""
    deadline = time.monotonic() + timeout
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        before = _processor_seconds(process)
        time.sleep(0.5)
        quiet = quiet + 1 if _processor_seconds(process) - before < 0.05 else 0


def proportional_bytes(processes: Sequence[psutil.Process]) -> int:
    """Sum the proportional set sizes: a page that n processes share counts 1/n in each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def _processor_seconds(process: psutil.Process) -> float:
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        # Those that have ended, such as the trial of a publish, count for who waited for them.
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _is_kernel(process: psutil.Process) -> bool:
    try:
        # One that was forked has the command line of what it was forked from.
        return any(
            word.startswith(("ipykernel", "jupyter_mlsvc_server.kernel"))
            for word in process.cmdline()
        )
    except psutil.NoSuchProcess:
        return True


def _parameters(definitions: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in definitions.items()]
