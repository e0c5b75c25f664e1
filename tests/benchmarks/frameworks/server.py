"""A framework's server: started for its turn, ended with all that it started."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from jupyter_mlsvc_server.launch import free_port
from tests.benchmarks.peers import PeerFailed, Target
from tests.benchmarks.startable import Startable

from .catalogue import Framework, Place
from .environments import last_error

_ROOT = Path(__file__).parents[3]


class FrameworkServer(Startable):
    """One server of a framework, whose environment is made.

    Parameters
    ----------
    framework
        Which one.
    work
        Folder of its own; what was prepared there is used again.
    """

    def __init__(self, framework: Framework, work: Path) -> None:
        self._framework = framework
        self._work = work
        self._log = work / "server.log"
        self._processes: list[psutil.Process] = []

    def start(self, timeout: float = 180) -> Self:
        """Start it and wait until it answers.

        Raises
        ------
        PeerFailed
            It ended, or did not answer in time; the message is one line.
        """
        self._work.mkdir(parents=True, exist_ok=True)
        framework = self._framework
        place = Place(framework.environment, self._work, (free_port(), free_port(), free_port()))
        environment = {**place.environment.variables(), **framework.variables(place)}
        if framework.prepare and not (self._work / "model").exists():
            self._prepare(framework.prepare(place), environment)
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    framework.command(place),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=_ROOT,
                    start_new_session=True,
                )
        except OSError as error:
            raise PeerFailed(str(error)) from None
        self.target = Target(framework.name, f"http://127.0.0.1:{place.port}", None, framework.path)
        try:
            self._wait(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it, politely at first, and whatever it started."""
        self._see_processes()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, left = psutil.wait_procs(self._processes, timeout=2)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)
        # What has left the tree of processes is still in the session that was started for it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _prepare(self, command: Sequence[str], environment: dict[str, str]) -> None:
        finished = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=_ROOT
        )
        if finished.returncode:
            raise PeerFailed(last_error(finished.stderr))

    def _wait(self, timeout: float) -> None:
        body = json.dumps(self._framework.questions[0]).encode()
        deadline = time.monotonic() + timeout
        seen = "it did not answer"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise PeerFailed(last_error(self._log.read_text(errors="replace")))
            try:
                with self.target.connect(timeout=10) as connection:
                    connection.call("POST", self.target.path, body)
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
            except PeerFailed as error:  # it listens already, and has no model yet
                seen = str(error)
                time.sleep(0.1)
            else:
                self._see_processes()
                return
        raise PeerFailed(f"Not ready after {timeout:.0f} s: {last_error(seen)}")

    def _see_processes(self) -> None:
        try:
            found = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self._processes = list({*self._processes, *found})
