"""A quick way to see that a buffer is one of those that a session's last snapshot holds.

A buffer is written, hashed by SHA-256 and flushed to be stored: a second or two for a gigabyte. A
session that is captured again mostly holds what it held before. So the server tells the session's
kernel the marks of the buffers that it has stored from there and still has, and one with such a
mark is not written again.

The server looks for files of the working directory that have not changed in the same way, unless
it can tell without reading them.

A mark is a 128-bit XXH3 of the whole content, which takes 30 milliseconds for a gigabyte. It is no
cryptographic hash: it only finds out what has changed in one session, and never decides about
content of another session or of an archive. For that it is good enough:

- Two contents have one mark by accident once in 2**128.
- Its seed is random for each session, so data that somebody else made up to collide does not. Who
  forges a mark in the kernel gets a buffer of the same session in place of another.
- The server computes the marks that it remembers itself, from the bytes that it names by their
  SHA-256 in the same pass. A buffer that was changed while it was written cannot mislead it.
"""

from __future__ import annotations

import msgspec
from xxhash import xxh3_128


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The buffers that need not be written.

    Attributes
    ----------
    seed : int
        Of the marks.
    sizes : dict
        Bytes of each buffer, by its mark.
    """

    seed: int = 0
    sizes: dict[str, int] = {}


def marker(seed: int) -> xxh3_128:
    """Give what computes a mark: it has ``update`` and ``hexdigest``, as hashlib's objects."""
    return xxh3_128(seed=seed)


class Marks:
    """Recognises known buffers; looks into those only that have the size of one."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._sizes = frozenset(known.sizes.values())

    def find(self, buffer: memoryview) -> str | None:
        """Give the mark of a buffer if it is a known one."""
        if buffer.nbytes not in self._sizes:
            return None
        hasher = marker(self._known.seed)
        hasher.update(buffer)
        mark = hasher.hexdigest()
        return mark if self._known.sizes.get(mark) == buffer.nbytes else None
