"""Pieces of sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def listed(words: Sequence[str]) -> str:
    """Write words as a list: ``a, b and c``."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a sentence with the name that is most like another, after a space; or nothing."""
    close = get_close_matches(name, sorted(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
