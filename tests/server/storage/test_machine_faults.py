"""Faults of the machine: every one is a status of its own, and none tells a path."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest
import sqlalchemy as sa

from jupyter_mlsvc.wire.problem import STATUS_OF
from jupyter_mlsvc_server.storage.machine_faults import (
    DatabaseBusy,
    DatabaseUnavailable,
    DiskFull,
    errno_fault,
    machine_fault,
)

PATH = "/srv/mlsvc/blobs/aa"

STATUS_OF_ERRNO = {
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
    errno.EROFS: 503,
    errno.EIO: 503,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
    errno.EAGAIN: 503,
}


class ServerError(Exception):
    """An error of a database server's driver."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__(f"could not write to {PATH}")
        self.sqlstate = sqlstate


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"what SQLite says of {PATH}")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("number", STATUS_OF_ERRNO, ids=errno.errorcode.get)
def test_errors_of_the_system_have_a_status(number: int) -> None:
    fault = machine_fault(OSError(number, os.strerror(number), PATH))
    assert fault is not None
    assert fault.status == STATUS_OF_ERRNO[number]
    assert fault.exception_type in STATUS_OF
    assert PATH not in fault.message
    assert ("Retry-After" in fault.headers) is (fault.status == 503)
    assert type(errno_fault(number)) is type(fault)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (sqlite3.SQLITE_BUSY, 503),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, 503),
        (sqlite3.SQLITE_FULL, 507),
        (sqlite3.SQLITE_READONLY, 503),
        (sqlite3.SQLITE_IOERR_WRITE, 503),
        (sqlite3.SQLITE_CANTOPEN, 503),
    ],
)
def test_errors_of_sqlite_have_a_status(code: int, status: int) -> None:
    error = sa.exc.OperationalError("COMMIT", {}, sqlite_error(code))
    fault = machine_fault(error)
    assert fault is not None
    assert (fault.status, PATH in fault.message) == (status, False)


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("53100", DiskFull),
        ("55P03", DatabaseBusy),
        ("57P01", DatabaseUnavailable),
        (None, DatabaseUnavailable),
    ],
)
def test_errors_of_a_database_server_have_a_status(
    sqlstate: str | None, kind: type[Exception]
) -> None:
    fault = machine_fault(sa.exc.OperationalError("COMMIT", {}, ServerError(sqlstate)))
    assert fault is not None
    assert type(fault) is kind
    assert PATH not in fault.message


def test_a_cause_counts_and_what_was_handled_before_does_not() -> None:
    full = OSError(errno.ENOSPC, "full", PATH)
    wrapped = RuntimeError("could not be stored")
    wrapped.__cause__ = full
    mistake = TypeError("a mistake")
    mistake.__context__ = full
    fault = machine_fault(wrapped)
    assert fault is not None
    assert fault.status == 507
    assert machine_fault(mistake) is None


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "missing", PATH),
        sa.exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError("FOREIGN KEY")),
        sqlite_error(sqlite3.SQLITE_CORRUPT),
        ValueError("a mistake"),
    ],
    ids=["missing", "integrity", "damaged", "mistake"],
)
def test_other_errors_are_no_faults_of_the_machine(error: Exception) -> None:
    assert machine_fault(error) is None


def test_no_memory_is_for_a_moment() -> None:
    fault = machine_fault(MemoryError())
    assert fault is not None
    assert fault.status == 503
