"""Takes secrets out of what the system shows of a process's environment.

``/proc/PID/environ`` shows the block of memory that a program found at its start, whatever it has
changed since. Other processes of the same account may read it, people's code among them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final

_ENVIRONMENT_START: Final = 47
_ENVIRONMENT_END: Final = 48
"""Fields 50 and 51 of ``/proc/PID/stat``, counted from behind the program's name."""


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


def _overwrite(names: set[bytes]) -> None:
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[_ENVIRONMENT_START]), int(fields[_ENVIRONMENT_END])
    except (OSError, IndexError, ValueError):
        return
    if not 0 < start < end:
        return
    at = start
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        if entry.partition(b"=")[0] in names:
            ctypes.memset(at, 0, len(entry))
        at += len(entry) + 1
