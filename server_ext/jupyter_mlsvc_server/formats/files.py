"""Puts the files of a snapshot into a directory that user code may have prepared."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from jupyter_mlsvc_server.formats.manifest import FileEntry

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
    for entry in files:
        with contextlib.ExitStack() as stack:
            folder = _open_folder(stack, directory, Path(entry.path).parts[:-1], owner)
            name, source = Path(entry.path).name, blob_path(entry.digest)
            _write_file(folder, name, source, owner, executable=entry.executable)


def _open_folder(
    stack: contextlib.ExitStack, directory: Path, parts: tuple[str, ...], owner: int
) -> int:
    """Open a folder below a directory, making those that are missing; gives a descriptor."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(directory, flags)
    stack.callback(os.close, folder)
    for part in parts:
        if part in {"..", "/"}:
            raise PermissionError(f"{part!r} leads out of the working directory")
        is_new = False
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=folder)
            is_new = True
        folder = os.open(part, flags, dir_fd=folder)
        stack.callback(os.close, folder)
        if is_new and owner:
            os.fchown(folder, owner, owner)
    return folder


def _write_file(folder: int, name: str, source: Path, owner: int, *, executable: bool) -> None:
    """Put a copy of a file into a folder under a name, or nothing."""
    temporary = f".{name[:200]}.{os.getpid()}.restoring"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    mode = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
    target_file = os.open(temporary, flags, mode | (0o111 if executable else 0), dir_fd=folder)
    try:
        with os.fdopen(target_file, "wb") as to, source.open("rb") as from_:
            shutil.copyfileobj(from_, to, 1 << 20)
            if owner:
                os.fchown(target_file, owner, owner)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
