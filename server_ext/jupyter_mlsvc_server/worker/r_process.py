"""The process in R beside a worker: started with its service, asked over pipes."""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from struct import Struct as Layout
from typing import Any, Final

import msgspec

from jupyter_mlsvc_server.formats.problems import CodeProblem
from jupyter_mlsvc_server.formats.protocol import ENDED_FROM_OUTSIDE, Service
from jupyter_mlsvc_server.formats.r_code import HOW_TO_INSTALL, WORKER_FOLDER, utf8_locale
from jupyter_mlsvc_server.worker.worker import blob_path

_LENGTH: Final = Layout("<i")
_EXIT_TIMEOUT: Final = 0.1
"""Seconds to wait for word of how R ended, once its pipe has."""

_OPTIONS: Final = ("--no-echo", "--no-restore", "--no-save", "--no-init-file")


class RCrashed(Exception):
    """The process, or the fork that ran a request, has ended unexpectedly.

    Parameters
    ----------
    ended_by
        The signal that has ended the process itself; 0 if it goes on, or has ended otherwise.
    """

    def __init__(self, ended_by: int) -> None:
        super().__init__()
        self.ended_by = ended_by

    @property
    def was_from_outside(self) -> bool:
        """Whether somebody ended it, as an operator or for want of memory."""
        return -self.ended_by in ENDED_FROM_OUTSIDE


class RProcess:
    """R with a service's code and snapshot; see ``r/service.R``.

    Parameters
    ----------
    service
        What it is to run.
    directory
        Its working directory.
    temporary
        A folder of its own for temporary files; made here where it is not there.

    Attributes
    ----------
    reply : dict
        What it said when it was prepared.

    Raises
    ------
    CodeProblem
        R is not installed.
    RCrashed
        It ended before it was prepared.
    """

    def __init__(self, service: Service, directory: Path, temporary: Path) -> None:
        command = shutil.which(service.r_command)
        if command is None:
            raise CodeProblem(f"Services in R can't be run here: {HOW_TO_INSTALL}.")
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        config = temporary / "service.json"
        config.write_bytes(msgspec.json.encode(_config(service, theirs_in, theirs_out)))
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the operator names the program
                [
                    command,
                    *_OPTIONS,
                    f"--file={WORKER_FOLDER / 'service.R'}",
                    "--args",
                    str(config),
                ],
                cwd=directory,
                env=os.environ | utf8_locale() | _own(temporary),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs_in, theirs_out],
            )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._ready = select.poll()
        self._ready.register(self._from, select.POLLIN)
        self._end: int | None = None
        if hasattr(os, "pidfd_open"):  # Linux; elsewhere the deadline ends a wait for a lost R
            self._end = os.pidfd_open(self._process.pid)
            self._ready.register(self._end, select.POLLIN)
        self.reply: dict[str, Any] = msgspec.json.decode(self._receive())

    def ask(self, body: bytes) -> dict[str, Any]:
        """Have a request run.

        Raises
        ------
        RCrashed
            Its code has ended R.
        """
        try:
            _write(self._to, _LENGTH.pack(len(body)) + body)
        except BrokenPipeError as error:
            raise self._crash() from error
        answer: dict[str, Any] = msgspec.json.decode(self._receive())
        return answer

    def _crash(self) -> RCrashed:
        try:
            return RCrashed(max(-self._process.wait(_EXIT_TIMEOUT), 0))
        except subprocess.TimeoutExpired:
            return RCrashed(0)

    def limit_memory(self, limit: int) -> None:
        """Let it, and what it forks, allocate so many bytes on top of what it has (Linux)."""
        if limit and sys.platform.startswith("linux"):
            most = _data_size(self._process.pid) + limit
            resource.prlimit(self._process.pid, resource.RLIMIT_DATA, (most, most))

    def close(self) -> None:
        """End it."""
        for descriptor in (self._to, self._from, *([] if self._end is None else [self._end])):
            os.close(descriptor)
        self._process.kill()
        self._process.wait()

    def _receive(self) -> bytes:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if not length:
            raise self._crash()
        return self._read(length)

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            # A fork that still runs holds the pipe open when the process itself has gone.
            if self._from not in dict(self._ready.poll()):
                raise self._crash()
            data = os.read(self._from, count)
            if not data:
                raise self._crash()
            parts.append(data)
            count -= len(data)
        return b"".join(parts)


def guard_group() -> None:
    """Have all of this process's group killed when this process ends, however it does.

    A fork of a fork, like those that run requests in R, outlives its parent's parent; a small
    process waits here for the end of a pipe that only this one can write to.
    """
    ours, theirs = os.pipe()
    if os.fork():
        os.close(ours)
        return  # `theirs` stays open as long as this process lives
    try:
        os.close(theirs)
        _close_all_but(ours)
        while os.read(ours, 1):
            pass
        os.killpg(os.getpgid(0), signal.SIGKILL)
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    os.closerange(0, kept)
    os.closerange(kept + 1, max(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))


def _own(temporary: Path) -> dict[str, str]:
    # A .Renviron among the snapshot's files is data of the service, not settings of its process.
    return {"TMPDIR": str(temporary), "R_ENVIRON_USER": os.devnull}


def _config(service: Service, requests: int, answers: int) -> dict[str, Any]:
    spec, manifest, stream = service.spec, service.manifest, ""
    if manifest is not None and service.blobs is not None:
        stream = str(blob_path(service)(manifest.stream.digest))
    return {
        "code": spec.parts["code"],
        "initCode": spec.parts["initCode"],
        "inputs": {parameter.name: parameter.type for parameter in spec.inputs},
        "columns": {each.name: each.columns for each in spec.inputs if each.columns},
        "outputs": {parameter.name: parameter.type for parameter in spec.outputs},
        "stream": stream,
        "workspace": {} if manifest is None else {"r_version": manifest.workspace.r_version},
        "requests": requests,
        "answers": answers,
    }


def _data_size(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    data = next(line for line in status.splitlines() if line.startswith("VmData:"))
    return int(data.split()[1]) * 1024


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
