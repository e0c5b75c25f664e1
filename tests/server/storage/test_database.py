"""The database: opening, migrating, transactions, and who can read its files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from traitlets.config import Config

from jupyter_mlsvc_server.storage import database as database_module
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import (
    MIGRATIONS,
    Database,
    newest_revisions,
)
from jupyter_mlsvc_server.storage.errors import UnknownSchema, UnusableDatabase
from jupyter_mlsvc_server.storage.machine_faults import DatabaseBusy, DatabaseUnavailable
from jupyter_mlsvc_server.storage.schema import contents, metadata, services, snapshots

_OPEN = """
import asyncio, sys
from jupyter_mlsvc_server.storage.database import Database

async def main():
    database = Database(data_dir=sys.argv[1])
    sys.stdin.readline()
    await database.start()
    await database.stop()

asyncio.run(main())
"""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(data_dir=tmp_path / "data")
    await opened.start()
    yield opened
    await opened.stop()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def add_service(name: str) -> Any:
    return lambda connection: connection.execute(
        services.insert().values(name=name, owner_id="ann", created_at=now_text())
    )


async def names(database: Database) -> list[str]:
    return await database.read(
        lambda connection: list(connection.scalars(sa.select(services.c.name)))
    )


async def test_migrations_make_exactly_the_tables_of_the_schema(database: Database) -> None:
    def compare(connection: sa.Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await database.run(compare) == []


async def test_only_the_servers_user_can_read_the_data_folder_and_its_files(
    database: Database,
) -> None:
    await database.run(add_service("a"))
    files = {path.name: mode_of(path) for path in database.data_dir.iterdir()}
    assert mode_of(database.data_dir) == 0o700
    assert files == {"mlsvc.db": 0o600, "mlsvc.db-wal": 0o600, "mlsvc.db-shm": 0o600}


async def test_an_open_folder_and_file_are_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "mlsvc.db").touch(mode=0o644)
    os.chmod(tmp_path, 0o755)  # noqa: PTH101
    database = Database(data_dir=tmp_path)
    await database.start()
    await database.stop()
    assert mode_of(tmp_path) == 0o700
    assert mode_of(tmp_path / "mlsvc.db") == 0o600


async def test_rows_outlive_a_restart(tmp_path: Path) -> None:
    for name in ("first", "second"):
        database = Database(data_dir=tmp_path)
        await database.start()
        await database.run(add_service(name))
        await database.stop()
    database = Database(data_dir=tmp_path)
    await database.start()
    assert sorted(await names(database)) == ["first", "second"]
    await database.stop()


async def test_an_exception_rolls_the_whole_transaction_back(database: Database) -> None:
    def work(connection: sa.Connection) -> None:
        add_service("half")(connection)
        raise LookupError("stop here")

    with pytest.raises(LookupError):
        await database.run(work)
    assert await names(database) == []


async def test_foreign_keys_are_enforced(database: Database) -> None:
    row = {
        "id": "s",
        "name": "s",
        "owner_id": "ann",
        "runtime_type": "Python",
        "content_id": "missing",
        "content_size": 1,
        "created_at": now_text(),
    }
    with pytest.raises(sa.exc.IntegrityError):
        await database.run(lambda connection: connection.execute(snapshots.insert().values(row)))


async def test_sizes_over_four_gigabytes_fit(database: Database) -> None:
    size = 1 << 40
    await database.run(
        lambda connection: connection.execute(
            contents.insert().values(id="c", manifest="{}", size=size, created_at=now_text())
        )
    )
    assert await database.read(lambda c: c.scalar(sa.select(contents.c.size))) == size


async def test_transactions_that_read_and_then_write_wait_for_each_other(
    database: Database,
) -> None:
    def work(connection: sa.Connection) -> None:
        count = connection.scalar(sa.select(sa.func.count()).select_from(services))
        add_service(f"service-{count}")(connection)

    await asyncio.gather(*(database.run(work) for _ in range(20)))
    assert len(await names(database)) == 20


async def test_reading_does_not_wait_for_a_running_write(database: Database) -> None:
    writing, finish = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        add_service("slow")(connection)
        writing.set()
        assert finish.wait(60)

    writer = asyncio.create_task(database.run(slow))
    await asyncio.to_thread(writing.wait, 20)
    assert await asyncio.wait_for(names(database), 10) == []
    finish.set()
    await writer
    assert await names(database) == ["slow"]


@pytest.mark.process
def test_processes_that_open_a_new_folder_at_once_all_succeed(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = Database(data_dir=tmp_path)
    await database.start()
    await database.run(
        lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    )
    await database.stop()
    newer = Database(data_dir=tmp_path)
    with pytest.raises(UnknownSchema, match="newer version of jupyter-mlsvc"):
        await newer.start()
    with pytest.raises(RuntimeError, match="not open"):
        await newer.run(add_service("a"))


async def test_newest_schema_is_opened_without_alembic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Database(data_dir=tmp_path)
    await before.start()
    await before.stop()
    upgrades: list[object] = []
    monkeypatch.setattr("alembic.command.upgrade", lambda *asked: upgrades.append(asked))
    again = Database(data_dir=tmp_path)
    await again.start()
    await again.run(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'"))
    await again.stop()
    assert upgrades == []
    assert newest_revisions() == set(ScriptDirectory(str(MIGRATIONS)).get_heads())
    older = Database(data_dir=tmp_path)
    await older.start()
    await older.stop()
    assert len(upgrades) == 1


async def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    database = Database(data_dir=tmp_path)
    await database.start()
    await database.stop()
    await database.stop()


async def test_the_data_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSVC_DATA_DIR", str(tmp_path / "there"))
    assert Database().data_dir == tmp_path / "there"


async def test_a_folder_name_with_percent_and_spaces_works(tmp_path: Path) -> None:
    database = Database(data_dir=tmp_path / "a %s ?b#c")
    await database.start()
    await database.run(add_service("a"))
    await database.stop()
    assert (tmp_path / "a %s ?b#c" / "mlsvc.db").exists()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlsvc.db").write_text("a text that is no database " * 50)
    with pytest.raises(UnusableDatabase, match=r"mlsvc\.db cannot be used: file is not a"):
        await Database(data_dir=tmp_path).start()


async def test_a_database_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/missing/there.db"
    with pytest.raises(UnusableDatabase, match=r"there\.db cannot be used: .*No such file"):
        await Database(data_dir=tmp_path, url=url).start()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("my secret", "of Database.url cannot be used: that is no URL", id="no URL"),
        pytest.param("mysql://me:secret@h/x", "knows SQLite and PostgreSQL only", id="unknown"),
        pytest.param("postgresql+pg8000://h/x", "its driver pg8000 is not inst", id="no driver"),
        pytest.param("postgres://me:secret@h.invalid/x", "psycopg://me:.*resolve", id="no host"),
    ],
)
async def test_a_url_that_cannot_be_used_is_a_sentence_without_its_password(
    tmp_path: Path, url: str, said: str
) -> None:
    with pytest.raises(UnusableDatabase, match=said) as caught:
        await Database(data_dir=tmp_path, url=url).start()
    assert "secret" not in str(caught.value)


async def test_lock_timeout_ends_the_wait_for_another_process(
    database: Database, tmp_path: Path
) -> None:
    impatient = Database(
        data_dir=tmp_path / "data", config=Config({"Database": {"lock_timeout": 0.05}})
    )
    await impatient.start()
    holds, may_end = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        add_service("first")(connection)
        holds.set()
        may_end.wait(60)

    holder = asyncio.create_task(database.run(hold))
    try:
        await asyncio.to_thread(holds.wait, 20)
        with pytest.raises(DatabaseBusy, match="busy with another change"):
            await impatient.run(add_service("second"))
        assert not holder.done()
    finally:
        may_end.set()
        await holder
    await impatient.run(add_service("second"))
    assert await names(impatient) == ["first", "second"]
    await impatient.stop()


@pytest.fixture
def locked(database: Database) -> Iterator[None]:
    """Hold the write lock as another process would."""
    with closing(sqlite3.connect(database.data_dir / "mlsvc.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def test_changes_that_wait_for_another_process_keep_no_read_waiting(
    database: Database, locked: None
) -> None:
    changes = [asyncio.create_task(database.run(add_service(f"s{n}"))) for n in range(8)]
    async with asyncio.timeout(30):
        for _ in range(20):
            assert await names(database) == []
    assert not any(change.done() for change in changes)
    assert database.waiting_seconds > 0
    for change in changes:
        change.cancel()
    await asyncio.gather(*changes, return_exceptions=True)
    # What was not begun never is.
    database.lock_timeout = 0


async def test_changes_that_wait_together_are_given_up_together(
    database: Database, locked: None
) -> None:
    database.lock_timeout = 0.3
    changes = [database.run(add_service(f"s{n}")) for n in range(200)]
    async with asyncio.timeout(30):  # one after the other would take a minute
        ends = await asyncio.gather(*changes, return_exceptions=True)
    assert {type(end) for end in ends} == {DatabaseBusy}
    assert {end.headers["Retry-After"] for end in ends if isinstance(end, DatabaseBusy)} == {"5"}


async def test_a_change_behind_one_that_hangs_is_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_TURN_SECONDS", 0.1)
    database.lock_timeout = 0.1
    begun, may_end = threading.Event(), threading.Event()

    def hang(connection: sa.Connection) -> None:
        begun.set()
        may_end.wait(60)

    hanging = asyncio.create_task(database.run(hang))
    await asyncio.to_thread(begun.wait, 30)
    with pytest.raises(DatabaseBusy):
        await database.run(add_service("late"))
    may_end.set()
    await hanging
    database.lock_timeout = 30
    await database.run(add_service("later"))
    assert await names(database) == ["later"]


async def test_a_database_that_does_not_answer_is_no_fault_of_the_work(
    database: Database,
) -> None:
    def lose(connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, ConnectionError("/a/path refused"))

    for ask in (database.run, database.read):
        with pytest.raises(DatabaseUnavailable) as caught:
            await ask(lose)
        assert "path" not in str(caught.value)


async def test_url_says_where_the_database_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.sqlite"
    own = Database(data_dir=tmp_path / "data", config=Config({"Database": {"url": url}}))
    await own.start()
    await own.run(add_service("first"))
    await own.stop()
    assert (tmp_path / "own.sqlite").exists()
    assert not (tmp_path / "data" / "mlsvc.db").exists()
