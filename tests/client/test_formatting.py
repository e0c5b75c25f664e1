"""Names and texts of others in tables and cards."""

from __future__ import annotations

import pytest

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.wire.harmless import harmless, harmless_lines

HOSTILE = "a\x1b[2J\u202etxt.exe\u2028<b>"
SHOWN = r"a\x1b[2J\u202etxt.exe\u2028<b>"
IN_HTML = r"a\x1b[2J\u202etxt.exe\u2028&lt;b&gt;"


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "naïve",
        "日本語",
        "שלום",
        "\u0645\u06cc\u200c\u062e",
        "👩\u200d🔬",
        "e\u0301",
        "C:\\new",
    ],
)
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert harmless(text) == harmless_lines(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, SHOWN),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x00\x7f\x85\xad\ufeff", r"\x00\x7f\x85\xad\ufeff"),
        ("\u2066x\u2069\u200f\u061c", r"\u2066x\u2069\u200f\u061c"),
        ("\ud83d\U000e0041", r"\ud83d\U000e0041"),
    ],
)
def test_what_moves_or_hides_other_text_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_lines_and_tabs_of_a_longer_text_stay() -> None:
    assert harmless_lines("a\n\tb\r\u202e") == "a\n\tb" + r"\r\u202e"


def test_tables_and_cards_show_names_harmlessly() -> None:
    assert SHOWN in formatting.text_table(["name"], [[HOSTILE]])
    assert IN_HTML in formatting.html_table(["name"], [[HOSTILE]])
    assert formatting.cell(HOSTILE) == SHOWN.replace(r"\u2028", " ")
    text = formatting.text_card(HOSTILE, [("name", "x\u202ey")])
    assert text.splitlines() == [SHOWN, r"  name  x\u202ey"]
    page = formatting.html_card(HOSTILE, [("name", HOSTILE)])
    assert page.count(IN_HTML) == 2
    listing = formatting.Listing([HOSTILE], [("name", str)], "none")
    assert "\u202e" not in repr(listing) + listing._repr_html_()
