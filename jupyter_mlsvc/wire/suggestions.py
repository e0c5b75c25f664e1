"""What somebody may have meant by a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_NAMES: Final = 500
"""Names that are looked at; comparing more would take longer than the rest of an answer."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like one, or None where none is like it."""
    import difflib  # only where something is wrong

    names = {each.casefold(): each for each in list(known)[:MAX_NAMES]}
    found = difflib.get_close_matches(name.casefold(), names, n=1)
    return names[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask whether a known name was meant, after a space; empty where none is like it.

    Examples
    --------
    >>> f"There is no service 'Loan'.{did_you_mean('Loan', ['Loans', 'Iris'])}"
    "There is no service 'Loan'. Did you mean 'Loans'?"
    """
    found = closest(name, known)
    return "" if found is None else f" Did you mean {found!r}?"
