"""Starts the server, alone or hosted by a Jupyter server, and waits until it serves."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
import requests
from jupyter_core.paths import jupyter_runtime_dir

_STOP_SECONDS: Final = "--MlsvcApp.stop_seconds"

_GAVE_UP: Final = re.compile(r"^\[C [^\]]*MlsvcApp\] (.+)$", re.MULTILINE)


class ServerDidNotStart(RuntimeError):
    """The process ended or stayed silent; the message has the end of its log."""


def free_port() -> int:
    """Find a port of the loopback interface that nobody uses now."""
    with hold_port() as holder:
        port: int = holder.getsockname()[1]
        return port


def hold_port() -> socket.socket:
    """Reserve a free port of the loopback interface until the socket is closed.

    Meanwhile the system gives it to no program that takes any port. A server that is told this
    port may listen there, because the holder does not.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


@dataclass(kw_only=True)
class ServerProcess:
    """A server, run as ``python -m jupyter_mlsvc_server serve``, or by a Jupyter server.

    Use it as a context manager. ``stop`` may be called twice; ``kill`` leaves what a power cut
    would leave.

    Parameters
    ----------
    data_dir
        Folder of the database and snapshots; also holds ``server.log``.
    base_url
        Base URL of the Jupyter server.
    options
        Further command line options, such as ``--LocalEngine.workers_max=4``.
    jupyter
        Run it by a Jupyter server, so that there is the Jupyter-mounted API as well.
    front_end
        Run it by a JupyterLab.
    """

    data_dir: Path
    admin_password: str | None = field(default=None, repr=False)
    base_url: str = "/"
    public_port: int = 0
    jupyter_port: int = 0
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    jupyter: bool = False
    front_end: bool = False
    root_dir: Path | None = None
    jupyter_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def __post_init__(self) -> None:
        self.public_port = self.public_port or self._own_port()
        self.jupyter_port = self.jupyter_port or self._own_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def _own_port(self) -> int:
        """Reserve a port for all servers that this object starts, one after the other."""
        holder = hold_port()
        weakref.finalize(self, holder.close)
        port: int = holder.getsockname()[1]
        return port

    @property
    def public_url(self) -> str:
        """Address of the public API."""
        return f"http://127.0.0.1:{self.public_port}"

    @property
    def jupyter_url(self) -> str:
        """Address of the Jupyter server, with its base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.jupyter_port}{self.base_url}".rstrip("/")

    @property
    def notebook_url(self) -> str:
        """Address of the Jupyter-mounted API."""
        return f"{self.jupyter_url}/mlsvc"

    @property
    def connection_file(self) -> Path:
        """File that kernels of the Jupyter server find the server by."""
        assert self.process is not None
        return Path(jupyter_runtime_dir()) / f"mlsvc-{self.process.pid}.json"

    @property
    def log_file(self) -> Path:
        """What the server wrote."""
        return self.data_dir / "server.log"

    def start(self, timeout: float = 60) -> Self:
        """Start the process and wait until it serves.

        Raises
        ------
        ServerDidNotStart
            It ended, or did not serve within ``timeout`` seconds.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                self._command(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.root_dir or self.data_dir,
                # Ctrl-C in a terminal is for whoever started it, who then stops it in order.
                start_new_session=True,
            )
        self._wait_until_ready(time.monotonic() + timeout)
        return self

    @property
    def server_pid(self) -> int:
        """Id of the server's process, which is a child of the Jupyter server where there is one."""
        assert self.process is not None
        if not self._has_jupyter:
            return self.process.pid
        return next(
            child.pid
            for child in psutil.Process(self.process.pid).children()
            if "jupyter_mlsvc_server" in child.cmdline()
        )

    def stop(self, timeout: float = 30) -> int | None:
        """Ask the process to end, and insist when it does not; give its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int | None:
        """End the process as a power cut would."""
        if self.process is None:
            return None
        self.process.kill()
        return self.process.wait()

    def __enter__(self) -> Self:
        return self if self.process is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _has_jupyter(self) -> bool:
        return self.jupyter or self.front_end

    def _command(self) -> list[str]:
        if not self._has_jupyter:
            serve = [sys.executable, "-m", "jupyter_mlsvc_server", "serve", *self.options]
            if not any(option.startswith(_STOP_SECONDS) for option in self.options):
                # As for one that a Jupyter server runs: somebody waits for the end.
                serve.append(f"{_STOP_SECONDS}=3")
            return serve
        return [
            sys.executable,
            "-m",
            "jupyterlab" if self.front_end else "jupyter_mlsvc_server.extension",
            "--no-browser",
            "--allow-root",
            f"--ServerApp.port={self.jupyter_port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.base_url={self.base_url}",
            f"--ServerApp.root_dir={self.root_dir or self.data_dir}",
            *self.options,
        ]

    def _environment(self) -> dict[str, str]:
        own = {
            "MLSVC_DATA_DIR": str(self.data_dir),
            "MLSVC_PORT": str(self.public_port),
            "PYTHONUNBUFFERED": "1",
        }
        if self._has_jupyter:
            own["JUPYTER_TOKEN"] = self.jupyter_token
        if self.admin_password is not None:
            own["MLSVC_ADMIN_PASSWORD"] = self.admin_password
        return {**os.environ, **own, **self.environment}

    @property
    def _urls(self) -> list[str]:
        return [self.public_url, *([self.notebook_url] if self._has_jupyter else [])]

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            is_running = self.process is not None and self.process.poll() is None
            if (refusal := self._refusal()) is not None:
                self.stop()
                raise ServerDidNotStart(refusal)
            if not is_running:
                raise ServerDidNotStart(f"The server ended while starting.\n{self._log_end()}")
            try:
                if all(requests.get(f"{url}/health/ready", timeout=30).ok for url in self._urls):
                    return
            except (requests.ConnectionError, requests.Timeout):
                pass
            time.sleep(0.05)
        self.kill()
        raise ServerDidNotStart(f"The server did not serve in time.\n{self._log_end()}")

    def _refusal(self) -> str | None:
        """Read why the server gave up, if it did; Jupyter may go on without it."""
        found = _GAVE_UP.findall(self._log())
        return found[-1] if found else None

    def _log_end(self) -> str:
        return self._log()[-4000:]

    def _log(self) -> str:
        """Read what was written since this start."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")
