"""Faults of the machine: the one table from errors of the system and the database to answers.

A full disk is 507, all else that may be over in a moment is 503 with ``Retry-After``. No answer
has a path or the system's own words, and none says that the request was wrong.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from jupyter_mlsvc_server.errors import InsufficientStorage, MachineFault, MlsvcServerError

_PROBE_BYTES: Final = 2**20
_PRIMARY_CODE: Final = 0xFF  # of SQLite's codes, which say more in their higher bits


class DiskFull(InsufficientStorage):
    """There is no room on the server's disk, or as little as is kept for what must go on."""

    code = "DiskFull"

    def __init__(self) -> None:
        super().__init__(
            "The server's disk is full, so nothing new can be stored. Delete snapshots, batches or "
            "services that are not needed, or ask whoever runs the server to make room."
        )


class DiskFails(MachineFault):
    """The server's disk can't be read or written."""

    code = "DiskFails"

    def __init__(self) -> None:
        super().__init__(
            "The server's disk cannot be written at the moment. Tell whoever runs the server, and "
            "try again later.",
            retry_after=30,
        )


class ResourcesExhausted(MachineFault):
    """The server may open no more files, or has no more memory or processes."""

    code = "ResourcesExhausted"

    def __init__(self) -> None:
        super().__init__(
            "The server has no more files, processes or memory to use at the moment; try again in "
            "a moment.",
            retry_after=5,
        )


class DatabaseBusy(MachineFault):
    """Another change has kept the database for too long; this one did not happen."""

    code = "DatabaseBusy"

    def __init__(self) -> None:
        super().__init__(
            "The server's database is busy with another change. Nothing was changed by this "
            "request; try again in a moment.",
            retry_after=5,
        )


class DatabaseUnavailable(MachineFault):
    """The database does not answer."""

    code = "DatabaseUnavailable"

    def __init__(self) -> None:
        super().__init__(
            "The server's database does not answer at the moment; try again in a moment.",
            retry_after=10,
        )


class ObjectStoreUnavailable(MachineFault):
    """The object store with the blobs of snapshots and services does not answer."""

    code = "ObjectStoreUnavailable"

    def __init__(self) -> None:
        super().__init__(
            "The server's object store does not answer at the moment, so nothing was stored or "
            "loaded; try again in a moment.",
            retry_after=10,
        )


_BY_ERRNO: Final[dict[int, Callable[[], MlsvcServerError]]] = {
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: DiskFull,
    errno.EROFS: DiskFails,
    errno.EIO: DiskFails,
    errno.EMFILE: ResourcesExhausted,
    errno.ENFILE: ResourcesExhausted,
    errno.ENOMEM: ResourcesExhausted,
    errno.EAGAIN: ResourcesExhausted,  # of a fork
}

_BY_SQLITE_CODE: Final[dict[int, Callable[[], MlsvcServerError]]] = {
    sqlite3.SQLITE_BUSY: DatabaseBusy,
    sqlite3.SQLITE_LOCKED: DatabaseBusy,
    sqlite3.SQLITE_FULL: DiskFull,
    sqlite3.SQLITE_NOMEM: ResourcesExhausted,
    sqlite3.SQLITE_READONLY: DatabaseUnavailable,
    sqlite3.SQLITE_IOERR: DatabaseUnavailable,
    sqlite3.SQLITE_CANTOPEN: DatabaseUnavailable,
    sqlite3.SQLITE_PROTOCOL: DatabaseBusy,
}


_BY_SQLSTATE: Final[dict[str | None, Callable[[], MlsvcServerError]]] = {
    "53100": DiskFull,
    "40001": DatabaseBusy,  # a transaction that does not fit between others
    "40P01": DatabaseBusy,  # a deadlock
    "55P03": DatabaseBusy,  # a lock that was not to be had in time
}
"""PostgreSQL's codes."""


def machine_fault(error: BaseException) -> MlsvcServerError | None:
    """Return the answer that an error is, where a fault of the machine caused it.

    Returns
    -------
    MlsvcServerError or None
        None where the error is another one, such as a mistake in the server.
    """
    for each in _causes(error):
        fault = _fault(each)
        if fault is not None:
            return fault
    return None


def errno_fault(number: int | None) -> MlsvcServerError | None:
    """Return the answer that an error number is, as another process met it; None for others."""
    made = _BY_ERRNO.get(number or 0)
    return None if made is None else made()


def writing_fault(folder: Path) -> MlsvcServerError:
    """Return the answer where another process could not write in a folder, and said no number.

    What it wrote is still there, so the same error is met again, as long as it lasts.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE_BYTES)
            file.write(b"x")
            os.fsync(file.fileno())
    except OSError as error:
        return machine_fault(error) or DiskFails()
    return DiskFails()


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _fault(error: BaseException) -> MlsvcServerError | None:
    if isinstance(error, MachineFault | InsufficientStorage):
        return error
    if isinstance(error, sa.exc.DBAPIError):
        return _database_fault(error)
    if isinstance(error, sa.exc.TimeoutError):  # all connections are in use
        return DatabaseBusy()
    if isinstance(error, sqlite3.Error):
        return _sqlite_fault(error)
    if isinstance(error, MemoryError):
        return ResourcesExhausted()
    return errno_fault(error.errno) if isinstance(error, OSError) else None


def _database_fault(error: sa.exc.DBAPIError) -> MlsvcServerError | None:
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _sqlite_fault(cause)
    if (made := _BY_SQLSTATE.get(getattr(cause, "sqlstate", None))) is not None:
        return made()
    # What other databases call operational is none of the server's doing.
    is_fault = error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
    return DatabaseUnavailable() if is_fault else None


def _sqlite_fault(error: sqlite3.Error) -> MlsvcServerError | None:
    made = _BY_SQLITE_CODE.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE)
    return None if made is None else made()
