"""Short digests of objects, by which two processes find out whether their values are the same.

The pickle of an object would not do: it depends on the order of sets, on which strings are shared,
and on padding. Here an object is walked by its parts, as pickling takes it apart, and what has no
order is sorted. Objects that are too large for the time, or can't be taken apart, have no digest.
Of arrays and tables over :data:`SAMPLED_FROM` bytes samples are taken.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import sys
import time
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

SAMPLED_FROM: Final = 64 * 2**20
"""Bytes from which on an array or a table is compared by samples."""

_SECONDS: Final = 5.0
_SAMPLES: Final = 64
_SAMPLE_BYTES: Final = 2**20
_DISPATCHER: Final = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]
_MAX_FLAT_LENGTH: Final = 5_000_000
_STEPS_BETWEEN_LOOKS: Final = 256
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
# What Python puts there by itself, or by use.
_NOT_OF_A_CLASS: Final = frozenset(
    {
        *("__dict__", "__weakref__", "__module__", "__qualname__", "__slotnames__", "_abc_impl"),
        *("__firstlineno__", "__static_attributes__", "__annotations_cache__"),
    }
)


class _GivenUp(Exception):
    """It takes too long, or is too large."""


def digests(
    values: Mapping[str, object], seconds: float = _SECONDS, *, exact: bool = False
) -> dict[str, str | None]:
    """Make a digest of each object, or None where that is not possible; never raises.

    Parameters
    ----------
    values
        The objects by name.
    seconds
        How long it may take; objects whose turn comes later have no digest.
    exact
        Take no samples, however large an array or a table is.
    """
    deadline = time.monotonic() + seconds
    sampled_from = sys.maxsize if exact else SAMPLED_FROM
    return {name: _digest(value, deadline, sampled_from) for name, value in values.items()}


def _digest(value: object, deadline: float, sampled_from: int) -> str | None:
    try:
        return _Walk(deadline, sampled_from).digest(value).hex()
    except Exception:  # noqa: BLE001  # objects of the user raise whatever they like
        return None


class _Walk:
    """Goes through one object."""

    def __init__(self, deadline: float, sampled_from: int) -> None:
        self._deadline = deadline
        self._sampled_from = sampled_from
        self._steps = 0
        self._within: dict[int, int] = {}
        # The objects are kept as well: the ids of those that are gone are given to others.
        self._known: dict[int, tuple[object, bytes]] = {}

    def digest(self, value: Any) -> bytes:
        """Make the digest of a part."""
        if type(value) in _PLAIN:
            return _hash(type(value).__name__, _plain_bytes(value))
        self._look_at_the_clock()
        key = id(value)
        if key in self._known:
            return self._known[key][1]
        if key in self._within:
            return _hash("above", str(len(self._within) - self._within[key]).encode())
        self._within[key] = len(self._within)
        try:
            made = self._of_parts(value)
        finally:
            del self._within[key]
        self._known[key] = value, made
        return made

    def _look_at_the_clock(self) -> None:
        self._steps += 1
        if self._steps % _STEPS_BETWEEN_LOOKS == 1 and time.monotonic() > self._deadline:
            raise _GivenUp

    def _of_parts(self, value: Any) -> bytes:
        method = self._METHODS.get(type(value))
        if method is not None:
            return method(self, value)
        if isinstance(value, type):
            return self._of_class(value)
        return self._of_data(value) or self._of_object(value)

    def _all(self, kind: str, parts: Iterable[Any]) -> bytes:
        return _hash(kind, *(self.digest(part) for part in parts))

    # --- containers --------------------------------------------------------------------------

    def _of_sequence(self, value: Any) -> bytes:
        if len(value) > _MAX_FLAT_LENGTH:
            raise _GivenUp
        kind = type(value).__name__
        if all(type(item) in _PLAIN for item in value):
            return _hash(f"flat {kind}", repr(value).encode())
        return self._all(kind, value)

    def _of_set(self, value: Any) -> bytes:
        return _hash(type(value).__name__, *sorted(self.digest(item) for item in value))

    def _of_dict(self, value: dict[Any, Any]) -> bytes:
        pairs = (self.digest(key) + self.digest(item) for key, item in value.items())
        return _hash("dict", *sorted(pairs))

    def _of_bytes(self, value: Any) -> bytes:
        return _hash(type(value).__name__, bytes(value))

    # --- code --------------------------------------------------------------------------------

    def _of_module(self, value: types.ModuleType) -> bytes:
        return _hash("module", value.__name__.encode())

    def _of_code(self, code: types.CodeType) -> bytes:
        # Neither the file nor the lines: they differ from cell to cell.
        return self._all(
            "code",
            (
                *(code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars),
                *(code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags),
            ),
        )

    def _of_function(self, function: types.FunctionType) -> bytes:
        if _is_imported(function):
            return _named(function)
        if function.__code__ is _DISPATCHER:
            # Its cells are a cache, among others, which changes with its use.
            dispatcher: Any = function
            return self._all("dispatcher", (dispatcher.__wrapped__, dict(dispatcher.registry)))
        cells = function.__closure__ or ()
        values = [cell.cell_contents for cell in cells]
        return self._all(
            "function",
            (function.__code__, function.__defaults__, function.__kwdefaults__, values),
        )

    def _of_property(self, value: property) -> bytes:
        return self._all("property", (value.fget, value.fset, value.fdel))

    def _of_wrapped(self, value: Any) -> bytes:
        return self._all(type(value).__name__, (value.__func__,))

    def _of_class(self, kind: type) -> bytes:
        if _is_imported(kind):
            return _named(kind)
        members = {
            name: member
            for name, member in vars(kind).items()
            if name not in _NOT_OF_A_CLASS
            and not isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType)
        }
        return self._all("class", (kind.__qualname__, kind.__bases__, members))

    # --- data --------------------------------------------------------------------------------

    def _of_data(self, value: Any) -> bytes | None:
        """Make the digest of an array or a table; where neither library is loaded it is none."""
        numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
        if numpy is not None and type(value) in {numpy.ndarray, numpy.memmap}:
            return self._of_array(value)
        if numpy is not None and isinstance(value, numpy.generic):
            return _hash(value.dtype.str, value.tobytes())
        if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
            return self._of_table(value)
        return None

    def _of_array(self, array: Any) -> bytes:
        head = f"array {array.dtype.str} {array.shape}"
        if array.dtype.names:
            # Between the fields is padding, which holds anything.
            fields = [array[name] for name in array.dtype.names]
            return self._all(f"{head} {array.dtype.names}", fields)
        if array.dtype.hasobject:
            return self._all(head, array.ravel().tolist())
        return _hash(head, *_pieces(array, self._sampled_from))

    def _of_table(self, table: Any) -> bytes | None:
        import pandas

        rows = max(len(table), 1)
        used = table.memory_usage(index=False)
        size = int(used.sum() if hasattr(used, "sum") else used)
        step = max(size // self._sampled_from, 1)
        try:
            hashed = pandas.util.hash_pandas_object(table.iloc[:: min(step, rows)], index=True)
        except TypeError:  # cells that can't be hashed, such as lists
            return None
        is_frame = isinstance(table, pandas.DataFrame)
        names = list(table.columns) if is_frame else [table.name]
        kinds = [str(kind) for kind in table.dtypes] if is_frame else [str(table.dtype)]
        return self._all(
            type(table).__qualname__, (table.shape, names, kinds, hashed.to_numpy(), step)
        )

    # --- anything else -----------------------------------------------------------------------

    def _of_object(self, value: Any) -> bytes:
        """Take an object apart as pickling does."""
        reduce = copyreg.dispatch_table.get(type(value))
        reduced: Any = value.__reduce_ex__(4) if reduce is None else reduce(value)
        if isinstance(reduced, str):
            return _named(value)
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        return self._all("object", (make, arguments, state, list(items or ()), dict(pairs or ())))

    _METHODS: Final[dict[type, Callable[[_Walk, Any], bytes]]] = {
        list: _of_sequence,
        tuple: _of_sequence,
        set: _of_set,
        frozenset: _of_set,
        dict: _of_dict,
        types.MappingProxyType: _of_dict,
        bytearray: _of_bytes,
        types.ModuleType: _of_module,
        types.CodeType: _of_code,
        types.FunctionType: _of_function,
        property: _of_property,
        staticmethod: _of_wrapped,
        classmethod: _of_wrapped,
    }


def _hash(kind: str, *parts: bytes | memoryview) -> bytes:
    made = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()


def _plain_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")


def _pieces(array: Any, sampled_from: int) -> list[memoryview]:
    """Give the bytes of an array, or samples of them."""
    import numpy

    if not array.size:
        return []
    if array.nbytes > sampled_from and array.flags.f_contiguous:
        array = array.T
    if array.nbytes > sampled_from and not array.flags.c_contiguous:
        raise _GivenUp  # it would have to be copied
    data: memoryview = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).data
    if len(data) <= sampled_from:
        return [data]
    last = len(data) - _SAMPLE_BYTES
    starts = [last * number // (_SAMPLES - 1) for number in range(_SAMPLES)]
    return [data[start : start + _SAMPLE_BYTES] for start in starts]


def _is_imported(value: Any) -> bool:
    """Whether a function or class is found in a module other than the notebook."""
    module = sys.modules.get(value.__module__)
    if module is None or value.__module__ == "__main__":
        return False
    found: Any = module
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _named(value: Any) -> bytes:
    return _hash("name", f"{value.__module__}.{value.__qualname__}".encode())
