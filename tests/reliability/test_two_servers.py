"""Two servers of one PostgreSQL database: a change at one is what both answer with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa

from jupyter_mlsvc_server.auth.user_ids import UserIds
from jupyter_mlsvc_server.id_range import IdRange
from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import user_ids
from tests.contract.doors import Door, sign_in
from tests.postgresql import new_database
from tests.reliability.conftest import definition
from tests.waiting import until, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def url(postgresql_server: str) -> str:
    """The address of a database."""
    return new_database(postgresql_server, "shared")


@pytest.fixture
def doors(tmp_path: Path, url: str) -> Iterator[list[Door]]:
    """The public APIs of two servers."""
    options = ["--KernelFactory.preload_at_start=false", f"--Database.url={url}"]
    one, other = (
        ServerProcess(data_dir=tmp_path / name, admin_password=PASSWORD, options=options)
        for name in ("one", "other")
    )
    with one, other:
        yield [sign_in(server.public_url, "admin", PASSWORD) for server in (one, other)]


async def test_people_who_come_to_two_servers_at_once_get_a_user_each(
    tmp_path: Path, url: str
) -> None:
    database = Database(data_dir=tmp_path, url=url)
    await database.start()
    users = UserIds(database, IdRange(2_000_000, 2_000_099))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    locked = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def waiting() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(locked) or 0)

    # The other server has given a user, and not told yet.
    with engine.connect() as other:
        other.execute(user_ids.insert().values(account_id="ann", uid=2_000_001))
        asked = [asyncio.create_task(users.of(account)) for account in ("ann", "bob")]
        await until(lambda: waiting() == len(asked))
        other.commit()
    assert await asyncio.gather(*asked) == [2_000_001, 2_000_002]
    await database.stop()


def test_a_change_at_one_server_is_what_the_other_answers_with(doors: list[Door]) -> None:
    one, other = doors
    service = "/services/shared/1.0"
    assert one.post(service, json=definition("y = 'old'")).status_code == 201
    assert [answer_of(door) for door in doors] == ["old", "old"]
    assert one.patch(service, json={"code": "y = 'new'"}).status_code == 200
    wait_until(lambda: answer_of(other) == "new")
    assert answer_of(one) == "new"
    assert other.delete(service).status_code == 200
    wait_until(lambda: status_of(one) == 404)
    assert status_of(other) == 404

    body = {"username": "admin", "password": PASSWORD}
    pair = requests.post(f"{one.url}/login", json=body, timeout=60).json()
    used = one.with_token(pair["access_token"])
    assert used.get("/services").status_code == 200
    ended = other.delete("/login/refreshToken", params={"refreshToken": pair["refresh_token"]})
    assert ended.status_code == 200, ended.text
    wait_until(lambda: used.get("/services").status_code == 401)


def answer_of(door: Door) -> str:
    answer = door.post("/api/shared/1.0", json={"n": 1})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["outputParameters"]["y"])


def status_of(door: Door) -> int:
    return door.post("/api/shared/1.0", json={"n": 1}).status_code
