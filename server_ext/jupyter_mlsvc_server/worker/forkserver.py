"""The process that all templates are forked from: the usual libraries, imported once.

Started as ``python -m jupyter_mlsvc_server.worker.forkserver DESCRIPTOR OPTIONS``. It stays
single-threaded and computes nothing: what OpenMP or BLAS start does not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from jupyter_mlsvc_server.formats.guard import ProcessLimit, die_with
from jupyter_mlsvc_server.formats.process_tree import Control, Parent
from jupyter_mlsvc_server.formats.protocol import ForkserverOptions, Preloaded
from jupyter_mlsvc_server.formats.threads import lasting_threads, threads
from jupyter_mlsvc_server.patches import narwhals_dataframes
from jupyter_mlsvc_server.worker import template

_EXIT_TIMEOUT = 3.0
"""Seconds for the templates to end their workers when the server is gone."""


def main(descriptor: str, options: str) -> None:
    """Import the libraries, then fork templates until the server is gone."""
    settings = msgspec.json.decode(options, type=ForkserverOptions)
    control = Control(socket.socket(fileno=int(descriptor)))
    control.link.set_inheritable(False)
    # Killed with its guard it would leave what services have started; told, it ends that first.
    die_with(os.getppid(), signal.SIGTERM)
    if settings.sklearn_1d:
        from jupyter_mlsvc_server.patches import sklearn_1d

        sklearn_1d.install()
    narwhals_dataframes.install()
    missing = _preload(settings.preload)
    began, before, running = time.process_time(), _own_bytes(), threads()
    missing |= _preload(settings.heavy)
    gc.collect()
    gc.freeze()
    seconds = time.process_time() - began
    control.send(
        Preloaded(
            missing,
            pid=os.getpid(),
            heavy_threads=len(lasting_threads(running)),
            heavy_bytes=_own_bytes() - before,
            heavy_seconds=seconds,
        )
    )
    Parent(
        control,
        lambda link, _: template.main(link),
        exit_timeout=_EXIT_TIMEOUT,
        limit=ProcessLimit(settings.max_processes),
        ends_at=signal.SIGTERM,
    ).run()


def _preload(names: tuple[str, ...]) -> dict[str, str]:
    missing = {}
    # What a library prints on import is for no one.
    with contextlib.redirect_stdout(sys.stderr):
        for name in names:
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001  # any library may fail in any way; serving goes on
                missing[name] = f"{type(error).__name__}: {error}"
    return missing


def _own_bytes() -> int:
    """Measure the memory that each template would have for itself; 0 where that is not known."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
    # Without a wait for threads of libraries, which may never end.
    os._exit(0)
