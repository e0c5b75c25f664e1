"""Puts the files of a snapshot into a directory that user code may have prepared."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Self

from jupyter_mlsvc_server.formats.manifest import FileEntry
from jupyter_mlsvc_server.formats.private_files import write_all

_CHUNK_BYTES: Final = 1 << 20
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

BlobPath = Callable[[str], Path]
"""Where the blob of a digest is."""


def write_files(
    files: Iterable[FileEntry], blob_path: BlobPath, directory: Path, owner: int = 0
) -> None:
    """Write the files of a working directory, over those of the same names; others stay.

    Each file is replaced as a whole. Symbolic links on the way are not followed: where one stands
    for a folder, or a folder stands where a file belongs, that is an error.

    Parameters
    ----------
    files
        Which files.
    blob_path
        Finds their content.
    directory
        Where they go.
    owner
        User and group that they are to belong to; 0 for the one who writes.

    Raises
    ------
    OSError
        Something in the directory stands in the way, or it cannot be written.
    """
    with _Folders(directory, owner) as folders:
        for entry in files:
            *parents, name = entry.path.split("/")
            folder = folders.open(parents)
            source = os.open(blob_path(entry.digest), os.O_RDONLY | os.O_CLOEXEC)
            try:
                _write_file(folder, name, source, owner, entry)
            finally:
                os.close(source)


class _Folders:
    """Opens folders below a directory, making those that are missing.

    Files next to each other are mostly in the same folder, or in one beside it. So those on the way
    to the last one stay open.
    """

    def __init__(self, directory: Path, owner: int) -> None:
        self._owner = owner
        self._directory = os.open(directory, _FOLDER)
        self._open: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_from(0)
        os.close(self._directory)

    def open(self, parts: Sequence[str]) -> int:
        """Give the descriptor of a folder, which is open until the next one is asked for."""
        common = 0
        for part, (name, _) in zip(parts, self._open, strict=False):
            if part != name:
                break
            common += 1
        self._close_from(common)
        for part in parts[common:]:
            self._open.append((part, self._enter(part)))
        return self._last

    @property
    def _last(self) -> int:
        return self._open[-1][1] if self._open else self._directory

    def _enter(self, part: str) -> int:
        if part in {"", "..", "."}:
            raise PermissionError(f"{part!r} leads out of the working directory")
        is_new = False
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=self._last)
            is_new = True
        folder = os.open(part, _FOLDER, dir_fd=self._last)
        if is_new and self._owner:
            os.fchown(folder, self._owner, self._owner)
        return folder

    def _close_from(self, first: int) -> None:
        while len(self._open) > first:
            os.close(self._open.pop()[1])


def _write_file(folder: int, name: str, source: int, owner: int, entry: FileEntry) -> None:
    """Put a copy of an open file into a folder under a name, or nothing."""
    temporary = f".{name[:200]}.{os.getpid()}.restoring"
    mode = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
    target = os.open(temporary, _NEW, mode | (0o111 if entry.executable else 0), dir_fd=folder)
    try:
        try:
            _copy(source, target, min(entry.size + 1, _CHUNK_BYTES))
            if owner:
                os.fchown(target, owner, owner)
        finally:
            os.close(target)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


def _copy(source: int, target: int, count: int) -> None:
    """Copy an open file in pieces of so many bytes."""
    data = os.read(source, count)
    while data:
        write_all(target, data)
        # A small file has been read by now: there is no need to ask for more.
        data = os.read(source, count) if len(data) == count else b""
