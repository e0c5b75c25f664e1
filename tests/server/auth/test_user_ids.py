"""Users of the operating system that people get, for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from jupyter_mlsvc_server.auth.user_ids import NoUserLeft, UserIds
from jupyter_mlsvc_server.confinement import CannotConfine
from jupyter_mlsvc_server.id_range import IdRange
from jupyter_mlsvc_server.storage.database import Database

IDS = IdRange(2_000_000, 2_000_003)


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(data_dir=tmp_path)
    await opened.start()
    yield opened
    await opened.stop()


async def test_each_account_has_a_user_which_stays_its_own(database: Database) -> None:
    users = UserIds(database, IDS)
    got = [await users.of(account) for account in ("ann", "bob", "ann")]
    assert got == [2_000_001, 2_000_002, 2_000_001]
    after_a_start = UserIds(database, IDS)
    await after_a_start.require()
    assert [await after_a_start.of(account) for account in ("bob", "cem")] == [2_000_002, 2_000_003]


async def test_no_user_is_given_twice(database: Database) -> None:
    users = UserIds(database, IDS)
    for account in ("ann", "bob", "cem"):
        await users.of(account)
    with pytest.raises(NoUserLeft, match=r"Confinement\.uids"):
        await users.of("dan")
    assert await UserIds(database, IdRange(2_000_000, 2_000_009)).of("dan") == 2_000_004


async def test_a_range_without_the_users_that_people_have_is_refused(database: Database) -> None:
    await UserIds(database, IDS).of("ann")
    with pytest.raises(CannotConfine, match="2000001 to 2000001"):
        await UserIds(database, IdRange(3_000_000, 3_000_009)).require()
