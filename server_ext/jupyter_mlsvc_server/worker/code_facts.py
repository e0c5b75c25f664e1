"""What people's code names: which of the things that a call may change it can get at.

Looking at everything that a process has after each call would take longer than most calls. Code
that sets the umask says ``umask`` somewhere, so a service that never says it need not pay for a
look. Names are those of the code itself and of all functions of the user's own, in the snapshot and
in modules among its files. Texts count as names too, for ``getattr(os, "umask")``. Code that runs
texts (``exec``) may name anything.
"""

from __future__ import annotations

import dis
import gc
import re
import types
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import Any, Final

_RUNS_TEXTS: Final = frozenset({"exec", "eval", "execfile", "runpy", "__import__", "import_module"})
_SETS_BY_TEXT: Final = _RUNS_TEXTS | {
    "setattr",
    "delattr",
    "vars",
    "__dict__",
    "patch",
    "__setattr__",
}
_SETS: Final = {"STORE_ATTR", "DELETE_ATTR"}
_ATTRIBUTES: Final = {"LOAD_ATTR", "LOAD_METHOD"}
_WORD: Final = re.compile(r"[^\W\d]\w*")
_MAX_TEXT: Final = 200
_TEMPORARY: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - what code names, not used


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What some code names.

    Attributes
    ----------
    names : frozenset of str
        All names of variables and attributes, and words of its texts.
    stored : frozenset of str
        Attributes that it sets or deletes, as far as is known.
    modules : frozenset of str
        Modules that it imports.
    runs_texts : bool
        Whether it may run code that is not there to be looked at.
    names_temporary : bool
        Whether it names the system's folders for temporary files.
    """

    names: frozenset[str] = frozenset()
    stored: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    runs_texts: bool = False
    names_temporary: bool = False

    def __or__(self, other: CodeFacts) -> CodeFacts:
        """Give what either names."""
        return CodeFacts(
            self.names | other.names,
            self.stored | other.stored,
            self.modules | other.modules,
            self.runs_texts or other.runs_texts,
            self.names_temporary or other.names_temporary,
        )

    def may_use(self, words: Collection[str]) -> bool:
        """Whether the code can get at what goes by some of these names."""
        return self.runs_texts or not self.names.isdisjoint(words)


def facts_of(codes: Iterable[types.CodeType]) -> CodeFacts:
    """Read what compiled code names, that of functions and classes in it included."""
    return reduce(or_, (_facts(part) for code in codes for part in with_inner(code)), CodeFacts())


def user_functions(
    namespace: dict[str, Any], modules: Iterable[types.ModuleType] = ()
) -> Iterator[types.CodeType]:
    """Give the code of all functions of a namespace and of modules, wherever they are kept.

    Those of a process that this one was forked from, and that were frozen there, are left out.
    """
    spaces = {id(namespace), *(id(vars(module)) for module in modules)}
    for candidate in gc.get_objects():
        if type(candidate) is types.FunctionType and id(candidate.__globals__) in spaces:
            yield candidate.__code__


def with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    """Give compiled code and that of the functions and classes in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from with_inner(constant)


def _facts(code: types.CodeType) -> CodeFacts:
    texts = {text for text in _texts(code.co_consts) if len(text) <= _MAX_TEXT}
    words = {word for text in texts for word in _WORD.findall(text)}
    names = {part for name in code.co_names for part in name.split(".")}
    stored, modules = set[str](), set[str]()
    instructions = [each for each in dis.get_instructions(code) if each.opname != "PRECALL"]
    for instruction in instructions:
        if instruction.opname in _SETS:
            stored.add(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            modules.add(instruction.argval)
    if not names.isdisjoint(_SETS_BY_TEXT):
        stored |= words
    return CodeFacts(
        names=frozenset(names | words),
        stored=frozenset(stored),
        modules=frozenset(modules),
        runs_texts=not names.isdisjoint(_RUNS_TEXTS - {"eval"}) or _evaluates(instructions),
        names_temporary=any(text.startswith(_TEMPORARY) for text in texts),
    )


def _evaluates(instructions: list[dis.Instruction]) -> bool:
    """Whether code names ``eval`` other than as a method without arguments, as models have."""
    return any(
        each.argval == "eval"
        and not (each.opname in _ATTRIBUTES and then.opname == "CALL" and then.arg == 0)
        for each, then in pairwise(instructions)
    )


def _texts(constants: Iterable[Any]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple | frozenset):
            yield from _texts(constant)
