"""Python objects as bytes, with functions that belong to a namespace rather than to a copy of it.

A plain cloudpickle gives a notebook's function a private copy of the globals it refers to, so it
never sees what is assigned later. Here such a function is written without globals, and reading it
binds it to the namespace it is read into: ``def score(): return model.predict(row)`` uses the
``model`` and ``row`` of that namespace at the time of the call.

Bytes hold code: read those of trusted origin only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import pickle
import sys
import time
import types
import typing
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Final

import cloudpickle
from cloudpickle import cloudpickle as _internals

from jupyter_mlsvc.wire.classes import is_dynamic, reduce_class
from jupyter_mlsvc.wire.sources import Sources, make_code

Namespace = dict[str, Any]

_target: ContextVar[Namespace] = ContextVar("jupyter_mlsvc_target_namespace")


def dumps(value: object, namespace: Namespace) -> bytes:
    """Write an object whose functions belong to a namespace.

    Parameters
    ----------
    value
        Any object that cloudpickle can write.
    namespace
        The namespace of the notebook, ``globals()`` there.

    Raises
    ------
    Exception
        Whatever the object raises when it is pickled.
    """
    with io.BytesIO() as file:
        NamespacePickler(file, namespace).dump(value)
        return file.getvalue()


def loads(data: bytes | memoryview, namespace: Namespace) -> Any:
    """Read an object; functions written by :func:`dumps` get the given namespace as globals.

    Bytes that ``pickle`` or ``cloudpickle`` wrote can be read as well.

    Raises
    ------
    Exception
        Whatever is raised when the object is built.
    """
    with target(namespace):
        return pickle.loads(data)  # noqa: S301  # said in the module's docstring


@contextmanager
def target(namespace: Namespace) -> Iterator[None]:
    """Bind functions that are read in the block to a namespace."""
    # cloudpickle puts its own table of builtins into the globals of each function it makes.
    missing = object()
    builtins = namespace.get("__builtins__", missing)
    token = _target.set(namespace)
    try:
        yield
    finally:
        _target.reset(token)
        if builtins is not missing:
            namespace["__builtins__"] = builtins


def target_namespace() -> Namespace:
    """Give the namespace that objects are being read into; ``__main__`` where nobody said."""
    try:
        return _target.get()
    except LookupError:
        return vars(sys.modules["__main__"])


class TargetNamespace:
    """Stands for a namespace in a pickle; reading it gives the one that is read into."""

    def __reduce__(self) -> tuple[Callable[[], Namespace], tuple[()]]:
        """Write a call of :func:`target_namespace`."""
        return target_namespace, ()


class NamespacePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    """A cloudpickle that leaves the globals of a namespace's functions out.

    Parameters
    ----------
    file
        Where to write.
    namespace
        The functions' globals, recognised by identity.
    buffer_callback
        Gets each buffer that may stay out of band; a true result keeps it in the stream.
    """

    dispatch_table: ClassVar[ChainMap[type, Callable[[Any], Any]]] = ChainMap(
        {},  # filled below: its functions refer to each other
        cloudpickle.Pickler.dispatch_table,
    )

    def __init__(
        self,
        file: typing.BinaryIO,
        namespace: Namespace,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self._namespace = namespace
        self._sources = Sources()
        self.globals_ref[id(namespace)] = TargetNamespace()

    def reducer_override(self, value: Any) -> Any:
        """Write classes and code of a notebook our way; the rest as cloudpickle does."""
        kind = type(value)
        if kind is types.CodeType:
            return self._reduce_code(value)
        if issubclass(kind, type) and is_dynamic(value):
            return reduce_class(value, self._sources.of_class(value))
        if value is sys.stdout:
            return getattr, (sys, "stdout")
        if value is sys.stderr:
            return getattr, (sys, "stderr")
        return super().reducer_override(value)

    def _dynamic_function_reduce(self, function: types.FunctionType) -> Any:
        """Leave the globals out; the names are looked up in the target when the function runs."""
        if function.__code__ is _DISPATCHER:
            return _reduce_dispatcher(function)
        make, arguments, (attributes, slots), *rest = super()._dynamic_function_reduce(function)
        # The very cells: functions that share a variable go on sharing it.
        arguments = (*arguments[:-1], function.__closure__)
        if function.__globals__ is self._namespace:
            slots["__globals__"] = {}
        return make, arguments, (attributes, slots), *rest

    def _reduce_code(self, code: types.CodeType) -> Any:
        """Write code with the source that its lines are in, if that is the user's."""
        make, arguments = _internals._code_reduce(code)  # noqa: SLF001  # no public way
        source = self._sources.find(code.co_filename)
        if source is None:
            return make, arguments
        # The first text among the arguments is the name of a file that nobody else has.
        at = next(index for index, each in enumerate(arguments) if isinstance(each, str))
        return make_code, (source.text, *arguments[:at], source.name, *arguments[at + 1 :])


def make_cell() -> types.CellType:
    """Make an empty cell for a variable of functions."""
    return types.CellType()


def set_cell(cell: types.CellType, value: Any) -> None:
    """Set the variable in a cell."""
    cell.cell_contents = value


def make_dispatcher(function: Callable[..., Any]) -> Any:
    """Make a function of ``functools.singledispatch``."""
    return functools.singledispatch(function)


def set_dispatcher(dispatcher: Any, state: tuple[dict[Any, Any], dict[str, Any]]) -> None:
    """Register what was registered with a dispatcher, and set its attributes."""
    registry, attributes = state
    for kind, function in registry.items():
        dispatcher.register(kind, function)
    vars(dispatcher).update(attributes)


def make_weak_keys(items: list[tuple[Any, Any]]) -> Any:
    """Make a ``weakref.WeakKeyDictionary``."""
    return weakref.WeakKeyDictionary(dict(items))


def make_reference(value: Any, callback: Any = None) -> Any:
    """Make a weak reference."""
    return weakref.ref(value, callback)


def make_dead_reference() -> Any:
    """Make a weak reference to what is gone."""
    return weakref.ref(set())


def make_cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Make a function with an empty ``functools.lru_cache``."""
    return functools.lru_cache(**parameters)(function)


def make_cached_property(function: Callable[..., Any], name: str | None) -> Any:
    """Make a ``functools.cached_property`` of the given name."""
    made: functools.cached_property[Any] = functools.cached_property(function)
    made.attrname = name
    return made


def make_new_type(name: str, supertype: Any, module: str) -> Any:
    """Make a ``typing.NewType`` that belongs to a module."""
    made = typing.NewType(name, supertype)  # type: ignore[misc]  # the name comes from the stream
    made.__module__ = module
    return made


def module_of(value: Any) -> types.ModuleType | None:
    """Give the module that reading a class, a function or a module imports, if it does."""
    if not _internals._should_pickle_by_reference(value):  # noqa: SLF001  # no public way
        return None
    if isinstance(value, types.ModuleType):
        return value
    module, _ = _internals._lookup_module_and_qualname(value)  # noqa: SLF001  # as above
    return typing.cast("types.ModuleType", module)


def names_looked_up(function: types.FunctionType) -> set[str]:
    """Name the globals that a function, and those defined in it, look up or set."""
    return set(_internals._extract_code_globals(function.__code__))  # noqa: SLF001  # as above


@dataclasses.dataclass(frozen=True, slots=True)
class References:
    """What an object refers to without having it in itself.

    Attributes
    ----------
    names : set of str
        Globals that functions of the namespace look up, wherever in the object they are.
    modules : set of str
        Modules that reading the object imports.
    """

    names: set[str] = dataclasses.field(default_factory=set)
    modules: set[str] = dataclasses.field(default_factory=set)


def references_of(value: object, namespace: Namespace, seconds: float = 5.0) -> References:
    """Find what an object refers to, by writing it to nowhere; never raises.

    Parameters
    ----------
    namespace
        The namespace of the notebook.
    seconds
        How long it may take; what was found by then is the answer.
    """
    found = References()
    nowhere = typing.cast("typing.BinaryIO", _Nowhere(time.monotonic() + seconds))
    with contextlib.suppress(Exception):  # objects of the user raise whatever they like
        _ReferenceFinder(nowhere, namespace, found).dump(value)
    return found


class _Nowhere:
    """A file that keeps nothing and raises when its time is over."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def write(self, data: Any) -> int:
        if time.monotonic() > self._deadline:
            raise TimeoutError
        return memoryview(data).nbytes


class _ReferenceFinder(NamespacePickler):
    """Notes what comes by when an object is written."""

    def __init__(self, file: typing.BinaryIO, namespace: Namespace, found: References) -> None:
        super().__init__(file, namespace, lambda _: False)
        self._found = found

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            module = getattr(value, "__module__", None)
            if isinstance(module, str) and module in sys.modules and module != "__main__":
                self._found.modules.add(module)
        elif isinstance(value, types.ModuleType):
            self._found.modules.add(value.__name__)
        return super().reducer_override(value)

    def _dynamic_function_reduce(self, function: types.FunctionType) -> Any:
        if function.__globals__ is self._namespace:
            self._found.names.update(names_looked_up(function))
        return super()._dynamic_function_reduce(function)


def _importable_name(value: Any) -> bool:
    return _internals._lookup_module_and_qualname(value) is not None  # noqa: SLF001  # as above


def _reduce_cached(value: Any) -> Any:
    # pickle would write a reference to __main__, where nothing is when it is read.
    if _importable_name(value):
        return value.__qualname__
    return make_cached, (value.__wrapped__, value.cache_parameters())


def _reduce_cached_property(value: functools.cached_property[Any]) -> Any:
    # Its lock (until Python 3.12) is nothing to keep.
    return make_cached_property, (value.func, value.attrname)


def _reduce_new_type(value: Any) -> Any:
    if _importable_name(value):
        return value.__qualname__
    return make_new_type, (value.__name__, value.__supertype__, value.__module__)


def _reduce_cell(cell: types.CellType) -> Any:
    try:
        # A state, because it may hold the function that it is a part of.
        return make_cell, (), cell.cell_contents, None, None, set_cell
    except ValueError:
        return make_cell, ()


def _reduce_dispatcher(dispatcher: Any) -> Any:
    own = vars(functools.singledispatch(dispatcher.__wrapped__)).keys()
    attributes = {name: value for name, value in vars(dispatcher).items() if name not in own}
    state = (dict(dispatcher.registry), attributes)
    return make_dispatcher, (dispatcher.__wrapped__,), state, None, None, set_dispatcher


def _reduce_reference(value: Any) -> Any:
    referent = value()
    if referent is None:
        return make_dead_reference, ()
    callback = value.__callback__
    return make_reference, (referent,) if callback is None else (referent, callback)


def _reduce_weak_method(value: Any) -> Any:
    method = value()
    return (make_dead_reference, ()) if method is None else (weakref.WeakMethod, (method,))


def _reduce_type_parameter(value: Any) -> Any:
    if _importable_name_of(value):
        return value.__name__
    return type(value), (value.__name__,)


def _importable_name_of(value: Any) -> bool:
    module = sys.modules.get(value.__module__)
    return value.__module__ != "__main__" and getattr(module, value.__name__, None) is value


_DISPATCHER: Final = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]
_SENTINELS: Final = ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")

NamespacePickler.dispatch_table.maps[0].update(
    {
        type(getattr(dataclasses, name)): functools.partial(
            lambda name, _: (getattr, (dataclasses, name)), name
        )
        for name in _SENTINELS
        if hasattr(dataclasses, name)
    }
)
_REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    types.CellType: _reduce_cell,
    weakref.ReferenceType: _reduce_reference,
    weakref.WeakMethod: _reduce_weak_method,
    weakref.WeakKeyDictionary: lambda value: (make_weak_keys, (list(value.items()),)),
    weakref.WeakValueDictionary: lambda value: (weakref.WeakValueDictionary, (dict(value),)),
    typing.ParamSpec: _reduce_type_parameter,
    typing.TypeVarTuple: _reduce_type_parameter,
    functools._lru_cache_wrapper: _reduce_cached,  # noqa: SLF001  # the class has no other name
    functools.cached_property: _reduce_cached_property,
    typing.NewType: _reduce_new_type,
}
NamespacePickler.dispatch_table.maps[0].update(_REDUCERS)
