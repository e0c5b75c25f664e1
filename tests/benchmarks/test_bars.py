"""What figures ought to be, and whether they are."""

from __future__ import annotations

import math

import pytest

from .bars import Bar
from .report import bar_table


@pytest.mark.parametrize(
    ("bar", "reached"),
    [
        pytest.param(Bar.at_least("speed", 3.1, 3.0), True, id="above the smallest"),
        pytest.param(Bar.at_least("speed", 3.0, 3.0), True, id="just the smallest"),
        pytest.param(Bar.at_least("speed", 2.9, 3.0), False, id="below the smallest"),
        pytest.param(Bar.at_most("time", 0.4, 0.5), True, id="below the largest"),
        pytest.param(Bar.at_most("time", 0.5, 0.5), True, id="just the largest"),
        pytest.param(Bar.at_most("time", 0.6, 0.5), False, id="above the largest"),
        pytest.param(Bar.at_most("time", math.nan, 0.5), False, id="no number"),
        pytest.param(Bar.at_most("time", None, 0.5), None, id="not measured"),
    ],
)
def test_a_bar_is_reached_or_not_or_unknown(bar: Bar, reached: bool | None) -> None:
    assert bar.reached is reached
    assert bar.data()["reached"] is reached


def test_bars_are_laid_out_with_limit_figure_and_verdict() -> None:
    bars = [
        Bar.at_least("public API x FastAPI", 3.125, 3.0),
        Bar.at_most("MB of 16 workers", 1203.4, 1000, digits=0),
        Bar.at_least("x Ray Serve", None, 3.0),
    ]
    rows = bar_table(bars).markdown().splitlines()[2:]
    assert [[cell.strip() for cell in row.strip("|").split("|")[1:]] for row in rows] == [
        ["≥ 3.00", "3.12", "yes"],
        ["≤ 1,000", "1,203", "no"],
        ["≥ 3.00", "not measured", "?"],
    ]
