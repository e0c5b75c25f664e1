"""What is taken for what somebody meant."""

from __future__ import annotations

import pytest

from jupyter_mlsvc.wire.suggestions import MAX_NAMES, closest, did_you_mean


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("Loan", ["Loans", "Iris"], "Loans"),
        ("loans", ["Loans", "Iris"], "Loans"),
        ("frmae", ["frame", "rows"], "frame"),
        ("V1", ["V1.0", "V2.0"], "V1.0"),
        ("flower", ["Loans", "Iris"], None),
        ("x", [], None),
        ("Ungültig", ["ungueltig", "Iris"], "ungueltig"),
    ],
)
def test_the_closest_name_is_found(name: str, known: list[str], meant: str | None) -> None:
    assert closest(name, known) == meant
    assert did_you_mean(name, known) == ("" if meant is None else f" Did you mean {meant!r}?")


def test_only_so_many_names_are_looked_at() -> None:
    names = [*("n" * 50 for _ in range(MAX_NAMES)), "Loans"]
    assert closest("Loan", names) is None
