"""What a change of a version costs: nothing but what it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from jupyter_mlsvc.wire.models import ParameterDefinition, PublishWebServiceRequest
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.events.record import Change
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.trial import TrialOutcome
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import Database

ANN = Principal("ann", "ann", Role.CONTRIBUTOR)
X = ParameterDefinition(name="x", type="numeric")


class Engine:
    """Notes what it is asked for."""

    usual_size = PoolSize(0, 2)

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: dict[DefinitionKey, str] = {}

    async def check(self, definition: ServiceDefinition, call: bytes | None = None) -> TrialOutcome:
        self.asked.append("check")
        return TrialOutcome()

    async def put(self, definition: ServiceDefinition) -> None:
        self.asked.append("put")

    async def failing(self) -> dict[DefinitionKey, str]:
        return self.broken


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def events() -> list[Change]:
    return []


@pytest_asyncio.fixture
async def services(
    tmp_path: Path, engine: Engine, events: list[Change]
) -> AsyncIterator[ServiceManager]:
    database = Database(data_dir=tmp_path)
    await database.start()
    snapshots = SnapshotManager(
        database=database, blobs=BlobStore(data_dir=tmp_path), data_dir=tmp_path
    )
    manager = ServiceManager(
        store=ServiceStore(database=database),
        snapshots=snapshots,
        scoring=cast("Any", engine),
        publish_event=events.append,
    )
    request = PublishWebServiceRequest(code="y = x", input_parameter_definitions=[X])
    await manager.publish(ANN, "a", "1", request)
    engine.asked.clear()
    events.clear()
    yield manager
    await database.stop()


async def test_a_change_of_what_is_said_of_a_version_replaces_no_process(
    services: ServiceManager, engine: Engine, events: list[Change]
) -> None:
    before = await services.record("a", "1")
    described = ParameterDefinition(name="x", type="numeric", description="A length.", example=2)
    request = PublishWebServiceRequest(
        description="Doubles.", tags=["sums"], input_parameter_definitions=[described]
    )
    changed = await services.change(ANN, "a", "1", request)
    assert engine.asked == []
    now = await services.record("a", "1")
    assert now == changed
    assert (now.spec.description, now.spec.tags) == ("Doubles.", ("sums",))
    assert now.spec.inputs == (described,)
    assert now.spec.code == "y = x"
    # Other servers go on with their processes as well.
    assert now.spec.revision_id == before.spec.revision_id
    assert len(events) == 1


@pytest.mark.parametrize(
    "change",
    [{"code": "y = 2 * x"}, {"init_code": "z = 1"}, {"isolation": "call"}],
    ids=lambda change: next(iter(change)),
)
async def test_a_change_of_what_runs_replaces_them(
    services: ServiceManager, engine: Engine, change: dict[str, Any]
) -> None:
    before = await services.record("a", "1")
    now = await services.change(ANN, "a", "1", PublishWebServiceRequest(**change))
    assert engine.asked == ["check", "put"]
    assert now.spec.revision_id != before.spec.revision_id


async def test_a_version_that_fails_is_started_anew_by_any_change(
    services: ServiceManager, engine: Engine
) -> None:
    engine.broken = {DefinitionKey("a", "1"): "Its processes keep ending."}
    await services.change(ANN, "a", "1", PublishWebServiceRequest(description="Doubles."))
    assert engine.asked == ["check", "put"]


async def test_what_is_said_of_a_revision_that_is_gone_is_not_written(
    services: ServiceManager,
) -> None:
    store = services._store  # of the same database
    old = await services.record("a", "1")
    await services.change(ANN, "a", "1", PublishWebServiceRequest(code="y = 3 * x"))
    assert not await store.describe(old)
    assert (await services.record("a", "1")).spec.code == "y = 3 * x"
