"""Real accounts and tokens on a database of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.passwords import Passwords
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.store import AccountStore
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import accounts as account_table

PASSWORD = "correct horse"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(data_dir=tmp_path / "data")
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture(scope="module", autouse=True)
def _cheap_hashes() -> Iterator[None]:
    """Hash at a cost that some hundred tests can afford."""
    cheap = partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jupyter_mlsvc_server.auth.passwords.PasswordHasher", cheap)
        yield


@pytest.fixture(scope="module")
def password_hash() -> str:
    """Hash once."""
    return Passwords().hash(PASSWORD)


@pytest.fixture
async def accounts(database: Database, password_hash: str) -> AccountManager:
    """Hold one user, ``ann``, a contributor, whose id is her name."""
    await AccountStore(database=database).add("ann", password_hash, Role.CONTRIBUTOR)
    await database.run(lambda c: c.execute(account_table.update().values(id=account_table.c.name)))
    return AccountManager(database=database)


@pytest.fixture
async def tokens(database: Database, accounts: AccountManager) -> AsyncIterator[TokenManager]:
    manager = TokenManager(database=database, accounts=accounts, data_dir=database.data_dir)
    await manager.start()
    yield manager
    await manager.stop()
