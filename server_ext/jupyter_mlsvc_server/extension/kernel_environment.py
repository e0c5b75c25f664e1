"""Lets kernels and terminals of this Jupyter server find the server, without a secret in sight.

They get the name of a file that only the person's own processes can read. It is written anew
whenever the server is another one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
from jupyter_core.paths import jupyter_runtime_dir

from jupyter_mlsvc_server.formats.private_files import write_atomic

_CONNECTION_FILE = "MLSVC_CONNECTION_FILE"
_AUTOLOAD = "MLSVC_AUTOLOAD"


class Connection(msgspec.Struct, rename="camel"):
    """Contents of the file; the client half reads it."""

    url: str = ""
    token: str = ""
    public_url: str = ""
    problem: str = ""
    """Why no server runs; there is no address then."""


class KernelEnvironment:
    """The file, and the variables that Jupyter hands to what it starts."""

    def __init__(self) -> None:
        self.path = Path(jupyter_runtime_dir()) / f"mlsvc-{os.getpid()}.json"

    def open(self, *, autoload: bool) -> None:
        """Set the variables; the file may come later."""
        os.environ[_CONNECTION_FILE] = str(self.path)
        os.environ[_AUTOLOAD] = "1" if autoload else "0"
        self._remove_orphans()

    def write(self, connection: Connection) -> None:
        """Write the file whole, in place of an older one."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.path, msgspec.json.encode(connection))

    def _remove_orphans(self) -> None:
        """Remove files of Jupyter servers that were killed."""
        for path in self.path.parent.glob("mlsvc-*.json"):
            pid = path.stem.removeprefix("mlsvc-")
            if pid.isascii() and pid.isdigit() and not Path("/proc", pid).exists():
                with contextlib.suppress(OSError):
                    path.unlink()

    def close(self) -> None:
        """Remove the file and the variables; may be called twice."""
        for name in (_CONNECTION_FILE, _AUTOLOAD):
            os.environ.pop(name, None)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
