"""Temporary files: a folder a worker, and what code puts into those of the system all the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

_SHARED: Final = ("/tmp/", "/var/tmp/", "/dev/shm/")  # noqa: S108 - watched, not used
_MAKES: Final = {
    "open": 0, "os.mkdir": 0, "os.symlink": 1, "os.link": 1, "os.rename": 1, "sqlite3.connect": 0,
}  # fmt: skip
"""Events of the interpreter after which there may be another file, and which argument names it."""


def temporary_directory(work: Path, pid: int) -> Path:
    """Name the folder for temporary files of the R process beside a worker."""
    return work / f"worker-{pid}.tmp"


class TemporaryFiles:
    """A worker's folder for temporary files, empty for each request.

    Parameters
    ----------
    directory
        Where it is; made on :meth:`create`.
    watches_shared
        Whether code may put files into the system's own folders by their names.
    """

    def __init__(self, directory: Path, *, watches_shared: bool) -> None:
        self.directory = directory
        self._made: list[str] = []
        self._watches_shared = watches_shared

    def create(self) -> None:
        """Make the folder and have everybody use it."""
        self.directory.mkdir(mode=0o700)
        os.environ["TMPDIR"] = str(self.directory)
        tempfile.tempdir = None
        self._descriptor = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        self._changed_at = os.stat(self._descriptor).st_mtime_ns
        if self._watches_shared:
            sys.addaudithook(self._note)

    def clean(self) -> None:
        """Remove what a request has left.

        Raises
        ------
        OSError
            It can't be removed.
        """
        if os.stat(self._descriptor).st_mtime_ns != self._changed_at:
            for name in os.listdir(self._descriptor):
                _remove(self.directory / name)
            self._changed_at = os.stat(self._descriptor).st_mtime_ns
        while self._made:
            _remove(Path(self._made.pop()))

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Keep the name of a file that is about to be made in a folder of the system's."""
        at = _MAKES.get(event)
        if at is None:
            return
        with contextlib.suppress(TypeError, ValueError, UnicodeError, IndexError):
            path = os.path.abspath(os.fsdecode(arguments[at]))
            own = f"{self.directory}/"
            if path.startswith(_SHARED) and not path.startswith(own) and not _is_there(path):
                self._made.append(path)


def _is_there(path: str) -> bool:
    return os.path.lexists(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
