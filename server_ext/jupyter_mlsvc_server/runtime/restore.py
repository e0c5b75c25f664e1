"""Brings a captured workspace back into a namespace.

Large buffers are mapped copy-on-write from their files: arrays can be written, every process that
maps them shares what it has not written, and the time to restore does not depend on their size.

Functions of the workspace get the very dict they are restored into as globals. Code that calls
them has to run in that dict, ``vars(sys.modules["__main__"])`` in a worker, and not in a copy of
it; to undo what a request assigned, put the dict's items back afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.metadata
import mmap
import os
import pickle
import pickletools
import platform
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from jupyter_mlsvc.wire.objects import Namespace, target
from jupyter_mlsvc_server.runtime.manifest import BlobEntry, Manifest, Workspace

BlobPath = Callable[[str], Path]
"""Where the blob of a digest is."""

MOST_MAPPED: Final = 2**14
"""Buffers that are mapped, the largest first; systems let a process have some 65,000 mappings."""

_NOT_MAPPED: Final = ctypes.c_void_p(-1).value


class IncompatibleWorkspace(Exception):
    """The interpreter cannot read the workspace; the message says why."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back.

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
    """See to it that a workspace can be restored by this interpreter.

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
    """Tell in sentences which packages of a workspace have another version here or are missing."""
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
    """Set the objects of a workspace; others in the namespace stay.

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
            restored = _Reader(stream, buffers).read(expected, namespace)
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
    """Give a writable buffer for each blob."""
    by_size = sorted(range(len(buffers)), key=lambda index: buffers[index].size, reverse=True)
    mapped = set(by_size[:MOST_MAPPED])
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
    """Reads the pickles of a stream one by one, going on after one that fails."""

    def __init__(self, stream: BinaryIO, buffers: list[Any]) -> None:
        self._stream = stream
        self._buffers = buffers

    def read(self, expected: list[str], namespace: Namespace) -> Restored:
        """Set the expected names."""
        restored, position = Restored(), -1
        unpickler = pickle.Unpickler(self._stream, buffers=iter(self._buffers))  # noqa: S301
        spans: list[_Span] = []
        try:
            unpickler.load()  # the namespace itself
            for position, name in enumerate(expected):  # noqa: B007
                _, namespace[name] = unpickler.load()
                restored.names.append(name)
        except Exception as error:
            if position < 0:
                raise
            spans = list(_spans(self._stream))
            restored.lost[expected[position]] = _why(error)
            self._read_rest(unpickler, position, expected, spans, namespace, restored)
        return restored

    def _read_rest(
        self,
        unpickler: pickle.Unpickler,
        failed: int,
        expected: list[str],
        spans: list[_Span],
        namespace: Namespace,
        restored: Restored,
    ) -> None:
        """Go on after the pickle that failed, leaving out those that share parts with lost ones."""
        memo: dict[int, Any] = unpickler.memo.copy()
        for number in [at for at in memo if at >= spans[failed + 1].first_memo]:
            del memo[number]
        lost_memos: dict[int, str] = {}
        for position in range(failed, len(expected)):
            # The first pickle of the stream is the namespace.
            span, after = spans[position + 1], spans[position + 2]
            name, own = expected[position], range(span.first_memo, after.first_memo)
            culprit = next((lost_memos[at] for at in span.memos_used if at in lost_memos), None)
            if position == failed or culprit is not None:
                restored.lost.setdefault(
                    name, f"It shares data with {culprit!r}, which could not be restored."
                )
                lost_memos |= dict.fromkeys(own, name)
                continue
            memo |= dict.fromkeys(set(range(span.first_memo)) - memo.keys())
            try:
                _, namespace[name] = self._read_at(span, memo)
                restored.names.append(name)
            except Exception as error:  # noqa: BLE001  # objects raise whatever they like
                restored.lost[name] = _why(error)
                lost_memos |= dict.fromkeys(own, name)
                for number in own:
                    memo.pop(number, None)

    def _read_at(self, span: _Span, memo: dict[int, Any]) -> Any:
        """Read one pickle of the stream; the memo gets what it adds."""
        # The memo of the unpickler written in C cannot be set from a dict (it stays empty).
        self._stream.seek(span.start)
        rest = iter(self._buffers[span.first_buffer :])
        again = pickle._Unpickler(self._stream, buffers=rest)  # noqa: SLF001  # see above
        again.memo = memo  # type: ignore[attr-defined]  # the stubs lack it
        return again.load()


def _why(error: Exception) -> str:
    hint = ""
    if isinstance(error, ModuleNotFoundError):
        hint = f" Install the package that has the module {error.name!r} on the server."
    return f"It could not be restored: {type(error).__name__}: {error}.{hint}"


def _spans(stream: BinaryIO) -> Iterator[_Span]:
    """Find the pickles in a stream without running them; the last span is empty."""
    stream.seek(0)
    end = os.fstat(stream.fileno()).st_size
    buffers = memos = 0
    while (start := stream.tell()) < end:
        first_buffer, first_memo, used = buffers, memos, set[int]()
        for opcode, argument, _ in pickletools.genops(stream):
            match opcode.name:
                case "MEMOIZE":
                    memos += 1
                case "NEXT_BUFFER":
                    buffers += 1
                case "GET" | "BINGET" | "LONG_BINGET":
                    used.add(int(argument or 0))
        yield _Span(start, first_buffer, first_memo, frozenset(used))
    yield _Span(end, buffers, memos, frozenset())
