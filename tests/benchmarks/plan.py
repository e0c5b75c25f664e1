"""How long and how often things are measured."""

from __future__ import annotations

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
    """

    work: Path
    rounds: int
    seconds: int
    repeats: int
    calls: int

    @classmethod
    def full(cls, work: Path) -> Self:
        """At most a quarter of an hour."""
        return cls(work=work, rounds=5, seconds=4, repeats=3, calls=200)

    @classmethod
    def quick(cls, work: Path) -> Self:
        """At most three minutes: for seeing that all of it works, not for publishing figures."""
        return cls(work=work, rounds=3, seconds=1, repeats=1, calls=50)
