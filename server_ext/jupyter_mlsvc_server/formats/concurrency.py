"""How many calls of a version a worker runs at a time, and whether its code waits."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Final

MAX_CONCURRENCY: Final = 1000
"""Calls that a worker may run at a time."""

OF_AWAITING: Final = 100
"""Calls that a worker runs at a time where nothing is said and the code awaits."""

FLAGS: Final = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
"""What the code of services is compiled with."""


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
        return any(map(waits, of_top_level(ast.parse(source).body)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # which the publisher is told where it is to run


def waits(node: ast.AST) -> bool:
    """Whether what runs at the top level of some code can run in a coroutine only."""
    return isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) or (
        isinstance(node, ast.comprehension) and bool(node.is_async)
    )


def of_top_level(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Give what runs in no function, class or generator of some code."""
    waiting: list[ast.AST] = [*reversed(body)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(_run_outside(node))


def _run_outside(node: ast.AST) -> Iterable[ast.AST]:
    """Give the parts of a node that run where it stands, and not in a scope of its own."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, *_defaults(node.args)]
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases, *node.keywords]
        case ast.Lambda():
            return _defaults(node.args)
        case ast.GeneratorExp():
            return [node.generators[0].iter]
    return ast.iter_child_nodes(node)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [each for each in (*arguments.defaults, *arguments.kw_defaults) if each is not None]
