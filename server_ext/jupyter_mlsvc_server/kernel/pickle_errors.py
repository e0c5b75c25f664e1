"""Sentences that say why an object could not be saved, where the trouble sits, and what to do."""

from __future__ import annotations

import functools
import re
import types
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

_LIVES_HERE: Final = "belongs to this process"
_KINDS: Final = {
    "lock": ("a thread lock", "create it in the code that uses it"),
    "RLock": ("a thread lock", "create it in the code that uses it"),
    "Thread": ("a thread", "start it in the code that uses it"),
    "generator": ("a generator", "keep its values instead, as in list(...)"),
    "async_generator": ("an asynchronous generator", "keep its values instead"),
    "coroutine": ("a coroutine", "await it and keep the result"),
    "Task": ("an asyncio task", "await it and keep the result"),
    "Future": ("a future", "wait for it and keep the result"),
    "TextIOWrapper": ("an open file", "keep its path and open it where it is read"),
    "BufferedReader": ("an open file", "keep its path and open it where it is read"),
    "BufferedWriter": ("an open file", "keep its path and open it where it is written"),
    "BufferedRandom": ("an open file", "keep its path and open it where it is used"),
    "FileIO": ("an open file", "keep its path and open it where it is used"),
    "OutStream": ("a stream of the console", "use print() or sys.stdout where it is needed"),
    "socket": ("a network socket", "connect in the code that uses it"),
    "SSLSocket": ("a network socket", "connect in the code that uses it"),
    "SSLContext": ("a TLS context", "create it in the code that uses it"),
    "Connection": ("a connection", "connect in the code that uses it, such as the init code"),
    "Cursor": ("a database cursor", "keep the rows it gave instead"),
    "Popen": ("a running process", "start it in the code that uses it"),
    "ReferenceType": ("a weak reference", "keep the object itself"),
    "frame": ("a stack frame", "delete it"),
    "traceback": ("a traceback", "keep its text instead"),
    "Match": ("a match of a regular expression", "keep its groups instead"),
    "ZMQInteractiveShell": ("IPython's shell", "call get_ipython() where it is needed"),
}
_MESSAGE: Final = re.compile(r"cannot pickle '([^']+)' objects?")
_MESSAGE_ABOUT_FILES: Final = re.compile(r"Cannot pickle files? ")  # cloudpickle's own
_MAX_VISITED: Final = 5_000
_MAX_TEXT: Final = 300


class NotImportable(Exception):
    """A module that is loaded here can't be imported where the workspace is restored."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module = module.__name__
        self.path: str | None = getattr(module, "__file__", None)
        super().__init__(f"module {self.module!r} cannot be imported elsewhere")


def explain(name: str, value: object, error: Exception) -> str:
    """Say why an object could not be saved.

    Parameters
    ----------
    name
        The name of the object, from which the place of the trouble is named.
    value
        The object.
    error
        What was raised when it was pickled.
    """
    if isinstance(error, NotImportable):
        origin = f" (loaded from {error.path})" if error.path else ""
        return (
            f"{name} needs the module {error.module!r}{origin}, which a service could not import: "
            "put its file into the working directory, or install the package on the server."
        )
    if isinstance(error.__cause__, RecursionError) or isinstance(error, RecursionError):
        hint = "keep its parts in a flat list or an array"
        return f"{name} is nested too deeply to be saved: {hint}."
    if type_name := _refused_type(_text(error)):
        kind = type_name.rpartition(".")[2]
        place = _place_of(name, value, type_name)
        what, hint = _KINDS.get(kind, (f"of type {type_name!r}", "create it where it is needed"))
        return f"{place} is {what}, which {_LIVES_HERE} and cannot be saved: {hint}."
    return f"{name} cannot be saved: {_text(error)}."


def _refused_type(text: str) -> str | None:
    """Read from a pickler's message which type it can't write."""
    if found := _MESSAGE.search(text):
        return found[1]
    return "_io.TextIOWrapper" if _MESSAGE_ABOUT_FILES.search(text) else None


def _text(error: Exception) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  # the error is the user's object, too
        text = type(error).__name__
    text = " ".join(text.split())
    return text.rstrip(".") if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _place_of(name: str, value: object, kind: str) -> str:
    """Find where in an object the first one of a kind is, as an expression."""
    waiting, seen = deque([(name, value)]), set[int]()
    while waiting and len(seen) < _MAX_VISITED:
        place, here = waiting.popleft()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if kind in {type(here).__name__, f"{type(here).__module__}.{type(here).__name__}"}:
            return place
        try:
            waiting.extend(_parts(place, here))
        except Exception:  # noqa: BLE001, S112  # looking into an object runs code of its class
            continue
    return f"Something in {name}"


def _parts(place: str, here: Any) -> Iterator[tuple[str, Any]]:
    """List what an object holds, each with an expression for its place."""
    match here:
        case str() | bytes() | int() | float() | types.ModuleType():
            return
        case dict():
            yield from ((f"{place}[{key!r:.40}]", item) for key, item in list(here.items()))
        case list() | tuple() | deque():
            yield from ((f"{place}[{index}]", item) for index, item in enumerate(here))
        case set() | frozenset():
            yield from ((f"an item of {place}", item) for item in here)
        case types.FunctionType():
            yield from _parts_of_function(place, here)
        case types.MethodType():
            yield f"{place}.__self__", here.__self__
        case functools.partial():
            yield from _parts(f"{place}.args", here.args)
            yield from _parts(f"{place}.keywords", here.keywords)
        case type() if here.__module__ != "__main__":
            return
        case _:
            yield from _attributes(place, here)


def _attributes(place: str, here: Any) -> Iterator[tuple[str, Any]]:
    for name, item in list(getattr(here, "__dict__", {}).items()):
        yield f"{place}.{name}", item
    slots = getattr(type(here), "__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        yield f"{place}.{name}", getattr(here, name, None)


def _parts_of_function(place: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for variable, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=False
    ):
        try:
            yield f"the variable {variable} that {place} closes over", cell.cell_contents
        except ValueError:
            continue
    for item in function.__defaults__ or ():
        yield f"a default value of {place}", item
    for variable, item in (function.__kwdefaults__ or {}).items():
        yield f"the default value of {variable} in {place}", item
