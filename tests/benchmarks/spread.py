"""Summaries of repeated measurements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and extremes of the same thing measured several times."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise values.

        Raises
        ------
        ValueError
            There are none.
        """
        if not values:
            raise ValueError("There is nothing to summarise.")
        return cls(statistics.median(values), min(values), max(values), len(values))

    def text(self, digits: int = 0) -> str:
        """Format it as ``median (low-high)``; a single value stands alone."""
        middle = f"{self.median:,.{digits}f}"
        if self.count == 1:
            return middle
        return f"{middle} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Compare two rows of measurements that were taken in turns.

    Rounds are compared one by one, so that what slows the machine for a while falls on both
    sides of a ratio.

    Raises
    ------
    ValueError
        The rows differ in length, or a measurement to divide by is zero.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds cannot be compared with {len(theirs)}.")
    if not all(theirs):
        raise ValueError("A peer's measurement is zero; there is nothing to compare with.")
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
