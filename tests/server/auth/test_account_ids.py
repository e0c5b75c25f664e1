"""An account is an id: names are labels, and what a removed account had nobody inherits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticator import Authenticator
from jupyter_mlsvc_server.auth.errors import (
    AccountDisabled,
    InvalidAccessToken,
    InvalidGroupName,
    InvalidRefreshToken,
    NameOwnsThings,
    UserExists,
    UserNotFound,
    WrongCredentials,
)
from jupyter_mlsvc_server.auth.group_cli import JoinGroup, LeaveGroup, ListGroups
from jupyter_mlsvc_server.auth.policy import Action
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.store import JUPYTER, LOCAL
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


# --- groups ----------------------------------------------------------------------------------


async def test_a_member_is_in_the_group_until_taken_out_or_removed(database: Database) -> None:
    accounts = AccountManager(database=database)
    await accounts.add("maria", PASSWORD, Role.CONTRIBUTOR)
    for group in ("Churn", "credit"):
        await accounts.set_member(LOCAL, "maria", group, is_member=True)
    assert (await accounts.verify("maria", PASSWORD)).groups == {"churn", "credit"}
    await accounts.set_member(LOCAL, "maria", "CREDIT", is_member=False)
    assert (await accounts.verify("maria", PASSWORD)).groups == {"churn"}
    await accounts.remove("maria")
    await accounts.add("maria", PASSWORD, Role.CONTRIBUTOR)
    assert (await accounts.verify("maria", PASSWORD)).groups == frozenset()


async def test_a_group_of_a_provider_is_none_of_this_server(database: Database) -> None:
    accounts = AccountManager(database=database)

    async def come(*groups: str) -> Principal:
        given = ("oidc", "a-1", "oidc:ann", Role.CONTRIBUTOR, frozenset(groups))
        return await accounts.known_elsewhere(*given)

    assert (await come("oidc:churn")).groups == {"oidc:churn"}
    await accounts.set_member("oidc", "oidc:ann", "credit", is_member=True)
    # What the provider says changes with the next token, what this server says stays.
    assert (await come("oidc:fraud")).groups == {"oidc:fraud", "credit"}
    assert (await come()).groups == {"credit"}
    for name in ("oidc:churn", "", "a b", "x" * 65):
        with pytest.raises(InvalidGroupName):
            await accounts.set_member("oidc", "oidc:ann", name, is_member=True)
    with pytest.raises(UserNotFound):
        await accounts.set_member(LOCAL, "oidc:ann", "credit", is_member=True)


async def test_tokens_of_notebooks_get_groups_and_keep_their_role(
    database: Database, accounts: AccountManager, tokens: TokenManager
) -> None:
    maria = await accounts.known_elsewhere(JUPYTER, "maria", "maria", Role.OWNER)
    token = tokens.local_token(replace(maria, role=Role.CONTRIBUTOR))
    await accounts.set_member(JUPYTER, "maria", "churn", is_member=True)
    tokens.compare(await accounts.living(tokens.known_accounts()))
    found = await tokens.principal_of(token)
    assert (found.role, found.groups) == (Role.CONTRIBUTOR, frozenset({"churn"}))


async def test_the_commands_of_groups_say_what_they_did(database: Database) -> None:
    accounts = AccountManager(database=database)
    await accounts.add("maria", PASSWORD, Role.CONTRIBUTOR)
    assert "No groups." in await ListGroups().work(accounts)
    assert await JoinGroup().work(accounts, "Churn", "maria") == "maria is in group churn."
    await accounts.known_elsewhere("oidc", "a", "oidc:ann", Role.READER, frozenset({"oidc:ml"}))
    head, *rows = (await ListGroups().work(accounts)).splitlines()
    assert [row.split() for row in rows] == [
        ["churn", "maria", "local"],
        ["oidc:ml", "oidc:ann", "oidc"],
    ]
    assert head.split() == ["GROUP", "MEMBER", "KIND"]
    assert await LeaveGroup().work(accounts, "churn", "maria") == "maria is not in group churn."
    assert not [each for each in await accounts.list() if "churn" in each.groups]


def test_names_of_groups_of_a_provider_have_its_prefix() -> None:
    named = Authenticator(prefix="oidc").group_names(
        ["Data Science", "data science", "x" * 300, "a\x1b[0m"]
    )
    assert named == {"oidc:data science"}
    assert len(Authenticator(prefix="oidc").group_names(map(str, range(1000)))) == 500
