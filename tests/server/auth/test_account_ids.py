"""An account is an id: names are labels, and what a removed account had nobody inherits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.errors import (
    AccountDisabled,
    InvalidAccessToken,
    InvalidRefreshToken,
    NameOwnsThings,
    UserExists,
    UserNotFound,
    WrongCredentials,
)
from jupyter_mlsvc_server.auth.policy import Action
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.store import JUPYTER
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.auth.watch import AccountWatch
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import accounts as account_table
from jupyter_mlsvc_server.storage.schema import service_versions, services
from tests.clocks import ManualClock
from tests.server.auth.conftest import PASSWORD


async def own_a_service(database: Database, owner_id: str) -> None:
    """Have an account own a service's name and a version of it."""
    values = {"name": "iris", "owner_id": owner_id, "created_at": now_text()}
    version = {"version": "1", "revision_id": "r", "seq": 1}
    await database.run(lambda c: c.execute(services.insert().values(values)))
    await database.run(lambda c: c.execute(service_versions.insert().values(values | version)))


async def owner_of_the_service(database: Database) -> str:
    query = sa.select(service_versions.c.owner_id)
    return str(await database.read(lambda connection: connection.scalar(query)))


async def test_an_id_never_comes_back(accounts: AccountManager) -> None:
    before = await accounts.verify("ann", PASSWORD)
    assert not await accounts.remove("ann")
    await accounts.add("ann", PASSWORD, Role.READER)
    assert (await accounts.verify("ann", PASSWORD)).id != before.id


async def test_a_name_that_owns_things_is_given_only_with_them(
    accounts: AccountManager, database: Database
) -> None:
    await own_a_service(database, "ann")
    assert str(await accounts.remove("ann")) == "1 service version and 0 snapshots"
    with pytest.raises(NameOwnsThings, match="--take-over"):
        await accounts.add("Ann", PASSWORD, Role.READER)
    await accounts.add("bob", PASSWORD, Role.READER)
    with pytest.raises(NameOwnsThings):
        await accounts.rename("bob", "ann")
    assert await accounts.add("Ann", PASSWORD, Role.READER, take_over=True)
    new = await accounts.verify("Ann", PASSWORD)
    assert await owner_of_the_service(database) == new.id


async def test_a_renamed_user_keeps_logins_and_things(
    accounts: AccountManager, tokens: TokenManager, database: Database
) -> None:
    await own_a_service(database, "ann")
    pair = await tokens.login("ann", PASSWORD)
    await accounts.rename("ann", "anna")
    principal = await tokens.principal_of(pair.access_token)
    assert (principal.id, principal.name) == ("ann", "anna")
    await accounts.add("ann", PASSWORD, Role.READER)
    assert (await accounts.verify("ann", PASSWORD)).id != await owner_of_the_service(database)
    with pytest.raises(UserExists):
        await accounts.rename("ann", "ANNA")


async def test_a_disabled_user_gets_nowhere_until_enabled(
    accounts: AccountManager, tokens: TokenManager
) -> None:
    pair = await tokens.login("ann", PASSWORD)
    await accounts.set_disabled("local", "ann", disabled=True)
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(pair.access_token)
    with pytest.raises(InvalidRefreshToken):
        await tokens.renew(pair.refresh_token)
    with pytest.raises(WrongCredentials):
        await accounts.verify("ann", PASSWORD)
    await accounts.set_disabled("local", "ann", disabled=False)
    assert (await accounts.verify("ann", PASSWORD)).id == "ann"


async def test_a_person_of_a_jupyter_server_is_no_local_user(
    accounts: AccountManager, database: Database
) -> None:
    clock = ManualClock(0)
    manager = AccountManager(database=database, clock=clock)
    ann = await manager.known_elsewhere(JUPYTER, "ann", "ann", Role.OWNER)
    assert ann.name == "ann"
    assert ann.id != (await accounts.verify("ann", PASSWORD)).id
    assert (await manager.known_elsewhere(JUPYTER, "ann", "ann", Role.OWNER)) == ann
    await accounts.set_disabled(JUPYTER, "ann", disabled=True)
    clock.now = 2.0
    with pytest.raises(AccountDisabled):
        await manager.known_elsewhere(JUPYTER, "ann", "ann", Role.OWNER)
    await accounts.remove("ann", JUPYTER)
    clock.now = 4.0
    assert (await manager.known_elsewhere(JUPYTER, "ann", "ann", Role.OWNER)).id != ann.id


async def test_who_is_shut_out_is_not_known_by_what_was_read_before(
    accounts: AccountManager, tokens: TokenManager
) -> None:
    await tokens.of_host("maria", Role.OWNER)
    await accounts.set_disabled(JUPYTER, "maria", disabled=True)
    await AccountWatch(accounts=accounts, tokens=tokens, holders=[]).look()
    with pytest.raises(AccountDisabled):
        await tokens.of_host("maria", Role.OWNER)


async def test_there_is_nobody_to_change(accounts: AccountManager) -> None:
    with pytest.raises(UserNotFound):
        await accounts.set_role("bob", Role.READER)
    with pytest.raises(UserNotFound):
        await accounts.remove("ann", JUPYTER)


class Holder:
    """Something that runs for ``ann``."""

    def __init__(self, needs: Action) -> None:
        self.needs = needs
        self.ended: list[str] = []

    def held_for(self) -> set[str]:
        return {"ann"} - set(self.ended)

    async def end_all_of(self, account_id: str) -> None:
        self.ended.append(account_id)


@pytest.mark.parametrize(
    ("values", "ended"),
    [
        ({"role": "contributor"}, [[], []]),
        ({"role": "caller"}, [["ann"], []]),
        ({"disabled": True}, [["ann"], ["ann"]]),
        ({"removed_at": "2024", "subject": None}, [["ann"], ["ann"]]),
    ],
    ids=["same", "role", "disabled", "removed"],
)
async def test_what_another_process_changes_ends_what_runs(
    accounts: AccountManager,
    tokens: TokenManager,
    database: Database,
    values: dict[str, object],
    ended: Sequence[Sequence[str]],
) -> None:
    pair = await tokens.login("ann", PASSWORD)
    await tokens.principal_of(pair.access_token)
    holders = [Holder(Action.USE_SESSIONS), Holder(Action.CONSUME)]
    watch = AccountWatch(accounts=accounts, tokens=tokens, holders=holders)
    await database.run(lambda c: c.execute(account_table.update().values(values)))
    await watch.look()
    assert [holder.ended for holder in holders] == ended
    # The token is looked up again, where anything changed, before it is taken for good.
    is_same = values["role"] == "contributor" if "role" in values else False
    assert (tokens.recall(pair.access_token) is not None) == is_same
