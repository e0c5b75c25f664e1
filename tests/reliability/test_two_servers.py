"""Two servers of one PostgreSQL database: a change at one is what both answer with."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

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

BOUND_SECONDS = 1.0
"""After this time no server answers with what another one has changed; the documents say so."""


@pytest.fixture(scope="module")
def url(postgresql_server: str) -> str:
    """The address of a database."""
    return new_database(postgresql_server, "shared")


@pytest.fixture
def doors(tmp_path: Path, url: str) -> Iterator[list[Door]]:
    """The public APIs of two servers."""
    options = [
        "--KernelFactory.preload_at_start=false",
        "--AccountManager.failed_logins=3",
        f"--Database.url={url}",
    ]
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


def test_what_changes_at_one_server_under_load_at_another_is_not_stale_there(
    doors: list[Door],
) -> None:
    one, other = doors
    service = "/services/shared/1.0"
    with Load(other) as load:
        assert one.post(service, json=definition("y = 'old'")).status_code == 201
        load.since("old")
        assert one.patch(service, json={"code": "y = 'new'"}).status_code == 200
        load.since("new")
        assert one.delete(service).status_code == 200
        load.since(404)
        body = {"username": "admin", "password": PASSWORD}
        pair = requests.post(f"{one.url}/login", json=body, timeout=60).json()
        load.door = other.with_token(pair["access_token"])
        load.since(404)
        ended = one.delete("/login/refreshToken", params={"refreshToken": pair["refresh_token"]})
        assert ended.status_code == 200, ended.text
        load.since(401)


def test_events_and_failed_logins_of_one_server_are_those_of_the_other(
    doors: list[Door],
) -> None:
    one, other = doors
    begin = other.get("/events").json()
    service = "/services/told/1.0"
    assert one.post(service, json=definition("y = 1")).status_code == 201
    cursor = {"run": begin["run"], "after": begin["last"], "wait": 50}
    told = other.get("/events", params=cursor).json()
    assert [each["name"] for each in told["events"]] == ["told"]
    assert one.delete(service).status_code == 200

    def login(door: Door) -> int:
        body = {"username": "eve", "password": "a guess"}
        return requests.post(f"{door.url}/login", json=body, timeout=60).status_code

    assert [login(one) for _ in range(3)] == [401, 401, 401]
    wait_until(lambda: login(other) == 429)


class Load:
    """Calls of a service at a server, by two clients, until the end of the block.

    Attributes
    ----------
    door
        Where they call it from now on.
    """

    def __init__(self, door: Door) -> None:
        self.door = door
        self._answers: list[tuple[float, object]] = []
        self._end = threading.Event()
        self._clients = [threading.Thread(target=self._call) for _ in range(2)]

    def since(self, expected: object) -> None:
        """Wait for answers of a second and more from now, and require them to be the expected."""
        bound = time.monotonic() + BOUND_SECONDS
        wait_until(lambda: sum(begun > bound for begun, _ in self._answers) > 20)
        late = {answer for begun, answer in list(self._answers) if begun > bound}
        assert late == {expected}

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        for client in self._clients:
            client.join()

    def _call(self) -> None:
        while not self._end.is_set():
            begun = time.monotonic()
            answer = self.door.post("/api/shared/1.0", json={"n": 1})
            is_good = answer.status_code == 200
            said = answer.json()["outputParameters"]["y"] if is_good else answer.status_code
            self._answers.append((begun, said))
