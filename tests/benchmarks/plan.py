"""How long and how often things are measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The extent of a run.

    Parameters
    ----------
    work
        Folder for everything that the run writes.
    rounds
        Rounds of load, each going once through all peers.
    seconds
        Length of one load, in seconds.
    repeats
        How often a single slow thing, such as a snapshot, is done.
    calls
        How often a quick thing, such as executing ``1+1``, is done.
    scale
        Share of the usual sizes that large things have, at most 1.
    until
        Reading of the monotonic clock after which nothing is repeated any more.
    frameworks
        Serving frameworks to measure ours beside, by name.
    warm_seconds
        Load on a framework that was just started, in seconds, before it is measured.
    """

    work: Path
    rounds: int
    seconds: int
    repeats: int
    calls: int
    until: float
    frameworks: Sequence[str] = ()
    warm_seconds: int = 3
    scale: float = 1.0

    def scaled(self, size: int) -> int:
        """Size of something large in this run."""
        return round(size * self.scale)

    def turns(self, count: int) -> Iterator[int]:
        """Count up to a number, or until the time for repeating is over, but once at least."""
        for turn in range(count):
            if turn and time.monotonic() > self.until:
                return
            yield turn

    @classmethod
    def full(cls, work: Path, frameworks: Sequence[str] = ()) -> Self:
        """Three quarters of an hour, most for the frameworks, and more where they start slowly."""
        until = time.monotonic() + 3000
        return cls(
            work=work,
            rounds=5,
            seconds=4,
            repeats=3,
            calls=200,
            until=until,
            frameworks=frameworks,
        )

    @classmethod
    def quick(cls, work: Path, frameworks: Sequence[str] = ()) -> Self:
        """Some minutes: for seeing that all of it works, not for publishing figures."""
        until = time.monotonic() + 150
        return cls(
            work=work,
            rounds=3,
            seconds=1,
            repeats=1,
            calls=50,
            until=until,
            frameworks=frameworks,
            warm_seconds=1,
            scale=0.2,
        )
