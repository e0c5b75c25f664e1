"""Restore: builds the objects of a captured workspace in a namespace.

A session restores a snapshot that it loads, and a template the one of its service. How the stream
and its buffers were written is at the head of ``kernel.capture``. :func:`restore` goes through::

    check version --> map buffers --> read pickles --> hash again --> import submodules --> Restored
          |                                |
          v                                +-- an object raises --> tried again, or lost
    IncompatibleWorkspace

**Buffers** are mapped copy-on-write from their files. Arrays can be written, and every process that
maps them shares the pages that it has not written. The time to restore does not depend on their
size.

**Functions** of the workspace get the very dict that they are restored into as their globals. Code
that calls them has to run in that dict, ``vars(sys.modules["__main__"])`` in a worker, and not in a
copy of it. To undo what a request assigned, put the dict's items back afterwards.

**Objects that raise.** Restoring runs code of the notebook (``__setstate__``, ``__hash__``), which
may need an object that comes later. Each name has a pickle of its own, and all have one memo. After
the first error, :class:`_Scan` reads the opcodes of the whole stream without running them. It finds
where each pickle begins, and which memo entries it makes and uses. :class:`_Rest` then reads the
pickles that are left, in rounds::

    left --+-- uses a memo entry that no pickle has made --> left for the next round
           |
           +-- raised --> left; plain values that it made stay in the memo
           |
           +-- read ----> set in the namespace; all that it made stays in the memo

A round that reads nothing is the last one. The rounds run once more with instances hashed by
identity: an object may be in a set before it has the attributes that its hash is made of. What is
left then is lost, with the error that it raised, or with the name of the object whose data it
shares.

**Hashes.** Dicts and sets whose keys have a hash of the notebook's own are filled anew in the end.

Any other error puts the namespace back as it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import importlib.metadata
import mmap
import os
import pickle
import pickletools
import platform
import re
import sys
import traceback
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from jupyter_mlsvc.wire.classes import dynamic_classes
from jupyter_mlsvc.wire.objects import Namespace, target
from jupyter_mlsvc_server.formats.manifest import BlobEntry, Manifest, Workspace

BlobPath = Callable[[str], Path]
"""Where the blob of a digest is."""

MAX_MAPPED: Final = 2**14
"""Buffers that are mapped, the largest first; systems let a process have some 65,000 mappings."""

_NOT_MAPPED: Final = ctypes.c_void_p(-1).value


class IncompatibleWorkspace(Exception):
    """The interpreter cannot read the workspace; the message says why."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Result of restoring a workspace.

    Attributes
    ----------
    names : list of str
        The names that were set.
    lost : dict
        Names that could not be set here, each with the reason.
    """

    names: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)


def check(workspace: Workspace) -> None:
    """Raise if this interpreter can't restore a workspace.

    Raises
    ------
    IncompatibleWorkspace
        Another minor version of Python wrote it.
    """
    here, there = platform.python_version(), workspace.python_version
    if here.split(".")[:2] != there.split(".")[:2]:
        raise IncompatibleWorkspace(
            f"The snapshot was taken with Python {there} and this is Python {here}: functions and "
            "classes can be restored by the same minor version only."
        )


def differences(workspace: Workspace) -> list[str]:
    """Return sentences on packages of a workspace that are missing or of another version here."""
    sentences = []
    for package, version in workspace.packages.items():
        try:
            here = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            sentences.append(f"{package} {version} was loaded then and is not installed here.")
            continue
        if here != version:
            sentences.append(f"{package} was {version} then and is {here} here.")
    return sentences


def restore(manifest: Manifest, blob_path: BlobPath, namespace: Namespace) -> Restored:
    """Restore the objects of a workspace; others in the namespace stay.

    Files come first (``files.write_files``) where objects need modules of the working directory.

    Parameters
    ----------
    manifest
        What was captured.
    blob_path
        Where the blob of a digest is.
    namespace
        What to fill; it becomes the globals of the workspace's functions.

    Raises
    ------
    IncompatibleWorkspace
        Another minor version of Python wrote it. Nothing was set.
    """
    check(manifest.workspace)
    importlib.invalidate_caches()
    expected = [entry.name for entry in manifest.workspace.objects if entry.kept]
    buffers = _map_all(manifest.buffers, blob_path)
    before = {name: namespace[name] for name in expected if name in namespace}
    try:
        with blob_path(manifest.stream.digest).open("rb") as stream, target(namespace):
            restored = _Reader(stream, buffers, manifest.workspace).read(expected, namespace)
            _hash_again()
        _import_submodules(manifest.workspace.submodules)
    except BaseException:
        for name in expected:
            namespace.pop(name, None)
        namespace.update(before)
        raise
    return restored


def _import_submodules(names: Iterable[str]) -> None:
    for name in names:
        # What cannot be imported here shows where the code uses it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _map_all(buffers: tuple[BlobEntry, ...], blob_path: BlobPath) -> list[Any]:
    """Return a writable buffer for each blob."""
    by_size = sorted(range(len(buffers)), key=lambda index: buffers[index].size, reverse=True)
    mapped = set(by_size[:MAX_MAPPED])
    return [
        _map(blob_path(blob.digest), blob.size)
        if index in mapped and blob.size
        else bytearray(blob_path(blob.digest).read_bytes())
        for index, blob in enumerate(buffers)
    ]


def _map(path: Path, size: int) -> Any:
    """Map a file so that writing to the memory changes this process's copy only."""
    flags, protection = mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE
    with path.open("rb") as file:
        if sys.version_info >= (3, 13):
            return mmap.mmap(file.fileno(), size, flags, protection, trackfd=False)
        return _map_without_descriptor(file.fileno(), size, flags, protection)


def _map_without_descriptor(file: int, size: int, flags: int, protection: int) -> memoryview:
    """Map a file as ``mmap.mmap`` does, which would keep a descriptor open for each."""
    if os.fstat(file).st_size < size:
        raise ValueError("the file is smaller than it should be")
    system = _system()
    address = system.mmap(None, size, protection, flags, file, 0)
    if address == _NOT_MAPPED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    memory = (ctypes.c_ubyte * size).from_address(address)
    # Whatever uses the memory keeps this object alive. At the end of the process it may be in use.
    weakref.finalize(memory, system.munmap, address, size).atexit = False
    return memoryview(memory).cast("B")


@functools.cache
def _system() -> ctypes.CDLL:
    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype = pointer = ctypes.c_void_p
    number, size, offset = ctypes.c_int, ctypes.c_size_t, ctypes.c_long
    system.mmap.argtypes = pointer, size, number, number, number, offset
    system.munmap.argtypes = pointer, size
    return system


@dataclass(frozen=True, slots=True)
class _Span:
    """What one pickle of the stream takes: bytes, buffers, and numbers in the memo."""

    start: int
    first_buffer: int
    first_memo: int
    memos_used: frozenset[int]


class _Reader:
    """Reads the pickles of a stream one by one; what fails is tried again when others are there."""

    def __init__(self, stream: BinaryIO, buffers: list[Any], workspace: Workspace) -> None:
        self._stream = stream
        self._buffers = buffers
        self._workspace = workspace

    def read(self, expected: list[str], namespace: Namespace) -> Restored:
        """Set the expected names."""
        restored, position = Restored(), -1
        unpickler = pickle.Unpickler(self._stream, buffers=iter(self._buffers))  # noqa: S301
        try:
            unpickler.load()  # the namespace itself
            for position, name in enumerate(expected):  # noqa: B007
                _, namespace[name] = unpickler.load()
                restored.names.append(name)
        except Exception as error:
            if position < 0:
                raise
            scan = _Scan(self._stream)
            # The first pickle of the stream is the namespace.
            spans = scan.spans[1:]
            first = spans[position].first_memo
            known = scan.plain | {
                at: value
                for at, value in unpickler.memo.copy().items()
                if at < first or _is_plain(value)
            }
            rest = _Rest(self._stream, self._buffers, spans, known)
            rest.read(expected, position, error, namespace)
            restored.names.extend(name for name in expected[position:] if name not in rest.errors)
            restored.lost.update(self._reasons(expected, rest))
        return restored

    def _reasons(self, expected: list[str], rest: _Rest) -> dict[str, str]:
        left_out = {row.name: row.reason for row in self._workspace.objects if not row.kept}
        reasons: dict[str, str] = {}
        for name in expected:
            if name not in rest.errors:
                continue
            error = rest.errors[name]
            if error is None:
                culprit = rest.culprit(expected, name)
                first = rest.errors[culprit]
                why = f": {_said(first)}" if first is not None else ""
                reasons[name] = (
                    f"It shares data with {culprit!r}, which could not be restored{why}."
                )
            else:
                reasons[name] = _why(error, left_out)
        return reasons


class _Memo(dict[int, Any]):
    """What pickles of a stream refer to, as one of them finds it: numbered by all before it."""

    def __init__(self, known: dict[int, Any], first: int) -> None:
        super().__init__(known)
        self._next = first

    def __len__(self) -> int:
        return self._next

    def __setitem__(self, number: int, value: Any) -> None:
        super().__setitem__(number, value)
        self._next = number + 1


class _Rest:
    """Reads what comes from the first pickle on that failed, in any order that works.

    Parameters
    ----------
    spans
        The pickles of the names, and an empty one at the end.
    known
        What those that were read made, by numbers of the memo.

    Attributes
    ----------
    errors : dict
        Names that could not be read, each with what was raised; None where only others failed.
    """

    def __init__(
        self, stream: BinaryIO, buffers: list[Any], spans: list[_Span], known: dict[int, Any]
    ) -> None:
        self._stream = stream
        self._buffers = buffers
        self._spans = spans
        self._known = known
        self.errors: dict[str, Exception | None] = {}

    def read(
        self, expected: list[str], failed: int, error: Exception, namespace: Namespace
    ) -> None:
        """Set the names from the one that failed on."""
        self.errors = dict.fromkeys(expected[failed:])
        self.errors[expected[failed]] = error
        # First the others: the one that failed needs something of theirs.
        waiting = [*range(failed + 1, len(expected)), failed]
        waiting = self._read_all(expected, waiting, namespace)
        if waiting:
            # Objects may be keys of dicts and sets before they have what their hash is made of.
            with _hashed_by_identity():
                self._read_all(expected, waiting, namespace)

    def _read_all(self, expected: list[str], waiting: list[int], namespace: Namespace) -> list[int]:
        """Read what can be read until nothing changes; gives what is left."""
        while True:
            left = [at for at in waiting if not self._read_one(expected[at], at, namespace)]
            if not left or len(left) == len(waiting):
                return left
            waiting = sorted(left)

    def _read_one(self, name: str, at: int, namespace: Namespace) -> bool:
        span = self._spans[at]
        if not self._known.keys() >= span.memos_used - set(self._own(at)):
            return False
        memo = _Memo(self._known, span.first_memo)
        # The memo of the unpickler written in C cannot be set from a dict (it stays empty).
        self._stream.seek(span.start)
        rest = iter(self._buffers[span.first_buffer :])
        again = pickle._Unpickler(self._stream, buffers=rest)  # noqa: SLF001  # see above
        again.memo = memo  # type: ignore[attr-defined]  # the stubs lack it
        try:
            _, namespace[name] = again.load()
        except Exception as error:  # noqa: BLE001  # objects raise whatever they like
            self.errors[name] = error
            self._keep(memo, at, _is_plain)
            return False
        self._keep(memo, at, lambda _: True)
        del self.errors[name]
        return True

    def _keep(self, memo: _Memo, at: int, wanted: Callable[[Any], bool]) -> None:
        """Keep what a pickle made."""
        made = {number: memo[number] for number in self._own(at) if number in memo}
        self._known.update({number: each for number, each in made.items() if wanted(each)})

    def _own(self, at: int) -> range:
        return range(self._spans[at].first_memo, self._spans[at + 1].first_memo)

    def culprit(self, expected: list[str], name: str) -> str:
        """Name the first object that failed of those whose parts another one shares."""
        missing = self._spans[expected.index(name)].memos_used - self._known.keys()
        for at, other in enumerate(expected):
            if other in self.errors and not missing.isdisjoint(self._own(at)):
                return other if self.errors[other] is not None else self.culprit(expected, other)
        return name


@contextlib.contextmanager
def _hashed_by_identity() -> Iterator[None]:
    """Have instances of the notebook's classes hashed by what they are, not by what they hold."""
    methods = ("__hash__", "__eq__")
    plain = {name: getattr(object, name) for name in methods}
    changed = {
        kind: {name: vars(kind)[name] for name in methods if name in vars(kind)}
        for kind in _hashing_classes()
    }
    try:
        for kind, own in changed.items():
            for name in own:
                type.__setattr__(kind, name, plain[name])
        yield
    finally:
        for kind, own in changed.items():
            for name, method in own.items():
                type.__setattr__(kind, name, method)


def _hashing_classes() -> list[type]:
    """List the classes of notebooks that have a hash of their own."""
    kinds = dynamic_classes()
    return [kind for kind in kinds if isinstance(vars(kind).get("__hash__"), types.FunctionType)]


def _hash_again() -> None:
    """Put keys of the notebook's classes where they are looked for now.

    A hash may be made of what was not there yet when a dict or a set was filled.
    """
    hashing = set(_hashing_classes())
    if not hashing:
        return
    kinds = {kind for kind in dynamic_classes() if not hashing.isdisjoint(kind.__mro__)}
    for container in gc.get_objects():
        if not issubclass(type(container), dict | set):
            continue
        # Others than those restored may be changing in threads of a session.
        with contextlib.suppress(Exception):
            if _is_hashed_by(container, kinds):
                _fill_again(container)


def _is_hashed_by(keys: Iterable[Any], kinds: set[type], depth: int = 0) -> bool:
    found = set(map(type, keys))
    if not kinds.isdisjoint(found):
        return True
    if depth > 3 or found.isdisjoint((tuple, frozenset)):
        return False
    return any(
        type(key) in {tuple, frozenset} and _is_hashed_by(key, kinds, depth + 1) for key in keys
    )


def _fill_again(container: Any) -> None:
    """Take everything out of a dict or a set and put it back, past methods of its class."""
    if isinstance(container, dict):
        kind: Any = OrderedDict if isinstance(container, OrderedDict) else dict
        items = list(kind.items(container))
        for key, _ in items:
            hash(key)  # or it stays as it is
        kind.clear(container)
        for key, value in items:
            kind.__setitem__(container, key, value)
    else:
        members = list(set.__iter__(container))
        for member in members:
            hash(member)
        set.clear(container)
        set.update(container, members)


_UNDEFINED: Final = re.compile(r"name '(\w+)' is not defined")


def _why(error: Exception, left_out: Mapping[str, str]) -> str:
    hint = ""
    if isinstance(error, ModuleNotFoundError):
        hint = f" Install the package that has the module {error.name!r} on the server."
    elif (found := _UNDEFINED.search(str(error))) and found[1] in left_out:
        hint = f" The snapshot does not hold {found[1]!r}. {left_out[found[1]]}"
    return f"It could not be restored: {_said(error)}.{hint}"


def _said(error: Exception) -> str:
    """Say what was raised, and in which function of the notebook."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame.f_code for frame in frames if frame.f_globals.get("__name__") == "__main__"]
    where = f"{own[-1].co_qualname} raised " if own else ""
    return f"{where}{type(error).__name__}: {error}"


class _Scan:
    """Looks at the pickles of a stream without running them.

    Attributes
    ----------
    spans : list
        The pickles; the last one is empty.
    plain : dict
        Texts, numbers, tuples of such and objects of modules, by their numbers in the memo: what
        everything shares. A pickle that can't be read does not take them with it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.spans: list[_Span] = []
        self.plain: dict[int, Any] = {}
        self._stack: list[Any] = []
        stream.seek(0)
        end = os.fstat(stream.fileno()).st_size
        buffers = memos = 0
        while (start := stream.tell()) < end:
            first_buffer, first_memo, used = buffers, memos, set[int]()
            for opcode, argument, _ in pickletools.genops(stream):
                match opcode.name:
                    case "MEMOIZE":
                        if self._stack and self._stack[-1] is not _MARK:
                            self.plain[memos] = self._stack[-1]
                        memos += 1
                    case "NEXT_BUFFER":
                        buffers += 1
                        self._stack = []
                    case "GET" | "BINGET" | "LONG_BINGET":
                        used.add(int(argument or 0))
                        self._get(int(argument or 0))
                    case name:
                        self._on(name, argument)
            self.spans.append(_Span(start, first_buffer, first_memo, frozenset(used)))
        self.spans.append(_Span(end, buffers, memos, frozenset()))

    def _get(self, number: int) -> None:
        if number in self.plain:
            self._stack.append(self.plain[number])
        else:
            self._stack = []

    def _on(self, opcode: str, argument: Any) -> None:
        """Follow an opcode as far as its values are plain; else nothing of the stack is known."""
        stack = self._stack
        if opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode.startswith(_LITERALS):
            stack.append(argument)
        elif opcode in _TUPLES and len(stack) >= _TUPLES[opcode]:
            start = len(stack) - _TUPLES[opcode]
            self._tuple(start, stack[start:])
        elif opcode == "TUPLE" and _MARK in stack:
            start = len(stack) - 1 - stack[::-1].index(_MARK)
            self._tuple(start, stack[start + 1 :])
        elif opcode == "STACK_GLOBAL" and len(stack) > 1:
            *self._stack, module, name = stack
            found = _global(module, name)
            self._stack = [] if found is None else [*self._stack, found]
        else:
            self._stack = []

    def _tuple(self, start: int, items: list[Any]) -> None:
        self._stack = [] if _MARK in items else [*self._stack[:start], tuple(items)]


_MARK: Final = object()
_CONSTANTS: Final = {"MARK": _MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS: Final = ("BININT", "BINFLOAT", "LONG1", "SHORT_BIN", "BINUNICODE", "BINBYTES")
_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _global(module: Any, name: Any) -> Any:
    """Find an object of a module that is loaded; None where there is none."""
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _is_plain(value: Any) -> bool:
    """Return whether an object is whole although the pickle that it is a part of failed."""
    kind = type(value)
    if kind is tuple:
        return all(map(_is_plain, value))
    if kind in {types.FunctionType, types.BuiltinFunctionType} or issubclass(kind, type):
        return _global(value.__module__, value.__qualname__) is value
    return kind in {str, bytes, int, float, complex, bool, type(None), types.CodeType}
