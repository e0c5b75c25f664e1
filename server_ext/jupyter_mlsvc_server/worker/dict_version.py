"""The number that CPython 3.11 to 3.13 keep with each dict, and that changes with it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

_VERSION_AT: Final = 24
"""Where it is in a dict's memory."""


def version_of(table: dict[Any, Any]) -> Callable[[], int] | None:
    """Return a function for the version of a dict, where the interpreter keeps one."""
    if not (3, 11) <= sys.version_info < (3, 14) or sys.implementation.name != "cpython":
        return None
    probe = {"a": 1}
    if not _tells(probe):
        return None
    return _reader(table)


def _tells(probe: dict[str, int]) -> bool:
    version = _reader(probe)
    before = version()
    _ = probe["a"], len(probe)
    same = version()
    probe["a"] = 2
    return before == same != version()


def _reader(table: dict[Any, Any]) -> Callable[[], int]:
    field = ctypes.c_uint64.from_address(id(table) + _VERSION_AT)
    # Keeps the dict alive as long as its memory can be read.
    field.table = table  # type: ignore[attr-defined]
    return partial(getattr, field, "value")
