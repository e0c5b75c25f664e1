"""Random numbers that a request must not make foreseeable for the next one."""

from __future__ import annotations

import contextlib
import random
import sys
import types
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

_SEEDING: Final = frozenset({"seed", "setstate", "set_state"})
"""Names of what sets the state of a generator, in Python's library and in numpy."""


def may_seed(
    codes: Iterable[types.CodeType],
    namespace: Mapping[str, Any],
    modules: Iterable[types.ModuleType] = (),
) -> bool:
    """Tell whether code, or functions of the user's own, may set the state of a generator.

    The state itself is too large to be compared after each request.

    Parameters
    ----------
    codes, namespace
        What runs, and the names that it finds.
    modules
        Modules of the user's own.
    """
    own, values = {"__main__"}, list(namespace.values())
    for module in modules:
        own.add(module.__name__)
        values += vars(module).values()
    return any(
        not _SEEDING.isdisjoint(part.co_names)
        for code in (*codes, *_codes_of(values, own))
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


def _codes_of(values: Iterable[Any], own: Container[str]) -> Iterator[types.CodeType]:
    """Give the code of functions and classes of some modules, and of objects of such classes."""
    waiting, seen = list(values), set[int]()
    while waiting:
        value = waiting.pop()
        value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        source = value if isinstance(value, types.FunctionType | type) else type(value)
        if source.__module__ not in own or id(source) in seen:
            continue
        seen.add(id(source))
        if isinstance(source, types.FunctionType):
            yield source.__code__
            for cell in source.__closure__ or ():
                with contextlib.suppress(ValueError):  # it is empty
                    waiting.append(cell.cell_contents)
        else:
            waiting += [*vars(source).values(), *source.__bases__]
