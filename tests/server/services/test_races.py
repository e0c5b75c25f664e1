"""Publishing, changing and deleting at once: only refusals that callers can understand."""

from __future__ import annotations

import asyncio
import pickle
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import sqlalchemy as sa

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.errors import WrongCredentials
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.manifest import BUFFERS, STREAM, CaptureReport, Workspace
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, PoolSize, ServiceDefinition
from jupyter_mlsvc_server.scoring.trial import TrialOutcome
from jupyter_mlsvc_server.services.errors import ServiceHasAnswered, ServiceNotFound
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.realtime import RealtimeRequest
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.snapshots.errors import ContentNotFound, QuotaExceeded
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import content_blobs
from jupyter_mlsvc_server.storage.schema import tokens as token_table
from tests.postgresql import new_database

ANN = Principal("ann", "ann", Role.CONTRIBUTOR)
NAMES = ("a", "b", "c")
ROUNDS = 30
"""What each caller does; about two seconds of it."""

DOCUMENTED = {
    "publish": {404, 409},
    "publish_model": {409},
    "change": {400, 404},
    "change_model": {400, 404},
    "define": {404},
    "delete": {404},
    "snapshot": set[int](),
    "delete_snapshot": {404},
}
"""Statuses of refusals that the documents have for each."""


class SlowDatabase(Database):
    """A database on a slow disk: others get their turn between any two steps."""

    random = random.Random()

    async def run(self, work: Callable[[sa.Connection], Any]) -> Any:
        await self._pause()
        found = await super().run(work)
        await self._pause()
        return found

    async def read(self, work: Callable[[sa.Connection], Any]) -> Any:
        found = await super().read(work)
        await self._pause()
        return found

    async def _pause(self) -> None:
        await asyncio.sleep(self.random.choice([0, 0, 0.001, 0.004]))


class Engine:
    """Takes every version, after a while."""

    usual_size = PoolSize(0, 2)

    def __init__(self) -> None:
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What somebody else does while a version is checked."""

    async def check(self, definition: ServiceDefinition, call: bytes | None = None) -> TrialOutcome:
        await asyncio.sleep(SlowDatabase.random.random() * 0.01)
        if self.meanwhile is not None:
            await self.meanwhile()
        elif (content := definition.content) is not None:
            for digest in content.manifest.digests:
                assert content.blobs.path(digest).exists()
        return TrialOutcome()

    async def put(self, definition: ServiceDefinition) -> None:
        await asyncio.sleep(0)

    async def remove(self, name: str, version: str) -> None:
        await asyncio.sleep(0)

    async def failing(self) -> dict[DefinitionKey, str]:
        await asyncio.sleep(0)
        return {}


class Session:
    """A session that has a few bytes."""

    id, owner, runtime_type, user = "s", "ann", "Python", 0

    def __init__(self, directory: Path) -> None:
        self.directory = self.readable = directory

    async def call_agent(self, op: str, data: dict[str, Any]) -> dict[str, Any]:
        staging = Path(data["staging"])
        stream = SlowDatabase.random.randbytes(8)
        (staging / STREAM).write_bytes(stream)
        (staging / BUFFERS).mkdir()
        workspace = Workspace(python_version="3")
        report = CaptureReport(workspace=workspace, stream_size=len(stream))
        return {"report": msgspec.to_builtins(report)}


@dataclass
class House:
    """A server's managers of services and snapshots, and what went wrong in them."""

    folder: Path
    database: Database
    snapshots: SnapshotManager
    store: ServiceStore
    services: ServiceManager
    blobs: BlobStore
    engine: Engine
    kinds: list[str] = field(default_factory=lambda: list(DOCUMENTED))
    taken: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def snapshot(self, session: Session | None = None) -> str:
        session = session or Session(self.folder)
        created = await self.snapshots.create(ANN, session)
        self.taken.append(created.snapshot_id)
        return created.snapshot_id

    def definition(self, **others: Any) -> models.PublishWebServiceRequest:
        return models.PublishWebServiceRequest(code="y = 1", **others)

    def model(self) -> RealtimeRequest:
        data = SlowDatabase.random.randbytes(8)
        path = self.folder / f"model-{data.hex()}"
        path.write_bytes(pickle.dumps(data))
        return RealtimeRequest(model=path)

    async def caller(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(ROUNDS):
            await self.attempt(chance.choice(self.kinds), chance)

    async def attempt(self, what: str, chance: random.Random) -> None:
        try:
            await self.work(what, (chance.choice(NAMES), "1"), chance.choice(self.taken[-4:]))
        except MlsvcServerError as error:
            if error.status not in DOCUMENTED[what]:
                self.faults.append(f"{what}: {error!r}")
        except Exception as error:  # noqa: BLE001  # whatever it is, a caller would get 500
            self.faults.append(f"{what}: {error!r}")

    async def work(self, what: str, key: tuple[str, str], snapshot_id: str) -> None:
        services, definition = self.services, self.definition(snapshot_id=snapshot_id)
        work: dict[str, Callable[[], Awaitable[object]]] = {
            "publish": lambda: services.publish(ANN, *key, definition),
            "publish_model": lambda: services.publish_realtime(ANN, *key, self.model()),
            "change": lambda: services.change(ANN, *key, definition),
            "change_model": lambda: services.change_realtime(ANN, *key, self.model()),
            "delete": lambda: services.delete(ANN, *key),
            "snapshot": self.snapshot,
            "delete_snapshot": lambda: self.snapshots.delete(ANN, snapshot_id),
            "define": lambda: services.definition(*key),
        }
        await work[what]()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where the database is, as settings."""
    if request.param == "sqlite":
        return {}
    server = request.getfixturevalue("postgresql_server")
    return {"url": new_database(server, f"races_{uuid.uuid4().hex}")}


@pytest.fixture
async def house(tmp_path: Path, place: dict[str, Any]) -> AsyncIterator[House]:
    database = SlowDatabase(data_dir=tmp_path / "data", **place)
    await database.start()
    blobs, engine = BlobStore(data_dir=tmp_path / "data"), Engine()
    manager = SnapshotManager(
        database=database,
        blobs=blobs,
        data_dir=tmp_path / "data",
        collect_interval=0,
    )
    await manager.start()
    store = ServiceStore(database=database)
    services = ServiceManager(store=store, snapshots=manager, scoring=cast("Any", engine))
    folder = tmp_path / "work"
    folder.mkdir()
    yield House(folder, database, manager, store, services, blobs, engine)
    await manager.stop()
    await database.stop()


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "not held"])
async def test_what_happens_at_once_is_refused_as_documented_at_worst(
    house: House, is_held: bool
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    SlowDatabase.random.seed(seed)
    if not is_held:
        # What a snapshot had goes at once with it; models are in no snapshot.
        house.snapshots.hold_seconds = 0.0
        house.kinds = [kind for kind in DOCUMENTED if "model" not in kind]
    await house.snapshot()
    await asyncio.gather(*(house.caller(seed + number) for number in range(12)))
    assert house.faults == [], f"seed {seed}"
    assert await lost(house) == [], f"seed {seed}"
    await every_kind_works(house)


async def every_kind_works(house: House) -> None:
    """Do what was tried at once singly; a race may well have refused one kind each time."""
    key, model_key = ("after", "1"), ("after-model", "1")
    for what in house.kinds:
        snapshot_id = await house.snapshot()
        await house.work(what, model_key if what.endswith("model") else key, snapshot_id)


async def lost(house: House) -> list[str]:
    """Find blobs that are missing though a content has them; contents are the database's care."""
    query = sa.select(content_blobs.c.digest)
    digests = await house.database.read(lambda connection: list(connection.scalars(query)))
    return [each for each in digests if not house.blobs.path(each).exists()]


async def test_a_snapshot_that_is_deleted_under_a_publish_is_not_found(house: House) -> None:
    house.snapshots.hold_seconds = 0.0
    snapshot_id = await house.snapshot()

    async def delete() -> None:
        await house.snapshots.delete(ANN, snapshot_id)
        await house.snapshots.collect()

    house.engine.meanwhile = delete
    with pytest.raises(ContentNotFound, match="deleted meanwhile"):
        await house.services.publish(ANN, "a", "1", house.definition(snapshot_id=snapshot_id))
    assert await house.store.list() == []


async def test_a_version_that_answers_while_it_is_replaced_stays(house: House) -> None:
    old = await house.services.publish(ANN, "a", "1", house.definition())

    async def call() -> None:
        house.services.note_answered("a", "1")

    house.engine.meanwhile = call
    with pytest.raises(ServiceHasAnswered):
        await house.services.publish(ANN, "a", "1", house.definition(replace=True))
    now = await house.services.record("a", "1")
    assert now.spec.revision_id == old.spec.revision_id


async def test_snapshots_taken_at_once_do_not_go_over_the_quota_together(house: House) -> None:
    house.snapshots.max_bytes_per_user = 20
    sessions = [Session(house.folder) for _ in range(8)]
    ends = await asyncio.gather(*map(house.snapshot, sessions), return_exceptions=True)
    assert [type(end) for end in ends if not isinstance(end, str)] == [QuotaExceeded] * 6
    assert sum(isinstance(end, str) for end in ends) == 2


async def test_a_change_of_what_another_server_deleted_is_not_found(house: House) -> None:
    record = await house.services.publish(ANN, "a", "1", house.definition())
    await house.store.delete(record.key)
    for change in (
        house.store.replace(record),
        house.store.replace_unanswered(record),
        house.store.set_pool(record.key, PoolSize(1, 1)),
    ):
        with pytest.raises(ServiceNotFound):
            await change


@pytest.mark.parametrize("change", ["remove", "set_password"])
async def test_a_login_that_a_change_of_the_account_overtakes_is_refused(
    tmp_path: Path, change: str
) -> None:
    database = Database(data_dir=tmp_path)
    await database.start()
    accounts = AccountManager(database=database)
    tokens = TokenManager(database=database, accounts=accounts, data_dir=tmp_path)
    await tokens.start()
    await accounts.add("ann", "correct horse", Role.CONTRIBUTOR)
    log_in = accounts.log_in

    async def overtaken(name: str, password: str, address: str = "") -> Any:
        found = await log_in(name, password, address)
        if change == "remove":
            await accounts.remove(name)
            await accounts.add(name, "another horse", Role.OWNER)
        else:
            await accounts.set_password(name, "another horse")
        return found

    accounts.log_in = overtaken  # type: ignore[method-assign]
    with pytest.raises(WrongCredentials):
        await tokens.login("ann", "correct horse")
    assert await database.read(lambda c: c.execute(sa.select(token_table)).all()) == []
    accounts.close()
    await database.stop()
