"""Two servers of one database: what one changes or deletes, the other no longer answers with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from traitlets.config import Config

from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.record import ServiceRecord
from jupyter_mlsvc_server.services.revision_watch import RevisionWatch
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database

KEY = DefinitionKey("a", "1")


class Engine:
    """Has versions loaded."""

    def __init__(self) -> None:
        self.revisions: dict[DefinitionKey, str] = {}

    async def loaded(self) -> Mapping[DefinitionKey, str]:
        return dict(self.revisions)

    async def unload(self, name: str, version: str, revision_id: str) -> None:
        if self.revisions.get(DefinitionKey(name, version)) == revision_id:
            del self.revisions[DefinitionKey(name, version)]

    async def remove(self, name: str, version: str) -> None:
        del self.revisions[DefinitionKey(name, version)]


class Server:
    """A server's services, in a database that others have as well."""

    def __init__(self, database: Database) -> None:
        self.engine = Engine()
        self.store = ServiceStore(database=database)
        scoring = cast("Any", self.engine)
        self.services = ServiceManager(
            store=self.store, snapshots=cast("Any", None), scoring=scoring
        )
        self.watch = RevisionWatch(
            database=database,
            store=self.store,
            services=self.services,
            scoring=scoring,
            config=Config({"RevisionWatch": {"interval": 0.01}}),
        )


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    """Two servers; the version is loaded at the second one."""
    databases = [Database(data_dir=tmp_path) for _ in range(2)]
    for database in databases:
        await database.start()
    one, other = map(Server, databases)
    await one.store.insert(record("r1"), may_use=lambda _: True)
    other.engine.revisions[KEY] = "r1"
    yield one, other
    for database in databases:
        await database.stop()


def record(revision_id: str) -> ServiceRecord:
    spec = ServiceSpec(name=ServiceName("a"), version=Version("1"), revision_id=revision_id)
    return ServiceRecord(spec=spec, owner=Owner("ann", "ann"), created_at=now_text())


def changed(revision_id: str) -> ServiceRecord:
    old = record("r1")
    return replace(old, spec=msgspec.structs.replace(old.spec, revision_id=revision_id))


async def test_what_nobody_changed_stays_loaded(servers: tuple[Server, Server]) -> None:
    _, other = servers
    await other.watch.look()
    assert other.engine.revisions == {KEY: "r1"}


async def test_a_revision_that_another_server_replaced_is_given_up(
    servers: tuple[Server, Server],
) -> None:
    one, other = servers
    await one.store.replace(changed("r2"))
    await other.watch.look()
    assert other.engine.revisions == {}


async def test_a_version_that_another_server_deleted_is_given_up(
    servers: tuple[Server, Server],
) -> None:
    one, other = servers
    await one.store.delete(record("r1").key)
    await other.watch.look()
    assert other.engine.revisions == {}


async def test_a_change_on_its_way_here_is_waited_for(servers: tuple[Server, Server]) -> None:
    _, other = servers
    async with other.services.changing(*KEY):
        await other.store.replace(changed("r2"))
        looking = asyncio.create_task(other.watch.look())
        await asyncio.wait({looking}, timeout=0.1)
        other.engine.revisions[KEY] = "r2"
    await looking
    assert other.engine.revisions == {KEY: "r2"}


async def test_changes_are_seen_without_being_asked_for(servers: tuple[Server, Server]) -> None:
    one, other = servers
    await other.watch.start()
    await one.store.replace(changed("r2"))
    async with asyncio.timeout(30):
        while other.engine.revisions:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
    await other.watch.stop()
    await other.watch.stop()


async def test_a_database_that_has_one_server_is_not_asked_over_and_over(tmp_path: Path) -> None:
    parts = dict.fromkeys(("store", "services", "scoring"), cast("Any", None))
    for url, interval in (("sqlite://", 0.0), ("postgresql+psycopg://nowhere/x", 0.5)):
        database = Database(data_dir=tmp_path, url=url)
        assert RevisionWatch(database=database, **parts).interval == interval
