"""The database: SQLite in the data folder, or PostgreSQL by its URL.

Changes and reads have threads of their own, so that a change which waits, or a slow disk, keeps no
read waiting. SQLite lets one change happen at a time; there, changes have one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from traitlets import Float, Unicode, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.private_files import private_directory
from jupyter_mlsvc_server.storage import postgresql
from jupyter_mlsvc_server.storage.errors import UnknownSchema, UnusableDatabase
from jupyter_mlsvc_server.storage.machine_faults import DatabaseBusy, DiskFull, machine_fault
from jupyter_mlsvc_server.storage.paths import FolderPath, default_data_dir

T = TypeVar("T")

_READERS: Final = 4
_WRITERS: Final = 4  # where the database lets several changes happen at a time
_TURN_SECONDS: Final = 5.0
"""Seconds more than ``lock_timeout`` that a transaction waits for a thread: the one before it gives
up first."""
_ROOM_BYTES: Final = 2 * 2**20
"""What the database takes of the room that is made on a full disk; the journal takes twice that."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Folder of the scripts that bring the schema up to date."""

_REVISION: Final = re.compile(r'^(revision|down_revision) = "(\w+)"$', re.MULTILINE)
_VERSION_TABLE: Final = sa.table("alembic_version", sa.column("version_num"))


class Database(LoggingConfigurable):
    """Runs transactions in threads of its own and brings the schema up to date.

    Several processes may use one database: the server and its command line tools.

    Parameters
    ----------
    make_room
        Called when the disk is full; returns whether it has made room, so that a change may work
        now.
    """

    data_dir = FolderPath(help="Folder of everything that the server keeps.")
    url = Unicode(
        help="URL of the database, such as postgresql://USER:PASSWORD@HOST/DATABASE. Default: the "
        "SQLite file mlsvc.db in data_dir."
    ).tag(config=True)
    lock_timeout = Float(
        30.0,
        min=0,
        help="Seconds that a change waits for others, of this process or another one, to end; "
        "then it is refused with 503.",
    ).tag(config=True)

    def __init__(self, *, make_room: Callable[[], bool] = lambda: False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._make_room = make_room
        self._engine: sa.Engine | None = None
        self._lanes: _Lanes | None = None

    @default("data_dir")
    def _default_data_dir(self) -> Path:
        return default_data_dir()

    @default("url")
    def _default_url(self) -> str:
        path = self.data_dir / "mlsvc.db"
        return sa.URL.create("sqlite", database=str(path)).render_as_string()

    @property
    def kind(self) -> str:
        """What kind of database it is: ``sqlite`` or ``postgresql``.

        Raises
        ------
        UnusableDatabase
            It is neither.
        """
        return self.parsed_url.get_backend_name()

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        return postgresql.shown(self.parsed_url)

    @property
    def parsed_url(self) -> sa.URL:
        """Its URL in parts.

        Raises
        ------
        UnusableDatabase
            It is no URL of a database that the server knows.
        """
        return postgresql.parse_url(self.url)

    async def start(self) -> None:
        """Open the database, making it where it is not there yet, and migrate it.

        Raises
        ------
        UnusableDatabase
            It can't be reached, is damaged, or a newer version of the server wrote it.
        """
        if self._lanes is not None:
            return
        self._lanes = _Lanes(
            readers=_Lane("readers", _READERS),
            writers=_Lane("writers", 1 if self.kind == "sqlite" else _WRITERS),
        )
        try:
            self._engine = await self._lanes.writers.run(self._open)
        except (sqlite3.Error, SQLAlchemyError, OSError) as error:
            await self.stop()
            raise UnusableDatabase(self.place, postgresql.reason(error)) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let running transactions end and close all connections; may be called twice."""
        lanes, self._lanes = self._lanes, None
        engine, self._engine = self._engine, None
        if lanes is not None:
            await asyncio.to_thread(lanes.close)
        if engine is not None:
            await asyncio.to_thread(engine.dispose)

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run work in one transaction, in a thread; an exception rolls it back.

        The transaction may write: on SQLite it is the only one of its kind at a time, so what it
        reads stays true until it writes.

        Raises
        ------
        DatabaseBusy
            Other changes have kept the database for too long.
        MlsvcServerError
            The machine or the database does not do its part; see ``machine_faults``.
        """
        engine, lanes = self._opened()
        change = partial(self._change, engine, work, time.monotonic() + self.lock_timeout)
        return await lanes.writers.run(change, self.lock_timeout + _TURN_SECONDS)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run work that only reads; it waits for no change.

        Raises
        ------
        MlsvcServerError
            As for :meth:`run`.
        """
        engine, lanes = self._opened()
        engine = engine.execution_options(mlsvc_read_only=True)
        reading = partial(_transact, engine, work)
        return await lanes.readers.run(reading, self.lock_timeout + _TURN_SECONDS)

    async def take_room(self) -> None:
        """Have the database's files take some room on the disk, for changes on a full one."""
        engine, lanes = self._opened()
        with contextlib.suppress(MlsvcServerError):
            await lanes.writers.run(partial(_take_room, engine))

    @property
    def engine(self) -> sa.Engine:
        """The engine, for work in a thread of another database."""
        return self._opened()[0]

    @property
    def waiting_seconds(self) -> float:
        """Seconds for which the change that has waited longest, or runs, has done so."""
        return 0.0 if self._lanes is None else self._lanes.writers.waiting_seconds

    def _opened(self) -> tuple[sa.Engine, _Lanes]:
        if self._engine is None or self._lanes is None:
            raise RuntimeError("The database is not open: call start() first.")
        return self._engine, self._lanes

    def _change(self, engine: sa.Engine, work: Callable[[sa.Connection], T], deadline: float) -> T:
        try:
            return _change(engine, work, deadline)
        except DiskFull:
            if not self._make_room():
                raise
            # Whoever filled the disk would have it full again at once.
            with contextlib.suppress(MlsvcServerError):
                _take_room(engine)
            return _change(engine, work, deadline)

    # --- opening, in a thread ----------------------------------------------------------------

    def _open(self) -> sa.Engine:
        private_directory(self.data_dir)
        url = self.parsed_url
        engine = self._sqlite(url) if self.kind == "sqlite" else self._postgresql(url)
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

    def _postgresql(self, url: sa.URL) -> sa.Engine:
        engine = postgresql.make_engine(url, _READERS + _WRITERS)
        try:
            with engine.connect() as connection:
                postgresql.require_unicode(connection, url)
        except BaseException:
            engine.dispose()
            raise
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
        with engine.begin() as connection:
            if _is_newest(connection):
                return
        # Imported late: it takes a fifth of the time of a start.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with engine.begin() as connection:
            postgresql.take_lock(connection, postgresql.Lock.MIGRATION)
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise UnknownSchema(self.place) from error


def _is_newest(connection: sa.Connection) -> bool:
    """Whether the schema is the one of the newest script."""
    if not sa.inspect(connection).has_table(_VERSION_TABLE.name):
        return False
    found = connection.scalars(sa.select(_VERSION_TABLE.c.version_num))
    return set(found) == newest_revisions()


def newest_revisions() -> set[str]:
    """Return the revisions of scripts that no other script builds on: one, where all is well."""
    scripts = [path.read_text() for path in (MIGRATIONS / "versions").glob("*.py")]
    named = [(kind, revision) for script in scripts for kind, revision in _REVISION.findall(script)]
    earlier = {revision for kind, revision in named if kind == "down_revision"}
    return {revision for _, revision in named} - earlier


class _Lane:
    """Threads for one kind of transaction.

    Parameters
    ----------
    name
        Of the threads.
    threads
        How many there are.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"mlsvc-database-{name}")
        self._asked_at: dict[Future[Any], float] = {}

    @property
    def waiting_seconds(self) -> float:
        """Seconds since the oldest work that has not ended was asked for."""
        oldest = min(list(self._asked_at.values()), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    async def run(self, work: Callable[[], T], limit: float | None = None) -> T:
        """Run work in a thread; where none is free within the limit, in seconds, give it up.

        Raises
        ------
        DatabaseBusy
            It was not begun.
        """
        running = self._threads.submit(work)
        self._asked_at[running] = time.monotonic()
        running.add_done_callback(self._asked_at.pop)
        future = asyncio.wrap_future(running)
        try:
            await asyncio.wait({future}, timeout=limit)
            if not future.done() and running.cancel():
                raise DatabaseBusy
            return await future
        except asyncio.CancelledError:
            future.cancel()
            raise

    def close(self) -> None:
        """Let all work end."""
        self._threads.shutdown()


class _Lanes(NamedTuple):
    """Threads of both kinds of transaction."""

    readers: _Lane
    writers: _Lane

    def close(self) -> None:
        for lane in self:
            lane.close()


def _change(engine: sa.Engine, work: Callable[[sa.Connection], T], deadline: float) -> T:
    seconds = max(deadline - time.monotonic(), 0.0)
    return _transact(engine.execution_options(mlsvc_wait_seconds=seconds), work)


def _take_room(engine: sa.Engine) -> None:
    """Let SQLite's files take room on the disk that later changes need."""
    if engine.dialect.name != "sqlite":
        return
    # The journal keeps its size when it begins anew, and the database its free pages.
    _transact(
        engine,
        lambda connection: connection.execute(
            sa.text("CREATE TABLE room AS SELECT zeroblob(:size) AS bytes"), {"size": _ROOM_BYTES}
        ),
    )
    _transact(engine, lambda connection: connection.exec_driver_sql("DROP TABLE room"))
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA wal_checkpoint")


def _transact(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    try:
        with engine.begin() as connection:
            return work(connection)
    except (sqlite3.Error, SQLAlchemyError, OSError, MemoryError) as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        raise fault from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by its own rules, none of them before a read.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get("mlsvc_read_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    seconds = options.get("mlsvc_wait_seconds")
    if seconds is not None:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    # A transaction that reads and then writes fails at once, without waiting, when another one
    # wrote in between; taking the lock first makes it wait instead.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
