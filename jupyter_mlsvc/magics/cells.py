"""Cells with our magics, read for what they say about a service without running them."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from IPython.core.error import UsageError

from jupyter_mlsvc.magics.options import LineParser
from jupyter_mlsvc.magics.publish import PublishMagics
from jupyter_mlsvc.magics.remote_exec import RemoteExecMagics
from jupyter_mlsvc.wire.models import ParameterDefinition

_WORDS: Final = {"publish": 2, "remote_exec": 0}


@dataclass(slots=True)
class CellContent:
    """What a cell holds: code, and what its magic lines say.

    Attributes
    ----------
    code : str
        Without magic lines.
    inputs, outputs : list of ParameterDefinition
        Declared by ``publish``.
    sent, fetched : list of str
        Names that ``remote_exec`` sends and brings back.
    is_remote : bool
        Whether the code runs in a session.
    runtime : str or None
        Its language, where a magic line says it.
    problems : list of str
        Sentences about lines that can't be used.
    """

    code: str = ""
    name: str = ""
    version: str = ""
    session: str | None = None
    snapshot: str | None = None
    init_code: str = ""
    description: str = ""
    alias: str = ""
    inputs: list[ParameterDefinition] = field(default_factory=list)
    outputs: list[ParameterDefinition] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    is_remote: bool = False
    runtime: str | None = None
    problems: list[str] = field(default_factory=list)


def read_content(cell: str, runtime: str | None = None) -> CellContent:
    """Read a cell; never raises.

    Parameters
    ----------
    cell : str
    runtime : str, optional
        Language of its code, where the cell does not say it; Python where it is left out.
    """
    content = CellContent(runtime=runtime)
    lines = cell.splitlines(keepends=True)
    while lines:
        first = lines[0].strip()
        if first.startswith("%%"):
            _take_options(content, first[2:])
        elif first:
            break
        del lines[0]
    word = lines[0].strip().split(maxsplit=1)[0] if lines else ""
    if word[1:] in _WORDS and word.startswith("%") and not "".join(lines[1:]).strip():
        content.code = _take_options(content, lines[0].strip()[1:])
    else:
        content.code = _without_magics(content, lines)
    content.code = content.code.strip("\n")
    if content.code:
        content.code += "\n"
    return content


def _take_options(content: CellContent, line: str) -> str:
    """Note what a magic's line says, and give the code on it."""
    magic, _, rest = line.partition(" ")
    parser: Any = {
        "publish": PublishMagics.publish,
        "remote_exec": RemoteExecMagics.remote_exec,
    }.get(magic)
    if parser is None:
        return ""
    content.is_remote = content.is_remote or magic == "remote_exec"
    if not rest.strip():
        return ""
    try:
        options = LineParser(parser.parser, "", words=_WORDS[magic]).parse(rest)
    except UsageError as error:
        content.problems.append(f"%%{magic}: {str(error).splitlines()[0]}")
        return ""
    content.session = options.session or content.session
    content.runtime = options.runtime or content.runtime
    if magic == "publish":
        _note_definition(content, options)
    else:
        content.sent, content.fetched = list(options.inputs), list(options.outputs)
    code: str = options.code
    return code


def _note_definition(content: CellContent, options: argparse.Namespace) -> None:
    content.name, content.version = options.name, options.version or ""
    content.inputs, content.outputs = list(options.inputs or ()), list(options.outputs or ())
    content.snapshot = options.snapshot
    content.init_code = options.init_code or ""
    content.description = options.description or ""
    content.alias = options.alias or ""
    content.files = list(options.files or ())


def _without_magics(content: CellContent, lines: Sequence[str]) -> str:
    """Leave lines out that are IPython's and not Python's."""
    code = "".join(lines)
    if content.runtime == "R" or _compiles(code):
        return code
    kept = "".join(
        line
        for line in lines
        if not line.lstrip().startswith(("%", "!", "?")) and not line.rstrip().endswith("?")
    )
    if _compiles(kept):
        return kept
    try:
        ast.parse(kept)
    except (SyntaxError, ValueError) as error:
        where = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        content.problems.append(
            f"This is no Python that a service could run: {where}{error.args[0]}."
        )
    return kept


def _compiles(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    return True
