"""Summaries of repeated measurements."""

from __future__ import annotations

import pytest

from .spread import Spread, ratios


def test_a_spread_has_the_median_and_the_extremes() -> None:
    assert Spread.of([3.0, 100.0, 1.0]) == Spread(median=3.0, low=1.0, high=100.0, count=3)


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        pytest.param([5912.4, 5700.0, 6020.0], 0, "5,912 (5,700-6,020)", id="thousands"),
        pytest.param([1.26, 1.0, 1.5], 1, "1.3 (1.0-1.5)", id="digits"),
        pytest.param([0.5], 2, "0.50", id="single"),
    ],
)
def test_a_spread_reads(values: list[float], digits: int, text: str) -> None:
    assert Spread.of(values).text(digits) == text


def test_ratios_are_taken_round_by_round() -> None:
    # The machine was half as fast in the second round, which must not show.
    assert ratios([200.0, 100.0, 220.0], [100.0, 50.0, 100.0]) == Spread(2.0, 2.0, 2.2, 3)


def test_rows_of_different_length_are_not_compared() -> None:
    with pytest.raises(ValueError, match="2 rounds"):
        ratios([1.0, 2.0], [1.0])


def test_a_peer_without_a_figure_is_not_compared_with() -> None:
    with pytest.raises(ValueError, match="zero"):
        ratios([1.0], [0.0])
