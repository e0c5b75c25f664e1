"""Functions as services: inputs from the signature, outputs from what they return.

The code of such a service is one line that calls the function: ``answer = score(income=income)``.
The function itself is an object of the notebook like any other, so that what it uses goes with it.
A parameter whose annotation and default tell no type takes it from the value that the notebook has
under its name.
"""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET, UnsetType

from jupyter_mlsvc.cell_analysis import does_yield
from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.planning.request import Parameter
from jupyter_mlsvc.wire.digests import digests
from jupyter_mlsvc.wire.kinds import parameter_type
from jupyter_mlsvc.wire.values import ValueProblem, encode_output

ANSWER: Final = "answer"
"""Name of the output of a function whose ``return`` gives none."""

_BY_NAME: Final[dict[str, str]] = {
    **dict.fromkeys(("bool", "bool_", "boolean"), "logical"),
    **dict.fromkeys(("int", "int8", "int16", "int32", "int64", "integer"), "integer"),
    **dict.fromkeys(("float", "float16", "float32", "float64", "number", "Number"), "numeric"),
    **dict.fromkeys(("str", "date", "datetime", "Timestamp", "UUID"), "character"),
    **dict.fromkeys(("list", "List", "tuple", "Tuple", "Sequence", "Iterable"), "vector"),
    **dict.fromkeys(("ndarray", "NDArray", "ArrayLike", "Series", "Index", "set"), "vector"),
    **dict.fromkeys(("matrix", "csr_matrix"), "matrix"),
    "DataFrame": "data.frame",
}
_TEXT_ONLY: Final = frozenset({"date", "datetime", "Timestamp", "UUID", "set"})
"""Types whose values JSON carries as something else, so that they suit outputs only."""
_NULL_IS_NOT_NONE: Final = frozenset({"numeric", "vector", "matrix", "data.frame"})
"""Types that no caller can send as null, so that an input that may be None is any JSON instead.

Frames and arrays keep their type, because JSON would not become one: they may be left out.
"""
_ARRAYS: Final = re.compile(r"NDArray|ndarray|ArrayLike|Series|Index")
_FUTURES: Final = sum(
    getattr(__future__, name).compiler_flag
    for name in __future__.all_feature_names
    if name not in {"nested_scopes", "generators"}
)
_OF_ITEMS: Final = {
    **dict.fromkeys(("numeric", "integer", "logical", "character"), "list"),
    "vector": "matrix",
    "data.frame": "DataFrame",
}
"""Annotations of what many items of a type are together."""
_ROWS: Final = frozenset({"list", "List", "Sequence", "Iterable"})


Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """How a service calls a function.

    Attributes
    ----------
    expression : str
        The call: ``score(income=income)``, awaited where the function is asynchronous.
    description : str
        First paragraph of the docstring.
    """

    name: str
    expression: str
    inputs: list[Parameter]
    outputs: list[Parameter]
    description: str

    def code(self, outputs: Iterable[Parameter]) -> str:
        """Write the line that calls it and names what comes back."""
        targets = ", ".join(each.name for each in outputs)
        return f"{targets} = {self.expression}\n" if targets else f"{self.expression}\n"


def call_of(name: str, function: Callable[..., Any]) -> FunctionCall:
    """Describe the call of a function that the notebook has under a name.

    Raises
    ------
    InvalidInput
        It can't be called by a service.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise InvalidInput(
            f"The parameters of {name} are not known. Publish a function of your own that calls it."
        ) from None
    does_stream = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    hints = _annotations(signature) | _hints(function)
    return _described(
        name,
        signature,
        _of_stream(hints) if does_stream else hints,
        [] if does_stream else list(_returned_names(_source_of(function))),
        # That of a partial tells of functools, and not of what it calls.
        inspect.getdoc(function.func if isinstance(function, functools.partial) else function)
        or "",
        waits=inspect.iscoroutinefunction(function),
    )


def call_of_source(source: str) -> FunctionCall | None:
    """Describe the call of the last function that a source defines at its top; None without one.

    Nothing of the source is run.
    """
    definition = last_definition(source)
    if definition is None:
        return None
    stub = _stub(definition)
    does_stream = any(map(does_yield, definition.body))
    hints = dict(stub.__annotations__)
    return _described(
        definition.name,
        inspect.signature(stub),
        _of_stream(hints) if does_stream else hints,
        [] if does_stream else list(_returned_names(definition)),
        ast.get_docstring(definition) or "",
        waits=isinstance(definition, ast.AsyncFunctionDef) and not does_stream,
    )


def last_definition(source: str) -> Definition | None:
    """Return the function that a source ends with; None where it ends otherwise."""
    with suppress(SyntaxError, ValueError):
        body = ast.parse(source).body
        if body and isinstance(body[-1], ast.FunctionDef | ast.AsyncFunctionDef):
            return body[-1]
    return None


def is_defined_by(function: object, source: str) -> bool:
    """Whether a function is what the source defines under its name."""
    definition = last_definition(source)
    if definition is None or not isinstance(function, types.FunctionType):
        return False
    with suppress(SyntaxError, ValueError):
        # IPython goes on with the futures that a cell imports.
        futures = function.__code__.co_flags & _FUTURES
        compiled = compile(source, "<cell>", "exec", futures, dont_inherit=True)
        code = next(
            (
                each
                for each in compiled.co_consts
                if isinstance(each, types.CodeType) and each.co_name == definition.name
            ),
            None,
        )
        both = digests({"here": function.__code__, "there": code})
        return both["here"] is not None and both["here"] == both["there"]
    return False


# --- inputs ------------------------------------------------------------------------------------


def _described(
    name: str,
    signature: inspect.Signature,
    hints: dict[str, Any],
    returned: list[str],
    docstring: str,
    *,
    waits: bool,
) -> FunctionCall:
    arguments: list[str] = []
    inputs: list[Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        made = _input(parameter, hints.get(parameter.name))
        if made is None:
            # What JSON can't carry keeps its default; those after it go by name.
            continue
        inputs.append(made)
        is_positional = parameter.kind is parameter.POSITIONAL_ONLY
        arguments.append(made.name if is_positional else f"{made.name}={made.name}")
    outputs = _outputs(hints.get("return"), returned)
    description = " ".join(docstring.split("\n\n", maxsplit=1)[0].split())
    call = f"{name}({', '.join(arguments)})"
    return FunctionCall(name, f"await {call}" if waits else call, inputs, outputs, description)


def _input(parameter: inspect.Parameter, hint: Any) -> Parameter | None:
    kind = type_of_hint(hint, is_input=True)
    if parameter.default is parameter.empty:
        return Parameter(parameter.name, kind)
    kind = kind or parameter_type(parameter.default)
    default = _plain(kind, parameter.default)
    if default is UNSET:
        return None
    if default is None and kind in _NULL_IS_NOT_NONE:
        if kind in {"matrix", "data.frame"} or _ARRAYS.search(str(hint)):
            # Left out, the code sees the None that the function has by default.
            return Parameter(parameter.name, kind, default=None)
        kind = "json"
    return Parameter(parameter.name, kind, default=default)


def _plain(kind: str | None, value: Any) -> Any | UnsetType:
    if value is None:
        return None
    if isinstance(value, set | frozenset):
        return UNSET  # it would be a list in the code
    try:
        return encode_output(kind or "", value)
    except (ValueProblem, TypeError, ValueError):
        return UNSET


# --- outputs -----------------------------------------------------------------------------------


def _outputs(hint: Any, returned: list[str]) -> list[Parameter]:
    if hint is type(None) or hint in {"None", "NoReturn", "Never"}:
        return []
    parts = _parts_of_tuple(hint)
    if parts:
        names = returned if len(returned) == len(parts) else _numbered(len(parts))
        kinds = [type_of_hint(part) for part in parts]
        return [Parameter(name, kind) for name, kind in zip(names, kinds, strict=True)]
    if hint is None and len(returned) > 1:
        return [Parameter(name) for name in returned]
    return [Parameter(ANSWER, type_of_hint(hint))]


def _of_stream(hints: dict[str, Any]) -> dict[str, Any]:
    """Return the hints of a generator function with that of all that it yields in its return's."""
    hint = hints.get("return")
    _, arguments = _taken_apart(ast.Constant(hint) if isinstance(hint, str) else hint)
    kind = type_of_hint(arguments[0]) if arguments else None
    return {**hints, "return": _OF_ITEMS.get(kind or "")}


def _numbered(count: int) -> list[str]:
    return [f"{ANSWER}_{number}" for number in range(1, count + 1)]


def _returned_names(definition: Definition | None) -> Iterator[str]:
    """Name the variables that each ``return`` of a function gives, where all give the same."""
    if definition is None:
        return
    found: list[tuple[str, ...]] = []
    for statement in _own_statements(definition):
        if not isinstance(statement, ast.Return):
            continue
        match statement.value:
            case ast.Tuple(elts=parts) if all(isinstance(part, ast.Name) for part in parts):
                found.append(tuple(typing.cast("ast.Name", part).id for part in parts))
            case _:
                found.append(())
    if found and len(set(found)) == 1 and len(set(found[0])) == len(found[0]):
        yield from found[0]


def _own_statements(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        yield child
        yield from _own_statements(child)


# --- annotations -------------------------------------------------------------------------------


def type_of_hint(hint: Any, *, is_input: bool = False) -> str | None:
    """Return the parameter type that an annotation stands for, or None."""
    if isinstance(hint, str):
        try:
            hint = ast.parse(hint, mode="eval").body
        except SyntaxError:
            return None
    name, arguments = _taken_apart(hint)
    if name in {"Optional", "Union", "Annotated"}:
        kinds = [
            type_of_hint(each, is_input=is_input)
            for each in arguments[: 1 if name == "Annotated" else None]
            if not _is_none(each)
        ]
        return kinds[0] if len(set(kinds)) == 1 else _number(kinds)
    if name == "Literal":
        values = [each.value if isinstance(each, ast.Constant) else each for each in arguments]
        kinds = [parameter_type(value) for value in values]
        return kinds[0] if len(set(kinds)) == 1 else None
    if is_input and name in _TEXT_ONLY:
        return None
    if name in _ROWS and arguments and _taken_apart(arguments[0])[0] in _ROWS:
        return "matrix"
    return _BY_NAME.get(name)


def _number(kinds: list[str | None]) -> str | None:
    return "numeric" if set(kinds) == {"integer", "numeric"} else None


def _is_none(hint: Any) -> bool:
    return (
        hint is type(None)
        or hint is None
        or (isinstance(hint, ast.Constant) and hint.value is None)
    )


def _taken_apart(hint: Any) -> tuple[str, list[Any]]:
    """Return the last name of an annotation, which may be a source, and what is in its brackets."""
    match hint:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name, []
        case ast.Constant(value=str(text)):
            with suppress(SyntaxError):
                return _taken_apart(ast.parse(text, mode="eval").body)
            return "", []
        case ast.Subscript(value=value, slice=ast.Tuple(elts=parts)):
            return _taken_apart(value)[0], list(parts)
        case ast.Subscript(value=value, slice=part):
            return _taken_apart(value)[0], [part]
        case ast.BinOp(op=ast.BitOr()):
            return "Union", _alternatives(hint)
        case ast.AST():
            return "", []
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        return "Union", list(typing.get_args(hint))
    if origin is not None:
        return getattr(origin, "__name__", None) or str(origin).rpartition(".")[2], list(
            typing.get_args(hint)
        )
    return getattr(hint, "__name__", "") or str(hint).rpartition(".")[2], []


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    return [node]


def _parts_of_tuple(hint: Any) -> list[Any]:
    """Return the annotations of the elements of a tuple that has several, of any length none."""
    if isinstance(hint, str):
        try:
            hint = ast.parse(hint, mode="eval").body
        except SyntaxError:
            return []
    name, parts = _taken_apart(hint)
    is_open = any(
        part is Ellipsis or (isinstance(part, ast.Constant) and part.value is Ellipsis)
        for part in parts
    )
    return parts if name in {"tuple", "Tuple"} and len(parts) > 1 and not is_open else []


def _annotations(signature: inspect.Signature) -> dict[str, Any]:
    """Return the annotations as they stand, those of ``__call__`` and of partials among them."""
    found = {each.name: each.annotation for each in signature.parameters.values()}
    found["return"] = signature.return_annotation
    return {name: hint for name, hint in found.items() if hint is not inspect.Parameter.empty}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function, as text where they can't be looked up."""
    with suppress(Exception):  # annotations are code of the user's
        return typing.get_type_hints(function, include_extras=True)
    return dict(getattr(function, "__annotations__", {}))


def _source_of(function: Callable[..., Any]) -> Definition | None:
    try:
        return last_definition(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):
        return None


def _stub(definition: Definition) -> types.FunctionType:
    """Make a function that has a signature and nothing else, without running any of the source."""
    arguments = definition.args
    module = ast.parse(f"def {definition.name}(): pass")
    stub = typing.cast("ast.FunctionDef", module.body[0])
    stub.args = ast.arguments(
        posonlyargs=_bare(arguments.posonlyargs),
        args=_bare(arguments.args),
        vararg=None,
        kwonlyargs=_bare(arguments.kwonlyargs),
        kw_defaults=[each and _literal(each) for each in arguments.kw_defaults],
        kwarg=None,
        defaults=[_literal(each) for each in arguments.defaults],
    )
    namespace: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(module), "<signature>", "exec"), namespace)  # noqa: S102  # literals alone
    made: types.FunctionType = namespace[definition.name]
    annotated = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    made.__annotations__ = {
        each.arg: ast.unparse(each.annotation) for each in annotated if each.annotation
    }
    if definition.returns is not None:
        made.__annotations__["return"] = ast.unparse(definition.returns)
    return made


def _bare(arguments: Iterable[ast.arg]) -> list[ast.arg]:
    return [ast.arg(each.arg) for each in arguments]


def _literal(default: ast.expr) -> ast.expr:
    """Keep a default that is written down; any other stands for one that JSON can't carry."""
    try:
        ast.literal_eval(default)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.Constant(Ellipsis)
    return default
