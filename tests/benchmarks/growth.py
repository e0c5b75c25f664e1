"""What something costs as there is more of it: a cost at several sizes, its slope, and a limit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from .bars import Bar
from .report import Table

Costs = Mapping[int, float]
"""What something costs, by how much of it there is."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a cost may be, however much there is.

    Parameters
    ----------
    of
        What of the costs is limited, in words that follow what was measured.
    figure
        Reads it off the costs.
    most
        Largest figure that will do.
    """

    of: str
    figure: Callable[[Costs], float]
    most: float

    @classmethod
    def at_the_largest(cls, most: float) -> Self:
        """Limit the cost where there is most."""
        return cls("at the largest size", lambda costs: costs[max(costs)], most)

    @classmethod
    def of_each(cls, most: float) -> Self:
        """Limit what each further one costs."""
        return cls("for each", slope, most)

    @classmethod
    def of_times(cls, most: float) -> Self:
        """Limit how much more it costs where there is most than where there is least."""
        return cls(
            "at the largest size against the smallest",
            lambda costs: costs[max(costs)] / costs[min(costs)] if costs[min(costs)] else math.inf,
            most,
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """One row of the table.

    Parameters
    ----------
    cost
        What it is a cost of, with its unit.
    of
        What there is more and more of.
    costs
        What it is at each size.
    limit
        What it may be.
    """

    cost: str
    of: str
    costs: Costs
    limit: Limit

    @property
    def bar(self) -> Bar:
        """Whether it keeps within its limit."""
        name = f"{self.of}: {self.cost}, {self.limit.of}"
        figure = self.limit.figure(self.costs)
        return Bar.at_most(name, figure, self.limit.most, digits=3 if self.limit.most < 1 else 1)

    def row(self) -> Sequence[str]:
        """Cells of a table: what, sizes, costs, slope."""
        return [
            f"{self.of}: {self.cost}",
            " / ".join(f"{size:,}" for size in self.costs),
            " / ".join(_short(cost) for cost in self.costs.values()),
            _short(slope(self.costs)),
        ]


def grown(
    of: str,
    sizes: Iterable[int],
    do: Callable[[int], Mapping[str, float]],
    limits: Mapping[str, Limit],
) -> list[Growth]:
    """Have something grow from size to size, and give a row for each of its costs.

    Parameters
    ----------
    of
        What grows.
    sizes
        The sizes, from the smallest to the largest.
    do
        Has as many of it as it is told, and gives the costs then, by their names.
    limits
        What these costs may be.
    """
    found = {size: do(size) for size in sizes}
    return [
        Growth(cost, of, {size: costs[cost] for size, costs in found.items()}, limit)
        for cost, limit in limits.items()
    ]


def slope(costs: Costs) -> float:
    """Give what each further one costs: the slope of the line that fits best."""
    return statistics.linear_regression(list(costs), list(costs.values())).slope


def growth_table(rows: Iterable[Growth]) -> Table:
    """Lay rows out, in the order given."""
    return Table(
        ["what there is more of: its cost", "sizes", "cost", "each"], [r.row() for r in rows]
    )


def _short(figure: float) -> str:
    """Three digits that count, and none of them after those of a large number."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
