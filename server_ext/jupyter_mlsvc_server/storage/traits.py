"""Kinds of settings."""

from __future__ import annotations

import ast
from typing import Any

from traitlets import List, Unicode


class TextList(List[str]):
    """List of texts, which a command line has as one JSON list, or one by one.

    traitlets takes ``--Class.names=["a"]`` for one text where the program's own command line does
    not know the class.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Unicode(), **kwargs)

    def from_string(self, s: str) -> list[str]:
        """Read a list, or a single text; a shell may have taken the quotes of a list away."""
        text = s.strip()
        if not (text.startswith("[") and text.endswith("]")):
            return [s]
        try:
            return [str(item) for item in ast.literal_eval(text)]
        except (ValueError, SyntaxError):
            return [item.strip(" \"'") for item in text[1:-1].split(",") if item.strip()]

    def from_string_list(self, s_list: list[str]) -> list[str]:
        """Read what was given several times, a text or a list each time."""
        return [item for s in s_list for item in self.from_string(s)]
