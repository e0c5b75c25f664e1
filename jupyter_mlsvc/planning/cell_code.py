"""The Python in a cell, without the lines that are IPython's."""

from __future__ import annotations

import ast


def python_of(code: str) -> tuple[str, str | None]:
    """Leave magic lines, shell commands and questions out of code that is no Python with them.

    Returns
    -------
    tuple
        The code, and a sentence that says why it is no Python; None where it is.
    """
    if _problem(code) is None:
        return code, None
    kept = "".join(
        line
        for line in code.splitlines(keepends=True)
        if not line.lstrip().startswith(("%", "!", "?")) and not line.rstrip().endswith("?")
    )
    return kept, _problem(kept)


def _problem(code: str) -> str | None:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError) as error:
        where = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        return f"This is no Python that a service could run: {where}{error.args[0]}."
    return None
