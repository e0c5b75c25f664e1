"""Backup of a data folder, also while its server runs, and its way back.

The database is copied first, in one piece, and then what it refers to. Blobs never change, and one
that is collected meanwhile is in the trash folder. So the copy belongs together::

    backup.json          installation, time, and digests of the files that are not blobs
    mlsvc.db             the database, where it is SQLite
    blobs/ab/abcd…       blobs; those that are there already are not copied again
    batches/ID/…         records and results; of one that runs, the results until then
    secret.key, installation.id

Every file is hashed when it is copied, on both ways. What is damaged is told, and the rest copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.formats.blobs import DamagedBlob
from jupyter_mlsvc_server.formats.private_files import (
    private_directory,
    sync_directory,
    write_atomic,
)
from jupyter_mlsvc_server.storage import postgresql
from jupyter_mlsvc_server.storage.blobs import TRASH
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.installation import ID_FILE
from jupyter_mlsvc_server.storage.machine_faults import ObjectStoreUnavailable
from jupyter_mlsvc_server.storage.object_store import ObjectStore
from jupyter_mlsvc_server.storage.schema import batches, content_blobs, installations

CONTENTS: Final = "backup.json"
DATABASE: Final = "mlsvc.db"

_FORMAT: Final = 1
_BLOBS: Final = "blobs"
_BATCHES: Final = "batches"
_SECRET: Final = "secret.key"  # noqa: S105 - the file's name
_PIECE_BYTES: Final = 2**20
_TEMPORARY: Final = ".new-"


class BackupRefused(Exception):
    """Nothing was copied; the message says why."""


class BackupContents(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds.

    Attributes
    ----------
    installation : str
        Id of the installation that it is of.
    kind : str
        Kind of its database, such as ``sqlite``.
    files : dict
        SHA-256 of the files that are no blobs, by their paths.
    """

    format: int = _FORMAT
    version: str = __version__
    created_at: str
    installation: str
    kind: str
    files: dict[str, str] = {}


@dataclass
class Copied:
    """What was copied, and what could not be.

    Attributes
    ----------
    blobs, new_blobs, new_bytes : int
        Blobs that the copy has, those that were copied now, and their bytes.
    batches : int
        Batches that the copy has.
    problems : list of str
        Sentences on what is damaged or missing.
    """

    blobs: int = 0
    new_blobs: int = 0
    new_bytes: int = 0
    batches: int = 0
    problems: list[str] = field(default_factory=list)


def back_up(
    url: sa.URL, data_dir: Path, target: Path, *, objects: ObjectStore | None = None
) -> Copied:
    """Copy a data folder and its SQLite database into a folder.

    Parameters
    ----------
    url
        Of the database; another than SQLite has to be copied before, by its own means.
    target
        A folder that is new or empty, or has an earlier backup of the same installation.
    objects
        Has the blobs that the data folder has not.

    Raises
    ------
    BackupRefused
        The folder holds something else, or there is nothing to copy.
    """
    if target.resolve().is_relative_to(data_dir.resolve()):
        raise BackupRefused(f"{target} is in the data folder itself. Name a folder elsewhere.")
    before = _contents_of(target)
    is_sqlite = url.get_backend_name() == "sqlite"
    with contextlib.ExitStack() as stack:
        if is_sqlite:
            database = stack.enter_context(_copied_database(Path(str(url.database)), target))
            url = sa.URL.create("sqlite", database=str(database))
        installation, digests, ids = _references(url)
        if before is not None and before.installation != installation:
            raise BackupRefused(
                f"{target} has the backup of another installation. Name another folder."
            )
        _make_folders(target)
        copied, files = Copied(), dict[str, str]()
        for digest in digests:
            _back_up_blob(data_dir / _BLOBS, target / _BLOBS, digest, copied, objects)
        known = {} if before is None else before.files
        for path in _other_files(data_dir, ids, copied):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                files[path] = _copy_unless_there(data_dir / path, target / path, known.get(path))
        if is_sqlite:
            files[DATABASE] = _digest(database)
            database.replace(target / DATABASE)
            sync_directory(target)
    contents = BackupContents(
        created_at=now_text(), installation=installation, kind=url.get_backend_name(), files=files
    )
    write_atomic(target / CONTENTS, msgspec.json.format(msgspec.json.encode(contents)))
    return copied


def restore(source: Path, data_dir: Path, database: Path | None) -> Copied:
    """Copy a backup into an empty data folder; every file is compared with its digest.

    Parameters
    ----------
    database
        File that the SQLite database is to be; None for another database, which has to be restored
        by its own means.

    Raises
    ------
    BackupRefused
        There is no backup, its database is damaged, or something is there already.
    """
    contents = _contents_of(source)
    if contents is None:
        raise BackupRefused(f"{source} has no backup.")
    if contents.format != _FORMAT:
        raise BackupRefused(f"{source} was written by a newer version of jupyter-mlsvc.")
    if (contents.kind == "sqlite") != (database is not None):
        raise BackupRefused(
            f"The backup is of a server with {contents.kind}, and Database.url names another kind."
        )
    there = [path for path in (*_entries(data_dir), database) if path and _is_data(path)]
    if there:
        raise BackupRefused(f"{there[0]} is there already. Restore into a folder that is empty.")
    copied = Copied()
    files = dict(contents.files)
    of_database = files.pop(DATABASE, "")
    if database is None:
        digests = _blobs_in(source / _BLOBS)
    elif _digest(source / DATABASE) != of_database:
        raise BackupRefused(f"{source / DATABASE} is damaged. Take an earlier backup.")
    else:
        url = sa.URL.create("sqlite", database=str(source / DATABASE))
        _, digests, _ = _references(url)
    _make_folders(data_dir)
    for digest in digests:
        part = f"{_BLOBS}/{digest[:2]}/{digest}"
        copied.blobs += _is_restored(source / part, data_dir / part, digest, copied)
    for name, digest in files.items():
        _is_restored(source / name, data_dir / name, digest, copied)
    copied.batches = len(_entries(data_dir / _BATCHES))
    if database is not None:
        # What it refers to is there now.
        _copy(source / DATABASE, database, of_database)
    return copied


# --- of both ----------------------------------------------------------------------------------


def _contents_of(folder: Path) -> BackupContents | None:
    """Read what a backup holds; None for a folder that is empty or not there."""
    try:
        return msgspec.json.decode((folder / CONTENTS).read_bytes(), type=BackupContents)
    except FileNotFoundError:
        if others := [path for path in _entries(folder) if not path.name.startswith(_TEMPORARY)]:
            raise BackupRefused(
                f"{folder} is no backup and has {others[0].name}. Name a folder that is empty."
            ) from None
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BackupRefused(f"{folder / CONTENTS} cannot be read: {error}.") from error


def _make_folders(folder: Path) -> None:
    for path in (folder, folder / _BLOBS, folder / _BATCHES):
        private_directory(path)


def _copy(source: Path, target: Path, digest: str | None = None) -> str:
    """Copy a file, whole or not at all; give its digest.

    Raises
    ------
    ValueError
        It has another digest than it should have.
    """
    private_directory(target.parent)
    hasher = hashlib.sha256()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as to, source.open("rb") as from_:
            found = os.fstat(from_.fileno())
            while piece := from_.read(_PIECE_BYTES):
                hasher.update(piece)
                to.write(piece)
            if digest is not None and hasher.hexdigest() != digest:
                raise ValueError(f"{source} is damaged")
            to.flush()
            os.fchmod(descriptor, found.st_mode & 0o600)
            os.fsync(descriptor)
        os.utime(temporary, ns=(found.st_atime_ns, found.st_mtime_ns))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(target.parent)
    return hasher.hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []


# --- there ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _copied_database(path: Path, target: Path) -> Iterator[Path]:
    """Copy an SQLite database as it is at one moment, whoever writes to it."""
    if not path.exists():
        raise BackupRefused(f"There is no database {path}.")
    private_directory(target)
    with tempfile.TemporaryDirectory(dir=target, prefix=_TEMPORARY) as folder:
        copy = Path(folder) / DATABASE
        try:
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as of:
                of.execute("VACUUM INTO ?", (str(copy),))
        except sqlite3.Error as error:
            raise BackupRefused(f"The database {path} cannot be copied: {error}.") from error
        copy.chmod(0o600)
        yield copy


def _references(url: sa.URL) -> tuple[str, list[str], list[str]]:
    """Give the installation of a database, the blobs that it refers to, and its batches."""
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = sa.create_engine(url) if is_sqlite else postgresql.make_engine(url, 1)
    try:
        with engine.connect() as connection:
            installation = connection.scalar(sa.select(installations.c.id))
            digests = connection.scalars(sa.select(content_blobs.c.digest).distinct()).all()
            ids = connection.scalars(sa.select(batches.c.id)).all()
    except sa.exc.SQLAlchemyError as error:
        raise BackupRefused(f"The database cannot be read: {postgresql.reason(error)}.") from error
    finally:
        engine.dispose()
    if installation is None:
        raise BackupRefused("No server of this version has started on the database yet.")
    return installation, sorted(digests), sorted(ids)


def _back_up_blob(
    blobs: Path, target: Path, digest: str, copied: Copied, objects: ObjectStore | None
) -> None:
    there = target / digest[:2] / digest
    if not there.exists():
        problem = _copy_blob(blobs, there, digest)
        if problem and objects is not None:
            problem = _download_blob(objects, there, digest)
        if problem:
            copied.problems.append(f"Blob {digest} {problem}.")
            return
        copied.new_blobs += 1
        copied.new_bytes += there.stat().st_size
    copied.blobs += 1


def _copy_blob(blobs: Path, target: Path, digest: str) -> str:
    """Copy a blob, and return what is wrong with it; empty where nothing is."""
    home = blobs / digest[:2] / digest
    # It may be moved to the trash or taken back meanwhile.
    for path in (home, blobs / TRASH / digest, home):
        try:
            _copy(path, target, digest)
        except FileNotFoundError:
            continue
        except ValueError:
            return "is damaged and was not copied"
        except OSError as error:
            return f"was not copied: {error.strerror}"
        return ""
    return "is missing"


def _download_blob(objects: ObjectStore, target: Path, digest: str) -> str:
    private_directory(target.parent)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=_TEMPORARY) as file:
        try:
            for piece in objects.pieces(digest):
                file.write(piece)
        except (DamagedBlob, ObjectStoreUnavailable) as error:
            return f"was not copied: {str(error).rstrip('.')}"
        file.flush()
        try:
            _copy(Path(file.name), target, digest)
        except ValueError:
            return "is damaged and was not copied"
    return ""


def _other_files(data_dir: Path, ids: list[str], copied: Copied) -> Iterator[str]:
    """Give the paths of what is copied besides blobs and an SQLite database."""
    for name in (ID_FILE, _SECRET):
        if (data_dir / name).exists():
            yield name
    for batch_id in ids:
        files = _entries(data_dir / _BATCHES / batch_id)
        copied.batches += bool(files)
        # The index first: what it refers to is written before it.
        for path in sorted(files, key=lambda each: not each.name.endswith(".index")):
            if path.is_file():
                yield f"{_BATCHES}/{batch_id}/{path.name}"


def _copy_unless_there(source: Path, target: Path, digest: str | None) -> str:
    """Copy a file that is not as it was at the last backup."""
    found = source.stat()
    if digest is not None:
        with contextlib.suppress(FileNotFoundError):
            there = target.stat()
            if (there.st_size, there.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
                return digest
    return _copy(source, target)


# --- and back ---------------------------------------------------------------------------------


def _is_data(path: Path) -> bool:
    """Whether something is in the way of a backup; a lock is not."""
    return path.exists() and path.name != "server.lock"


def _blobs_in(folder: Path) -> list[str]:
    return [
        path.name
        for part in _entries(folder)
        for path in _entries(part)
        if not path.name.startswith(_TEMPORARY)
    ]


def _is_restored(source: Path, target: Path, digest: str, copied: Copied) -> bool:
    """Copy a file if it is whole."""
    try:
        _copy(source, target, digest)
    except (ValueError, FileNotFoundError):
        copied.problems.append(f"{source} is damaged or missing and was not restored.")
        return False
    return True
