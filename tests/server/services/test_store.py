"""Rows of services: what is kept of a spec, and that of databases of earlier versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import sqlalchemy as sa

from jupyter_mlsvc.wire.models import (
    ColumnDefinition,
    ParameterDefinition,
    PublishCheck,
    ServiceExample,
)
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import PoolSize
from jupyter_mlsvc_server.services.errors import NameIsTaken, TooManyVersions
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.record import GivenGroup, ServiceKey, ServiceRecord
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import (
    contents,
    service_revisions,
    service_versions,
    services,
)

KEY = ServiceKey(ServiceName("Iris"), Version("V1.0"))

SPEC = ServiceSpec(
    name=KEY.name,
    version=KEY.version,
    revision_id="r1",
    runtime_type="R",
    code="y <- x + 1",
    init_code="a <- 1",
    setup_code="b <- 2",
    inputs=(
        ParameterDefinition(name="x", type="numeric", default=2),
        ParameterDefinition(
            name="t", type="data.frame", columns=[ColumnDefinition(name="c", type="int64")]
        ),
    ),
    outputs=(ParameterDefinition(name="y", type="numeric"),),
    output_files=("plot.png",),
    isolation="call",
    effects=True,
    network=False,
    read_only=True,
    keep_bodies=True,
    concurrency=4,
    deadline_seconds=1.5,
    description="Adds.",
    operation_id="add",
    tags=("sums",),
    examples=(ServiceExample(inputs={"x": 1}, outputs={"y": 2}),),
    snapshot_id="s1",
    content_id="c1",
)

RECORD = ServiceRecord(
    spec=SPEC,
    owner=Owner("ann", "ann"),
    created_at="2024-05-01T10:00:00",
    publish_check=PublishCheck(called=True, success=True, output_parameters={"y": 3}),
)

ROW = {
    "id": "r1",
    "name": "Iris",
    "version": "V1.0",
    "number": 1,
    "runtime_type": "R",
    "code": "y <- x + 1",
    "init_code": "a <- 1",
    "description": "Adds.",
    "operation_id": "add",
    "inputs": (
        '[{"name":"x","type":"numeric","default":2},'
        '{"name":"t","type":"data.frame","columns":[{"name":"c","type":"int64"}]}]'
    ),
    "outputs": '[{"name":"y","type":"numeric"}]',
    "output_files": '["plot.png"]',
    "snapshot_id": "s1",
    "content_id": "c1",
    "created_at": "2024-05-01T10:00:00",
    "setup_code": "b <- 2",
    "publish_check": (
        '{"called":true,"success":true,"errorMessage":"","outputParameters":{"y":3},'
        '"consoleOutput":"","notes":[]}'
    ),
    "isolation": "call",
    "effects": True,
    "tags": '["sums"]',
    "examples": '[{"inputs":{"x":1},"outputs":{"y":2}}]',
    "network": False,
    "read_only": True,
    "keep_bodies": True,
    "concurrency": 4,
    "deadline_seconds": 1.5,
}
"""The record as versions before :class:`ServiceSpec` wrote it."""


def is_anns(owner: Owner) -> bool:
    return owner.id == "ann"


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(data_dir=tmp_path)
    await opened.start()
    content = {"id": "c1", "manifest": "{}", "size": 2, "created_at": RECORD.created_at}
    await opened.run(lambda connection: connection.execute(contents.insert().values(content)))
    yield opened
    await opened.stop()


def test_the_example_has_all_that_a_spec_may_have() -> None:
    """Without this a member that no row keeps would not be seen below."""
    usual = ServiceSpec(name=ServiceName(""), version=Version(""), revision_id="")
    same = [
        name
        for name in ServiceSpec.__struct_fields__
        if getattr(SPEC, name) == getattr(usual, name)
    ]
    assert not same


async def test_a_record_comes_back_whole(database: Database) -> None:
    store = ServiceStore(database=database)
    await store.insert(RECORD, may_use=is_anns)
    assert await store.find(KEY) == RECORD
    changed = ServiceRecord(
        spec=msgspec.structs.replace(SPEC, revision_id="r2", outputs=(), init_code=None),
        owner=RECORD.owner,
        created_at=RECORD.created_at,
        pool=PoolSize(1, 3),
    )
    await store.replace(changed)
    await store.set_pool(KEY, changed.pool)
    assert await store.find(KEY) == changed
    assert await store.list() == [changed]


async def test_a_name_belongs_to_a_group_with_all_its_versions(database: Database) -> None:
    store = ServiceStore(database=database)
    group = GivenGroup("churn", is_anns)
    inserted = await store.insert(RECORD, may_use=is_anns, group=group)
    assert inserted == await store.find(KEY) == RECORD.in_group("churn")
    second = msgspec.structs.replace(SPEC, version=Version("V2.0"), revision_id="r2")
    bens = replace(RECORD, spec=second, owner=Owner("ben", "ben"))
    asked: list[Owner] = []

    def may_use(owner: Owner) -> bool:
        asked.append(owner)
        return owner.group == "churn"

    assert (await store.insert(bens, may_use=may_use)).owner == Owner("ben", "ben", "churn")
    assert asked == [Owner("ann", "", "churn")]
    changed = replace(RECORD, spec=msgspec.structs.replace(SPEC, revision_id="r3"))
    await store.replace(changed, group=GivenGroup("", is_anns))
    assert [each.owner.group for each in await store.list()] == ["", ""]
    bens = replace(bens, spec=msgspec.structs.replace(second, revision_id="r4"))
    with pytest.raises(NameIsTaken):
        await store.replace(bens, group=GivenGroup("bens", lambda owner: owner.id == "ben"))
    await store.replace(bens)
    assert [each.owner.group for each in await store.list()] == ["", ""]


async def test_a_person_may_have_so_many_versions(database: Database) -> None:
    store = ServiceStore(database=database)
    await store.insert(RECORD, may_use=is_anns, most=1)
    second = msgspec.structs.replace(SPEC, version=Version("V2.0"), revision_id="r2")
    record = replace(RECORD, spec=second)
    with pytest.raises(TooManyVersions, match="You have 1 versions"):
        await store.insert(record, may_use=is_anns, most=1)
    others = replace(record, owner=Owner("ben", "ben"))
    await store.insert(others, may_use=lambda _: True, most=1)
    assert ServiceManager.max_versions_per_user.default_value > 1


async def test_rows_are_written_as_by_earlier_versions(database: Database) -> None:
    await ServiceStore(database=database).insert(RECORD, may_use=is_anns)
    rows = await database.read(
        lambda connection: connection.execute(sa.select(service_revisions)).mappings().all()
    )
    assert [dict(row) for row in rows] == [ROW]


@pytest.mark.parametrize(
    ("kept", "spec"),
    [
        ({}, {}),
        (
            {"init_code": None, "setup_code": None, "snapshot_id": None, "operation_id": None},
            {"init_code": None, "setup_code": None, "snapshot_id": None, "operation_id": None},
        ),
        ({"inputs": "[]", "output_files": "[]"}, {"inputs": (), "output_files": ()}),
        (
            {"runtime_type": "Realtime", "code": "", "isolation": "worker"},
            {"runtime_type": "Realtime", "code": "", "isolation": "worker"},
        ),
    ],
)
async def test_rows_of_earlier_versions_are_read(
    database: Database, kept: dict[str, object], spec: dict[str, object]
) -> None:
    def write(connection: sa.Connection) -> None:
        name, created = KEY.name, RECORD.created_at
        connection.execute(services.insert().values(name=name, owner_id="ann", created_at=created))
        connection.execute(
            service_versions.insert().values(
                name=name,
                version=KEY.version,
                owner_id="ann",
                created_at=created,
                revision_id="r1",
                seq=1,
            )
        )
        connection.execute(service_revisions.insert().values(ROW | kept))

    await database.run(write)
    found = await ServiceStore(database=database).find(KEY)
    assert found is not None
    assert found.spec == msgspec.structs.replace(SPEC, **spec)
    assert found.publish_check == RECORD.publish_check
