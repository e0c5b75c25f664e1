"""The Python in a cell, without the lines that are IPython's."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Final

_TIMED: Final = re.compile(r"(\s*)%time\s+(?=\S)")
"""A line magic that runs the statement behind it as it stands."""
_SILENT: Final = frozenset(
    ("matplotlib", "pylab", "config", "load_ext", "reload_ext", "autoreload", "autosave", "aimport")
)
"""Magics that change nothing but the notebook itself."""


@dataclass(slots=True)
class PythonCode:
    """What of a cell a service can run.

    Attributes
    ----------
    code : str
    left_out : list of str
        Lines that are IPython's and would have done something.
    problem : str or None
        A sentence that says why the code is no Python; None where it is.
    """

    code: str
    left_out: list[str] = field(default_factory=list)
    problem: str | None = None

    @property
    def notes(self) -> list[str]:
        """Say in a sentence what was left out; none where that is nothing."""
        if not self.left_out:
            return []
        lines = ", ".join(self.left_out)
        return [f"Left out, as a service runs Python alone: {lines}."]


def python_of(code: str) -> PythonCode:
    """Leave magic lines, shell commands and questions out of code that is no Python with them."""
    if _problem(code) is None:
        return PythonCode(code)
    found = PythonCode("")
    for line in code.splitlines(keepends=True):
        text = line.strip()
        if _TIMED.match(line):
            found.code += _TIMED.sub(r"\1", line, count=1)
        elif text.startswith("!") or (text.startswith("%") and not _is_silent(text)):
            found.left_out.append(text)
        elif not text.startswith(("%", "?")) and not text.endswith("?"):
            found.code += line
    found.problem = _problem(found.code)
    return found


def _is_silent(line: str) -> bool:
    words = line.lstrip("%").split(maxsplit=1)
    return line.startswith("%%") or not words or words[0] in _SILENT


def _problem(code: str) -> str | None:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError) as error:
        where = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        return f"This is no Python that a service could run: {where}{error.args[0]}."
    return None
