"""How long measuring may go on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .plan import Plan


@pytest.mark.parametrize("make", [Plan.full, Plan.quick], ids=["full", "quick"])
def test_there_are_as_many_turns_as_planned(make: Callable[[Path], Plan]) -> None:
    # Made here: its time runs from then on, and a suite may take longer.
    assert list(make(Path()).turns(3)) == [0, 1, 2]


def test_out_of_time_there_is_still_one_turn() -> None:
    late = dataclasses.replace(Plan.full(Path()), until=time.monotonic() - 1)
    assert list(late.turns(3)) == [0]


def test_sizes_are_whole_in_a_full_run_and_smaller_in_a_quick_one() -> None:
    assert Plan.full(Path()).scaled(200) == 200
    assert 0 < Plan.quick(Path()).scaled(200) < 200
