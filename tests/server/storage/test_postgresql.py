"""A database on a real PostgreSQL server, and servers that begin with one at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.snapshots.errors import ContentNotFound
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.errors import UnusableDatabase
from jupyter_mlsvc_server.storage.installation import ID_FILE, Installation
from jupyter_mlsvc_server.storage.schema import contents, metadata, snapshots
from jupyter_mlsvc_server.storage.signals import Signals
from jupyter_mlsvc_server.storage.state_copy import CopyRefused, copy_database
from tests.postgresql import new_database
from tests.server.snapshots.test_upload import archive_of
from tests.server.storage.stored import store
from tests.waiting import until

pytestmark = pytest.mark.process


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_does_not_keep_all_texts_is_refused(
    tmp_path: Path, postgresql_server: str, encoding: str
) -> None:
    options = ["-E", encoding, "-T", "template0", "-l", "C"]
    url = new_database(postgresql_server, f"of_{encoding.lower()}", *options)
    with pytest.raises(UnusableDatabase, match=rf"encoding is {encoding}.*createdb --encoding"):
        await Database(data_dir=tmp_path, url=url).start()


async def test_what_the_server_of_a_database_says_is_passed_on(
    tmp_path: Path, postgresql_server: str
) -> None:
    url = sa.make_url(postgresql_server).set(database="absent").render_as_string()
    with pytest.raises(UnusableDatabase, match=r'database "absent" does not exist\.$'):
        await Database(data_dir=tmp_path, url=url).start()


async def test_servers_that_begin_with_an_empty_database_at_once_share_it(
    tmp_path: Path, postgresql_server: str
) -> None:
    url = new_database(postgresql_server, "empty")
    databases = [Database(data_dir=tmp_path / str(number), url=url) for number in range(3)]
    await asyncio.gather(*(database.start() for database in databases))
    halves = [Installation(database=each, data_dir=each.data_dir) for each in databases]
    await asyncio.gather(*(half.require() for half in halves))
    assert len({(database.data_dir / ID_FILE).read_text() for database in databases}) == 1

    def compare(connection: sa.Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await databases[0].run(compare) == []
    await asyncio.gather(*(database.stop() for database in databases))


async def rows_of(database: Database) -> dict[str, list[object]]:
    def read(connection: sa.Connection) -> dict[str, list[object]]:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
        }

    return await database.read(read)


async def test_a_sqlite_database_is_copied_whole_into_an_empty_one_only(
    tmp_path: Path, postgresql_server: str
) -> None:
    await store(tmp_path)
    file = Database(data_dir=tmp_path)
    await file.start()
    copy = Database(data_dir=tmp_path, url=new_database(postgresql_server, "copy"))
    await copy.start()
    counts = await copy_database(tmp_path / "mlsvc.db", tmp_path, copy)
    assert {name: counts[name] for name in ("snapshots", "batches", "content_blobs")} == {
        "snapshots": 1, "batches": 1, "content_blobs": 3,
    }  # fmt: skip
    assert await rows_of(copy) == await rows_of(file)
    await Installation(database=copy, data_dir=tmp_path).require()
    with pytest.raises(CopyRefused, match="is not empty: its table batches has 1 rows"):
        await copy_database(tmp_path / "mlsvc.db", tmp_path, copy)
    await copy.stop()

    # Texts of PostgreSQL have no null character.
    await file.run(lambda connection: connection.execute(snapshots.update().values(name="a\0b")))
    await file.stop()
    absent = Database(data_dir=tmp_path, url=new_database(postgresql_server, "absent_copy"))
    await absent.start()
    with pytest.raises(CopyRefused, match=r"did not take it: .*NUL"):
        await copy_database(tmp_path / "mlsvc.db", tmp_path, absent)
    assert set(map(len, (await rows_of(absent)).values())) == {0}
    await absent.stop()


@pytest.fixture
async def servers(tmp_path: Path, postgresql_server: str) -> AsyncIterator[list[Database]]:
    """The same database at two servers."""
    url = new_database(postgresql_server, f"of_{tmp_path.name}")
    databases = [Database(data_dir=tmp_path / name, url=url) for name in ("one", "other")]
    for database in databases:
        await database.start()
        await Installation(database=database, data_dir=database.data_dir).require()
    yield databases
    for database in databases:
        await database.stop()


async def test_a_content_that_one_server_looks_at_is_collected_by_no_other(
    servers: list[Database],
) -> None:
    one, other = (
        SnapshotManager(
            database=each, blobs=BlobStore(data_dir=each.data_dir), data_dir=each.data_dir
        )
        for each in servers
    )
    ann = Principal("ann", "ann", Role.CONTRIBUTOR)
    ids = [(await one.upload(ann, archive_of(), name)).snapshot_id for name in ("a", "b")]
    content_id = (await other.get(ann, ids[0])).content_id
    long_ago = contents.update().values(created_at="2017-10-05T22:49:33.7832670")
    await servers[0].run(lambda connection: connection.execute(long_ago))
    # As some time later.
    other._renewed_at.clear()
    await other.manifest(content_id)
    for snapshot_id in ids:
        await one.delete(ann, snapshot_id)
    one._looked_at.clear()
    await one.collect()
    await other.manifest(content_id)

    await servers[0].run(lambda connection: connection.execute(long_ago))
    one._looked_at.clear()
    await one.collect()
    with pytest.raises(ContentNotFound):
        await other.manifest(content_id)


async def test_signals_go_to_the_other_servers_and_a_gap_is_told(servers: list[Database]) -> None:
    one, other = (Signals(database=database) for database in servers)
    heard: list[object] = []
    for signals in (one, other):
        signals.on("said", heard.append)
    other.on_gap(lambda: heard.append("gap"))
    one.send("said", "before there was anybody to hear it")
    await one.start()
    await other.start()
    one.send("said", ["ö", 1])
    one.send("unknown")
    await until(lambda: heard == [["ö", 1]])
    one.send("said", "x" * 8000)
    await until(lambda: heard == [["ö", 1], "gap"])

    end = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    )
    await servers[0].run(lambda connection: connection.execute(end).all())
    await until(lambda: heard == [["ö", 1], "gap", "gap"])
    one.send("said", "again")
    await until(lambda: heard[-1] == "again")
    for signals in (one, other):
        await signals.stop()
        await signals.stop()
