"""Classes of a notebook as bytes, made again without running what hangs on making them.

cloudpickle makes such a class by calling its metaclass with an empty body, and sets members then.
So it runs ``__init_subclass__`` and metaclasses of the notebook once more: they register the class
a second time, look for names that are not there yet, or for class keyword arguments. What they did
is in the objects that are restored anyway. Here:

- A class is made by what is not of the notebook: ``type``, ``ABCMeta``, a library's metaclass.
  Hooks of libraries do run, because what they register in is a module that was imported anew.
- Members are set past ``__setattr__`` of the notebook, functions and constants first. Another
  member may be an instance of the class, and its methods are needed to make it.
- ``__slots__`` are slots again, nested classes have their long name, members of enums have the
  attributes that they were given, and abstract classes know those that registered with them.

Stored contents refer to the functions ``make_*``, ``set_*`` and ``finish_*`` by their names.
"""

# ruff: noqa: SLF001  # neither cloudpickle nor Python has a public way to take classes apart

from __future__ import annotations

import abc
import collections.abc
import enum
import numbers
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from cloudpickle import cloudpickle as _internals

from jupyter_mlsvc.wire.sources import Source, show_source

Members = dict[str, Any]

_HOOK: Final = "__init_subclass__"
_MADE_BY_PYTHON: Final = (
    "__weakref__", "__dict__", "_abc_impl", "_abc_cache", "_abc_registry", "_abc_negative_cache",
    "_abc_negative_cache_version", "__annotate_func__",
)  # fmt: skip
_SET_BY_TYPE: Final = frozenset(
    {"__abstractmethods__", "__annotations__", "__doc__", "__module__", "__type_params__"}
)
_MADE_BY_ENUM: Final = (
    "_generate_next_value_", "_member_names_", "_member_map_", "_member_type_",
    "_value2member_map_",
)  # fmt: skip
_OF_AN_ENUM_MEMBER: Final = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
_DATA_TYPES: Final = (object, int, float, complex, str, bytes, tuple, bool)
_FUNCTIONS: Final = (types.FunctionType, classmethod, staticmethod, property)
_CONSTANTS: Final = (type(None), bool, int, float, complex, str, bytes)


# --- writing ---------------------------------------------------------------------------------


def is_dynamic(kind: type) -> bool:
    """Tell whether a class has to be written with all that it is."""
    return (
        kind not in {type(None), type(Ellipsis), type(NotImplemented)}
        and kind not in _internals._BUILTIN_TYPE_NAMES
        and not _internals._should_pickle_by_reference(kind)
    )


def reduce_class(kind: type, source: Source | None) -> tuple[Any, ...]:
    """Take a class apart, as ``__reduce__`` does."""
    members = _members(kind)
    creation = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    creation |= {name: members[name] for name in ("__orig_bases__",) if name in members}
    if "__slots__" in members:
        creation["__slots__"] = members["__slots__"] = _slots(kind)
    if isinstance(vars(kind).get("__dict__"), property):
        creation["__dict__"] = vars(kind)["__dict__"]
    creation |= {name: members.pop(name) for name in list(members) if _is_covered(kind, name)}
    arguments: tuple[Any, ...] = (
        type(kind),
        kind.__name__,
        kind.__bases__,
        creation,
        _internals._get_or_create_tracker_id(kind),
        source,
    )
    make: Callable[..., type] = make_class
    extra: dict[str, Members] = {}
    if issubclass(kind, enum.Enum):
        make = make_enum
        arguments += (
            {name: each._value_ for name, each in kind.__members__.items()},
            getattr(kind, "_boundary_", None),
        )
        extra = _attributes_of_members(kind)
        for name in (*_MADE_BY_ENUM, *kind.__members__):
            members.pop(name, None)
    registries = (_registered_with(kind), [each for each in _abstract() if _is_in(kind, each)])
    first = {name: member for name, member in members.items() if _is_simple(member)}
    library: Any = next(each for each in _line(type(kind)) if not is_dynamic(each))
    if library.__setattr__ is type.__setattr__:
        # With places for the others: their order is seen, as in ``vars(kind)``.
        first = dict.fromkeys(members) | first
    state = (_Part(kind, first), _Part(kind, members), registries, extra)
    return make, arguments, state, None, None, finish_class


class _Part:
    """Sets members when it is read, which is before what stands behind it is read."""

    def __init__(self, kind: type, members: Members) -> None:
        self._kind = kind
        self._members = members

    def __reduce__(self) -> tuple[Callable[..., None], tuple[type, Members]]:
        return set_members, (self._kind, self._members)


def _members(kind: type) -> Members:
    extracted: Members = _internals._extract_class_dict(kind)
    members = {
        name: extracted[name]
        for name in vars(kind)
        if name in extracted and name not in _MADE_BY_PYTHON
    }
    slots = (types.MemberDescriptorType, types.GetSetDescriptorType)
    return {
        name: member
        for name, member in members.items()
        if not (isinstance(member, slots) and member.__objclass__ is kind)
    }


def _is_covered(kind: type, name: str) -> bool:
    """Tell whether setting a member would reach an attribute of the metaclass instead."""
    if name in _SET_BY_TYPE:
        return False
    for base in _line(type(kind)):
        if name in vars(base):
            return hasattr(type(vars(base)[name]), "__set__")
    return False


def _slots(kind: type) -> Any:
    slots = vars(kind)["__slots__"]
    if isinstance(slots, str | dict):
        return slots
    # An iterator was used up when the class was made.
    return tuple(slots) or tuple(
        name
        for name, member in vars(kind).items()
        if isinstance(member, types.MemberDescriptorType) and member.__objclass__ is kind
    )


def _attributes_of_members(kind: type[enum.Enum]) -> dict[str, Members]:
    return {
        name: {
            key: value
            for key, value in vars(member).items()
            if key == "_value_" or key not in _OF_AN_ENUM_MEMBER
        }
        for name, member in kind.__members__.items()
        if member._name_ == name
    }


def _is_simple(member: Any) -> bool:
    return issubclass(type(member), _FUNCTIONS) or type(member) in _CONSTANTS


def _registered_with(kind: type) -> list[type]:
    if not issubclass(type(kind), abc.ABCMeta):
        return []
    found = (reference() for reference in abc._get_dump(kind)[0])  # type: ignore[attr-defined]
    return [each for each in found if each is not None]


def _abstract() -> Iterator[type]:
    """Give the abstract classes that a class of a notebook may register with."""
    for module in (collections.abc, numbers):
        for name in module.__all__:
            kind = getattr(module, name)
            if isinstance(kind, abc.ABCMeta):
                yield kind


def _is_in(kind: type, abstract: type) -> bool:
    return any(each is kind for each in _registered_with(abstract))


# --- reading ---------------------------------------------------------------------------------


def make_class(
    metaclass: type[type],
    name: str,
    bases: tuple[type, ...],
    members: Members,
    tracker_id: str,
    source: Source | None,
) -> type:
    """Make a class with the members that have to be there from the start, or give the known one."""
    known = _known(tracker_id, source)
    if known is not None:
        return known
    with _without_hooks(_own(bases), _pass_on):
        kind = _first_that_works(_makers(metaclass, name, bases, members))
    return _tracked(tracker_id, kind)


def make_enum(
    metaclass: type[type],
    name: str,
    bases: tuple[type, ...],
    members: Members,
    tracker_id: str,
    source: Source | None,
    values: Members,
    boundary: Any,
) -> type:
    """Make an enum with its members, which get their attributes later."""
    known = _known(tracker_id, source)
    if known is not None:
        return known
    library: Any = _library(metaclass)
    body = library.__prepare__(name, bases)
    for key, value in members.items():
        body[key] = value
    if not set(_DATA_TYPES).issuperset(_data_types(bases)):
        # The values are what the type of data made of those that were written down.
        body["__new__"] = _bare_member
    for key, value in values.items():
        body[key] = value
    more = {} if boundary is None else {"boundary": boundary}
    with _without_hooks(_own(bases), _pass_on):
        kind = library.__new__(metaclass, name, bases, body, **more)
    return _tracked(tracker_id, kind)


def set_members(kind: type, members: Members) -> None:
    """Set members of a class, past what classes of the notebook do then."""
    set_one: Any = _library(type(kind)).__setattr__
    for name, member in members.items():
        if name != "__slots__":
            set_one(kind, name, member)
    if "__firstlineno__" in members:  # it goes when another member is set (Python 3.13)
        set_one(kind, "__firstlineno__", members["__firstlineno__"])


def finish_class(kind: type, state: tuple[Any, ...]) -> None:
    """Register a class and those that registered with it; give an enum's members what they had."""
    _, _, (registered, abstract), attributes = state
    for each in registered:
        abc.ABCMeta.register(kind, each)  # type: ignore[arg-type]  # it is one
    for each in abstract:
        each.register(kind)
    for name, values in attributes.items():
        member = kind._member_map_[name]  # type: ignore[attr-defined]  # it is an enum
        vars(member).update(values)
        try:
            kind._value2member_map_.setdefault(member._value_, member)  # type: ignore[attr-defined]
        except TypeError:
            continue  # such values are looked for one by one


def dynamic_classes() -> list[type]:
    """List the classes of notebooks that were written or read in this process."""
    tracked = list(_internals._DYNAMIC_CLASS_TRACKER_BY_CLASS)  # type variables, too
    return [each for each in tracked if issubclass(type(each), type)]


def _known(tracker_id: str, source: Source | None) -> type | None:
    if source is not None:
        show_source(*source)
    known: type | None = _internals._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    return known


def _tracked(tracker_id: str, kind: type) -> type:
    tracked: type = _internals._lookup_class_or_track(tracker_id, kind)
    return tracked


def _is_own(kind: type) -> bool:
    return kind in _internals._DYNAMIC_CLASS_TRACKER_BY_CLASS


def _own(bases: Iterable[type]) -> list[type]:
    """List the bases of the notebook that have the hook."""
    every = dict.fromkeys(each for base in bases for each in base.__mro__)
    return [each for each in every if _is_own(each) and _HOOK in vars(each)]


def _line(kind: type) -> tuple[type, ...]:
    """Return the bases of a class; ``kind.mro`` may be a metaclass's own."""
    line: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)
    return line


def _library(metaclass: type[type]) -> type:
    """Return the first class of a metaclass that is not of the notebook."""
    return next(each for each in _line(metaclass) if not _is_own(each))


def _makers(
    metaclass: type[type], name: str, bases: tuple[type, ...], members: Members
) -> Iterator[Callable[[], type]]:
    """Give ways to make a class, the one that does the most for it first."""

    def by_statement() -> type:
        return types.new_class(name, bases, {"metaclass": metaclass}, lambda ns: ns.update(members))

    if not _is_own(metaclass):
        yield by_statement
    for library in _line(metaclass):
        if not _is_own(library) and issubclass(library, type):

            def by_library(library: Any = library) -> type:
                made: type = library.__new__(metaclass, name, bases, dict(members))
                return made

            yield by_library

    def by_type() -> type:
        every = dict.fromkeys(each for base in bases for each in base.__mro__)
        heap = [each for each in every if _HOOK in vars(each) and each.__flags__ & _HEAP_TYPE]
        with _without_hooks(heap, _do_nothing):
            made: type = type.__new__(metaclass, name, bases, dict(members))
        return made

    yield by_type


_HEAP_TYPE: Final = 1 << 9


def _first_that_works(makers: Iterator[Callable[[], type]]) -> type:
    first: Exception | None = None
    for make in makers:
        try:
            return make()
        except Exception as error:  # noqa: BLE001  # libraries raise what they like
            first = first or error
    assert first is not None
    raise first


@contextmanager
def _without_hooks(
    kinds: Iterable[type], instead: Callable[[type], Callable[..., None]]
) -> Iterator[None]:
    """Put something else in the place of classes' ``__init_subclass__`` for the time being."""
    hooks = {kind: vars(kind)[_HOOK] for kind in kinds}
    try:
        for kind in hooks:
            type.__setattr__(kind, _HOOK, classmethod(instead(kind)))
        yield
    finally:
        for kind, hook in hooks.items():
            type.__setattr__(kind, _HOOK, hook)


def _pass_on(kind: type) -> Callable[..., None]:
    def hook(cls: type, **more: Any) -> None:
        parent: Any = super(kind, cls)
        parent.__init_subclass__(**more)

    return hook


def _do_nothing(_kind: type) -> Callable[..., None]:
    def hook(_cls: type, **_more: Any) -> None:
        return

    return hook


def _data_types(bases: Iterable[type]) -> Iterator[type]:
    """Give the types of data that an enum's bases mix in."""
    for base in bases:
        for each in base.__mro__:
            if not issubclass(each, enum.Enum) and (
                "__new__" in vars(each) or "__dataclass_fields__" in vars(each)
            ):
                yield each
                break


def _bare_member(cls: type, *_arguments: Any) -> Any:
    member: Any = object.__new__(cls)
    member._value_ = _arguments[0] if len(_arguments) == 1 else _arguments
    return member
