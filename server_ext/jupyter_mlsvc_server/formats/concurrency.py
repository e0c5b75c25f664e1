"""How many calls of a version a worker runs at a time, and whether its code waits."""

from __future__ import annotations

import ast
import inspect
import warnings
from types import CodeType
from typing import Final

MAX_CONCURRENCY: Final = 1000
"""Calls that a worker may run at a time."""

OF_AWAITING: Final = 100
"""Calls that a worker runs at a time where nothing is said and the code awaits."""

FLAGS: Final = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
"""What the code of services is compiled with."""


def is_awaiting(code: CodeType) -> bool:
    """Whether compiled code is a coroutine, as it awaits at its top level."""
    return bool(code.co_flags & inspect.CO_COROUTINE)


def usual_concurrency(*sources: str) -> int:
    """Return how many calls of some code in Python a worker runs at a time if nobody says so."""
    return OF_AWAITING if any(map(_awaits, sources)) else 1


def _awaits(source: str) -> bool:
    # Nearly all code does not, and needs no compiler to tell.
    if "await" not in source and "async" not in source:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return is_awaiting(compile(source, "<code>", "exec", FLAGS, dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # which the publisher is told where it is to run
