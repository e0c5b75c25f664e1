"""Takes secrets out of what the system shows of a process: environment and command line.

``/proc/PID/environ`` and ``cmdline`` show blocks of memory that a program found at its start,
whatever it has changed since. Other processes of the same account may read the first, and all the
second, people's code among them.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from typing import Final

_ARGUMENTS: Final = 45
_ENVIRONMENT: Final = 47
"""Fields 48 and 50 of ``/proc/PID/stat``, counted from behind the program's name: where a block
begins; its end is the next field."""

_PASSWORD_IN_URL: Final = re.compile(rb"://[^:/?#@\0]*:([^@\0]+)@")


def hide_from_others(is_hidden: Callable[[str], bool]) -> None:
    """Overwrite variables in the block; this process, and what it starts, see them as before.

    It belongs to the first lines of a program, before there are threads that read variables. Where
    there is no ``/proc`` it does nothing.

    Parameters
    ----------
    is_hidden
        Says of a name whether others are not to read the variable.
    """
    hidden = {name: value for name, value in os.environ.items() if is_hidden(name)}
    if not hidden or sys.platform != "linux":
        return
    for name, value in hidden.items():
        # Both, so that the value is a copy elsewhere: nothing points into the block afterwards.
        del os.environ[name]
        os.environ[name] = value
    _overwrite({os.fsencode(name) for name in hidden})


def hide_passwords_in_arguments() -> None:
    """Overwrite passwords in addresses on the command line, such as that of a database.

    ``sys.argv`` keeps them.
    """
    if sys.platform == "linux" and (block := _block(_ARGUMENTS)) is not None:
        start, content = block
        for found in _PASSWORD_IN_URL.finditer(content):
            ctypes.memset(start + found.start(1), ord("x"), len(found[1]))


def _overwrite(names: set[bytes]) -> None:
    if (block := _block(_ENVIRONMENT)) is None:
        return
    at, content = block
    for entry in content.split(b"\0"):
        if entry.partition(b"=")[0] in names:
            ctypes.memset(at, 0, len(entry))
        at += len(entry) + 1


def _block(field: int) -> tuple[int, bytes] | None:
    """Return the address and the content of a block; None where the system does not say."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[field]), int(fields[field + 1])
    except (OSError, IndexError, ValueError):
        return None
    return (start, ctypes.string_at(start, end - start)) if 0 < start < end else None
