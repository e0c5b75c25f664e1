"""An exception of the user's code as text: their traceback, and nothing of ours."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

from jupyter_mlsvc_server.formats.refused_paths import hint_at_refused_path
from jupyter_mlsvc_server.formats.shown_paths import without_paths

_OWN: Final = str(Path(__file__).parent)
_MAX_CHARACTERS: Final = 100_000


def explain(
    error: BaseException, trace: TracebackType | None = None, folders: Iterable[str] = ()
) -> tuple[str, str]:
    """Describe an exception, with paths as :func:`~.shown_paths.without_paths` shows them.

    Returns
    -------
    tuple of str
        The last line, such as ``ValueError: no data``, and the whole traceback.
    """
    summary = traceback.TracebackException(type(error), error, trace or error.__traceback__)
    _leave_out_own(summary, set())
    text = "".join(summary.format())
    if len(text) > _MAX_CHARACTERS:
        half = _MAX_CHARACTERS // 2
        text = f"{text[:half]}\n[…]\n{text[-half:]}"
    last = last_line(error)
    hint = hint_at_refused_path(last) if isinstance(error, OSError) else ""
    if hint:
        text = f"{text.rstrip()}{hint}\n"
    return without_paths(last, folders) + hint, without_paths(text, folders)


def last_line(error: BaseException) -> str:
    """Give the type and message of an exception, as a traceback ends."""
    name = type(error).__qualname__
    lines = traceback.format_exception_only(error)
    # Notes may follow it, and the place of a syntax error comes before.
    last = next((line for line in lines if line.startswith(name) or f".{name}" in line), lines[-1])
    return without_paths(last.strip())


def _leave_out_own(summary: traceback.TracebackException, seen: set[int]) -> None:
    if id(summary) in seen:
        return
    seen.add(id(summary))
    summary.stack[:] = [frame for frame in summary.stack if not frame.filename.startswith(_OWN)]
    for other in (summary.__cause__, summary.__context__, *(summary.exceptions or ())):
        if other is not None:
            _leave_out_own(other, seen)


def place(error: SyntaxError) -> str:
    """Describe a syntax error in one text with its line and a caret."""
    where = f"line {error.lineno}" if error.lineno else "the code"
    text = (error.text or "").rstrip("\n")
    if not text:
        return f"{where}: {error.msg}"
    shown = text.lstrip()
    start = max((error.offset or 1) - 1 - (len(text) - len(shown)), 0)
    end = error.end_offset if error.end_lineno == error.lineno and error.end_offset else 0
    width = max(end - (error.offset or 1), 1)
    return f"{where}: {error.msg}\n    {shown}\n    {' ' * start}{'^' * width}"
