"""Reads, hashes and copies what is to be a blob."""

from __future__ import annotations

import fcntl
import hashlib
import signal
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

_PIECE_BYTES: Final = 1 << 18
"""Bytes that are hashed at a time: few enough to be in the processor's cache for a second hash."""


class Blob(NamedTuple):
    """A blob's name, which is its SHA-256 in hexadecimal, and its size in bytes."""

    digest: str
    size: int


class Hasher(Protocol):
    """Gets the bytes of something in pieces."""

    def update(self, data: Any, /) -> object:
        """Take the next piece."""


def copy(
    chunks: Iterable[bytes], file: BinaryIO | None, limit: int | None, *others: Hasher
) -> Blob:
    """Write chunks to a file, or nowhere, and find out what blob they are.

    Raises
    ------
    OverflowError
        There are more bytes than the limit.
    """
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        for each in (hasher, *others):
            each.update(chunk)
        size += len(chunk)
        if limit is not None and size > limit:
            raise OverflowError(f"more than {limit} bytes")
        if file is not None:
            file.write(chunk)
    return Blob(hasher.hexdigest(), size)


def feed(file: BinaryIO, *hashers: Hasher) -> int:
    """Read a file to its end and let all hashers have it; gives its size."""
    buffer, size = memoryview(bytearray(_PIECE_BYTES)), 0
    while count := file.readinto(buffer):  # type: ignore[attr-defined]  # the stubs lack it
        for hasher in hashers:
            hasher.update(buffer[:count])
        size += count
    return size


def read_up_to(file: BinaryIO, count: int) -> bytes:
    """Read so many bytes; fewer at the end of the file only."""
    data = file.read(count)
    while data and len(data) < count:
        more = file.read(count - len(data))
        if not more:
            break
        data += more
    return data


def has_writer(descriptor: int) -> bool:
    """Whether anybody has a file open for writing, or has it mapped so, as far as can be seen.

    A lease for reading is granted only if nobody has. It is given back at once: a process that
    opens the file meanwhile waits for that.
    """
    if sys.platform != "linux":
        return True
    try:
        # By which we are asked to give it back: one that is ignored, as the usual one would end us.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    return False
