"""Random numbers that a request must not make foreseeable for the next one."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_SEEDING: Final = frozenset({"seed", "setstate", "set_state"})
"""Names of what sets the state of a generator, in Python's library and in numpy."""


def may_seed(codes: Iterable[types.CodeType], namespace: Mapping[str, Any]) -> bool:
    """Tell whether code, or functions of the user's own, may set the state of a generator.

    The state itself is too large to be compared after each request.
    """
    return any(
        not _SEEDING.isdisjoint(part.co_names)
        for code in (*codes, *_codes_of(namespace.values()))
        for part in with_inner(code)
    )


def reseed() -> None:
    """Have the generators that all code of a process shares begin anew."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    """Give compiled code and that of the functions and classes in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from with_inner(constant)


def _codes_of(values: Iterable[Any]) -> Iterator[types.CodeType]:
    for value in values:
        function = getattr(value, "__func__", value) if isinstance(value, _WRAPPED) else value
        if isinstance(function, types.FunctionType) and function.__module__ == "__main__":
            yield function.__code__
        elif isinstance(function, type) and function.__module__ == "__main__":
            yield from _codes_of(vars(function).values())


_WRAPPED: Final = (staticmethod, classmethod)
