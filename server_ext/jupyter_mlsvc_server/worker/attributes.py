"""Attributes and tables of libraries' modules and classes that a call has changed.

Code that patches a library (``json.dumps = mine``) has the attribute's name in it, and reaches the
module or class through names that it has, too. So only these few are looked at, and only for
services whose code sets attributes at all. What a library sets in itself stays: it may have loaded
something that the next call would load again.
"""

from __future__ import annotations

import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from operator import is_
from typing import Any, Final

from jupyter_mlsvc_server.worker.code_facts import CodeFacts

_MISSING: Final = object()
_MAX_ITEMS: Final = 10_000
_LEFT_ALONE: Final = frozenset({"sys.modules", "sys.path_importer_cache", "warnings.filters"})
"""Tables that imports and the runtime itself fill."""


class LibraryGuard:
    """Puts attributes and tables of libraries back.

    Parameters
    ----------
    facts
        What the code of the service names.
    namespace
        Where its names are.
    own
        Modules of the user's own, which somebody else looks after.
    """

    def __init__(
        self, facts: CodeFacts, namespace: Mapping[str, Any], own: Iterable[types.ModuleType] = ()
    ) -> None:
        self._facts = facts
        self._namespace = namespace
        self._own = {id(module) for module in own}
        self._attributes: list[tuple[Any, str, Any]] = []
        self._tables: list[tuple[Any, tuple[Any, ...], Any]] = []
        self._seen: set[int] = set()
        self.note_imports()

    def note_imports(self) -> None:
        """Look after modules that are there now."""
        if not self._facts.stored and not self._facts.names:
            return
        for holder in self._holders():
            if id(holder) not in self._seen:
                self._seen.add(id(holder))
                members = vars(holder)
                self._attributes += [
                    (holder, name, members.get(name, _MISSING)) for name in self._facts.stored
                ]
                self._add_tables(holder, members)

    def put_back(self) -> str:
        """Put everything back; gives the name of what could not be, and nothing else."""
        for holder, name, value in self._attributes:
            if vars(holder).get(name, _MISSING) is not value:
                try:
                    if value is _MISSING:
                        delattr(holder, name)
                    else:
                        setattr(holder, name, value)
                except Exception:  # noqa: BLE001  # whatever it is, it is not as it was
                    return f"{holder.__name__}.{name}"
        for table, items, copy in self._tables:
            if len(table) != len(copy) or not all(map(is_, _items(table), items)):
                _fill(table, copy)
        return ""

    def _holders(self) -> Iterator[Any]:
        """Give modules and classes that the code can reach by names that it has."""
        waiting: deque[Any] = deque()
        for name in self._facts.modules:
            parts = name.split(".")
            waiting += [
                sys.modules.get(".".join(parts[:length])) for length in range(1, len(parts) + 1)
            ]
        waiting += self._namespace.values()
        if self._facts.may_use(("modules", "import_module", "__import__")):
            waiting += [sys.modules.get(name) for name in self._facts.names]
        if self._facts.may_use(("__builtins__", "builtins")):
            waiting.append(sys.modules["builtins"])
        seen = set[int]()
        while waiting:
            holder = waiting.popleft()
            if not isinstance(holder, types.ModuleType | type) or id(holder) in seen:
                continue
            seen.add(id(holder))
            if self._is_users(holder):
                continue
            yield holder
            # Not all members: a look at each would copy the memory that it shares with others.
            members = vars(holder)
            named = [members[name] for name in self._facts.names if name in members]
            waiting += [value for value in named if isinstance(value, types.ModuleType | type)]

    def _is_users(self, holder: Any) -> bool:
        if isinstance(holder, types.ModuleType):
            return id(holder) in self._own
        return bool(holder.__module__ == "__main__")

    def _add_tables(self, holder: Any, members: Mapping[str, Any]) -> None:
        for name in self._facts.names:
            table: Any = members.get(name)
            if (
                type(table) in {dict, list, set, deque}
                and len(table) <= _MAX_ITEMS
                and f"{holder.__name__}.{name}" not in _LEFT_ALONE
                and id(table) not in self._seen
            ):
                self._seen.add(id(table))
                copy = table.copy()
                self._tables.append((table, tuple(_items(copy)), copy))


def _items(table: Any) -> Iterable[Any]:
    """Give what is in a table; what it has by keys alternates with them."""
    if isinstance(table, dict):
        return (part for item in table.items() for part in item)
    return iter(table)  # type: ignore[no-any-return]  # a list, set or deque


def _fill(table: Any, copy: Any) -> None:
    table.clear()
    table.update(copy) if isinstance(table, dict | set) else table.extend(copy)
