"""Percentiles of many times from counts of those that are about as long."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

_FINENESS: Final = 20
"""Classes between a time and e times as much: each is 5 % wide."""
_SHORTEST: Final = 1e-7


class Times:
    """Counts times in classes, of which each keeps the mean of its own.

    A percentile is the mean of a class, so it is no further from the true one than a class is
    wide, and true where all in the class are equal. It takes a look at some dozens of classes,
    however many times there are.
    """

    __slots__ = ("_classes", "count")

    def __init__(self) -> None:
        self.count = 0
        self._classes: dict[int, tuple[int, float]] = {}
        """Number and sum of the times of a class."""

    def add(self, times: Iterable[float]) -> None:
        """Count times, in seconds."""
        classes, log = self._classes, math.log
        added = 0
        for time in times:
            place = math.floor(log(max(time, _SHORTEST)) * _FINENESS)
            number, total = classes.get(place, (0, 0.0))
            classes[place] = number + 1, total + time
            added += 1
        self.count += added

    def percentiles(self, *shares: float, before: Times | None = None) -> list[float | None]:
        """Give the times that such shares stayed within, of those of others as well.

        Parameters
        ----------
        shares
            In growing order.
        before
            The others.
        """
        classes = self._classes
        if before is not None and before.count:
            classes = dict(before._classes)  # noqa: SLF001  # of the same class
            for place, (number, total) in self._classes.items():
                others, their_total = classes.get(place, (0, 0.0))
                classes[place] = others + number, their_total + total
        count = sum(number for number, _ in classes.values())
        if not count:
            return [None] * len(shares)
        found: list[float | None] = []
        ranks = [min(int(count * share), count - 1) for share in shares]
        passed = 0
        for place in sorted(classes):
            number, total = classes[place]
            passed += number
            while len(found) < len(ranks) and ranks[len(found)] < passed:
                found.append(total / number)
        return found
