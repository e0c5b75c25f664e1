"""What a piece of code sets and what it needs, read from its source without running it."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterable, Iterator
from typing import Final

_BUILTINS: Final = frozenset(dir(builtins)) | {
    "__name__",
    "__file__",
    "__doc__",
    "display",
    "get_ipython",
}


def assigned_names(source: str) -> set[str]:
    """Names that code sets at its top level; empty for code that does not compile."""
    table = _table(source)
    if table is None:
        return set()
    set_here = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    declared = {
        symbol.get_name()
        for inner in _inner(table)
        for symbol in inner.get_symbols()
        if symbol.is_declared_global() and symbol.is_assigned()
    }
    return set_here | declared


def needed_names(source: str, own: Iterable[str] = ()) -> set[str]:
    """Names that code uses and does not set: it has to find them in the workspace or the inputs.

    Parameters
    ----------
    own
        Names of the workspace; one of them that is also a builtin's hides the builtin.
    """
    table = _table(source)
    if table is None:
        return set()
    used = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    used |= {
        symbol.get_name()
        for inner in _inner(table)
        for symbol in inner.get_symbols()
        if symbol.is_global() and symbol.is_referenced()
    }
    return used - assigned_names(source) - (_BUILTINS - set(own))


def _table(source: str) -> symtable.SymbolTable | None:
    try:
        tree = _WithoutInlining().visit(ast.parse(source))
        return symtable.symtable(ast.unparse(tree), "<code>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return None


class _WithoutInlining(ast.NodeTransformer):
    """Makes generators of comprehensions, whose names Python 3.12 and later count as the code's."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.ListComp(elt, generators) | ast.SetComp(elt, generators):
                return ast.GeneratorExp(elt, generators)
            case ast.DictComp(key, value, generators):
                return ast.GeneratorExp(ast.Tuple([key, value], ast.Load()), generators)
        return node


def _inner(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner(child)
