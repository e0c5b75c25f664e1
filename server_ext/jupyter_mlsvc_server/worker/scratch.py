"""Scratch directory: a worker's private copy of the snapshot's working directory."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.formats.files import write_files
from jupyter_mlsvc_server.formats.manifest import FileEntry

_PAST: Final = 946_684_800_000_000_001
"""Modification time (ns) of all that is as it was. A fixed one in the past, so that any change
shows, even one within the clock's resolution."""


def set_up_directory(directory: Path) -> Path:
    """Return the folder with the copy of a worker's files as setupCode has left them."""
    return directory.with_name(f"{directory.name}.set-up")


class ScratchDir:
    """Folder whose files are the same at the start of each request.

    Parameters
    ----------
    directory
        Path of the folder; :meth:`create` makes it.
    files
        The snapshot's files.
    blob_path
        Returns the path of the blob of a digest.
    """

    def __init__(
        self, directory: Path, files: Iterable[FileEntry], blob_path: Callable[[str], Path]
    ) -> None:
        self.directory = directory
        self._files = tuple(files)
        self._names = self._original = {entry.path for entry in self._files}
        self._origin: Path | None = None
        self._blob_path = blob_path
        self._state: dict[str, tuple[int, int]] = {}
        self._inner: list[tuple[str, tuple[int, int]]] = []
        self._here = (0, 0, 0)

    def create(self) -> None:
        """Create the folder with its files, and change to it."""
        self.directory.mkdir(mode=0o700, parents=True)
        write_files(self._files, self._blob_path, self.directory)
        os.chdir(self.directory)
        self._remember()

    def own_folders(self) -> list[Path]:
        """Name all folders that it writes into, which are there then."""
        kept = set_up_directory(self.directory)
        kept.mkdir(mode=0o700, exist_ok=True)
        return [self.directory, kept]

    def is_modified(self) -> bool:
        """Return whether anything in it has changed, or the working directory is another one.

        That takes one system call for each file and folder.
        """
        try:
            here = os.stat(".")
            if (here.st_mtime_ns, here.st_ctime_ns, here.st_ino) != self._here:
                return True
            for path, state in self._inner:
                found = os.stat(path)
                if (found.st_mtime_ns, found.st_ctime_ns) != state:
                    return True
        except OSError:
            return True
        return False

    def changed_files(self) -> list[str]:
        """Return the files that were made, changed or removed, as paths in the folder."""
        found = set(self._walk())
        changed = [
            name
            for name in found
            if name not in self._names or self._is_file_modified(self._path(name))
        ]
        return sorted([*changed, *(self._names - found)])

    def size(self, name: str) -> int:
        """Return the size of a regular file in bytes, 0 if there is none."""
        try:
            found = os.stat(self._path(name))
        except OSError:
            return 0
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def content(self, name: str) -> str | None:
        """Return a regular file in base64, None if there is none."""
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return base64.b64encode(file.read()).decode("ascii")

    def keep(self) -> None:
        """Store the files as they are now as those of each request."""
        os.chdir(self.directory)
        if not self.is_modified():
            return
        self._origin = origin = set_up_directory(self.directory)
        shutil.copytree(self.directory, origin, symlinks=True, dirs_exist_ok=True)
        self._original = set(self._walk())
        self.accept()

    def accept(self, passing: Iterable[str] = ()) -> None:
        """Keep the files as they are now, but for some that were not there at first."""
        os.chdir(self.directory)
        for name in set(passing) - self._original:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name))
        self._names = set(self._walk())
        self._remember()

    def reset(self) -> None:
        """Restore all files, and change to the folder.

        Raises
        ------
        OSError
            The code left something that can't be removed.
        """
        os.chmod(self.directory, stat.S_IRWXU)
        os.chdir(self.directory)
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
        if self._origin is not None:
            shutil.copytree(self._origin, self.directory, symlinks=True, dirs_exist_ok=True)
        else:
            write_files(self._files, self._blob_path, self.directory)
        self._remember()

    def _remember(self) -> None:
        paths = [str(self.directory)]
        for root, folders, names in os.walk(self.directory):
            paths.extend(os.path.join(root, name) for name in [*folders, *names])
        for path in paths:
            os.utime(path, ns=(_PAST, _PAST))
        self._state = {path: (_PAST, os.stat(path).st_ctime_ns) for path in paths}
        self._inner = list(self._state.items())[1:]
        here = os.stat(".")
        self._here = (here.st_mtime_ns, here.st_ctime_ns, here.st_ino)

    def _walk(self) -> Iterable[str]:
        for root, _, names in os.walk(self.directory):
            for name in names:
                yield Path(root, name).relative_to(self.directory).as_posix()

    def _is_file_modified(self, path: str) -> bool:
        found = os.lstat(path)
        return (found.st_mtime_ns, found.st_ctime_ns) != self._state.get(path)

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)
