"""Hints for people whose code could not reach a file because it is confined."""

from __future__ import annotations

import os
import re
from typing import Final

_REFUSED: Final = re.compile(
    # Python's own errors name the path last, most others first.
    r"Permission denied[^'\n]{0,40}: '(?P<after>/[^'\n]*)'"
    r"|'(?P<before>/[^'\n]+)'[^'\n]{0,30}Permission denied"
)


_TOLD_BEFORE: Final = "cannot open the connection"
"""R's error, whose path is in a warning."""


def hint_at_refused_path(text: str, console: str = "") -> str:
    """Say what to do about the path of an error, where only confinement refuses it.

    Parameters
    ----------
    text
        What a language says of the error.
    console
        What was printed before; R warns of the path there.

    Returns
    -------
    str
        A hint to set behind it; empty where the system's own permissions are the reason.
    """
    found = _REFUSED.search(console if _TOLD_BEFORE in text else text)
    if found is None:
        return ""
    path = found["after"] or found["before"]
    if not _is_permitted(path):
        return ""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    return (
        f" (The server confines code: it may not reach {folder}. Write into the "
        "working directory or tempfile.gettempdir(), or have the operator name the folder in "
        "Confinement.readable_paths or Confinement.writable_paths.)"
    )


def _is_permitted(path: str) -> bool:
    """Whether the system would let this account at a path; it does not ask Landlock here."""
    if os.access(path, os.R_OK):
        return True
    return not os.path.lexists(path) and os.access(os.path.dirname(path), os.W_OK | os.X_OK)
