"""Keys of applications."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_mlsvc.wire.models import CreateServiceKeyRequest
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.errors import (
    InvalidKeyOption,
    InvalidServiceKey,
    KeyExists,
    KeyNotFound,
    KeyRateExceeded,
    TooManyKeys,
    UnknownService,
    UserNotFound,
)
from jupyter_mlsvc_server.auth.key_cli import CreateKey, ListKeys, RevokeKey
from jupyter_mlsvc_server.auth.key_options import new_key
from jupyter_mlsvc_server.auth.key_use import KeyUse, Rate
from jupyter_mlsvc_server.auth.key_verifier import KeyVerifier
from jupyter_mlsvc_server.auth.policy import Action, may, require_service
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.service_keys import KEY_PREFIX, NewKey, ServiceKeyStore
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.auth.watch import AccountWatch
from jupyter_mlsvc_server.errors import Forbidden
from jupyter_mlsvc_server.events.record import Change
from jupyter_mlsvc_server.services.key_manager import KeyManager
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import accounts as account_table
from jupyter_mlsvc_server.storage.schema import service_versions, services
from tests.clocks import ManualClock

ANN = Principal("ann", "ann", Role.CONTRIBUTOR)
OWNER = Principal("boss", "boss", Role.OWNER)


@pytest.fixture
def keys(database: Database) -> ServiceKeyStore:
    return ServiceKeyStore(database=database)


async def test_a_key_is_a_caller_of_some_services(
    keys: ServiceKeyStore, tokens: TokenManager
) -> None:
    key = await keys.add(NewKey(name="billing", services=["iris"]))
    principal = await tokens.principal_of(key)
    assert (principal.name, principal.role) == ("billing", Role.CALLER)
    assert (principal.knows_of("iris"), principal.knows_of("churn")) == (True, False)
    assert tokens.recall(key) == principal
    assert tokens.seconds_left(key) is None
    everything = await tokens.principal_of(await keys.add(NewKey(name="monitor")))
    assert everything.knows_of("churn")


async def test_of_a_key_a_digest_is_kept(keys: ServiceKeyStore, database: Database) -> None:
    key = await keys.add(NewKey(name="billing"))
    rows = await database.read(lambda c: c.execute(sa.select(account_table)).all())
    assert key.removeprefix(KEY_PREFIX) not in str(rows)


async def test_keys_are_listed_with_what_they_are_for(
    keys: ServiceKeyStore, accounts: AccountManager
) -> None:
    expires = datetime.now(UTC) + timedelta(days=1)
    await keys.add(NewKey(name="b", services=["iris", "churn"], expires_at=expires), maker="ann")
    await keys.add(NewKey(name="a"))
    first, second = await keys.list()
    assert (first.name, first.services, first.maker, first.expires_at) == ("a", None, "", None)
    assert (second.name, second.services, second.maker) == ("b", ("iris", "churn"), "ann")
    assert second.expires_at is not None
    assert [each.name for each in await accounts.list()] == ["ann"]


@pytest.mark.parametrize("key", [KEY_PREFIX, f"{KEY_PREFIX}x", f"{KEY_PREFIX}{'x' * 5000}"])
async def test_a_made_up_key_is_refused(tokens: TokenManager, key: str) -> None:
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)


async def test_an_expired_key_is_refused(keys: ServiceKeyStore, tokens: TokenManager) -> None:
    key = await keys.add(
        NewKey(name="billing", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    )
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)


async def test_a_revoked_key_is_refused_once_the_server_has_looked(
    keys: ServiceKeyStore, tokens: TokenManager, accounts: AccountManager
) -> None:
    key, other = (
        await keys.add(NewKey(name="billing", services=["iris"])),
        await keys.add(NewKey(name="monitor")),
    )
    await tokens.principal_of(key)
    watch = AccountWatch(accounts=accounts, tokens=tokens, holders=[])
    await watch.look()
    assert tokens.recall(key) is not None
    await keys.revoke("billing")
    await watch.look()
    assert tokens.recall(key) is None
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)
    assert (await tokens.principal_of(other)).name == "monitor"
    assert [each.name for each in await keys.list()] == ["monitor"]


async def test_a_key_ends_with_its_user(
    keys: ServiceKeyStore, tokens: TokenManager, accounts: AccountManager
) -> None:
    key = await keys.add(NewKey(name="billing"), maker="ann")
    await tokens.principal_of(key)
    await accounts.set_disabled("local", "ann", disabled=True)
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)
    await accounts.set_disabled("local", "ann", disabled=False)
    await tokens.principal_of(key)
    await accounts.rename("ann", "anna")
    await tokens.principal_of(key)
    await accounts.remove("anna")
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)
    assert not await keys.list()


async def test_names_of_keys_are_those_there_are(keys: ServiceKeyStore) -> None:
    await keys.add(NewKey(name="billing"))
    with pytest.raises(KeyExists):
        await keys.add(NewKey(name="billing"))
    with pytest.raises(KeyNotFound):
        await keys.revoke("other")
    with pytest.raises(UserNotFound):
        await keys.add(NewKey(name="other"), maker="nobody")


@pytest.fixture
async def iris(database: Database, accounts: AccountManager) -> None:
    """Have ann own two versions of ``iris``."""
    row = {"name": "iris", "owner_id": "ann", "created_at": ""}

    def write(connection: sa.Connection) -> None:
        connection.execute(services.insert().values(row))
        for number in (1, 2):
            version = {"version": str(number), "revision_id": "", "seq": number}
            connection.execute(service_versions.insert().values(row | version))

    await database.run(write)


async def make(keys: ServiceKeyStore, maker: Principal = ANN, name: str = "k", **more: Any) -> str:
    """Make a key for ``iris`` as its maker does."""
    more = {"services": ["iris"]} | more
    return (await keys.add_for(maker, NewKey(name=name, **more), most=2))[1]


@pytest.mark.usefixtures("iris")
async def test_a_key_of_a_version_is_for_that_alone(
    keys: ServiceKeyStore, tokens: TokenManager
) -> None:
    principal = await tokens.principal_of(await make(keys, services=["iris/1"]))
    known = [principal.knows_of(*each) for each in (("iris", "1"), ("iris", "2"), ("iris",))]
    assert known == [True, False, True]
    assert not principal.knows_of("iri", "1")
    with pytest.raises(Forbidden, match="not for version '2' of service 'iris'"):
        require_service(principal, "iris", "2")
    assert not may(principal, Action.USE_BATCHES, principal.owner)


@pytest.mark.usefixtures("iris")
async def test_who_may_change_a_service_makes_keys_for_it(keys: ServiceKeyStore) -> None:
    with pytest.raises(Forbidden, match="service 'iris'"):
        await make(keys, Principal("ben", "ben", Role.CONTRIBUTOR))
    with pytest.raises(Forbidden, match="for all services"):
        await make(keys, services=None)
    for missing in ("rose", "iris/3"):
        with pytest.raises(UnknownService):
            await make(keys, services=["iris", missing])
    await make(keys, OWNER, "all", services=None)
    await make(keys)
    await make(keys, name="another")
    with pytest.raises(TooManyKeys):
        await make(keys, name="third")
    assert [key.name for key in await keys.list("ann")] == ["another", "k"]
    with pytest.raises(KeyNotFound):
        await keys.revoke("all", "ann")
    await keys.revoke("all")


@pytest.mark.usefixtures("iris")
async def test_a_key_ends_with_the_right_of_its_maker(
    keys: ServiceKeyStore, tokens: TokenManager, accounts: AccountManager, database: Database
) -> None:
    key = await make(keys)
    await keys.add(NewKey(name="other", services=["iris"]), maker="ann")
    watch = AccountWatch(accounts=accounts, tokens=tokens, holders=[])

    async def is_known() -> bool:
        await watch.look()
        return tokens.recall(key) is not None

    await tokens.principal_of(key)
    assert await is_known()
    change = services.update().values(owner_id="ben")
    await database.run(lambda connection: connection.execute(change))
    assert not await is_known()
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)
    # What whoever runs the server has made asks for no right.
    states = {each.name: each.state("") for each in await keys.list()}
    assert states == {"k": "suspended", "other": "active"}
    # A member of the group may make keys, and a reader may not.
    await accounts.set_member("local", "ann", "team", is_member=True)
    await database.run(lambda c: c.execute(services.update().values(group_name="team")))
    await tokens.principal_of(key)
    await accounts.set_role("ann", Role.READER)
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)


@pytest.mark.usefixtures("iris")
async def test_a_revoked_key_is_forgotten_at_once(
    keys: ServiceKeyStore, tokens: TokenManager
) -> None:
    key = await make(keys)
    principal = await tokens.principal_of(key)
    await keys.revoke("k")
    tokens.forget_key(principal.id)
    assert tokens.recall(key) is None


async def test_calls_are_written_down_and_kept(database: Database, keys: ServiceKeyStore) -> None:
    secret = await keys.add(NewKey(name="billing"))
    for _ in range(2):
        verifier = KeyVerifier(database=database)
        found = await verifier.find(secret)
        assert found is not None
        assert found[0].key is not None
        assert found[0].key.takes(("iris", "1"))
        assert found[0].key.takes(("iris", "2"))
        await asyncio.gather(verifier.write(), verifier.stop())
        assert verifier.calls_of("iris", "1") == {"billing": 1}
        assert verifier.calls_of("iris", "3") == {}
    (key,) = await keys.list()
    assert (key.calls, key.last_used_at is not None) == (4, True)


async def test_origins_are_those_of_living_keys(database: Database, keys: ServiceKeyStore) -> None:
    clock = ManualClock()
    verifier = KeyVerifier(database=database, clock=clock)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await keys.add(NewKey(name="old", origins=["http://old.example"], expires_at=past))
    await keys.add(NewKey(name="page", origins=["http://a.example", "http://b.example"]))
    assert await verifier.allows_origin("http://b.example")
    assert not await verifier.allows_origin("http://old.example")
    await keys.revoke("page")
    assert await verifier.allows_origin("http://b.example")
    clock.advance(1)
    assert not await verifier.allows_origin("http://b.example")


def use(clock: ManualClock, rate: str = "", *origins: str) -> KeyUse:
    limit = Rate.parse(rate) if rate else None
    return KeyUse("id", "k", rate=limit, origins=origins, clock=clock)


def test_no_span_of_its_unit_has_more_calls_than_a_rate() -> None:
    clock = ManualClock()
    key, taken = use(clock, "3/minute"), []
    for _ in range(200):
        if key.takes(("iris", "1")):
            taken.append(clock())
        clock.advance(7)
    assert all(after - before >= 60 for before, after in zip(taken, taken[3:], strict=False))
    assert len(taken) > 60
    while key.takes(("iris", "1")):
        pass
    with pytest.raises(KeyRateExceeded, match="3 calls a minute") as refused:
        key.require(("iris", "1"))
    clock.advance(refused.value.retry_after)
    key.require(("iris", "1"))


def test_pages_call_with_keys_for_their_origin() -> None:
    key = use(ManualClock(), "", "http://a.example")
    assert key.takes(("iris", "1"), b"http://a.example")
    assert key.takes(("iris", "1"))
    assert not key.takes(("iris", "1"), b"http://b.example")
    assert use(ManualClock()).takes(("iris", "1"), b"http://b.example")


def test_made_up_versions_are_counted_together() -> None:
    key = use(ManualClock())
    for number in range(3000):
        assert key.takes(("iris", str(number)))
    assert len(key.calls) < 1100
    assert key.pending.calls == 3000


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a/b"}, {"services": []}, {"services": ["a/b/c"]}, {"services": ["x"] * 101},
        {"note": "a\nb"}, {"note": "x" * 201}, {"expires_in_seconds": 0.0},
        {"expires_in_seconds": float("nan")}, {"expires_in_seconds": 1e300}, {"rate": "0/second"},
        {"rate": "5/hour"}, {"rate": "99999/second"}, {"origins": ["*"]}, {"origins": ["null"]},
        {"origins": ["https://*.example"]}, {"origins": ["https://a.example/path"]},
        {"origins": ["a.example"]}, {"origins": ["http://a.example:x"]},
        {"origins": ["http://u@a.example"]}, {"origins": ["http://a\r\nb"]},
        {"origins": [f"http://{n}.example" for n in range(21)]},
    ],
)  # fmt: skip
def test_what_a_key_cannot_be_is_said(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidKeyOption):
        new_key(CreateServiceKeyRequest(**{"services": ["iris"], **options}))


def test_options_are_written_one_way() -> None:
    origins = ["HTTPS://A.example:443/", "https://a.example", "http://localhost:3000"]
    key = new_key(
        CreateServiceKeyRequest(
            services=["big models/1.0", "iris", "iris"], rate="10 per Second", origins=origins
        )
    )
    assert key.origins == ("https://a.example", "http://localhost:3000")
    assert (key.rate, key.services) == ("10/second", ("big models/1.0", "iris"))
    assert re.fullmatch(r"big-models-[0-9a-f]{6}", key.name)


@pytest.mark.usefixtures("accounts")
async def test_the_commands_of_keys_say_what_they_did(
    keys: ServiceKeyStore, tokens: TokenManager
) -> None:
    assert "No keys." in await ListKeys().work(keys)
    command = CreateKey(services="iris/1, churn", rate="5/second", user="ann", days=1, note="Bill")
    principal = await tokens.principal_of(await command.work(keys, "billing"))
    assert principal.services == frozenset({"iris/1", "churn"})
    head, row = (await ListKeys().work(keys)).splitlines()
    assert row.split()[:4] == ["billing", "iris/1,churn", "ann", "active"]
    assert row.endswith("0      never           Bill")
    assert head.startswith("NAME")
    assert await RevokeKey().work(keys, "billing") == "Revoked billing."


@pytest.mark.usefixtures("iris")
async def test_a_manager_keeps_to_its_limit_and_announces_keys(
    database: Database, tokens: TokenManager
) -> None:
    changes: list[Change] = []
    verifier = KeyVerifier(database=database, write_seconds=0.1)
    manager = KeyManager(
        database=database,
        verifier=verifier,
        tokens=tokens,
        publish_event=changes.append,
        max_keys_per_user=1,
    )
    request = CreateServiceKeyRequest(services=["iris"], name="k", rate="1/second")
    made = await manager.create(ANN, request)
    assert made.key not in repr(made)
    with pytest.raises(TooManyKeys):
        await manager.create(ANN, CreateServiceKeyRequest(services=["iris"]))
    found = await verifier.find(made.key)
    assert found is not None
    assert found[0].key is not None
    await verifier.start()
    found[0].key.require(("iris", "1"))
    await verifier.stop()
    (key,) = await ServiceKeyStore(database=database).list()
    assert (key.name, key.calls) == ("k", 1)
    assert [each.name for each in await manager.list(OWNER)] == ["k"]
    assert await manager.list(Principal("ben", "ben", Role.CONTRIBUTOR)) == []
    await manager.revoke(OWNER, "k")
    assert [(each.kind, each.action, each.owner.name) for each in changes] == [
        ("key", "created", "ann"),
        ("key", "deleted", "ann"),
    ]
