"""Keys that sign access tokens: all servers of a database have them, and they can be changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.errors import InvalidAccessToken
from jupyter_mlsvc_server.auth.signing_keys import SigningKeyStore
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.database import Database
from tests.clocks import ManualClock
from tests.server.auth.conftest import PASSWORD


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000)


@pytest.fixture
async def servers(
    tmp_path: Path, database: Database, accounts: AccountManager, clock: ManualClock
) -> list[TokenManager]:
    """Two servers of one database, each with a data folder of its own."""
    managers = [
        TokenManager(
            database=database,
            accounts=accounts,
            data_dir=folder,
            wall_clock=clock,
            monotonic_clock=clock,
        )
        for folder in (database.data_dir, tmp_path)
    ]
    for manager in managers:
        await manager.start()
    return managers


def key_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def test_servers_take_tokens_of_each_other(servers: list[TokenManager]) -> None:
    one, other = servers
    token = (await one.login("ann", PASSWORD)).access_token
    assert (await other.principal_of(token)).name == "ann"


async def test_a_new_key_signs_at_once_everywhere_and_earlier_tokens_stay_valid(
    servers: list[TokenManager], database: Database, clock: ManualClock
) -> None:
    one, other = servers
    before = (await one.login("ann", PASSWORD)).access_token
    key = await SigningKeyStore(database=database).rotate(clock(), clock())
    # The other one still knows the first key only.
    after = (await one.login("ann", PASSWORD)).access_token
    assert key_of(before) != key_of(after) == key.id
    for token in (before, after):
        assert (await other.principal_of(token)).name == "ann"
    assert key_of((await other.login("ann", PASSWORD)).access_token) == key.id


async def test_an_earlier_key_signs_nothing_that_counts_once_its_tokens_have_expired(
    servers: list[TokenManager], database: Database, clock: ManualClock
) -> None:
    one, _ = servers
    first = (await SigningKeyStore(database=database).read())[0]
    await SigningKeyStore(database=database).rotate(clock(), clock())
    clock.advance(one.access_token_lifetime + 60)
    good = (await one.login("ann", PASSWORD)).access_token
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode(claims, first.secret, algorithm="HS512", headers={"kid": first.id})
    with pytest.raises(InvalidAccessToken):
        await one.principal_of(forged)
    assert (await one.principal_of(good)).name == "ann"


async def test_tokens_of_a_key_that_was_deleted_end_though_they_are_remembered(
    servers: list[TokenManager], database: Database, clock: ManualClock
) -> None:
    one, other = servers
    pair = await one.login("ann", PASSWORD)
    await other.principal_of(pair.access_token)
    await SigningKeyStore(database=database).rotate(clock(), float("inf"))
    await other.compare_signing_keys()
    with pytest.raises(InvalidAccessToken):
        await other.principal_of(pair.access_token)
    assert len(await SigningKeyStore(database=database).read()) == 1
    renewed = await other.renew(pair.refresh_token)
    assert (await one.principal_of(renewed.access_token)).name == "ann"


@pytest.mark.process
def test_the_command_changes_and_lists_the_keys_of_the_database(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "jupyter_mlsvc_server", "signing-key", *words]
        command += ["--data-dir", str(tmp_path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    before, key = run("rotate").split()[1], run("rotate", "--at-once").split()[1]
    assert before != key
    assert [line.split()[0] for line in run("list").splitlines()] == ["ID", key]
