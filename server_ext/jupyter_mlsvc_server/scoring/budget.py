"""Decide which versions are unloaded so that those that are loaded fit a budget.

A loaded version takes memory and descriptors until it is unloaded. Nobody knows before how much a
version will take: what it took the last time is expected again, of a new one the average of all.
While it is being loaded that much is reserved. Where something has to go for it, it is what nobody
uses, least recently used first; versions at work stay::

    wanted ──── fits ─────────────────────────────▶ reserved ── measured ──▶ loaded
       │                                               ▲                       │
       ├─ fits once idle ones are gone ── they go ─────┘                       │
       │                                                       unloaded ◀──────┘
       └─ all are at work, or kept ──▶ refused

One that is alone is never refused: a budget that it does not fit helps nobody.

The policy reads no clock and measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT")

_FIRST_GUESS: Final = 32 * 2**20
"""Bytes that a version is expected to take where none was measured."""

_MAX_REMEMBERED: Final = 10_000
"""Versions whose size is remembered while they are not loaded."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[KeyT]):
    """A version that is loaded.

    Attributes
    ----------
    key
        Which it is.
    used_at : float
        When it was used last, by any clock.
    may_go : bool
        Whether it is idle, and nobody asked for it to be kept.
    descriptors : int
        What it takes of those of the server's process.
    """

    key: KeyT
    used_at: float
    may_go: bool
    descriptors: int = 0


@dataclass(frozen=True, slots=True)
class Plan(Generic[KeyT]):
    """What has to go, in this order, and whether there is room then."""

    unload: tuple[KeyT, ...] = ()
    fits: bool = True


class Budget(Generic[KeyT]):
    """Knows what versions take.

    Parameters
    ----------
    max_bytes, max_descriptors
        What all may take together; 0 sets no limit.
    """

    def __init__(self, max_bytes: int, max_descriptors: int = 0) -> None:
        self.max_bytes = max_bytes
        self.max_descriptors = max_descriptors
        self.others = 0
        """Bytes that processes take which versions share, and that can't go for one."""
        self._sizes: dict[KeyT, int] = {}
        self._reserved: dict[object, int] = {}

    def measured(self, key: KeyT, size: int) -> None:
        """Take what a version takes, in bytes."""
        self._sizes.pop(key, None)
        self._sizes[key] = size
        if len(self._sizes) > _MAX_REMEMBERED:
            del self._sizes[next(iter(self._sizes))]

    def expected(self, key: KeyT) -> int:
        """Return the bytes that a version takes, as far as it is known."""
        if key in self._sizes:
            return self._sizes[key]
        sizes = self._sizes.values()
        return sum(sizes) // len(sizes) if sizes else _FIRST_GUESS

    def reserve(self, holder: object, key: KeyT) -> None:
        """Count a version that is being loaded, until it is released."""
        self._reserved[holder] = self.expected(key)

    def release(self, holder: object) -> None:
        """Count it no more: it is loaded, or it is not."""
        self._reserved.pop(holder, None)

    def used(self, loaded: Iterable[Loaded[KeyT]]) -> int:
        """Return the bytes that versions take, with those that are being loaded."""
        sizes = sum(self.expected(each.key) for each in loaded)
        return sizes + sum(self._reserved.values()) + self.others

    def plan(self, loaded: Iterable[Loaded[KeyT]], wanted: KeyT | None = None) -> Plan[KeyT]:
        """Find what has to go for a version, or without one for all that is loaded, to fit."""
        there = {each.key: each for each in loaded}
        size = self.used(there.values()) + (0 if wanted is None else self.expected(wanted))
        descriptors = sum(each.descriptors for each in there.values())
        unload = []
        for each in sorted(there.values(), key=lambda each: each.used_at):
            if self._fits(size, descriptors):
                break
            if each.may_go and each.key != wanted:
                unload.append(each.key)
                size -= self.expected(each.key)
                descriptors -= each.descriptors
        is_alone = len(unload) == len(there) and not self._reserved
        return Plan(tuple(unload), is_alone or self._fits(size, descriptors))

    def _fits(self, size: int, descriptors: int) -> bool:
        return not (0 < self.max_bytes < size or 0 < self.max_descriptors < descriptors)
