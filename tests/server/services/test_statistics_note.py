"""What the publisher of a version is told whose calls cost a worker each."""

from __future__ import annotations

import pytest

from jupyter_mlsvc_server.scoring.statistics import Figures
from jupyter_mlsvc_server.services.statistics import note


@pytest.mark.parametrize(
    ("retired", "calls", "has_note"),
    [(0, 100, False), (4, 4, False), (5, 5, True), (50, 100, True), (49, 100, False)],
)
def test_a_note_comes_where_most_calls_cost_a_worker(
    retired: int, calls: int, has_note: bool
) -> None:
    figures = Figures(retired=retired, calls=calls, retired_for="the object 'seen' was changed")
    text = note(figures)
    assert bool(text) is has_note
    assert not has_note or "the object 'seen' was changed" in text
