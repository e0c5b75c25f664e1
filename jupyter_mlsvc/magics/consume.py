"""``%consume``: call a service."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.options import LineParser
from jupyter_mlsvc.wire.names import python_name
from jupyter_mlsvc.wire.suggestions import did_you_mean

if TYPE_CHECKING:
    from jupyter_mlsvc.client.results import ServiceResult
    from jupyter_mlsvc.client.service import Service

_FORM: Final = (
    "%consume NAME [VERSION] input=VALUE …   where a VALUE is an expression, such as rows.head(3)"
)
# Names of R's services may have dots; the accent of a letter may stand behind it (``e\u0301``).
_ASSIGNMENT: Final = re.compile(r"((?:[^\W\d]|\.(?!\d))[\w.\u0300-\u036f]*)\s*=(?!=)\s*")
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"
_QUOTES: Final = "\"'"
_IPYTHONS: Final = frozenset({"In", "Out", "exit", "get_ipython", "open", "quit"})
EXPRESSION: Final = "_expression_of_the_line"
"""Stands for an expression where a line is read as words."""


@magics_class
class ConsumeMagics(MlsvcMagics):
    """Calling services."""

    @no_var_expand
    @needs_local_scope
    @magic_arguments()
    @argument(
        "--stream",
        action="store_true",
        help="show the items of the answer as they come; an interrupt of the kernel ends them",
    )
    @argument("name", help="name of the service")
    @argument("version", nargs="?", help="version; the newest where it is left out")
    @argument(
        "inputs",
        nargs="*",
        default=[],
        metavar="input=VALUE",
        help="Python literals, variables, or other expressions of this notebook",
    )
    @line_magic
    def consume(self, line: str, local_ns: Mapping[str, Any] | None = None) -> ServiceResult | None:
        """Call a service and return its outputs, those of the type data.frame as DataFrames.

        Examples::

            %consume Iris V1.0 flower_data=[7, 3.2, 4.7, 1.4]
            result = %consume Iris flower_data=flowers.iloc[0]
            result.iris_species
            %consume --stream Chat prompt="Hello"
        """
        parser = LineParser(self.consume.parser, _FORM)
        words, texts = split_inputs(line)
        arguments = parser.parse(words)
        if arguments.inputs:
            raise parser.misuse(f"{arguments.inputs[0]!r} is no input=VALUE")
        namespace = self.namespace(local_ns)
        inputs: dict[str, Any] = {}
        for name, text in texts:
            if name in inputs:
                raise parser.misuse(f"{name!r} is given twice")
            try:
                inputs[name] = value_of(text, namespace)
            except ValueError as error:
                raise parser.misuse(f"{name}={text}: {error}") from None
        service = self.connection.client.services.get(arguments.name, arguments.version)
        if arguments.stream:
            return _show_items(service, inputs)
        with self.connection.waiting(f"Calling {service.name} {service.version}"):
            result = service.call(inputs)
        # An error names the version by itself.
        result.raise_for_error()
        if arguments.version is None:
            print(f"{result.answered_by} answered.")
        return result


def _show_items(service: Service, inputs: dict[str, Any]) -> ServiceResult | None:
    """Show items as they come; returns what the answer has beside, if it has anything."""
    texts = {each.name for each in service.outputs if each.type == "character"}
    is_in_line = False
    with service.stream(**inputs) as items:
        for item in items:
            is_in_line = items.output in texts
            if is_in_line:
                print(item, end="", flush=True)
            elif hasattr(item, "_repr_html_"):
                display(item)
            else:
                print(item, flush=True)
    if is_in_line:
        print()
    result = items.result
    return result if result is not None and (result.outputs or result.console_output) else None


def split_inputs(line: str) -> tuple[str, list[tuple[str, str]]]:
    """Split a line into what comes before the first ``name=`` and the names with their texts."""
    starts = list(_assignments(line))
    if not starts:
        return line, []
    ends = [*(start for start, _, _ in starts[1:]), len(line)]
    inputs = [
        (name, line[value_at:end].strip().rstrip(",").rstrip())
        for (_, name, value_at), end in zip(starts, ends, strict=True)
    ]
    return line[: starts[0][0]], inputs


def value_of(text: str, namespace: Mapping[str, Any]) -> Any:
    """Read a value: a Python literal, or an expression of the notebook.

    Raises
    ------
    ValueError
        It is neither, or evaluating it raised; the message says why.
    """
    with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ast.literal_eval(text)
    if text.isidentifier():
        name = python_name(text)
        if name not in namespace:
            own = [each for each in namespace if not each.startswith("_") and each not in _IPYTHONS]
            raise ValueError(f"there is no variable {name!r} here.{did_you_mean(name, own)}")
        return namespace[name]
    try:
        code = compile(text, "<value>", "eval")
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"no Python expression: {reason}") from None
    try:
        # A copy, so that nothing that the expression does to names stays.
        return eval(code, dict(namespace))  # noqa: S307 - the user's own line in the user's kernel
    except Exception as error:  # noqa: BLE001 - whatever the user's expression raises
        raise ValueError(f"{type(error).__name__}: {error}") from None


def take_expression(line: str) -> tuple[str, str | None]:
    """Put a name in place of the first word with brackets, and give that word as it stands."""
    at, words = 0, list[tuple[int, int]]()
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        end = _end_of_word(line, at)
        words.append((at, end))
        at = end
    for start, end in words:
        word = line[start:end]
        if any(letter in word for letter in "([") and word[0] not in _QUOTES and word[0] != "-":
            return f"{line[:start]}{EXPRESSION}{line[end:]}", word
    return line, None


def _end_of_word(line: str, start: int) -> int:
    """Find where a word ends: at the next space outside of brackets and strings."""
    return next((at for at in _outside(line, start) if line[at].isspace()), len(line))


def _assignments(line: str) -> Iterator[tuple[int, str, int]]:
    """Find each ``name=`` outside of brackets and strings: its place, itself, its value's place."""
    value_at = -1
    for at in _outside(line):
        is_boundary = at == 0 or line[at - 1].isspace() or line[at - 1] == ","
        # What stands where a value begins is no name: ``x= y=1``.
        if at > value_at and is_boundary and (found := _ASSIGNMENT.match(line, at)):
            value_at = found.end()
            yield at, found[1], value_at


def _outside(line: str, start: int = 0) -> Iterator[int]:
    """Yield the places of a line, from one on, that are in no brackets and no string."""
    depth, quote, at = 0, "", start
    while at < len(line):
        letter = line[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in _QUOTES:
            quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif depth <= 0:
            yield at
        at += 1
