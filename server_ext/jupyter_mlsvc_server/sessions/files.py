"""The working directory of a session: a flat list of files for REST, a tree for the user's code.

The user's code can put links and pipes there, so nothing is followed and nothing is waited for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from jupyter_mlsvc.wire.names import file_name
from jupyter_mlsvc_server.formats import packages
from jupyter_mlsvc_server.sessions.errors import DirectoryReplaced, FileNotFound, NotAFile
from jupyter_mlsvc_server.storage.machine_faults import machine_fault

State = dict[str, tuple[int, int, int, int]]
"""What identifies the content of each file of a tree, by relative path."""

# A tree with more entries is compared in part only.
_MAX_ENTRIES: Final = 20_000
_NOT_COMPARED: Final = frozenset({"__pycache__", ".ipynb_checkpoints", packages.FOLDER})


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file to be sent; whoever gets it closes it."""

    stream: BinaryIO
    size: int


class WorkingDirectory:
    """Files of one session.

    All methods block and are meant for a thread.

    Parameters
    ----------
    path
        The directory, which exists.
    incoming
        A directory on the same file system, where files are written before they are moved here.
    user
        The user that they are to belong to; 0 for the server's own.
    """

    def __init__(self, path: Path, incoming: Path, user: int = 0) -> None:
        self._user = user
        self.path = path
        self._incoming = incoming

    def names(self) -> list[str]:
        """Names of the regular files at the top level, sorted; without those that are no text."""
        with self._open() as folder, os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False) and _is_text(entry.name)
            )

    def put(self, name: str, source: Path) -> None:
        """Move a file there, whole or not at all; one of that name is replaced.

        Parameters
        ----------
        name
            What it is called there.
        source
            A file that nobody else writes to; it may be on another file system.

        Raises
        ------
        InvalidName
            Not a plain file name.
        NotAFile
            A folder has that name.
        """
        name = file_name(name)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        staged = self._incoming / uuid.uuid4().hex
        try:
            shutil.move(source, staged)
            if self._user:
                os.chown(staged, self._user, self._user)
            with self._open() as folder:
                # Renaming replaces a link of that name rather than what it points at.
                os.replace(staged, name, dst_dir_fd=folder)
        except IsADirectoryError:
            raise NotAFile(name) from None
        finally:
            staged.unlink(missing_ok=True)

    def open(self, name: str) -> OpenFile:
        """Open a file for reading.

        Raises
        ------
        InvalidName
            Not a plain file name.
        FileNotFound
            There is none, or it is a link, a folder or a pipe.
        """
        name = file_name(name)
        try:
            with self._open() as folder:
                return open_file(name, folder)
        except OSError:
            raise FileNotFound(name) from None

    def delete(self, name: str) -> None:
        """Delete a file (or a link, not what it points at).

        Raises
        ------
        InvalidName
            Not a plain file name.
        FileNotFound
            There is none.
        NotAFile
            A folder has that name.
        """
        name = file_name(name)
        with self._open() as folder:
            try:
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise NotAFile(name)
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                raise FileNotFound(name) from None

    def state(self) -> State:
        """Note the present state of all files, to compare a later one with."""
        state: State = {}
        with contextlib.suppress(OSError):
            for path, status in self._walk():
                state[path] = (
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_size,
                    status.st_ino,
                )
                if len(state) >= _MAX_ENTRIES:
                    break
        return state

    def changed_since(self, before: State) -> list[str]:
        """Relative paths of files that are new or different since, sorted."""
        return sorted(
            path for path, identity in self.state().items() if before.get(path) != identity
        )

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        if self.path.is_symlink():
            return
        folders = [("", self.path)]
        while folders:
            prefix, folder = folders.pop()
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in _NOT_COMPARED:
                            folders.append((f"{prefix}{entry.name}/", Path(entry.path)))
                    elif entry.is_file(follow_symlinks=False) and _is_text(prefix + entry.name):
                        yield prefix + entry.name, entry.stat(follow_symlinks=False)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags)
        except OSError as error:
            raise machine_fault(error) or DirectoryReplaced() from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def open_file(path: str | Path, folder: int | None = None) -> OpenFile:
    """Open a regular file that somebody else wrote.

    Parameters
    ----------
    folder
        Descriptor of the folder that a relative path is in.

    Raises
    ------
    FileNotFound
        There is none, or it is a link, a folder or a pipe.
    """
    # A pipe without a writer must not hold us, a link must not lead out of the folder.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    name = Path(path).name
    try:
        descriptor = os.open(path, flags, dir_fd=folder)
    except OSError:
        raise FileNotFound(name) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FileNotFound(name)
    return OpenFile(os.fdopen(descriptor, "rb"), status.st_size)


def _is_text(name: str) -> bool:
    """Return whether a name can be sent and asked for: bytes that are no UTF-8 can't."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
