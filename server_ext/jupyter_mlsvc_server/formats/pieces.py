"""Large bodies as they came, piece by piece, which are passed on and never joined.

To join a body of 200 MB takes a tenth of a second in which the server answers nobody else, and
memory for it twice.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""Number of the option in glibc: bytes from which on memory is the system's own piece."""

LARGE: Final = 2**18
"""Bytes from which on a body is kept in pieces; these have about as many."""


class Pieces:
    """A body in pieces.

    Parameters
    ----------
    pieces
        None of them is empty, and none is much larger than ``LARGE``.
    """

    __slots__ = ("_pieces", "_size")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = deque(pieces)
        self._size = sum(map(len, self._pieces))

    def __len__(self) -> int:
        """Count the bytes, also of pieces that were taken."""
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def __bytes__(self) -> bytes:
        """Join them; for those who have a thread of their own."""
        return b"".join(self._pieces)

    def take(self) -> Iterator[bytes]:
        """Give one after the other, and forget it: to free all at once takes long as well."""
        while self._pieces:
            yield self._pieces.popleft()

    def forget(self, most: int) -> bool:
        """Drop so many pieces; return whether there are more."""
        for _ in range(min(most, len(self._pieces))):
            self._pieces.popleft()
        return bool(self._pieces)


Body = bytes | Pieces


def return_pieces_at_once() -> None:
    """Have this process give the memory of each piece back to the system when it is freed.

    By itself glibc keeps pieces that it has got one after the other until the last one of them is
    free. It then gives all back together, which for 200 MB takes as long as many calls.
    """
    if sys.platform.startswith("linux"):
        # Where the library is another one there is no such function.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE // 2)


def pieces_of(body: Body) -> Iterable[bytes]:
    """Return the pieces of a body."""
    return (body,) if isinstance(body, bytes) else body


def beginning(body: Body, size: int) -> bytes:
    """Return so many bytes of a body, or as many as it has."""
    if isinstance(body, bytes):
        return body[:size]
    found, left = [], size
    for piece in body:
        if left <= 0:
            break
        found.append(piece[:left])
        left -= len(piece)
    return b"".join(found)


def after(body: Body, size: int) -> Body:
    """Return a body without its first bytes."""
    if isinstance(body, bytes):
        return body[size:]
    left = size
    for number, piece in enumerate(body):
        if left < len(piece):
            return Pieces([piece[left:], *islice(body, number + 1, None)])
        left -= len(piece)
    return b""


def gathered(pieces: Sequence[bytes]) -> bytes:
    """Put pieces together that are short."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
