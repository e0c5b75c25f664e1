"""Compile code that yields at its top level: what it yields is a stream, one of its outputs.

Python has ``yield`` in functions only. Such code becomes the body of a function whose names are all
global, so that it sets and reads the names of ``__main__`` as code without ``yield`` does. Lines,
tracebacks and error messages stay those of the code as it was written.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Collection, Sequence
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR, CO_NEWLOCALS, CO_OPTIMIZED
from typing import Final

from jupyter_mlsvc_server.formats.concurrency import of_top_level, waits
from jupyter_mlsvc_server.formats.problems import CodeProblem

_YIELDS: Final = (ast.Yield, ast.YieldFrom)
_STAR: Final = "code that yields can't 'import *': name what it imports, or import it in setupCode"
_MODULE: Final = "<module>"
"""What tracebacks call code that is in no function."""


def compile_yielding(source: str, file_name: str) -> types.CodeType | None:
    """Compile code that yields at its top level; None where it does not.

    Raises
    ------
    SyntaxError
        It is no Python.
    """
    if "yield" not in source:
        return None
    module = ast.parse(source, file_name)
    own = [*of_top_level(module.body)]
    if not any(isinstance(node, _YIELDS) for node in own):
        return None
    for node in own:
        if isinstance(node, ast.Return):
            raise _syntax_error("'return' outside function", node, source, file_name)
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            raise _syntax_error(_STAR, node, source, file_name)
        if isinstance(node, ast.AnnAssign):
            node.simple = 0  # else its name could not be global
    imports, body = _without_future_imports(module.body)
    kind = ast.AsyncFunctionDef if any(map(waits, own)) else ast.FunctionDef
    function = _compile(kind, imports, body, file_name)
    names = sorted({*function.co_varnames, *function.co_cellvars})
    # Those of comprehensions are among them, and stay their own.
    if names := [name for name in names if name.isidentifier()]:
        function = _compile(kind, imports, [ast.Global(names), *body], file_name)
    flags = function.co_flags
    if not function.co_varnames:
        # As code of a module has it: ``exec`` and ``locals`` have the names of ``__main__``. Where
        # variables of comprehensions are in the same frame, Python 3.12 would mix them up.
        flags &= ~(CO_OPTIMIZED | CO_NEWLOCALS)
    return function.replace(co_name=_MODULE, co_qualname=_MODULE, co_flags=flags)


def yields(code: types.CodeType) -> bool:
    """Whether this is what :func:`compile_yielding` has made."""
    return bool(code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR))


def stream_of(code: types.CodeType, namespace: dict[str, object]) -> object:
    """Return the stream of code that yields, which runs it as it is read."""
    return types.FunctionType(code, namespace)()


def name_of_stream(outputs: Sequence[str], written: Collection[str]) -> str:
    """Return the output that takes what the code yields.

    Parameters
    ----------
    outputs
        Names of all outputs.
    written
        Names that the code sets.

    Raises
    ------
    CodeProblem
        It can't be told which one that is.
    """
    left = [name for name in outputs if name not in written]
    if len(left) == 1:
        return left[0]
    if not left and len(outputs) == 1:
        return outputs[0]
    if left:
        named = " and ".join(map(repr, left))
        raise CodeProblem(
            f"code yields at its top level, and does not set {named}: only one output can be what "
            "it yields. Set the others in the code, or remove them."
        )
    raise CodeProblem(
        "code yields at its top level, and no output is left for what it yields: declare one that "
        "the code does not set."
    )


def _compile(
    kind: type[ast.FunctionDef | ast.AsyncFunctionDef],
    imports: list[ast.stmt],
    body: list[ast.stmt],
    file_name: str,
) -> types.CodeType:
    function = kind(
        name="stream",
        args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]),
        body=body,
        decorator_list=[],
    )
    module = ast.Module([*imports, function], type_ignores=[])
    code = compile(ast.fix_missing_locations(module), file_name, "exec", dont_inherit=True)
    return next(each for each in code.co_consts if isinstance(each, types.CodeType))


def _without_future_imports(body: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    imports = [
        node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    return [*imports], [node for node in body if node not in imports]


def _syntax_error(message: str, node: ast.stmt, source: str, file_name: str) -> SyntaxError:
    text = source.splitlines()[node.lineno - 1]
    place = (file_name, node.lineno, node.col_offset + 1, text, node.end_lineno, None)
    return SyntaxError(message, place)
