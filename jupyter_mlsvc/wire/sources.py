"""Lines of code that is in no file: what tracebacks, ``inspect.getsource`` and ``name??`` show.

Code of a notebook is in no file. Its interpreter keeps the text of each cell in :mod:`linecache`,
under a name that nobody else knows. With a function or class of a notebook the text of its cell
travels, under a name made of the text, and whoever reads it puts it into :mod:`linecache` again.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import re
import sysconfig
import types
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, Final, NamedTuple

MAX_CHARACTERS: Final = 2**20
"""Characters of a source that travels; of a longer one the lines are not known elsewhere."""

_OURS: Final = re.compile(r"<[^<>]+ [0-9a-f]{8}>")
_CELL: Final = re.compile(r"<cell [0-9a-f]{8}>|<ipython-input-.*>|.*[/\\]ipykernel_\d+[/\\]\d+\.py")
_CLASS: Final = re.compile(r"^[ \t]*class[ \t]+(\w+)", re.MULTILINE)


ClassesOf = Callable[[str], frozenset[str]]


class Source(NamedTuple):
    """The name and the text of a cell or a file."""

    name: str
    text: str


class Sources:
    """The sources of code that is written, each of them made once."""

    def __init__(self) -> None:
        self._found: dict[str, Source | None] = {}
        self._classes: dict[str, frozenset[str]] = {}

    def find(self, file_name: str) -> Source | None:
        """Return the source of code by its ``co_filename``; None where it is not the user's."""
        if file_name not in self._found:
            self._found[file_name] = self._look_for(file_name)
        return self._found[file_name]

    def of_class(self, kind: type) -> Source | None:
        """Return the source of a class that is in no module."""
        file_name = file_of_class(kind, self._classes_of)
        return None if file_name is None else self.find(file_name)

    def _classes_of(self, file_name: str) -> frozenset[str]:
        if file_name not in self._classes:
            self._classes[file_name] = _classes_of(file_name)
        return self._classes[file_name]

    def _look_for(self, file_name: str) -> Source | None:
        if file_name.startswith(_libraries()):
            return None
        text = "".join(linecache.getlines(file_name))
        if not text or len(text) > MAX_CHARACTERS:
            return None
        if _OURS.fullmatch(file_name):
            return Source(file_name, text)
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).hexdigest()
        label = "cell" if _is_cell(file_name) else PurePath(file_name).name
        return Source(f"<{label} {digest}>", text)


@functools.cache
def _libraries() -> tuple[str, ...]:
    return tuple(
        sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib")
    )


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


def file_of_class(kind: type, classes_of: ClassesOf | None = None) -> str | None:
    """Return the name under which :mod:`linecache` has the source of a class of a notebook.

    It is that of its methods, or else the newest cell that has such a class.

    Parameters
    ----------
    classes_of
        Gives the qualified names of the classes in a source, by the source's name.
    """
    classes_of = classes_of or _classes_of
    functions = (inspect.unwrap(each) for each in map(_function_of, vars(kind).values()) if each)
    from_methods = dict.fromkeys(
        each.__code__.co_filename
        for each in functions
        if isinstance(each, types.FunctionType) and each.__qualname__.startswith(kind.__qualname__)
    )
    cells = (each for each in reversed(list(linecache.cache)) if _is_cell(each))
    files = (each for each in (*from_methods, *cells) if kind.__qualname__ in classes_of(each))
    return next(files, None)


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


def _classes_of(file_name: str) -> frozenset[str]:
    """Read the qualified names of the classes in a source, such as ``Outer.Inner``."""
    text = "".join(linecache.getlines(file_name))
    if "class" not in text:
        return frozenset()
    try:
        return frozenset(_classes_in(ast.parse(text), ""))
    except (SyntaxError, ValueError, RecursionError):
        # A cell may have lines for IPython.
        return frozenset(_CLASS.findall(text))


def _classes_in(node: ast.AST, place: str) -> Iterator[str]:
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.ClassDef):
            yield f"{place}{each.name}"
            yield from _classes_in(each, f"{place}{each.name}.")
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _classes_in(each, f"{place}{each.name}.<locals>.")
        elif isinstance(each, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _classes_in(each, place)
