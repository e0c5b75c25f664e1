"""Lines of code that is in no file: what tracebacks, ``inspect.getsource`` and ``name??`` show.

Code of a notebook is in no file. Its interpreter keeps the text of each cell in :mod:`linecache`,
under a name that nobody else knows. With a function or class of a notebook the text of its cell
travels, under a name made of the text, and whoever reads it puts it into :mod:`linecache` again.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import re
import sysconfig
import types
from pathlib import PurePath
from typing import Any, Final, NamedTuple

MAX_CHARACTERS: Final = 2**20
"""Characters of a source that travels; of a longer one the lines are not known elsewhere."""

_OURS: Final = re.compile(r"<[^<>]+ [0-9a-f]{8}>")
_CELL: Final = re.compile(r"<cell [0-9a-f]{8}>|<ipython-input-.*>|.*[/\\]ipykernel_\d+[/\\]\d+\.py")
_LIBRARIES: Final = ("stdlib", "platstdlib", "purelib", "platlib")


class Source(NamedTuple):
    """The name and the text of a cell or a file."""

    name: str
    text: str


class Sources:
    """The sources of code that is written, each of them made once."""

    def __init__(self) -> None:
        self._found: dict[str, Source | None] = {}
        self._libraries = tuple(sysconfig.get_path(each) for each in _LIBRARIES)

    def find(self, file_name: str) -> Source | None:
        """Return the source of code by its ``co_filename``; None where it is not the user's."""
        if file_name not in self._found:
            self._found[file_name] = self._look_for(file_name)
        return self._found[file_name]

    def of_class(self, kind: type) -> Source | None:
        """Return the source of a class that is in no module."""
        file_name = file_of_class(kind)
        return None if file_name is None else self.find(file_name)

    def _look_for(self, file_name: str) -> Source | None:
        if file_name.startswith(self._libraries):
            return None
        text = "".join(linecache.getlines(file_name))
        if not text or len(text) > MAX_CHARACTERS:
            return None
        if _OURS.fullmatch(file_name):
            return Source(file_name, text)
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).hexdigest()
        label = "cell" if _is_cell(file_name) else PurePath(file_name).name
        return Source(f"<{label} {digest}>", text)


def show_source(name: str, text: str) -> None:
    """Let tracebacks, warnings and ``inspect`` show the lines of code that is in no file."""
    # Each line ends with a newline, as linecache has it; the carets depend on that.
    lines = [f"{line}\n" for line in text.splitlines()]
    # No modification time: linecache then never looks for the file.
    linecache.cache[name] = (len(text), None, lines, name)


def make_code(text: str, *arguments: Any) -> types.CodeType:
    """Make a code object whose lines are known; stored contents refer to this by its name."""
    code = types.CodeType(*arguments)
    if code.co_filename not in linecache.cache:
        show_source(code.co_filename, text)
    return code


def file_of_class(kind: type) -> str | None:
    """Return the name under which :mod:`linecache` has the source of a class of a notebook.

    It is that of its methods, or else the newest cell that has such a class.
    """
    name = kind.__name__
    defined = re.compile(rf"^\s*class\s+{re.escape(name)}\b", re.MULTILINE)
    functions = (inspect.unwrap(each) for each in map(_function_of, vars(kind).values()) if each)
    from_methods = dict.fromkeys(
        each.__code__.co_filename
        for each in functions
        if isinstance(each, types.FunctionType) and each.__qualname__.startswith(kind.__qualname__)
    )
    cells = (each for each in reversed(list(linecache.cache)) if _is_cell(each))
    for file_name in (*from_methods, *cells):
        text = "".join(linecache.getlines(file_name))
        if defined.search(text) and _has_class(text, kind.__qualname__):
            return file_name
    return None


def let_inspect_find_classes() -> None:
    """Let ``inspect.getsource`` find classes of ``__main__`` by what :mod:`linecache` has."""
    plain = inspect.getfile
    if hasattr(plain, "__wrapped__"):
        return

    def getfile(object: Any) -> str:  # noqa: A002  # as inspect calls it
        """Work out which source or compiled file an object was defined in."""
        try:
            return plain(object)
        except (OSError, TypeError):
            file_name = file_of_class(object) if isinstance(object, type) else None
            if file_name is None:
                raise
            return file_name

    getfile.__wrapped__ = plain  # type: ignore[attr-defined]  # functools.wraps would hide the name
    inspect.getfile = getfile


def _is_cell(file_name: str) -> bool:
    return _CELL.fullmatch(file_name) is not None


def _function_of(member: Any) -> Any:
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    return member.fget if isinstance(member, property) else member


def _has_class(text: str, qualified_name: str) -> bool:
    """Tell whether a source defines a class of a name such as ``Outer.Inner``."""
    try:
        body: list[ast.stmt] = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        # A cell may have lines for IPython.
        return "." not in qualified_name
    wanted = [part for part in qualified_name.split(".") if part != "<locals>"]
    for part in wanted:
        found = [
            node
            for statement in body
            for node in ast.walk(statement)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == part
        ]
        if not found:
            return False
        body = [statement for node in found for statement in node.body]
    return True
