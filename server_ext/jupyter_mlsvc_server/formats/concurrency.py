"""How many calls of a version a worker runs at a time, and whether its code waits."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Final

MAX_CONCURRENCY: Final = 1000
"""Calls that a worker may run at a time."""

OF_AWAITING: Final = 100
"""Calls that a worker runs at a time where nothing is said and the code awaits."""

FLAGS: Final = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
"""What the code of services is compiled with."""


_SCOPES: Final = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.GeneratorExp,
)


def is_awaiting(code: CodeType) -> bool:
    """Whether compiled code awaits at its top level: a coroutine, or one that also yields."""
    return bool(code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))


def usual_concurrency(*sources: str) -> int:
    """Return how many calls of some code in Python a worker runs at a time if nobody says so."""
    return OF_AWAITING if any(map(_awaits, sources)) else 1


def _awaits(source: str) -> bool:
    # Nearly all code does not, and needs no compiler to tell.
    if "await" not in source and "async" not in source:
        return False
    try:
        return any(map(_waits, _of_top_level(ast.parse(source))))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # which the publisher is told where it is to run


def _waits(node: ast.AST) -> bool:
    return isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) or (
        isinstance(node, ast.comprehension) and bool(node.is_async)
    )


def _of_top_level(module: ast.Module) -> Iterator[ast.AST]:
    """Give what runs in no function, class or generator of some code."""
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting.extend(ast.iter_child_nodes(node))
