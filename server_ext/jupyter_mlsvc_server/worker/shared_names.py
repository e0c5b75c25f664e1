"""Refuses functions that would take a name of one call for that of another one.

Calls that run at the same time have a copy of the names each. Functions of the snapshot and those
that setupCode defines have the names that all calls share as their globals. So a function that
looks up a name that calls set would not find its own call's, and one that sets a global would set
it for all calls. Both say so when they are published.
"""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from jupyter_mlsvc_server.formats.problems import CodeProblem
from jupyter_mlsvc_server.worker.code_facts import with_inner

_READS: Final = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"}
_SETS: Final = {"STORE_NAME", "DELETE_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"}
_SETS_GLOBAL: Final = {"STORE_GLOBAL", "DELETE_GLOBAL"}
_IMPORTS: Final = {"IMPORT_NAME", "IMPORT_FROM"}


def refuse_shared_names(
    inputs: Iterable[str],
    codes: Iterable[types.CodeType],
    setup: types.CodeType,
    namespace: dict[str, Any],
    functions: Iterable[types.CodeType],
    of_modules: Iterable[types.CodeType],
) -> None:
    """Refuse functions that look up what calls set, or set what all calls share.

    Parameters
    ----------
    inputs
        Names of the inputs.
    codes
        What runs for each call.
    setup
        What runs once in each worker, with the names that all calls share.
    namespace
        These names.
    functions, of_modules
        The code of functions with these names as globals, and of the user's own modules.

    Raises
    ------
    CodeProblem
        There is such a function; the message names it and the name.
    """
    own = {*inputs, *names_set(codes, namespace)}
    of_setup = [each for each in setup.co_consts if isinstance(each, types.CodeType)]
    functions = [*functions, *of_setup]
    for function in functions:
        for part in with_inner(function):
            for name in _named(part, _READS):
                if name in own:
                    raise CodeProblem(_LOOKS_UP.format(_name(function), name))
    for function in (*functions, *of_modules):
        for part in with_inner(function):
            for name in _named(part, _SETS_GLOBAL):
                raise CodeProblem(_SETS_FOR_ALL.format(_name(function), name))


def names_set(codes: Iterable[types.CodeType], namespace: Mapping[str, Any]) -> set[str]:
    """Name what code sets, but for what it imports and the namespace has just so."""
    names = set[str]()
    for code in codes:
        for part in with_inner(code):
            kinds = _SETS if part is code else _SETS_GLOBAL
            module, before = "", None
            for each in dis.get_instructions(part):
                if each.opname == "IMPORT_NAME":
                    module = each.argval
                if each.opname in kinds and not (
                    before is not None
                    and before.opname in _IMPORTS
                    and _is_there(namespace, each.argval, module, before)
                ):
                    names.add(each.argval)
                before = each
    return names


def _is_there(
    namespace: Mapping[str, Any], name: str, module: str, origin: dis.Instruction
) -> bool:
    """Whether a namespace has what is imported under a name."""
    if name not in namespace:
        return False
    value, loaded = namespace[name], sys.modules.get(module)
    if origin.opname == "IMPORT_NAME":
        return value is sys.modules.get(module.partition(".")[0])
    # This is also how ``import a.b as c`` gets at its module.
    return value is getattr(loaded, origin.argval, None) or value is loaded is not None


def _named(code: types.CodeType, kinds: Collection[str]) -> Iterator[str]:
    return (each.argval for each in dis.get_instructions(code) if each.opname in kinds)


def _name(code: types.CodeType) -> str:
    return code.co_qualname.rpartition("<locals>.")[2]


_LOOKS_UP: Final = (
    "Function {0!r} looks up {1!r}, which each call sets for itself. Calls of this version run at "
    "the same time, and functions see only the names that all of them share. Give {0!r} the value "
    "as an argument."
)
_SETS_FOR_ALL: Final = (
    "Function {0!r} sets the global name {1!r}, which all calls of this version share at the same "
    "time. Have it return the value."
)
