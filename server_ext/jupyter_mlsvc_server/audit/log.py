"""The audit log: one JSON object a line, in a file that only the server's account can read.

Records are written in a thread of their own. The event loop only hands them over, and the library
that describes and checks events is not imported before the first of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from io import FileIO, TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from traitlets import Bool, Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.audit.record import SCHEMA_ID, AuditRecord, schema
from jupyter_mlsvc_server.formats.private_files import private_directory

if TYPE_CHECKING:
    from jupyter_events import EventLogger

_FOLDER: Final = "audit"
_NAME: Final = "audit.jsonl"
_MOST_WAITING: Final = 10_000
"""Records that wait for a disk which does not take them; more are lost, which the log tells."""
_STOP_SECONDS: Final = 10.0


class AuditLog(LoggingConfigurable):
    """Keeps records of who did what.

    Parameters
    ----------
    data_dir
        The files are in a folder ``audit`` of it.
    """

    enabled = Bool(True, help="Whether there is an audit log.").tag(config=True)
    calls = Bool(
        False,
        help="Whether calls of services that were answered are in it as well. Each costs some time "
        "then. Calls that were refused for want of a right are always in it.",
    ).tag(config=True)
    max_bytes = Integer(
        16 * 2**20, min=2**12, help="Size in bytes at which a file is ended and another one begun."
    ).tag(config=True)
    files = Integer(10, min=1, help="Files that are kept beside the one that is written.").tag(
        config=True
    )

    def __init__(self, *, data_dir: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._folder = data_dir / _FOLDER
        self._waiting: queue.Queue[AuditRecord | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._lost = 0

    def start(self) -> None:
        """Begin to write."""
        if self.enabled and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mlsvc-audit", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end; may be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(_STOP_SECONDS)

    def note(self, record: AuditRecord) -> None:
        """Have a record written soon."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._lost += 1

    def write(self, record: AuditRecord) -> None:
        """Write a record now, from a command beside the server."""
        if self.enabled:
            with self._opened() as write:
                write(record)

    def _run(self) -> None:
        try:
            with self._opened() as write:
                while (record := self._waiting.get()) is not None:
                    write(record)
                    if self._lost:
                        lost, self._lost = self._lost, 0
                        self.log.warning("%d records of the audit log were lost", lost)
        except Exception:
            # Who stops it meanwhile waits until this is told.
            self.log.exception("the audit log ends: it cannot be written")
            self._thread = None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Callable[[AuditRecord], None]]:
        from jupyter_events import EventLogger

        private_directory(self._folder)
        handler = _PrivateFile(
            self._folder / _NAME,
            maxBytes=self.max_bytes,
            backupCount=self.files,
            encoding="utf-8",
            delay=True,
        )
        handler.problem = lambda error: self.log.warning(
            "a record of the audit log cannot be written: %s", error
        )
        # Settings of Jupyter's own events are for Jupyter's.
        events = EventLogger(handlers=[handler])
        events.register_event_schema(schema())
        try:
            yield lambda record: _emit(events, record)
        finally:
            events.remove_handler(handler)
            handler.close()


def _emit(events: EventLogger, record: AuditRecord) -> None:
    events.emit(schema_id=SCHEMA_ID, data=msgspec.structs.asdict(record))


class _PrivateFile(RotatingFileHandler):
    """A file that is rotated, and nobody else's."""

    problem: Callable[[BaseException | None], None]

    def _open(self) -> TextIOWrapper:
        path = self.baseFilename
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        return TextIOWrapper(FileIO(descriptor, "a"), encoding="ascii", write_through=True)

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 - as logging names it
        # A command beside the server may have written to the file or begun another one.
        if self.stream is not None and not self._is_same_file(self.stream):
            self.stream.close()
            self.stream = None
        return super().shouldRollover(record)

    def _is_same_file(self, stream: TextIOWrapper) -> bool:
        try:
            return os.path.samestat(Path(self.baseFilename).stat(), os.fstat(stream.fileno()))
        except OSError:
            return False

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802 - as logging names it
        self.problem(sys.exc_info()[1])


def files(data_dir: Path) -> list[Path]:
    """Name the files of the audit log that there are, the oldest first."""
    folder = data_dir / _FOLDER
    found = [path for path in folder.glob(f"{_NAME}*") if path.is_file()]
    return sorted(found, key=_age, reverse=True)


def _age(path: Path) -> int:
    number = path.name.removeprefix(_NAME).removeprefix(".")
    return int(number) if number.isdigit() else 0
