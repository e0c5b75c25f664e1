"""Mutation detection: finds out whether a request changed objects of the snapshot in place.

Names are put back after each request at no cost. An object that was changed (``seen.append(x)``,
``model.fit(...)``, ``weights += 1``) can't be put back. The worker then retires, and a new one is
forked in its place. So no request sees what another one did::

    worker starts --> MutationDetector takes note of the objects
                             |
                             v
        +-------------> ready for a request
        |                    |  the code runs, the answer is sent
        |                    v
        |               put_back(): what can be, such as random generators
        |                    |
        +---- no ------ has_changed()?
                             |  yes
                             v
                        what_changed() names the object, the worker retires

**What is watched.** The detector begins at the names that the code can reach, and goes on to
members, attributes, closures and classes. Of each object it keeps a check, made for its type. All
checks run after each request, so they have to cost next to nothing:

- Members of lists, dicts, sets and objects are compared by identity, not by value.
- Small arrays are compared by value.
- Of large arrays and lists the system says which pages of memory were written (``pages``). That is
  exact, and its cost does not depend on their size.
- An object of a library may keep what it has computed, which is no change. It counts as changed if
  an attribute that it had was replaced, or if the code itself sets one (``code_facts``).

**What is put back.** Some objects change by being used: generators of random numbers, caches of
functions, positions in files in memory, frames of polars. They are put back before the checks.

**Bounds.** The detector looks at ``MAX_MEMBERS`` members in all; of what comes after that it sees
the length, or the pages. An object that raises when it is first looked at is left alone. A check
that raises later counts as a change.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import pickle
import random
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any, Final

from xxhash import xxh3_128_digest

from jupyter_mlsvc_server.worker.code_facts import CodeFacts
from jupyter_mlsvc_server.worker.dict_version import version_of
from jupyter_mlsvc_server.worker.pages import PAGE, WrittenPages

NO_FACTS: Final = CodeFacts()

MAX_MEMBERS: Final = 5_000
"""Members that are compared in all; of what comes after that only the length is."""

MAX_COMPARED_BYTES: Final = 2**16
"""Bytes of an array up to which every element is compared."""

_Check = Callable[[], bool]


class MutationDetector:
    """Detector of changes to the objects that can be reached from some names.

    Parameters
    ----------
    base
        The namespace as restored.
    names
        The names that the code can get at, directly or through functions that it calls.
    modules
        Modules of the user's own.
    facts
        What the code names.
    """

    def __init__(
        self,
        base: Mapping[str, Any],
        names: Iterable[str],
        modules: Iterable[types.ModuleType] = (),
        facts: CodeFacts = NO_FACTS,
    ) -> None:
        self._facts = facts
        self._pages: WrittenPages | None = None
        self._restores: list[Callable[[], None]] = []
        # How values of the standard library are looked at.
        self._looks: tuple[tuple[Any, Callable[[Any, bool], None]], ...] = (
            (types.ModuleType, lambda _value, _is_users: None),
            ((list, deque), self._sequence),
            (dict, self._dict),
            (set, self._set),
            (bytearray, self._buffer),
            (functools._lru_cache_wrapper, self._cache),  # noqa: SLF001 - no public name
            (random.Random, self._random),
            (types.GeneratorType, self._generator),
            (threading.local, lambda value, _is_users: self._dict(vars(value), True)),
            ((tuple, frozenset), self._all_of),
            (types.FunctionType, self._function),
            (types.MethodType, self._parts("__self__", "__func__")),
            (functools.partial, self._parts("func", "args", "keywords")),
            ((staticmethod, classmethod), self._parts("__func__")),
            (property, self._parts("fget", "fset", "fdel")),
            (type, self._class),
        )
        self._of_packages: Mapping[str, Callable[[Any, bool], None]] = {
            "numpy": self._of_numpy,
            "pandas": self._frame,
            "polars": self._columns,
            "array": self._buffer,
            "_io": self._file_in_memory,
            "decimal": self._decimal_context,
        }
        self._checks: list[_Check] = []
        self._members = 0
        self._seen: set[int] = set()
        self._labels: list[str] = []
        self._label = ""
        self._waiting: deque[tuple[Any, bool, str]] = deque()
        roots = [(base[name], f"the object {name!r}") for name in sorted(names) if name in base]
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
        self._start()

    def _start(self) -> None:
        """Start to watch the pages of large arrays."""
        if self._pages is not None:
            self._pages.start()

    def put_back(self) -> None:
        """Restore the objects that can be restored."""
        for restore in self._restores:
            restore()

    def has_changed(self) -> bool:
        """Return whether any object has changed."""
        try:
            for check in self._checks:
                if not check():
                    return True
        except Exception:  # noqa: BLE001  # what can't even be looked at is not as it was
            return True
        return self._pages is not None and bool(self._pages.find_written())

    def what_changed(self) -> str:
        """Return in a few words which object has changed."""
        if self._pages is not None and (label := self._pages.find_written()):
            return f"{label} was changed in place"
        for check, label in zip(self._checks, self._labels, strict=True):
            try:
                if not check():
                    return f"{label} was changed in place"
            except Exception:  # noqa: BLE001  # what can't even be looked at is not as it was
                return f"{label} was changed in place"
        return "something was changed in place"

    def _add(self, check: _Check) -> None:
        """Store a check, with the label of the object that is being looked at."""
        self._checks.append(check)
        self._labels.append(self._label)

    def _look(self, value: Any, is_users: bool) -> None:
        if type(value) in _ATOMS:
            return
        for kinds, look in self._looks:
            if isinstance(value, kinds):
                look(value, is_users)
                if type(value).__module__ == "__main__":
                    # Such as a dict of a class of the user's own, which has attributes as well.
                    self._instance(value, is_users)
                return
        package = type(value).__module__.partition(".")[0]
        if hasattr(type(value), "__next__") and package in {"builtins", "itertools"}:
            self._iterator(value)
        else:
            self._of_packages.get(package, self._instance)(value, is_users)

    def _take(self, count: int) -> bool:
        """Count members; return whether so many more may be looked at."""
        self._members += count
        return self._members <= MAX_MEMBERS

    def _all_of(self, values: Iterable[Any], is_users: bool) -> None:
        self._waiting.extend(
            (value, is_users, self._label) for value in values if type(value) not in _ATOMS
        )

    def _sequence(self, value: Any, is_users: bool) -> None:
        length = len(value)
        if not self._take(length):
            self._add(lambda: len(value) == length)
            if type(value) is list:
                self._long_list(value)
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

    def _long_list(self, value: list[Any]) -> None:
        """Look at which members a list has, by the memory that it keeps them in."""
        place = ctypes.c_void_p.from_address(id(value) + _MEMBERS_AT)
        address, length = place.value or 0, len(value)
        if self._watch_pages(address, length * _POINTER):
            count = PAGE // _POINTER
            first, last = value[:count], value[-count:]
            self._add(
                lambda: all(map(is_, value[:count], first)) and all(map(is_, value[-count:], last))
            )
        else:
            self._add(lambda: len(value) == length and place.value == address)
            self._digest(lambda: _memory(address, length * _POINTER))

    def _digest(self, content: Callable[[], Any]) -> None:
        """Compare memory whose pages tell nothing, as this process has written them before."""
        before = xxh3_128_digest(content())
        self._add(lambda: xxh3_128_digest(content()) == before)

    def _watch_pages(self, address: int, size: int) -> bool:
        if self._pages is None:
            self._pages = WrittenPages()
        return self._pages.add(address, size, self._label)

    def _dict(self, value: dict[Any, Any], is_users: bool) -> None:
        if not is_users:
            self._attributes(value, False)
            return
        length = len(value)
        if not self._take(length):
            self._add(lambda: len(value) == length)
            if (version := version_of(value)) is not None:
                before = version()
                self._add(lambda: version() == before)
            return
        if "default_factory" in self._facts.stored and hasattr(value, "default_factory"):
            self._same(value, "default_factory")
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
        if members is None:
            self._large_set(value)

    def _large_set(self, value: set[Any]) -> None:
        """Look at the memory that a set keeps its members in."""
        table = ctypes.c_void_p.from_address(id(value) + _TABLE_AT)
        address = table.value or 0
        size = (ctypes.c_ssize_t.from_address(id(value) + _MASK_AT).value + 1) * _ENTRY
        if self._watch_pages(address, size):
            last = address + size - PAGE
            ends = ctypes.string_at(address, PAGE), ctypes.string_at(last, PAGE)
            self._add(
                lambda: (
                    table.value == address
                    and (ctypes.string_at(address, PAGE), ctypes.string_at(last, PAGE)) == ends
                )
            )
        else:
            mask = ctypes.c_ssize_t.from_address(id(value) + _MASK_AT)
            self._add(lambda: table.value == address and (mask.value + 1) * _ENTRY == size)
            self._digest(lambda: _memory(address, size))

    def _buffer(self, value: Any, _is_users: bool) -> None:
        with memoryview(value) as view:
            size = view.nbytes
        if size <= MAX_COMPARED_BYTES:
            copy = bytes(value)
            self._add(lambda: bytes(value) == copy)
        else:
            self._add(lambda: len(value) == size)
            if not self._watch_pages(ctypes.addressof(ctypes.c_char.from_buffer(value)), size):
                self._digest(lambda: value)

    def _file_in_memory(self, value: Any, _is_users: bool) -> None:
        """Put back how far a file in memory was read; look at what is in it."""
        if not hasattr(value, "getvalue"):
            return
        position, content = value.tell(), value.getvalue()
        self._restores.append(lambda: None if value.closed else value.seek(position))
        # Bytes that nobody has written to are the same object.
        self._add(lambda: value.getvalue() == content)

    def _decimal_context(self, value: Any, _is_users: bool) -> None:
        """Look at a context of decimal's, but for its flags, which each calculation sets."""
        if hasattr(value, "prec"):
            before = _arithmetic(value)
            self._add(lambda: _arithmetic(value) == before)

    def _cache(self, value: Any, _is_users: bool) -> None:
        """Have a function of the user's forget what it was called with."""
        function = value.__wrapped__
        if getattr(function, "__module__", None) != "__main__":
            return
        before = value.cache_info()

        def forget() -> None:
            now = value.cache_info()
            if now.misses != before.misses or now.currsize != before.currsize:
                value.cache_clear()

        self._restores.append(forget)
        self._all_of((function,), True)

    def _parts(self, *names: str) -> Callable[[Any, bool], None]:
        """Look at what cannot be replaced in an object, but may be changed itself."""
        return lambda value, _is_users: self._all_of((getattr(value, name) for name in names), True)

    def _columns(self, value: Any, _is_users: bool) -> None:
        """Put a frame or column of polars back, whose copy shares memory until it is changed."""
        for name in ("_df", "_s"):
            if hasattr(value, name):
                self._put_back_copy(value, name)

    def _put_back_copy(self, value: Any, name: str) -> None:
        before = getattr(value, name).clone()
        self._restores.append(lambda: setattr(value, name, before.clone()))

    def _random(self, value: random.Random, _is_users: bool) -> None:
        state = value.getstate()
        self._restores.append(lambda: value.setstate(state))

    def _generator(self, value: types.GeneratorType[Any, Any, Any], _is_users: bool) -> None:
        frame = value.gi_frame
        if frame is not None:
            at = frame.f_lasti
            self._add(lambda: value.gi_frame is frame and frame.f_lasti == at)

    def _iterator(self, value: Any) -> None:
        """Look at how far an iterator of the standard library is."""
        before = value.__reduce__()
        if not _is_same(value.__reduce__(), before):
            state = pickle.dumps(value)
            if pickle.dumps(value) == state:
                self._add(lambda: pickle.dumps(value) == state)
            return
        self._add(lambda: _is_same(value.__reduce__(), before))
        for part in before[1:]:
            self._all_of(part if isinstance(part, tuple) else (part,), True)

    def _function(self, function: types.FunctionType, _is_users: bool) -> None:
        if function.__module__ != "__main__":
            return
        self._dict(vars(function), True)
        self._names_of(function)
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
        self._names_of(value)
        if "__subclasses__" in self._facts.names:
            known: list[type] = type.__subclasses__(value)
            self._add(lambda: type.__subclasses__(value) == known)
        self._attributes(members, True)
        self._all_of((*value.__bases__, type(value)), True)

    def _names_of(self, value: Any) -> None:
        """Look at what the code sets of what each object, class or function has."""
        for name in _OF_ALL & self._facts.stored:
            if hasattr(value, name):
                self._same(value, name)

    def _instance(self, value: Any, _is_users: bool) -> None:
        module = type(value).__module__
        is_users = module == "__main__"
        members = getattr(value, "__dict__", None)
        if type(members) is dict:
            if is_users:
                self._dict(members, True)
            else:
                # An object of a library may keep what it has computed; that is no change.
                self._attributes(members, module.partition(".")[0] in _DATA_PACKAGES)
                # But what the code itself sets there is one.
                sets = {of for by, of in _SET_BY.items() if by in self._facts.names}
                absent = (self._facts.stored | sets) - members.keys()
                if absent:
                    self._add(lambda: absent.isdisjoint(members))
        if is_users:
            self._names_of(value)
            # Methods may change what their class has.
            self._all_of((type(value),), True)
            for name in _slots(type(value)):
                self._slot(value, name)

    def _slot(self, value: Any, name: str) -> None:
        member = getattr(value, name, _MISSING)
        self._add(lambda: getattr(value, name, _MISSING) is member)
        if member is not _MISSING:
            self._all_of((member,), True)

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
        if is_users:
            self._all_of(members, True)
            return
        for name, member in attributes.items():
            # What the code names it may change: ``model.coef_[0] = 1``.
            self._all_of((member,), name in self._facts.names)

    def _of_numpy(self, value: Any, is_users: bool) -> None:
        """Look at an array, or put a generator of random numbers back."""
        if hasattr(value, "bit_generator"):
            value = value.bit_generator
        if hasattr(value, "set_state"):
            state = value.get_state(legacy=False)
            self._restores.append(lambda: value.set_state(state))
        elif hasattr(value, "random_raw"):
            state = value.state
            self._restores.append(lambda: setattr(value, "state", state))
            if "spawn" in self._facts.names:
                self._all_of((getattr(value, "seed_seq", None),), True)
        elif hasattr(value, "n_children_spawned"):
            spawned = value.n_children_spawned
            self._add(lambda: value.n_children_spawned == spawned)
        else:
            self._array(value, is_users)

    def _array(self, value: Any, is_users: bool) -> None:
        if not hasattr(value, "nbytes") or not hasattr(value, "flat"):
            return
        if not (self._facts.stored.isdisjoint(_FORMS) and self._facts.names.isdisjoint(_RESHAPES)):
            form = _form(value)
            self._add(lambda: _form(value) == form)
        if value.nbytes > MAX_COMPARED_BYTES:
            self._large_array(value, is_users)
            return
        # Small arrays inside a library's object are its own business: refitting puts others there.
        if not is_users:
            return
        if value.dtype.hasobject:
            members = tuple(value.flat)
            self._add(lambda: all(map(is_, value.flat, members)))
            if self._take(value.size):
                self._all_of(members, is_users)
        else:
            whole = value.tobytes()
            self._add(lambda: value.tobytes() == whole)

    def _large_array(self, value: Any, is_users: bool) -> None:
        if not (value.flags.c_contiguous or value.flags.f_contiguous):
            base = value.base
            if base is not None and type(base) is type(value):
                self._all_of((base,), is_users)
            return
        flat = value.reshape(-1, order="A")
        address = value.__array_interface__["data"][0]
        if self._watch_pages(address, value.nbytes):
            if not is_users:
                return
            # What shares its pages with others, at either end.
            count = -(-PAGE // value.itemsize)
            self._sample(flat[:count])
            self._sample(flat[value.size - count :])
        else:
            self._digest(lambda: _memory(address, flat.nbytes))  # which has the array keep it

    def _sample(self, view: Any) -> None:
        whole = view.tobytes()
        self._add(lambda: view.tobytes() == whole)

    def _frame(self, value: Any, is_users: bool) -> None:
        """Look at the arrays below a DataFrame or Series."""
        manager = getattr(value, "_mgr", None)
        blocks = getattr(manager, "blocks", None)
        if not isinstance(blocks, tuple):
            self._index(value)
            if not hasattr(type(value), "_engine"):
                # No index, so it is an array, or a group-by that holds a frame.
                self._values(value)
                self._instance(value, is_users)
            return
        axes = tuple(getattr(manager, "axes", ()))
        self._attrs(value)
        if hasattr(value, "_name"):
            self._same(value, "_name")
        if "allows_duplicate_labels" in self._facts.stored:
            allows = value.flags.allows_duplicate_labels
            self._add(lambda: value.flags.allows_duplicate_labels is allows)
        for axis in axes:
            self._index(axis)
        self._add(
            lambda: (
                value._mgr is manager  # noqa: SLF001  # pandas has no public name for it
                and getattr(manager, "blocks", None) is blocks
                and all(map(is_, getattr(manager, "axes", ()), axes))
            )
        )
        for block in blocks:
            self._values(block.values)

    def _attrs(self, value: Any) -> None:
        attrs = vars(value).get("_attrs")
        if attrs:
            self._add(lambda: vars(value).get("_attrs") is attrs)
            self._dict(attrs, True)
        else:
            self._add(lambda: not vars(value).get("_attrs"))

    def _index(self, value: Any) -> None:
        """Look at the names of an index, which is constant but for these."""
        for name in ("_name", "_names"):
            label = getattr(value, name, None)
            if isinstance(label, list):
                self._sequence(label, True)
            elif hasattr(value, name):
                self._same(value, name)

    def _values(self, values: Any) -> None:
        """Look at the data of a column, an array of numpy's or what pandas has around one."""
        if type(values).__module__ == "numpy":
            self._array(values, True)
            return
        for name in _PARTS_OF_ARRAYS:
            part = getattr(values, name, None)
            if part is not None:
                self._same(values, name)
                self._values(part)

    def _same(self, value: Any, name: str) -> None:
        part = getattr(value, name)
        self._add(lambda: getattr(value, name) is part)


def _memory(address: int, size: int) -> Any:
    """Give some memory as a buffer, for as long as whoever owns it keeps it."""
    return (ctypes.c_char * size).from_address(address)


def _is_same(now: Any, before: Any) -> bool:
    """Compare how far an iterator is: numbers by value, all else by identity."""
    if isinstance(now, tuple) and isinstance(before, tuple):
        return len(now) == len(before) and all(map(_is_same, now, before))
    return now is before or (type(now) is int and type(before) is int and now == before)


def _form(array: Any) -> tuple[Any, ...]:
    """Give what an array has besides its elements."""
    kind = array.dtype
    return array.shape, array.strides, kind.str, kind.names, array.flags.writeable


def _arithmetic(context: Any) -> tuple[Any, ...]:
    return (
        context.prec, context.rounding, context.Emin, context.Emax, context.capitals,
        context.clamp, dict(context.traps),
    )  # fmt: skip


def _slots(kind: type) -> list[str]:
    """Give the attributes of a class that are in no dict."""
    found: list[str] = []
    for each in kind.__mro__:
        slots = vars(each).get("__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in found if name not in {"__dict__", "__weakref__"}]


_MISSING: Final = object()

_MEMBERS_AT: Final = 24
"""Where CPython's lists keep the address of their members."""

_POINTER: Final = ctypes.sizeof(ctypes.c_void_p)

_MASK_AT: Final = 32
"""Where CPython's sets keep how many entries their table has, less one."""

_TABLE_AT: Final = 40
"""Where they keep the address of that table."""

_ENTRY: Final = 2 * _POINTER

_RESHAPES: Final = frozenset({"resize", "setflags"})

_FORMS: Final = frozenset({"shape", "dtype", "strides", "names", "writeable"})
"""Attributes of arrays that change them when they are set."""

_OF_ALL: Final = frozenset({"__class__", "__name__", "__qualname__", "__bases__"})

_SET_BY: Final = {
    "set_output": "_sklearn_output_config",
    "set_fit_request": "_metadata_request",
    "set_predict_request": "_metadata_request",
    "set_transform_request": "_metadata_request",
    "set_score_request": "_metadata_request",
}
"""What methods of scikit-learn add to an object that did not have it."""

_PARTS_OF_ARRAYS: Final = (
    "_ndarray",
    "_data",
    "_mask",
    "_pa_array",
    "_left",
    "_right",
    "_sparse_values",
)
"""Where arrays of pandas keep their data."""

_DATA_PACKAGES: Final = frozenset({"collections", "types", "queue", "configparser", "scipy"})
"""Packages whose objects are data and change only when somebody changes them."""

_TEXTS: Final = frozenset({str, bytes})
"""What can't be changed, so that equal ones are as good as the same, and compared faster."""

_KEYS: Final = _TEXTS | {int}

_ATOMS: Final = {
    type(None), bool, int, float, complex, str, bytes, range, type(...),
    types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType,
}  # fmt: skip
