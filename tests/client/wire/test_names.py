"""Names that Python takes for the same are the same here."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jupyter_mlsvc.wire.names import InvalidName, find_name, parameter_name, python_name

MICRO, MU = "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"
SPLIT, WHOLE = "cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
SPELLINGS = [
    (MICRO, MU),
    (SPLIT, WHOLE),
    ("\N{LATIN SMALL LIGATURE FI}t", "fit"),
    ("x\N{SUBSCRIPT TWO}", "x2"),
    ("\N{ANGSTROM SIGN}", "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}"),
    ("\N{FULLWIDTH LATIN SMALL LETTER X}", "x"),
    ("\N{MATHEMATICAL ITALIC SMALL ALPHA}", "\N{GREEK SMALL LETTER ALPHA}"),
]


# Most of what this makes is an identifier; the rest says nothing.
IDENTIFIERS = st.from_regex(r"[^\W\d_][\w\u0300-\u0308]{0,4}", fullmatch=True)


@given(IDENTIFIERS)
def test_parameter_name_is_the_one_that_python_sets(text: str) -> None:
    assume(text.isidentifier())
    namespace: dict[str, object] = {}
    try:
        name = parameter_name(text)
    except InvalidName:
        return
    exec(f"{text} = 1", namespace)
    assert namespace[name] == 1


@pytest.mark.parametrize(("written", "name"), SPELLINGS)
def test_parameter_name_is_normalised(written: str, name: str) -> None:
    assert parameter_name(written) == python_name(written) == name
    assert unicodedata.is_normalized("NFKC", name)


def test_reserved_names_are_refused_in_every_spelling() -> None:
    wide = "\N{FULLWIDTH LATIN SMALL LETTER A}"
    for text in (f"{wide}s", f"__n{wide}me__"):
        with pytest.raises(InvalidName):
            parameter_name(text)


def test_names_of_r_stay_as_they_are_written() -> None:
    assert parameter_name(MICRO, "R") == MICRO


def test_find_name_prefers_the_same_spelling() -> None:
    assert find_name(MICRO, [MU, MICRO]) == MICRO
    assert find_name(MICRO, [MU]) == MU
    assert find_name(MU, [MICRO]) == MICRO
    assert find_name("x", [MU]) is None
