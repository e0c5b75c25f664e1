"""What a value of user code would be as a parameter: its type, an example of it, its size.

numpy and pandas are never imported here: a value of theirs can only exist where they are loaded.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterable
from typing import Any, BinaryIO, Final, cast

from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc.wire.tables import is_column, is_table
from jupyter_mlsvc.wire.values import encode_output

_SCALARS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "logical"),
    (int, "integer"),
    (float, "numeric"),
    (str, "character"),
)
_LOOKED_AT: Final = 1000
_MAX_EXAMPLE_LENGTH: Final = 100
_MAX_TEXT_LENGTH: Final = 2000
_ROWS: Final = 3
_CODE: Final = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


def parameter_type(value: object) -> str | None:
    """Tell which of the contract's seven types a value fits, or None where it fits none."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return "data.frame"
    if pandas is not None and isinstance(value, pandas.Series | pandas.Index):
        return "vector"
    if is_table(value):
        return "data.frame"
    if is_column(value):
        return "vector"
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.ndim == 0:
            return parameter_type(value.item())
        return {1: "vector", 2: "matrix"}.get(value.ndim)
    for kind, name in _SCALARS:
        if isinstance(value, kind):
            return name
    return _of_list(value) if isinstance(value, list | tuple) else None


def _of_list(value: list[Any] | tuple[Any, ...]) -> str | None:
    kinds = {parameter_type(item) for item in value[:_LOOKED_AT]}
    if kinds <= {name for _, name in _SCALARS} | {None} and _all_scalars(value[:_LOOKED_AT]):
        return "vector"
    return "matrix" if kinds == {"vector"} and len({len(row) for row in value}) == 1 else None


def _all_scalars(items: Iterable[object]) -> bool:
    return all(item is None or parameter_type(item) is not None for item in items)


def example_of(value: Any) -> Any:
    """Give a value as JSON, the first rows of a table; None where it is too long for an example."""
    kind = parameter_type(value)
    if kind is None:
        return None
    try:
        # Only what is short is converted: a column of a million texts takes its time.
        if kind in {"matrix", "data.frame"}:
            value = value[:_ROWS]
        elif kind == "vector" and len(value) > _MAX_EXAMPLE_LENGTH:
            return None
        plain = encode_output(kind, value)
    except (ValueProblem, TypeError, ValueError):
        return None
    return plain if len(repr(plain)) <= _MAX_TEXT_LENGTH else None


def size_of(value: object) -> int:
    """Estimate the bytes that an object takes in memory, without its parts."""
    try:
        usage = getattr(value, "memory_usage", None)
        if callable(usage):
            used = usage()
            return int(used.sum() if hasattr(used, "sum") else used)
        size = getattr(value, "nbytes", None)
        return size if isinstance(size, int) else sys.getsizeof(value)
    except Exception:  # noqa: BLE001  # it is the object's own code that answers
        return 0


def written_size(value: object, deadline: float) -> int:
    """Estimate the bytes that an object takes in a snapshot, with its parts.

    It is written to nowhere, as a snapshot would write it; arrays are counted and not copied.
    Where that fails or takes too long the answer is :func:`size_of`.

    Parameters
    ----------
    deadline
        Time of ``time.monotonic`` at which to give up.
    """
    if isinstance(value, _CODE) or hasattr(value, "nbytes") or hasattr(value, "memory_usage"):
        return size_of(value)
    from jupyter_mlsvc.wire.objects import NamespacePickler

    counter = _Counter(deadline)
    try:
        NamespacePickler(cast("BinaryIO", counter), {}, counter.count).dump(value)
    except Exception:  # noqa: BLE001  # objects of the user raise whatever they like
        return size_of(value)
    return counter.size


class _Counter:
    """A file that keeps nothing but its length."""

    def __init__(self, deadline: float) -> None:
        self.size = 0
        self._deadline = deadline

    def write(self, data: Any) -> int:
        """Count bytes.

        Raises
        ------
        TimeoutError
            The time is over.
        """
        if time.monotonic() > self._deadline:
            raise TimeoutError
        length = memoryview(data).nbytes
        self.size += length
        return length

    def count(self, buffer: Any) -> bool:
        """Count a buffer and keep it out of the stream."""
        with buffer.raw() as raw:
            self.write(raw)
        return False
