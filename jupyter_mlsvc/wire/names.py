"""Rules for the names of services, versions, sessions, parameters and files.

The contract leaves them open; the rule for services and versions takes every name that was seen
on live servers (``bos-rf``, ``predictor_scoring``, ``V1.0``) and refuses what would break a URL or
a file system.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Collection
from typing import Final, NewType

ServiceName = NewType("ServiceName", str)
Version = NewType("Version", str)

_NAME: Final = re.compile(r"[A-Za-z0-9._-][A-Za-z0-9._ -]{0,127}")
_R_NAME: Final = re.compile(r"(?:[^\W\d_]|\.(?!\d))[\w.]*")
_WORDS_OF_R: Final = frozenset(
    {
        "if", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE",
        "NULL", "Inf", "NaN", "NA", "NA_integer_", "NA_real_", "NA_character_", "NA_complex_",
        "in", "...",
    }
)  # fmt: skip
_STATE_OF_R: Final = frozenset({".Random.seed", ".Last.value", ".First", ".Last"})
_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_FILE: Final = re.compile(r"[^/\\\x00-\x1f]{1,255}")


class InvalidName(ValueError):
    """A name breaks the rule of its kind; the message says which rule and how it was broken."""


def service_name(text: str) -> ServiceName:
    """Check the name of a service.

    Raises
    ------
    InvalidName
        Anything but 1 to 128 letters, digits, ``.``, ``_``, ``-`` and spaces, no space first.
    """
    return ServiceName(_check("service name", text))


def version(text: str) -> Version:
    """Check the version of a service; the rule is that of :func:`service_name`."""
    return Version(_check("version", text))


def is_made_up(text: str) -> bool:
    """Whether a version is a GUID, as the server makes them where none is named.

    Such a version is never the newest of a service that has others.
    """
    return _GUID.fullmatch(text) is not None


def parameter_name(text: str, runtime_type: str = "Python") -> str:
    """Check the name of an input, an output or a workspace object.

    In Python that is an identifier, in R a syntactic name, which may have dots: ``flower.data``.

    Returns
    -------
    str
        The name as the language has it; see :func:`python_name`. R has it as it is written.

    Raises
    ------
    InvalidName
        No name of the language, one of its words, or a name of the interpreter's own.
    """
    if runtime_type == "R":
        return _name_of_r(text)
    text = python_name(text)
    if not text.isidentifier() or keyword.iskeyword(text):
        raise InvalidName(
            f"{text!r} is no valid name: use a Python identifier such as 'flower_data'."
        )
    if text.startswith("__") and text.endswith("__"):
        raise InvalidName(
            f"{text!r} is reserved: names with two underscores at both ends are Python's own."
        )
    return text


def python_name(text: str) -> str:
    """Return the spelling that Python gives to an identifier (NFKC).

    The micro sign of keyboards (U+00B5) and the Greek letter (U+03BC) are one name to Python, and
    so are an accented letter and a letter with its accent behind it.
    """
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def find_name(name: str, known: Collection[str]) -> str | None:
    """Return the one of some names that is the given one, or else the same one to Python."""
    if name in known:
        return name
    wanted = python_name(name)
    return next((each for each in known if python_name(each) == wanted), None)


def _name_of_r(text: str) -> str:
    if not _R_NAME.fullmatch(text) or text in _WORDS_OF_R:
        raise InvalidName(f"{text!r} is no valid name: use a name of R's such as 'flower.data'.")
    if text in _STATE_OF_R:
        raise InvalidName(f"{text!r} is reserved: R keeps its own state there.")
    return text


def file_name(text: str) -> str:
    """Check the name of a file in a working directory: plain, without folders.

    Raises
    ------
    InvalidName
        Empty, over 255 characters, ``.`` or ``..``, or with a slash or control character.
    """
    if not _FILE.fullmatch(text) or text in {".", ".."}:
        raise InvalidName(f"{text!r} is no valid file name: use a plain name without folders.")
    return text


def _check(kind: str, text: str) -> str:
    if not _NAME.fullmatch(text) or text in {".", ".."}:
        raise InvalidName(
            f"{text!r} is no valid {kind}: use 1 to 128 letters from a to z, digits, '.', '_', "
            "'-' or spaces, not starting with a space."
        )
    return text
