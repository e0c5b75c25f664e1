"""Fingerprints: a quick way to recognise the buffers that a session's last snapshot holds.

A buffer is written, hashed by SHA-256 and flushed to be stored: a second or two for a gigabyte. A
session that is captured again mostly holds what it held before. So the server sends the session's
kernel the fingerprints of the buffers that it has stored from there and still has. A buffer with
such a fingerprint is not written again.

The server looks for unchanged files of the working directory in the same way, unless their times
show that they have not changed (``snapshots.stat_cache``).

A fingerprint is a 128-bit XXH3 of the whole content, which takes 30 milliseconds for a gigabyte.
It is no cryptographic hash: it only finds out what has changed in one session, and never decides
about content of another session or of an archive. For that it is good enough:

- Two contents have one fingerprint by accident once in 2**128.
- Its seed is random for each session, so data that somebody else made up to collide does not. Code
  that forges a fingerprint in the kernel gets a buffer of the same session in place of another.
- The server computes the fingerprints that it remembers itself, in the same pass as the SHA-256
  that names the content. A buffer that was changed while it was written cannot mislead it.
"""

from __future__ import annotations

import msgspec
from xxhash import xxh3_128


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The buffers that need not be written.

    Attributes
    ----------
    seed : int
        Of the fingerprints.
    sizes : dict
        Bytes of each buffer, by its fingerprint.
    """

    seed: int = 0
    sizes: dict[str, int] = {}


def fingerprint_hasher(seed: int) -> xxh3_128:
    """Create a hasher of fingerprints, with ``update`` and ``hexdigest`` as those of hashlib."""
    return xxh3_128(seed=seed)


class KnownFingerprints:
    """Fingerprints of known buffers; only a buffer that has the size of one is read."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._sizes = frozenset(known.sizes.values())

    def find(self, buffer: memoryview) -> str | None:
        """Return the fingerprint of a buffer if it is a known one."""
        if buffer.nbytes not in self._sizes:
            return None
        hasher = fingerprint_hasher(self._known.seed)
        hasher.update(buffer)
        fingerprint = hasher.hexdigest()
        return fingerprint if self._known.sizes.get(fingerprint) == buffer.nbytes else None
