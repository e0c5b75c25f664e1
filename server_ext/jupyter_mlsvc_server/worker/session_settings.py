"""Settings of a session that change results and that no snapshot holds.

The publish check names the options of libraries that were not as in a new process, and
environment variables that the code reads and services lack.
"""

from __future__ import annotations

import dis
import os
import re
from collections.abc import Iterable
from types import CodeType
from typing import Final

from jupyter_mlsvc.wire.library_settings import SETTERS, Setting

_READERS: Final = frozenset({"environ", "getenv", "environb", "getenvb"})
_NEAR: Final = 4
"""Instructions after a name of ``_READERS`` among which that of the variable is."""

_IN_R: Final = re.compile(r"""Sys\.getenv\(\s*(?:x\s*=\s*)?["']([^"']+)["']""")


def variables_read(codes: Iterable[CodeType]) -> list[str]:
    """Return the environment variables that compiled code reads by a name written there."""
    found: list[str] = []
    for code in codes:
        left = 0
        for instruction in dis.get_instructions(code):
            value = instruction.argval
            if isinstance(value, str) and value in _READERS:
                left = _NEAR
            elif left and instruction.opname == "LOAD_CONST" and isinstance(value, str):
                found.append(value)
                left = 0
            elif left:
                left -= 1
    return list(dict.fromkeys(found))


def variables_read_in_r(source: str) -> list[str]:
    """Return the environment variables that code in R reads by a name written there."""
    return list(dict.fromkeys(_IN_R.findall(source)))


def notes_on_settings(settings: Iterable[Setting], names: frozenset[str]) -> list[str]:
    """Say which settings of the session the code does without; ``names`` are all that it names."""
    return [
        f"The session has {each.library} set to {each.name} = {each.value}. A snapshot does not "
        f"hold that: calls run with {each.usual} unless the code sets it."
        for each in settings
        if names.isdisjoint(SETTERS.get(each.library, frozenset()))
    ]


def notes_on_variables(names: Iterable[str]) -> list[str]:
    """Say which environment variables that the code reads are not there in services."""
    return [
        f"The code reads the environment variable {name}, which services do not have. "
        "The server's ScoringSettings.environment can give it to them."
        for name in names
        if name not in os.environ
    ]
