"""Notices when a request changed objects of the snapshot in place.

Names are put back after each request at no cost; an object that was changed (``seen.append(x)``,
``model.fit(…)``, ``weights += 1``) can't be. The worker then has to be replaced by a new one, so
that no request sees what another did. Looking has to cost next to nothing, so it looks at identity
of members rather than at values, and has its bounds: see the constants.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any, Final

MOST_MEMBERS: Final = 5_000
"""Members that are looked at in all; of what comes after that only the length is."""

WHOLE_ARRAY: Final = 2**16
"""Bytes of an array up to which every element is compared; of larger ones a sample is."""

_SAMPLE: Final = 64
_Check = Callable[[], bool]


class Watch:
    """Remembers what can be reached from some names, and tells whether it is still the same.

    Parameters
    ----------
    base
        The namespace as restored.
    names
        The names that the code can get at, directly or through functions that it calls.
    modules
        Modules of the user's own.
    """

    def __init__(
        self,
        base: Mapping[str, Any],
        names: Iterable[str],
        modules: Iterable[types.ModuleType] = (),
    ) -> None:
        # How values of the standard library are looked at.
        self._looks: tuple[tuple[Any, Callable[[Any, bool], None]], ...] = (
            (types.ModuleType, lambda _value, _is_users: None),
            ((list, deque), self._sequence),
            (dict, self._dict),
            (set, self._set),
            (bytearray, self._buffer),
            ((tuple, frozenset), self._all_of),
            (types.FunctionType, self._function),
            (type, self._class),
        )
        self._checks: list[_Check] = []
        self._members = 0
        self._seen: set[int] = set()
        self._labels: list[str] = []
        self._label = ""
        self._waiting: deque[tuple[Any, bool, str]] = deque()
        roots = [(base[name], f"the object {name!r}") for name in sorted(names) if name in base]
        # What a process has one of is no part of a snapshot, but no request should see it changed.
        roots += [(sys.path, "sys.path"), (vars(os.environ).get("_data"), "the environment")]
        roots += [(vars(module), f"the module {module.__name__!r}") for module in modules]
        self._waiting.extend((root, True, label) for root, label in roots)
        while self._waiting:
            value, is_users, self._label = self._waiting.popleft()
            if id(value) not in self._seen:
                self._seen.add(id(value))
                # An object of a library may do anything when looked at; it is left alone then.
                with contextlib.suppress(Exception):
                    self._look(value, is_users)
        # Keeps the objects, and with them their ids, alive.
        self._roots = roots
        self._seen.clear()

    def changed(self) -> bool:
        """Tell whether anything is not as it was."""
        try:
            for check in self._checks:
                if not check():
                    return True
        except Exception:  # noqa: BLE001  # what can't even be looked at is not as it was
            return True
        return False

    def what_changed(self) -> str:
        """Say in a few words what is not as it was."""
        for check, label in zip(self._checks, self._labels, strict=True):
            try:
                if not check():
                    return f"{label} was changed in place"
            except Exception:  # noqa: BLE001  # what can't even be looked at is not as it was
                return f"{label} was changed in place"
        return "something was changed in place"

    def _add(self, check: _Check) -> None:
        """Check this each time; what is at hand is part of the object of the label."""
        self._checks.append(check)
        self._labels.append(self._label)

    def _look(self, value: Any, is_users: bool) -> None:
        if type(value) in _ATOMS:
            return
        for kinds, look in self._looks:
            if isinstance(value, kinds):
                look(value, is_users)
                return
        package = type(value).__module__.partition(".")[0]
        if package == "numpy":
            self._array(value, is_users)
        elif package == "pandas":
            self._frame(value)
        else:
            self._instance(value)

    def _take(self, count: int) -> bool:
        """Tell whether so many more members may be looked at."""
        self._members += count
        return self._members <= MOST_MEMBERS

    def _all_of(self, values: Iterable[Any], is_users: bool) -> None:
        self._waiting.extend(
            (value, is_users, self._label) for value in values if type(value) not in _ATOMS
        )

    def _sequence(self, value: Any, is_users: bool) -> None:
        length = len(value)
        if not self._take(length):
            self._add(lambda: len(value) == length)
            return
        members = tuple(value)
        if is_users and _TEXTS.issuperset(map(type, members)):
            self._add(lambda: tuple(value) == members)
            return
        if is_users:
            self._add(lambda: len(value) == length and all(map(is_, value, members)))
        else:
            self._add(lambda: len(value) >= length and all(map(is_, value, members)))
        self._all_of(members, is_users)

    def _dict(self, value: dict[Any, Any], is_users: bool) -> None:
        if not is_users:
            self._attributes(value, False)
            return
        length = len(value)
        if not self._take(length):
            self._add(lambda: len(value) == length)
            return
        keys, members = tuple(value), tuple(value.values())
        if _KEYS.issuperset(map(type, keys)) and _TEXTS.issuperset(map(type, members)):
            self._add(lambda: tuple(value.values()) == members and tuple(value) == keys)
            return
        self._add(
            lambda: (
                len(value) == length
                and all(map(is_, value.values(), members))
                and all(map(is_, value, keys))
            )
        )
        self._all_of(members, is_users)

    def _set(self, value: set[Any], _is_users: bool) -> None:
        length = len(value)
        members = tuple(value) if self._take(length) else None
        self._add(
            lambda: len(value) == length and (members is None or all(map(is_, value, members)))
        )

    def _buffer(self, value: bytearray, _is_users: bool) -> None:
        if len(value) <= WHOLE_ARRAY:
            copy = bytes(value)
            self._add(lambda: value == copy)

    def _function(self, function: types.FunctionType, _is_users: bool) -> None:
        if function.__module__ != "__main__":
            return
        self._dict(vars(function), True)
        kept = (function.__code__, function.__defaults__, function.__kwdefaults__)
        self._add(
            lambda: (
                function.__code__ is kept[0]
                and function.__defaults__ is kept[1]
                and function.__kwdefaults__ is kept[2]
            )
        )
        self._all_of(kept[1:], True)
        for cell in function.__closure__ or ():
            self._cell(cell)

    def _cell(self, cell: types.CellType) -> None:
        try:
            content = cell.cell_contents
        except ValueError:  # empty
            return
        self._add(lambda: cell.cell_contents is content)
        self._all_of((content,), True)

    def _class(self, value: type, _is_users: bool) -> None:
        if value.__module__ != "__main__":
            return
        members = vars(value)
        length = len(members)
        self._add(lambda: len(members) == length)
        self._attributes(members, True)

    def _instance(self, value: Any) -> None:
        members = getattr(value, "__dict__", None)
        if type(members) is dict:
            is_users = type(value).__module__ == "__main__"
            if is_users:
                self._dict(members, True)
            else:
                # An object of a library may keep what it has computed; that is no change.
                self._attributes(members, False)

    def _attributes(self, attributes: Mapping[str, Any], is_users: bool) -> None:
        if not self._take(len(attributes)):
            return
        names, members = tuple(attributes), tuple(attributes.values())
        length = len(names)
        self._add(
            lambda: (
                # What a library adds comes last, so that most often the order is the same.
                (len(attributes) >= length and all(map(is_, attributes.values(), members)))
                or all(map(is_, map(attributes.get, names), members))
            )
        )
        self._all_of(members, is_users)

    def _array(self, value: Any, is_users: bool) -> None:
        # Arrays inside a library's object are its own business: refitting puts others there.
        if not is_users or not hasattr(value, "nbytes") or not hasattr(value, "flat"):
            return
        if value.dtype.hasobject:
            if self._take(value.size):
                members = tuple(value.flat)
                self._add(lambda: all(map(is_, value.flat, members)))
                self._all_of(members, is_users)
        elif value.nbytes <= WHOLE_ARRAY:
            whole = value.tobytes()
            self._add(lambda: value.tobytes() == whole)
        else:
            flat = value.reshape(-1)
            if flat.base is None or value.flags.c_contiguous:
                view = flat[:: max(value.size // _SAMPLE, 1)]
                sample = view.tobytes()
                self._add(lambda: view.tobytes() == sample)

    def _frame(self, value: Any) -> None:
        """Look at the arrays below a DataFrame or Series."""
        manager = getattr(value, "_mgr", None)
        blocks = getattr(manager, "blocks", None)
        if not isinstance(blocks, tuple):
            return
        axes = tuple(getattr(manager, "axes", ()))
        self._add(
            lambda: (
                value._mgr is manager  # noqa: SLF001  # pandas has no public name for it
                and getattr(manager, "blocks", None) is blocks
                and all(map(is_, getattr(manager, "axes", ()), axes))
            )
        )
        for block in blocks:
            if type(block.values).__module__ == "numpy":
                self._array(block.values, True)


_TEXTS: Final = frozenset({str, bytes})
"""What can't be changed, so that equal ones are as good as the same, and compared faster."""

_KEYS: Final = _TEXTS | {int}

_ATOMS: Final = {
    type(None), bool, int, float, complex, str, bytes, range, type(...),
    types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType,
}  # fmt: skip
