"""Commands on a data folder beside the server: ``jupyter mlsvc adopt``, ``backup``, ``restore``."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

import sqlalchemy as sa
from jupyter_core.application import JupyterApp
from traitlets import Unicode

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.host import data_dir_path, lock_path
from jupyter_mlsvc_server.formats.private_files import private_directory
from jupyter_mlsvc_server.storage.backup import BackupRefused, Copied, back_up, restore
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.config_files import ConfiguredApp
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.errors import UnusableDatabase
from jupyter_mlsvc_server.storage.installation import Half, Installation
from jupyter_mlsvc_server.storage.object_store import ObjectStore, UnusableObjectStore

_REFUSED: Final = 1
_MISUSED: Final = 2
_INTERRUPTED: Final = 130


class Misuse(Exception):
    """The command line does not make sense; the message says how it does."""


class Refused(Exception):
    """The command does not do what it was asked for; the message says why."""


class DataFolderCommand(ConfiguredApp):
    """What all commands on a data folder share: its option, and explaining errors."""

    version = __version__
    usage: ClassVar[str] = ""
    command: ClassVar[str] = "jupyter mlsvc"

    mlsvc_data_dir = Unicode(
        "",
        help="The server's data folder. Default: MlsvcApp.data_dir of the configuration, else "
        "MLSVC_DATA_DIR, else mlsvc in Jupyter's data folder.",
    ).tag(config=True)

    flags = {  # noqa: RUF012 - as the base class has it
        "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log everything.")
    }
    aliases = {  # noqa: RUF012
        "data-dir": "DataFolderCommand.mlsvc_data_dir",
        "config": "JupyterApp.config_file",
    }

    def _log_level_default(self) -> int:
        return logging.WARNING

    def start(self) -> None:
        """Do it, or say in a sentence why not."""
        super().start()
        try:
            asyncio.run(self.run())
        except Misuse as error:
            self._fail(f"{error}\nUsage: {self.usage}", _MISUSED)
        except (MlsvcServerError, UnusableDatabase, Refused) as error:
            self.log.debug("refused", exc_info=True)
            self._fail(str(error), _REFUSED)
        except KeyboardInterrupt:
            self._fail("Interrupted; nothing was changed.", _INTERRUPTED)

    async def run(self) -> None:
        """Do what the command is for."""
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        """The data folder."""
        # The server's own setting counts here, too, or the two would look at different folders.
        return data_dir_path(self.mlsvc_data_dir or self.config.MlsvcApp.get("data_dir", ""))

    def _database_url(self) -> sa.URL:
        return Database(data_dir=self.folder, parent=self).parsed_url

    def _objects(self) -> ObjectStore | None:
        """Return the object store of the blobs; None where they are in the data folder."""
        url = BlobStore(data_dir=self.folder, parent=self).url
        return ObjectStore.at(url, self.log) if url else None

    def _given_folder(self) -> Path:
        if len(self.extra_args) != 1:
            raise Misuse("Give one folder.")
        return Path(self.extra_args[0]).expanduser().absolute()

    def _fail(self, message: str, status: int) -> None:
        print(f"{self.command}: {message}", file=sys.stderr)  # noqa: T201
        self.exit(status)


class CommandGroup(JupyterApp):
    """A command that does nothing but lead to its subcommands."""

    command: ClassVar[str]

    def start(self) -> None:
        """Run the subcommand; without one, say which there are."""
        if self.subapp is not None:
            self.subapp.start()
            return
        unknown = f"There is no command {self.extra_args[0]!r}. " if self.extra_args else ""
        print(  # noqa: T201
            f"{self.command}: {unknown}Name one of these commands:\n{self.examples}",
            file=sys.stderr,
        )
        self.exit(_MISUSED)


class AdoptCommand(DataFolderCommand):
    """Let a database take over a data folder that belongs to another one.

    The server has to be stopped. What the folder has and the database does not know of is moved
    into trash folders later on, and deleted from there days after that.
    """

    name = "jupyter-mlsvc-adopt"
    description = __doc__
    usage = "jupyter mlsvc adopt [--data-dir FOLDER]"
    examples = usage

    async def run(self) -> None:
        """Give both the same id."""
        if self.extra_args:
            raise Misuse("Give no argument.")
        with stopped(self.folder):
            database = Database(data_dir=self.folder, parent=self)
            await database.start()
            try:
                installation = Installation(database=database, data_dir=self.folder)
                before = await installation.adopt()
            finally:
                await database.stop()
        print(_adopted(database.place, self.folder, *before))  # noqa: T201


class BackupCommand(DataFolderCommand):
    """Copy all that the server keeps into a folder, also while the server runs.

    A folder with an earlier backup gets what is new. What is damaged is told and not copied; the
    command ends with status 1 then.
    """

    name = "jupyter-mlsvc-backup"
    description = __doc__
    usage = "jupyter mlsvc backup FOLDER [--data-dir FOLDER]"
    examples = usage

    async def run(self) -> None:
        """Copy database, blobs and batches."""
        target = self._given_folder()
        url = self._database_url()
        try:
            copied = back_up(url, self.folder, target, objects=self._objects())
        except (BackupRefused, UnusableObjectStore) as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Refused(_cannot_copy(error)) from error
        print(  # noqa: T201
            f"Backed up {copied.blobs:,} blobs ({copied.new_blobs:,} new, {copied.new_bytes:,} "
            f"bytes) and {copied.batches:,} batches to {target}."
        )
        if url.get_backend_name() != "sqlite":
            print(  # noqa: T201
                "The database is not in it. Copy that first, with pg_dump, and run this afterwards."
            )
        _require_whole(copied)


class RestoreCommand(DataFolderCommand):
    """Copy a backup into an empty data folder.

    Each file is compared with its digest. What is damaged is told and left out; the command ends
    with status 1 then.
    """

    name = "jupyter-mlsvc-restore"
    description = __doc__
    usage = "jupyter mlsvc restore FOLDER [--data-dir FOLDER]"
    examples = usage

    async def run(self) -> None:
        """Copy blobs, batches and database."""
        source, url = self._given_folder(), self._database_url()
        database = Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
        with stopped(self.folder):
            try:
                copied = restore(source, self.folder, database)
            except BackupRefused as error:
                raise Refused(str(error)) from error
            except OSError as error:
                raise Refused(_cannot_copy(error)) from error
        print(  # noqa: T201
            f"Restored {copied.blobs:,} blobs and {copied.batches:,} batches into {self.folder}."
        )
        if database is None:
            print("Restore the database with pg_restore before the server starts.")  # noqa: T201
        _require_whole(copied)


COMMANDS: Final[dict[str, type[DataFolderCommand]]] = {
    "adopt": AdoptCommand,
    "backup": BackupCommand,
    "restore": RestoreCommand,
}
"""By the words that they are called with."""


def _cannot_copy(error: OSError) -> str:
    return (
        f"{error.filename or 'The copy'}: {error.strerror}. Make room or give access, and repeat."
    )


def _require_whole(copied: Copied) -> None:
    if copied.problems:
        raise Refused("\n".join(["This is not whole.", *copied.problems]))


@contextmanager
def stopped(data_dir: Path) -> Iterator[None]:
    """Keep servers off a data folder; one that runs refuses the command."""
    private_directory(data_dir)
    lock = os.open(lock_path(data_dir), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused(f"A server uses the data folder {data_dir}. Stop it first.") from None
    finally:
        os.close(lock)


def _adopted(place: str, data_dir: Path, database: Half, folder: Half) -> str:
    return (
        f"The database {place} ({database.things:,} contents and batches) now belongs to the data "
        f"folder {data_dir} ({folder.things:,} blobs and batches)."
    )
