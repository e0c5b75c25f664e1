"""Paths as people may see them: of a library's file the part that is the library's own.

Where the server keeps things is its own affair. A traceback names ``sklearn/base.py``, whatever
folder Python or R has it in, and a file of the working directory by its name there.
"""

from __future__ import annotations

import functools
import os
import re
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterable
from typing import Final

_LIBRARIES: Final = re.compile(
    r"/(?:(?:lib(?:64)?/python3[.\d]*/)?(?:site|dist)-packages|lib(?:64)?/python3[.\d]*"
    r"|site-library|lib(?:64)?/R/library)/"
)
"""Folders that libraries are in, whichever Python or R it is."""

_ENDS_OF_PATHS: Final = frozenset(" \t\r\n'\"()[]<>=,;:`\u2018\u2019\u201c\u201d")
_PATH: Final = re.compile(
    r"(?<![\w.:/~<-])/([^\s/'\"<>()\[\],;:]+)/(?:[^\s/'\"<>()\[\],;:]+/)*([^\s/'\"<>()\[\],;:]+)"
)
"""An absolute path: its first folder and its last part."""

_COLOUR: Final = re.compile(r"[\d;]*m")
"""What is left of a colour's code after its bracket."""


def without_paths(text: str, folders: Iterable[str] = ()) -> str:
    """Return a text with paths shortened that lead to libraries.

    Parameters
    ----------
    text
        Such as a traceback.
    folders
        Others that are not to be seen, such as the working directory.
    """
    if "/" not in text:
        return text
    for folder in sorted(filter(None, folders), key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
        if folder in text:
            # The folder itself, with nothing of it behind.
            text = re.sub(rf"{re.escape(folder)}(?![\w.-])", ".", text)
    for folder in _library_folders():
        text = text.replace(f"{folder}/", "")
    kept, at, seen = [], 0, 0
    for found in _LIBRARIES.finditer(text):
        start = _beginning(text, seen, found.start())
        seen = found.end()
        if start is not None:
            kept.append(text[at:start])
            at = seen
    return "".join(kept) + text[at:] if kept else text


def without_folders(text: str) -> str:
    """Return a text in which files of this machine have no folder, for those who only call.

    A path is one of this machine where its first folder is. Addresses of services stay.
    """
    if "/" not in text:
        return text
    return _PATH.sub(lambda found: found[2] if _is_folder(found[1]) else found[0], text)


@functools.lru_cache(maxsize=256)
def _is_folder(name: str) -> bool:
    return os.path.isdir(f"/{name}")


def shorten_warnings(*folders: str) -> None:
    """Have warnings name files as :func:`without_paths` does, from now on in this process."""
    usual = warnings.formatwarning

    @functools.wraps(usual)
    def formatted(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        return without_paths(usual(message, category, filename, lineno, line), folders)

    warnings.formatwarning = formatted


def _beginning(text: str, first: int, end: int) -> int | None:
    """Find where an absolute path begins that goes on at a place; None for a relative one."""
    at = end
    while at > first and text[at - 1] not in _ENDS_OF_PATHS:
        at -= 1
    before = text[at - 1 : at]
    if before and before not in _ENDS_OF_PATHS:
        return None
    colour = _COLOUR.match(text, at)
    if colour is not None and before in {"[", ";"}:
        at = colour.end()
    return at if at <= end and text[at] in "/~" else None


@functools.cache
def _library_folders() -> tuple[str, ...]:
    """Name the folders of this Python's libraries, the longest first."""
    paths = sysconfig.get_paths()
    folders = {paths["purelib"], paths["platlib"], paths["stdlib"], paths["platstdlib"]}
    folders.update(site.getsitepackages(), [site.getusersitepackages()])
    folders.update(each for each in sys.path if each.endswith(("-packages", "lib-dynload")))
    folders.update([os.path.realpath(each) for each in folders])
    home = os.path.expanduser("~")
    folders.update([f"~{each[len(home) :]}" for each in folders if each.startswith(f"{home}/")])
    return tuple(sorted(folders, key=len, reverse=True))
