"""The database: SQLite in the data folder, or any that SQLAlchemy knows by its URL."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from traitlets import Float, Unicode, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.formats.private_files import private_directory
from jupyter_mlsvc_server.storage.paths import FolderPath, default_data_dir

T = TypeVar("T")

_THREADS: Final = 4
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MIGRATION_LOCK: Final = 0x6D6C737663  # PostgreSQL's advisory locks are numbers; this one is ours


class UnusableDatabase(RuntimeError):
    """The database can't be opened; the message is a sentence for who starts the server."""

    def __init__(self, where: object, cause: object) -> None:
        super().__init__(f"The database {where} cannot be used: {cause}.")


class UnknownSchema(UnusableDatabase):
    """The database was written by a newer version of the server."""

    def __init__(self, where: object) -> None:
        super().__init__(
            where,
            "it belongs to a newer version of jupyter-mlsvc; install that version, or point "
            "MLSVC_DATA_DIR at another folder",
        )


class Database(LoggingConfigurable):
    """Runs transactions in threads of its own and brings the schema up to date.

    Several processes may use one database: the server and its command line tools.
    """

    data_dir = FolderPath(help="Folder of everything that the server keeps.")
    url = Unicode(
        help="SQLAlchemy URL of the database. Default: the SQLite file mlsvc.db in data_dir."
    ).tag(config=True)
    lock_timeout = Float(
        30.0, min=0, help="Seconds that a transaction waits for another process's to end."
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._engine: sa.Engine | None = None
        self._threads: ThreadPoolExecutor | None = None

    @default("data_dir")
    def _default_data_dir(self) -> Path:
        return default_data_dir()

    @default("url")
    def _default_url(self) -> str:
        path = self.data_dir / "mlsvc.db"
        return sa.URL.create("sqlite", database=str(path)).render_as_string()

    @property
    def kind(self) -> str:
        """What kind of database it is, such as ``sqlite``."""
        return sa.make_url(self.url).get_backend_name()

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        return self._shown_url()

    async def start(self) -> None:
        """Open the database, making it where it is not there yet, and migrate it.

        Raises
        ------
        UnusableDatabase
            It can't be reached, is damaged, or a newer version of the server wrote it.
        """
        if self._threads is not None:
            return
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="mlsvc-database")
        try:
            self._engine = await self._in_thread(self._open)
        except (sqlite3.Error, SQLAlchemyError, OSError) as error:
            await self.stop()
            cause = getattr(error, "orig", None) or error
            raise UnusableDatabase(self._shown_url(), cause) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let running transactions end and close all connections; may be called twice."""
        threads, self._threads = self._threads, None
        engine, self._engine = self._engine, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        if engine is not None:
            await asyncio.to_thread(engine.dispose)

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run work in one transaction, in a thread; an exception rolls it back.

        The transaction may write: on SQLite it is the only one of its kind at a time, so what it
        reads stays true until it writes.
        """
        engine = self._opened()
        return await self._in_thread(partial(_transact, engine, work))

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run work that only reads; it waits for nobody."""
        engine = self._opened().execution_options(mlsvc_read_only=True)
        return await self._in_thread(partial(_transact, engine, work))

    def _opened(self) -> sa.Engine:
        if self._engine is None:
            raise RuntimeError("The database is not open: call start() first.")
        return self._engine

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            raise RuntimeError("The database is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # --- opening, in a thread ----------------------------------------------------------------

    def _open(self) -> sa.Engine:
        private_directory(self.data_dir)
        url = sa.make_url(self.url)
        engine = self._sqlite(url) if url.get_backend_name() == "sqlite" else sa.create_engine(url)
        try:
            self._migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _sqlite(self, url: sa.URL) -> sa.Engine:
        if url.database and url.database != ":memory:":
            # SQLite gives its journal files the mode of the database file.
            path = Path(url.database)
            path.touch(mode=0o600)
            path.chmod(0o600)
            self._switch_to_wal(path)
        engine = sa.create_engine(url, connect_args={"timeout": self.lock_timeout})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _switch_to_wal(self, path: Path) -> None:
        # SQLite does not wait for this lock by itself as it does for others.
        give_up = time.monotonic() + self.lock_timeout
        while True:
            try:
                with closing(sqlite3.connect(path, timeout=self.lock_timeout)) as connection:
                    connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
            else:
                return

    def _migrate(self, engine: sa.Engine) -> None:
        # Imported late: only a start needs it.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise UnknownSchema(self._shown_url()) from error

    def _shown_url(self) -> str:
        url = sa.make_url(self.url)
        if url.get_backend_name() == "sqlite":
            return str(url.database)
        return url.render_as_string(hide_password=True)


def _transact(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by its own rules, none of them before a read.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads and then writes fails at once, without waiting, when another one
    # wrote in between; taking the lock first makes it wait instead.
    reads = connection.get_execution_options().get("mlsvc_read_only", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
