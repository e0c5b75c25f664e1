"""Tables for people and figures for programs."""

from __future__ import annotations

import json

import pytest

from .report import Section, Table, as_json
from .spread import Spread


def test_a_table_is_markdown_with_figures_to_the_right() -> None:
    table = Table(["door", "requests/s"], [["public", "9,000"], ["Jupyter", "900"]])
    assert table.markdown().splitlines() == [
        "| door    | requests/s |",
        "| ------- | ---------: |",
        "| public  |      9,000 |",
        "| Jupyter |        900 |",
    ]


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells"):
        Table(["door", "requests/s"], [["public"]]).markdown()


def test_a_section_shows_tables_and_notes_under_its_title() -> None:
    section = Section("Speed", [Table(["a"], [["1"]])], {}, notes=["One core."])
    assert section.markdown().startswith("### Speed\n\n| a |")
    assert section.markdown().endswith("- One core.\n")


def test_raw_figures_are_written_by_measure() -> None:
    section = Section("Speed", [], {"rates": [1.5], "spread": Spread.of([1.0])})
    document = json.loads(as_json({"cores": 2}, [section]))
    assert document["environment"] == {"cores": 2}
    assert document["measures"]["Speed"]["rates"] == [1.5]
    assert document["measures"]["Speed"]["spread"]["median"] == 1.0
