"""R's half of the runtime: where its code is, and what JSON has to be for it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.json_values import ValueProblem, describe, member

RUNTIME: Final = "R"
"""The ``runtimeType`` of sessions and services in R."""

FOLDER: Final = Path(__file__).parent / "r"
"""Files in R that sessions and services share."""

_PACKAGE: Final = Path(__file__).parents[1]
KERNEL_FOLDER: Final = _PACKAGE / "kernel" / "r"
"""Files in R for sessions."""

WORKER_FOLDER: Final = _PACKAGE / "worker" / "r"
"""Files in R for services."""

HOW_TO_INSTALL: Final = (
    "R with IRkernel is not installed on the server. Install it there: apt install r-base-core "
    "r-cran-irkernel (Debian, Ubuntu), or in R: install.packages('IRkernel'); "
    "IRkernel::installspec()"
)

_EXACT: Final = 2**53


def r_json(value: Any, name: str = "value") -> bytes:
    """Write JSON that R reads as what was meant.

    Raises
    ------
    ValueProblem
        As :func:`for_r`.
    """
    return msgspec.json.encode(for_r(value, name))


def for_r(value: Any, path: str) -> Any:
    """Make of JSON data what R can hold.

    R has no whole numbers beyond 2**53 in steps of one; such a number becomes the nearest double.

    Raises
    ------
    ValueProblem
        A string holds a NUL character, which a string of R can't, or a number is too large.
    """
    kind = type(value)
    if kind is str:
        if "\0" in value:
            raise ValueProblem(path, "a string without NUL characters (R)", "one with NUL")
        return value
    if kind is int:
        return value if -_EXACT <= value <= _EXACT else _double(value, path)
    if kind is list:
        if set(map(type, value)) <= {float, bool, type(None)}:
            return value
        return [for_r(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if kind is dict:
        return {for_r(key, path): for_r(item, member(path, key)) for key, item in value.items()}
    return value


def _double(value: int, path: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueProblem(path, "a number below 1.8e308 (R)", describe(value)) from None


def utf8_locale() -> dict[str, str]:
    """Give the variables that have R read and print UTF-8; none where it does so anyway."""
    here = os.environ
    used = here.get("LC_ALL") or here.get("LC_CTYPE") or here.get("LANG") or ""
    return {} if re.search(r"utf-?8", used, re.IGNORECASE) else {"LC_ALL": "C.UTF-8"}


def quoted(text: str | Path) -> str:
    """Spell a string as R code does."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
