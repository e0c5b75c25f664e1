"""What is read off costs at several sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .growth import Costs, Growth, Limit, grown, growth_table, slope

LINE: Costs = {10: 25.0, 20: 45.0, 40: 85.0}


def test_slope_is_what_each_further_one_costs_whatever_the_first_does() -> None:
    assert slope(LINE) == pytest.approx(2)
    assert slope({10: 5.0, 20: 5.0, 40: 5.0}) == 0


@pytest.mark.parametrize(
    ("limit", "figure"),
    [
        pytest.param(Limit.at_the_largest, 85, id="largest"),
        pytest.param(Limit.of_each, 2, id="each"),
        pytest.param(Limit.of_times, 3.4, id="times"),
    ],
)
def test_limits_are_kept_up_to_the_figure_they_are_of(
    limit: Callable[[float], Limit], figure: float
) -> None:
    made = [Growth("MB", "things", LINE, limit(most)) for most in (figure + 0.1, figure - 0.1)]
    assert [growth.bar.reached for growth in made] == [True, False]
    assert made[0].bar.figure == pytest.approx(figure)


def test_a_cost_that_was_too_small_to_measure_reaches_no_limit() -> None:
    assert Growth("ms", "things", {1: 0.0, 2: 0.0}, Limit.of_times(2)).bar.reached is False


def test_each_cost_is_a_row_with_its_sizes_in_their_order() -> None:
    asked: list[int] = []

    def do(size: int) -> dict[str, float]:
        asked.append(size)
        return {"MB": size * 0.5, "ms": 1234.5}

    limits = {"MB": Limit.of_each(1), "ms": Limit.of_times(2)}
    rows = grown("versions", (10, 100, 1000), do, limits)
    assert asked == [10, 100, 1000]
    assert growth_table(rows).rows == [
        ["versions: MB", "10 / 100 / 1,000", "5 / 50 / 500", "0.5"],
        ["versions: ms", "10 / 100 / 1,000", "1,234 / 1,234 / 1,234", "0"],
    ]
