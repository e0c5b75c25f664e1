"""What a cell suggests about a service made of it, read from its source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_BLOCKS: Final = ("body", "orelse", "finalbody")
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_BY_FUNCTION: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("float", "sum", "round", "abs", "max", "min", "mean", "std", "item"), "numeric"
    ),
    **dict.fromkeys(("int", "len"), "integer"),
    **dict.fromkeys(("str", "repr", "format", "join", "strip", "lower", "upper"), "character"),
    **dict.fromkeys(("bool", "all", "any", "isinstance"), "logical"),
    **dict.fromkeys(("list", "sorted", "tolist", "predict", "array", "ravel"), "vector"),
    **dict.fromkeys(("predict_proba", "predict_log_proba", "reshape"), "matrix"),
    **dict.fromkeys(("DataFrame", "to_frame", "read_csv"), "data.frame"),
}


@dataclass(frozen=True, slots=True)
class CellReading:
    """What a cell does with its names.

    Attributes
    ----------
    outputs : list of str
        Names that it sets and makes nothing more of, in the order of the source.
    types : dict
        Types of the contract that names it sets most likely have.
    literals : dict
        Names that it sets once, to a value written down there, and uses; with their values.
    looked_up : set of str
        Names that it only looks things up in: ``names[x]``.
    called : set of str
        Names that it calls: ``score(x)``.
    ends_with_value : bool
        Whether its last line gives a value that has no name.
    yields : bool
        Whether it yields at its top, as the code of a service may do.
    """

    outputs: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    literals: dict[str, Any] = field(default_factory=dict)
    looked_up: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    ends_with_value: bool = False
    yields: bool = False


def read_cell(source: str) -> CellReading:
    """Read a cell.

    Raises
    ------
    SyntaxError
        It is no Python.
    """
    tree = ast.parse(source)
    set_at: dict[str, list[ast.stmt]] = {}
    types: dict[str, str] = {}
    used_at: dict[str, list[tuple[int, int]]] = {}
    for statement in _statements(tree.body):
        for name, value in _assigned(statement):
            set_at.setdefault(name, []).append(statement)
            if (kind := _type_of(value)) is not None:
                types[name] = kind
        if not isinstance(statement, ast.Expr):
            for node in _names_read(statement):
                used_at.setdefault(node.id, []).append((node.lineno, node.col_offset))
    last = tree.body[-1] if tree.body else None
    shown = last.value.id if isinstance(last, ast.Expr) and isinstance(last.value, ast.Name) else ""
    outputs = [
        name
        for name, statements in set_at.items()
        if not name.startswith("_")
        and (name == shown or not any(at > _end(statements[-1]) for at in used_at.get(name, ())))
    ]
    return CellReading(
        outputs=outputs,
        types=types,
        literals=_literals(tree, set_at),
        looked_up=_looked_up(tree),
        called={
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        },
        ends_with_value=isinstance(last, ast.Expr) and not shown and not _is_call_to_show(last),
        yields=any(map(does_yield, tree.body)),
    )


def does_yield(node: ast.AST) -> bool:
    """Whether something yields by itself, and not only in a function that it defines."""
    if isinstance(node, ast.Yield | ast.YieldFrom):
        return True
    return not isinstance(node, _SCOPES) and any(map(does_yield, ast.iter_child_nodes(node)))


def without_assignments(source: str, names: Iterable[str]) -> str:
    """Take the statements that set some names out of a source, each of them written on its own."""
    lines = source.splitlines(keepends=True)
    for statement in reversed(ast.parse(source).body):
        if isinstance(statement, ast.Assign) and {name for name, _ in _assigned(statement)} <= set(
            names
        ):
            del lines[statement.lineno - 1 : statement.end_lineno]
    return "".join(lines)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Go through statements and those in their blocks, but not into functions and classes."""
    for statement in body:
        yield statement
        if isinstance(statement, _SCOPES):
            continue
        for block in _BLOCKS:
            yield from _statements(getattr(statement, block, ()))
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            yield from _statements(part.body)


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """Names that a statement assigns, with what to; loops, imports and definitions don't count."""
    match statement:
        case ast.Assign():
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value
                else:
                    for node in ast.walk(target):
                        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                            yield node.id, None
        case ast.AnnAssign(target=ast.Name()) if statement.value is not None:
            yield statement.target.id, statement.value  # type: ignore[union-attr]  # just matched
        case ast.AugAssign(target=ast.Name()):
            yield statement.target.id, None  # type: ignore[union-attr]  # as above


def _names_read(statement: ast.stmt) -> Iterator[ast.Name]:
    """Names that a statement reads itself, without the statements in its blocks."""
    inner = (
        set()
        if isinstance(statement, _SCOPES)
        else {node for block in _BLOCKS for node in getattr(statement, block, ())}
    )
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node
        todo.extend(child for child in ast.iter_child_nodes(node) if child not in inner)


def _end(statement: ast.stmt) -> tuple[int, int]:
    return statement.end_lineno or statement.lineno, statement.end_col_offset or 0


def _literals(tree: ast.Module, set_at: Mapping[str, list[ast.stmt]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    read = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    for statement in tree.body:
        # What stands on one line with other statements can't be taken out by lines.
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name = statement.targets[0].id
        if len(statement.targets) > 1 or len(set_at[name]) > 1 or name not in read:
            continue
        try:
            found[name] = ast.literal_eval(statement.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    lines = [statement.lineno for statement in tree.body]
    return {
        name: value for name, value in found.items() if lines.count(set_at[name][0].lineno) == 1
    }


def _looked_up(tree: ast.Module) -> set[str]:
    tables = {
        id(node.value): node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and not isinstance(node.slice, ast.Constant | ast.Slice | ast.UnaryOp | ast.Tuple)
    }
    others = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in tables
    }
    return set(tables.values()) - others


def _type_of(value: ast.expr | None) -> str | None:
    match value:
        case ast.Constant():
            kinds = {bool: "logical", int: "integer", float: "numeric", str: "character"}
            return kinds.get(type(value.value))
        case ast.JoinedStr():
            return "character"
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "logical"
        case ast.List() | ast.Tuple():
            rows = value.elts
            is_matrix = rows and all(isinstance(row, ast.List | ast.Tuple) for row in rows)
            return "matrix" if is_matrix else "vector"
        case ast.ListComp():
            return "matrix" if isinstance(value.elt, ast.List | ast.ListComp) else "vector"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return _BY_FUNCTION.get(name)
    return None


def _is_call_to_show(statement: ast.Expr) -> bool:
    """Whether a line is there for what it does, such as ``print(x)``, and not for its value."""
    match statement.value:
        case ast.Call(func=ast.Name(id="print" | "display")):
            return True
        case ast.Constant() | ast.Await() | ast.Yield():
            return True
    return False
