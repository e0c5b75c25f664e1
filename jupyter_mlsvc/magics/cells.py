"""Cells with our magics, read for what they say about a service without running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from IPython.core.error import UsageError

from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.magics.options import LineParser
from jupyter_mlsvc.magics.publish import PublishMagics, request_of
from jupyter_mlsvc.magics.remote_exec import RemoteExecMagics
from jupyter_mlsvc.planning.request import Request

_WORDS: Final = {"publish": 2, "remote_exec": 0}


@dataclass(slots=True)
class CellContent:
    """What a cell holds.

    Attributes
    ----------
    request : Request
        Its code without magic lines, and what these say.
    problems : list of str
        Sentences about lines that can't be used.
    """

    request: Request = field(default_factory=Request)
    problems: list[str] = field(default_factory=list)


def read_content(cell: str, runtime: str | None = None) -> CellContent:
    """Read a cell; never raises.

    Parameters
    ----------
    cell : str
    runtime : str, optional
        Language of its code, where the cell does not say it; Python where it is left out.
    """
    content = CellContent(Request(runtime=runtime))
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
        code = _take_options(content, lines[0].strip()[1:])
    else:
        code = _without_magics(content, "".join(lines))
    code = code.strip("\n")
    content.request.code = f"{code}\n" if code else ""
    return content


def read_contents(cells: Sequence[str], runtime: str | None = None) -> CellContent:
    """Read several cells as one; what the first one with a magic line says counts."""
    found = [read_content(cell, runtime) for cell in cells]
    speaking = next((each for each in found if each.request.name), None)
    content = speaking or (found[0] if found else CellContent())
    content.request.code = "\n".join(each.request.code for each in found if each.request.code)
    content.problems = [problem for each in found for problem in each.problems]
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
    before = content.request
    is_remote = before.is_remote or magic == "remote_exec"
    before.is_remote = is_remote
    if not rest.strip():
        return ""
    try:
        options = LineParser(parser.parser, "", words=_WORDS[magic]).parse(rest)
    except UsageError as error:
        content.problems.append(f"%%{magic}: {str(error).splitlines()[0]}")
        return ""
    if magic == "publish":
        try:
            content.request = made = request_of(options, "")
        except InvalidInput as error:
            content.problems.append(str(error))
            return ""
        made.sent, made.fetched, made.is_remote = before.sent, before.fetched, is_remote
        made.session = made.session or before.session
        made.runtime = made.runtime or before.runtime
    else:
        before.session = options.session or before.session
        before.runtime = options.runtime or before.runtime
        before.sent, before.fetched = list(options.inputs), list(options.outputs)
    code: str = options.code
    return code


def _without_magics(content: CellContent, code: str) -> str:
    """Leave lines out that are IPython's and not Python's."""
    from jupyter_mlsvc.planning.cell_code import python_of

    if content.request.runtime == "R":
        return code
    found = python_of(code)
    content.problems += found.notes
    if found.problem is not None:
        content.problems.append(found.problem)
    return found.code
