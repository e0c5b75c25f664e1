"""A process that answers requests for one service version, one at a time."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from jupyter_mlsvc_server.runtime.console import Console
from jupyter_mlsvc_server.runtime.protocol import ANSWER, Kind, RequestReader, Service
from jupyter_mlsvc_server.runtime.scratch import Scratch


class Program(Protocol):
    """A service that is ready to run, in any language."""

    service: Service

    def enter(self, console: Console, scratch: Scratch) -> None:
        """Get ready to answer, in the worker."""

    def answer(self, body: bytes) -> tuple[Kind, bytes]:
        """Answer a request: what the answer is, and its body. Then :meth:`reset` is due."""

    def reset(self) -> bool:
        """Put everything back for the next request; tell whether that was possible."""


def serve(program: Program, link: socket.socket) -> None:
    """Answer requests until the link ends or the worker is worn."""
    service, pid = program.service, os.getpid()
    scratch = Scratch(
        scratch_directory(Path(service.work), pid),
        service.manifest.files if service.manifest is not None else (),
        blob_path(service),
    )
    scratch.create()
    sys.path.insert(0, str(scratch.directory))
    sys.dont_write_bytecode = True
    console = Console(service.console_limit)
    console.take_descriptors()
    _reseed()
    program.enter(console, scratch)
    _limit_memory(service.memory_limit)
    reader = RequestReader(link)
    with contextlib.suppress(ConnectionError):
        link.sendall(ANSWER.pack(0, 0, Kind.READY))
        while (request := reader.read()) is not None:
            number, body = request
            kind, answer = program.answer(body)
            if os.getpid() != pid:  # the user's code forked, and this is the child
                os._exit(0)
            link.sendall(ANSWER.pack(len(answer), number, kind) + answer)
            # The caller need not wait for this.
            if not program.reset():
                link.sendall(ANSWER.pack(0, number, Kind.WORN))
                return


def blob_path(service: Service) -> Callable[[str], Path]:
    """Give what finds the blob of a digest."""
    root = Path(service.blobs or "")
    return lambda digest: root / digest[:2] / digest


def scratch_directory(work: Path, pid: int) -> Path:
    """Name the working directory of a worker."""
    return work / f"worker-{pid}"


def _reseed() -> None:
    """Give each worker random numbers of its own; Python's ``random`` does that by itself."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _limit_memory(limit: int) -> None:
    """Let the process allocate so much on top of what it has."""
    if not limit or not sys.platform.startswith("linux"):
        return
    import resource

    status = Path("/proc/self/status").read_text("ascii", "replace")
    data = next(line for line in status.splitlines() if line.startswith("VmData:"))
    most = int(data.split()[1]) * 1024 + limit
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
