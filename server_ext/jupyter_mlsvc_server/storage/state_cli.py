"""``jupyter mlsvc state``: moves what a server keeps into a database that several can share."""

from __future__ import annotations

from pathlib import Path

from traitlets import Unicode

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.storage.cli import (
    CommandGroup,
    DataFolderCommand,
    Misuse,
    Refused,
    stopped,
)
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.state_copy import CopyRefused, copy_database


class CopyState(DataFolderCommand):
    """Copy the SQLite database of a data folder into the PostgreSQL database of the settings.

    The server has to be stopped. The other database has to be empty, and gets all or nothing; the
    file stays as it is. Blobs and batches stay in the data folder, to which both databases belong.
    """

    name = "jupyter-mlsvc-state-copy"
    description = __doc__
    command = "jupyter mlsvc state"
    usage = "jupyter mlsvc state copy --Database.url=URL [--from FILE] [--data-dir FOLDER]"
    examples = "jupyter mlsvc state copy --Database.url=postgresql://mlsvc@db.example.org/mlsvc"

    source = Unicode("", help="SQLite file to copy. Default: mlsvc.db in the data folder.").tag(
        config=True
    )

    aliases = {**DataFolderCommand.aliases, "from": "CopyState.source"}  # noqa: RUF012

    async def run(self) -> None:
        """Copy, and say how many rows there are."""
        if self.extra_args:
            raise Misuse("Give no argument.")
        target = Database(data_dir=self.folder, parent=self)
        if target.kind == "sqlite":
            raise Misuse("Name a PostgreSQL database with Database.url.")
        source = self._file()
        with stopped(self.folder):
            await target.start()
            try:
                counts = await copy_database(source, self.folder, target)
            except CopyRefused as error:
                raise Refused(str(error)) from error
            finally:
                await target.stop()
        rows = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        print(f"Copied {source} to {target.place}: {rows}.")  # noqa: T201

    def _file(self) -> Path:
        file = Path(self.source).expanduser() if self.source else self.folder / "mlsvc.db"
        if not file.exists():
            raise Refused(f"There is no database {file}. Name another data folder, or --from.")
        return file


class StateApp(CommandGroup):
    """Copy what a server keeps into another database."""

    command = CopyState.command
    name = "jupyter-mlsvc-state"
    description = __doc__
    version = __version__
    subcommands = {"copy": (CopyState, "Copy SQLite into PostgreSQL.")}  # noqa: RUF012
    examples = CopyState.usage
