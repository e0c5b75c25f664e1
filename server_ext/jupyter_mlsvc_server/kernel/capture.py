"""Capture: writes the workspace of a session as pickles, without the objects that can't be written.

A snapshot of a session begins here, in its kernel. The server names an empty folder, and the
fingerprints of the buffers that it has. The agent calls :func:`capture`, which fills the folder and
returns a report. The server then moves the files of the folder to its blobs (``snapshots.ingest``).

The folder::

    stream      pickle of the namespace | pickle of ["a", a] | pickle of ["b", b] | ...
    buffers/0   bytes of a large array of a
    buffers/2   bytes of one of b; the server has number 1, so only its fingerprint is in the report

One pickler writes all pickles of the stream, with one memo. What two names share is written once,
and they share it again after restoring. The namespace comes first, and is a reference to whatever
namespace the workspace is restored into. So restored functions have that one as their globals.

Buffers of 64 KiB and more (arrays, columns of tables) go to files of their own, in the order in
which the stream asks for them. Restoring maps such a file instead of reading it. A buffer that the
server knows from the session's last snapshot is not written.

Names are taken in the order of ``restore_order``. Each has one of two ends::

    name -- dump --+-- written --> row with its size, and the names that it looks up
                   |
                   +-- raised ---> the stream is cut where the pickle began, the memo forgets it
                                   --> row with ``kept`` false, and the reason (``pickle_errors``)

An object that fails leaves nothing in the stream: the rest is as if it had never been there.
"""

from __future__ import annotations

import io
import pickle
import platform
import sys
import types
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from jupyter_mlsvc.wire.inventory import package_versions, type_name
from jupyter_mlsvc.wire.library_settings import changed_settings
from jupyter_mlsvc.wire.objects import (
    Namespace,
    NamespacePickler,
    TargetNamespace,
    module_of,
    names_looked_up,
)
from jupyter_mlsvc_server.formats.fingerprints import Known, KnownFingerprints
from jupyter_mlsvc_server.formats.manifest import (
    BUFFERS,
    STREAM,
    CaptureReport,
    ObjectEntry,
    Workspace,
)
from jupyter_mlsvc_server.kernel.environment import Importable, submodules_of
from jupyter_mlsvc_server.kernel.pickle_errors import NotImportable, explain
from jupyter_mlsvc_server.kernel.restore_order import in_order

MIN_BUFFER_BYTES: Final = 64 * 1024
"""Bytes from which on a buffer is kept out of the stream, so that it can be mapped and shared."""

_NAMED: Final = (type, types.FunctionType, types.ModuleType)


def capture(
    namespace: Namespace,
    staging: Path,
    exclude: Collection[str] = (),
    search_path: Sequence[str] | None = None,
    known: Known | None = None,
) -> CaptureReport:
    """Write the objects of a namespace to a folder, and return the report.

    Parameters
    ----------
    namespace
        The globals of the user's code.
    staging
        An existing folder; gets ``stream`` and ``buffers/<n>``.
    exclude
        Names that are not the user's. Names with two underscores at both ends never are.
    search_path
        Folders from which modules can be imported where the workspace is restored; by default
        ``sys.path``.
    known
        Buffers that need not be written; by default all are.

    Returns
    -------
    CaptureReport
        What was written; an object that could not be is a row with ``kept`` false and a reason.
    """
    # Threads of the user's may go on changing the namespace.
    own = {
        name: value
        for name, value in list(namespace.items())
        if _is_users(name) and name not in exclude
    }
    names = in_order(own, namespace)
    (staging / BUFFERS).mkdir()
    with (staging / STREAM).open("wb") as file:
        stream = _Stream(
            file,
            namespace,
            staging / BUFFERS,
            Importable(search_path),
            KnownFingerprints(known or Known()),
        )
        objects = tuple(stream.add(name, own[name], names) for name in names)
    kept = {entry.name: own[entry.name] for entry in objects if entry.kept}
    return CaptureReport(
        workspace=Workspace(
            python_version=platform.python_version(),
            packages=package_versions(),
            submodules=tuple(submodules_of(kept)),
            objects=objects,
            settings=changed_settings(),
        ),
        stream_size=(staging / STREAM).stat().st_size,
        buffer_sizes=tuple(stream.buffer_sizes),
        marks=stream.fingerprints,
    )


def _is_users(name: object) -> bool:
    return isinstance(name, str) and not (name.startswith("__") and name.endswith("__"))


class _Stream:
    """Writer of the stream: adds one object after the other, or takes it back."""

    def __init__(
        self,
        file: BinaryIO,
        namespace: Namespace,
        buffers: Path,
        importable: Importable,
        known: KnownFingerprints,
    ) -> None:
        self.buffer_sizes: list[int] = []
        self.fingerprints: dict[str, str] = {}
        self._file = file
        self._buffers = buffers
        self._known = known
        self._waiting: list[pickle.PickleBuffer] = []
        self._pickler = _WorkspacePickler(file, namespace, self._keep_out, importable)
        self._pickler.write_target()

    def add(self, name: str, value: object, names: Collection[str]) -> ObjectEntry:
        """Write an object and its buffers, and return its row."""
        start, entry = self._file.tell(), [name, value]
        self._waiting.clear()
        self._pickler.looked_up.clear()
        try:
            self._pickler.dump(entry)
            size = self._file.tell() - start + self._write_buffers()
        except Exception as error:  # noqa: BLE001  # objects raise whatever they like
            self._file.seek(start)
            self._file.truncate()
            self._pickler.forget(entry)
            reason = explain(name, value, error)
            return ObjectEntry(name=name, type=type_name(value), kept=False, reason=reason)
        uses = self._pickler.looked_up | self._pickler.looked_up_by(type(value))
        return ObjectEntry(
            name=name, type=type_name(value), size=size, uses=tuple(sorted(uses & set(names)))
        )

    def _keep_out(self, buffer: pickle.PickleBuffer) -> bool:
        """Keep a large buffer for a file of its own; a true result leaves it in the stream."""
        if buffer.raw().nbytes < MIN_BUFFER_BYTES:
            return True
        self._waiting.append(buffer)
        return False

    def _write_buffers(self) -> int:
        sizes: list[int] = []
        fingerprints: dict[str, str] = {}
        for buffer in self._waiting:
            data = buffer.raw()
            number = str(len(self.buffer_sizes) + len(sizes))
            fingerprint = self._known.find(data)
            if fingerprint is None:
                (self._buffers / number).write_bytes(data)
            else:
                fingerprints[number] = fingerprint
            sizes.append(data.nbytes)
        self._waiting.clear()
        self.buffer_sizes += sizes
        self.fingerprints |= fingerprints
        return sum(sizes)


class _WorkspacePickler(NamespacePickler):
    """A pickler for many objects in a row, which can forget the last one."""

    def __init__(
        self,
        file: BinaryIO,
        namespace: Namespace,
        buffer_callback: Any,
        importable: Importable,
    ) -> None:
        super().__init__(file, namespace, buffer_callback)
        self.memo: Any
        self.looked_up: set[str] = set()
        self._importable = importable

    def write_target(self) -> None:
        """Write the namespace itself, so that all references to it lead to the target."""
        stand_in = TargetNamespace()
        self.dump(stand_in)
        memo = self.memo.copy()
        index, _ = memo.pop(id(stand_in))
        memo[id(self._namespace)] = index, self._namespace
        self.memo = memo
        self.globals_ref[id(self._namespace)] = self._namespace

    def forget(self, entry: list[Any]) -> None:
        """Forget an entry that failed, and all that was written with it."""
        memo = self.memo.copy()
        # The list comes first in its entry: what has its number or a later one came with it.
        start = memo[id(entry)][0] if id(entry) in memo else len(memo)
        self.memo = {key: item for key, item in memo.items() if item[0] < start}

    def looked_up_by(self, kind: type) -> set[str]:
        """Name the globals that the methods of a class of the notebook look up."""
        functions = (
            function
            for base in kind.__mro__
            if base.__module__ == "__main__"
            for function in vars(base).values()
            if isinstance(function, types.FunctionType)
        )
        return {name for function in functions for name in self._globals_of(function)}

    def reducer_override(self, value: Any) -> Any:
        """Refuse open files, and what could not be imported when it is read.

        Memory-mapped arrays become plain ones, which are mapped from the snapshot in their turn.
        """
        if isinstance(value, _NAMED):
            self._require_importable(value)
        elif isinstance(value, io.TextIOWrapper) and value not in {sys.stdout, sys.stderr}:
            # cloudpickle would read the file and put a copy of its text in its place.
            raise TypeError("cannot pickle '_io.TextIOWrapper' object")
        elif type(value).__name__ == "memmap" and type(value).__module__ == "numpy":
            # numpy would copy it into the stream.
            return value.view(sys.modules["numpy"].ndarray).__reduce_ex__(5)
        return super().reducer_override(value)

    def _require_importable(self, value: Any) -> None:
        module = module_of(value)
        if module is not None and not self._importable(module.__name__):
            raise NotImportable(module)

    def _dynamic_function_reduce(self, function: types.FunctionType) -> Any:
        self.looked_up |= self._globals_of(function)
        return super()._dynamic_function_reduce(function)

    def _globals_of(self, function: types.FunctionType) -> set[str]:
        if function.__globals__ is not self._namespace:
            return set()
        return names_looked_up(function)
