"""What figures ought to be, and whether they are."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Comparison(Enum):
    """How a figure must stand to its limit; the value is the sign that tables show."""

    AT_LEAST = "≥"
    AT_MOST = "≤"

    def holds(self, figure: float, limit: float) -> bool:
        """Compare; not a number reaches nothing."""
        compare: Callable[[float, float], bool] = (
            operator.ge if self is Comparison.AT_LEAST else operator.le
        )
        return compare(figure, limit)


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit that a figure should reach.

    Parameters
    ----------
    name
        What was measured, with its unit and what it is compared with.
    figure
        What came out; None where it could not be measured.
    comparison
        Whether the limit is the smallest or the largest figure that will do.
    limit
        The limit, in the figure's unit.
    digits
        Digits after the point that tables show of both.
    """

    name: str
    figure: float | None
    comparison: Comparison
    limit: float
    digits: int = 2

    @classmethod
    def at_least(cls, name: str, figure: float | None, limit: float, *, digits: int = 2) -> Bar:
        """Set a bar for what ought to be large."""
        return cls(name, figure, Comparison.AT_LEAST, limit, digits)

    @classmethod
    def at_most(cls, name: str, figure: float | None, limit: float, *, digits: int = 2) -> Bar:
        """Set a bar for what ought to be small."""
        return cls(name, figure, Comparison.AT_MOST, limit, digits)

    @property
    def reached(self) -> bool | None:
        """Whether the figure will do; None where there is none."""
        if self.figure is None:
            return None
        return self.comparison.holds(self.figure, self.limit)

    def row(self) -> list[str]:
        """Cells of a table: name, limit, figure, reached."""
        figure = "not measured" if self.figure is None else f"{self.figure:,.{self.digits}f}"
        return [
            self.name,
            f"{self.comparison.value} {self.limit:,.{self.digits}f}",
            figure,
            {None: "?", True: "yes", False: "no"}[self.reached],
        ]

    def data(self) -> dict[str, str | float | bool | None]:
        """Give the same for programs."""
        return {
            "name": self.name,
            "figure": self.figure,
            "comparison": self.comparison.value,
            "limit": self.limit,
            "reached": self.reached,
        }
