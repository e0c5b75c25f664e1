"""Keys of applications."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.errors import (
    InvalidServiceKey,
    KeyExists,
    KeyNotFound,
    UserNotFound,
)
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.service_keys import KEY_PREFIX, ServiceKeyStore
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.auth.watch import AccountWatch
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import accounts as account_table


@pytest.fixture
def keys(database: Database) -> ServiceKeyStore:
    return ServiceKeyStore(database=database)


async def test_a_key_is_a_caller_of_some_services(
    keys: ServiceKeyStore, tokens: TokenManager
) -> None:
    key = await keys.add("billing", services=["iris"])
    principal = await tokens.principal_of(key)
    assert (principal.name, principal.role) == ("billing", Role.CALLER)
    assert (principal.knows_of("iris"), principal.knows_of("churn")) == (True, False)
    assert tokens.recall(key) == principal
    assert tokens.seconds_left(key) is None
    everything = await tokens.principal_of(await keys.add("monitor"))
    assert everything.knows_of("churn")


async def test_of_a_key_a_digest_is_kept(keys: ServiceKeyStore, database: Database) -> None:
    key = await keys.add("billing")
    rows = await database.read(lambda c: c.execute(sa.select(account_table)).all())
    assert key.removeprefix(KEY_PREFIX) not in str(rows)


async def test_keys_are_listed_with_what_they_are_for(
    keys: ServiceKeyStore, accounts: AccountManager
) -> None:
    expires = datetime.now(UTC) + timedelta(days=1)
    await keys.add("b", services=["iris", "churn"], maker="ann", expires_at=expires)
    await keys.add("a")
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
    key = await keys.add("billing", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(InvalidServiceKey):
        await tokens.principal_of(key)


async def test_a_revoked_key_is_refused_once_the_server_has_looked(
    keys: ServiceKeyStore, tokens: TokenManager, accounts: AccountManager
) -> None:
    key, other = await keys.add("billing", services=["iris"]), await keys.add("monitor")
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
    key = await keys.add("billing", maker="ann")
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
    await keys.add("billing")
    with pytest.raises(KeyExists):
        await keys.add("billing")
    with pytest.raises(KeyNotFound):
        await keys.revoke("other")
    with pytest.raises(UserNotFound):
        await keys.add("other", maker="nobody")
