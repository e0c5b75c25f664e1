"""Blobs as every process reads them: files that are named by the SHA-256 of what is in them.

The name says what has to be in a file, so whoever opens one can tell whether it is. That takes
reading all of it, so it is done once: the stamp of a file that was found whole is kept, and a file
that still has its stamp is taken for whole. A server keeps stamps, for the next run too where it is
stopped in order, and gives those of a service's content to the processes that restore it.

A stamp is made of what ``stat`` tells. Every change of a file sets the time of its last change
(ctime), and nobody can set that to a time of their own. What it does not show is a disk that gives
other bytes than were written: ``doctor --verify`` finds that.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Self

_OF_THE_MACHINE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing about the file."""


class Stamp(NamedTuple):
    """What changes when a file does; times are in nanoseconds."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """Take it from the answer of ``stat``."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class DamagedBlob(OSError):
    """The file of a blob is not what its name says.

    Attributes
    ----------
    digest, reason : str
        The name, and what is wrong in a few words.
    """

    def __init__(self, digest: str, reason: str) -> None:
        self.digest = digest
        self.reason = reason
        super().__init__(f"The stored blob {digest} is damaged: {reason}.")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LocalBlobs:
    """Blobs of a content that are whole, as files that every process of this machine may read.

    They stay where they are for as long as this object is referred to.

    Attributes
    ----------
    folder : pathlib.Path
        Where they are; that of digest ``abcd…`` is ``ab/abcd…`` in it.
    stamps : Mapping
        Stamps of the files; blobs without one are hashed where they are used.
    """

    folder: Path
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    def path(self, digest: str) -> Path:
        """Return the file of a blob."""
        return self.folder / digest[:2] / digest


class CheckedBlobs:
    """Finds the files of blobs, and hashes those whose stamp is not known.

    Parameters
    ----------
    folder
        Where they are; that of digest ``abcd…`` is ``ab/abcd…`` in it.
    stamps
        Of files that were found whole.
    """

    def __init__(self, folder: Path, stamps: Mapping[str, Stamp]) -> None:
        self._folder = folder
        self._stamps = dict(stamps)

    def path(self, digest: str) -> Path:
        """Return the file of a blob that is whole.

        Raises
        ------
        DamagedBlob
            It is not there, can't be read, or holds something else.
        """
        path = self._folder / digest[:2] / digest
        self._stamps[digest] = check_blob(path, self._stamps.get(digest))
        return path


def check_blob(path: Path, known: Stamp | None = None) -> Stamp:
    """Return the stamp of a blob's file that is whole.

    Parameters
    ----------
    path
        The file, with the digest as its name.
    known
        Stamp of a file that was found whole; one that still has it is not read.

    Raises
    ------
    DamagedBlob
        It is not there, can't be read, or holds something else.
    """
    try:
        found = path.lstat()
        return known if Stamp.of(found) == known else _read(path, found)
    except DamagedBlob:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedBlob(path.name, "its file is missing") from None
    except OSError as error:
        if error.errno in _OF_THE_MACHINE:
            raise
        reason = f"its file cannot be read ({error.strerror})"
        raise DamagedBlob(path.name, reason) from error


def _read(path: Path, found: os.stat_result) -> Stamp:
    if not stat.S_ISREG(found.st_mode):
        raise DamagedBlob(path.name, "it is no regular file")
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        # From before it is read: a change meanwhile shows the next time.
        found = os.fstat(descriptor)
        if hashlib.file_digest(file, "sha256").hexdigest() != path.name:
            raise DamagedBlob(path.name, "its content is not what it was")
    return Stamp.of(found)
