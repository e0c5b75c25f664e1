"""The order in which the objects of a workspace are written, which is that of restoring them.

Restoring runs code of the notebook: ``__setstate__``, ``__hash__``, what ``__reduce__`` names. That
code looks up names, which should be there by then::

    modules, constants, functions and classes, other values, and then what holds instances of the
    notebook's classes: each one behind the names that restoring it may look up.

Which these are is read from the code, without running it: from the methods that restoring calls,
through the functions and classes that they name. What is missed this way is tried again when the
rest is there (``restore``).
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from jupyter_mlsvc.wire.objects import Namespace, names_looked_up

_CALLED: Final = (
    "__new__", "__init__", "__setstate__", "__reduce__", "__reduce_ex__", "__hash__", "__eq__",
    "__setattr__", "__getattr__", "__getattribute__", "__set__", "__setitem__", "__missing__",
    "append", "extend", "add", "update", "__len__", "__bool__", "__iter__", "__lt__", "__index__",
)  # fmt: skip
_CONSTANTS: Final = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis)}
)
_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
_MAX_VISITED: Final = 2_000
"""Objects that are looked at in one value: where an instance is at all, one comes soon."""

_MODULE, _CONSTANT, _CODE, _VALUE, _INSTANCE = range(5)


def in_order(own: Mapping[str, Any], namespace: Namespace) -> list[str]:
    """Sort the names of a workspace.

    Parameters
    ----------
    own
        The objects by name.
    namespace
        The globals of the notebook's functions.
    """
    ranks: dict[str, int] = {}
    kinds: dict[str, set[type]] = {}
    for name, value in own.items():
        ranks[name], kinds[name] = _rank(value)
    names = sorted(own, key=ranks.__getitem__)
    waiting = [name for name in names if ranks[name] == _INSTANCE]
    if len(waiting) > 1:
        names[-len(waiting) :] = _behind_needs(waiting, _Needs(own, namespace), kinds)
    return names


def _rank(value: Any) -> tuple[int, set[type]]:
    # Its real class is asked: proxies pretend to be of another, or fail.
    kind = type(value)
    if issubclass(kind, types.ModuleType):
        return _MODULE, set()
    if issubclass(kind, types.FunctionType | type):
        return _CODE, set()
    if kind in _CONSTANTS:
        return _CONSTANT, set()
    kinds, is_constant = _look_into(value)
    if kinds:
        return _INSTANCE, kinds
    return _CONSTANT if is_constant else _VALUE, kinds


def _look_into(value: Any) -> tuple[set[type], bool]:
    """Find the notebook's classes that a value has instances of, and whether all is constant."""
    kinds, is_constant = set[type](), True
    waiting, seen = [value], set[int]()
    while waiting and len(seen) < _MAX_VISITED:
        here = waiting.pop()
        kind = type(here)
        if kind in _CONSTANTS or id(here) in seen:
            continue
        seen.add(id(here))
        is_constant &= kind in _CONTAINERS
        if issubclass(kind, _CONTAINERS):
            waiting.extend(_items(here))
        if _is_of_notebook(kind):
            kinds.add(kind)
            waiting.extend(_attributes(here))
        elif kind.__name__ in {"ndarray", "Series", "DataFrame"}:
            waiting.extend(_objects_of_table(here))
    return kinds, is_constant and not waiting


def _items(container: Any) -> Iterable[Any]:
    if isinstance(container, dict):
        return [each for pair in list(dict.items(container))[:_MAX_VISITED] for each in pair]
    first = zip(range(_MAX_VISITED), tuple(container), strict=False)
    return [each for _, each in first]


def _attributes(instance: Any) -> Iterable[Any]:
    try:
        return list(object.__getattribute__(instance, "__dict__").values())
    except AttributeError:
        return ()


def _objects_of_table(table: Any) -> Iterable[Any]:
    """Give some objects of an array or table that holds such."""
    try:
        if type(table).__name__ == "DataFrame":
            return [each for name in table.columns for each in table[name].tolist()[:1]]
        return table.ravel().tolist()[:10] if table.dtype == object else ()
    except Exception:  # noqa: BLE001  # it only looks like one
        return ()


def _is_of_notebook(kind: type) -> bool:
    return getattr(kind, "__module__", None) == "__main__"


class _Needs:
    """Finds the names that restoring an instance of a class may look up."""

    def __init__(self, own: Mapping[str, Any], namespace: Namespace) -> None:
        self._own = own
        self._namespace = namespace
        self._of_function: dict[types.FunctionType, tuple[set[str], set[str]]] = {}
        self._of_class: dict[type, set[str]] = {}

    def of_class(self, kind: type) -> set[str]:
        """Return the names."""
        if kind not in self._of_class:
            self._of_class[kind] = self._closure(self._methods(kind, _CALLED), kind)
        return self._of_class[kind]

    def _closure(self, functions: Iterable[types.FunctionType], kind: type) -> set[str]:
        names: set[str] = set()
        waiting, seen = list(functions), set[types.FunctionType]()
        while waiting:
            function = waiting.pop()
            if function in seen:
                continue
            seen.add(function)
            looked_up, attributes = self._read(function)
            waiting.extend(self._methods(kind, attributes))
            for name in looked_up - names:
                names.add(name)
                value = self._own[name]
                if type(value) is types.FunctionType:
                    waiting.append(value)
                elif issubclass(type(value), type) and _is_of_notebook(value):
                    waiting.extend(self._methods(value, (*_CALLED, *attributes)))
                elif _is_of_notebook(type(value)):
                    waiting.extend(self._methods(type(value), (*_CALLED, *attributes)))
        return names

    def _read(self, function: types.FunctionType) -> tuple[set[str], set[str]]:
        """Return the names of the workspace that a function looks up, and attributes it asks for.

        A name may also be written as text: ``globals()["SALT"]``.
        """
        if function not in self._of_function:
            if function.__globals__ is not self._namespace:
                self._of_function[function] = set(), set()
            else:
                codes = list(_with_inner(function.__code__))
                texts = {each for code in codes for each in code.co_consts if type(each) is str}
                looked_up = (names_looked_up(function) | texts) & self._own.keys()
                attributes = {each for code in codes for each in code.co_names}
                self._of_function[function] = looked_up, attributes
        return self._of_function[function]

    @staticmethod
    def _methods(kind: type, names: Iterable[str]) -> Iterator[types.FunctionType]:
        for base in kind.__mro__:
            if not _is_of_notebook(base):
                continue
            members = vars(base)
            for name in names:
                member = members.get(name)
                if isinstance(member, classmethod | staticmethod):
                    member = member.__func__
                elif isinstance(member, property):
                    member = member.fget
                if type(member) is types.FunctionType:
                    yield member


def _with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _with_inner(each)


def _behind_needs(names: list[str], needs: _Needs, kinds: Mapping[str, set[type]]) -> list[str]:
    """Sort names so that each comes behind those that it needs, as far as there is no circle."""
    places = {name: place for place, name in enumerate(names)}
    wanted = {
        name: sorted(
            {need for kind in kinds[name] for need in needs.of_class(kind)} & places.keys(),
            key=places.__getitem__,
        )
        for name in names
    }
    ordered: dict[str, None] = {}
    for start in names:
        # A stack of our own: chains of instances may be longer than Python's.
        path = [(start, iter(wanted[start]))]
        seen = {start}
        while path:
            name, rest = path[-1]
            need = next((each for each in rest if each not in ordered and each not in seen), None)
            if need is None:
                ordered[name] = None
                path.pop()
            else:
                seen.add(need)
                path.append((need, iter(wanted[need])))
    return list(ordered)
