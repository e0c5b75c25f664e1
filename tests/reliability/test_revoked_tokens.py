"""A token that ended is refused by the next request, on connections that were used with it too."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, change_users, door_urls
from tests.reliability.callers import Line, calling, in_thread, lines_to
from tests.reliability.conftest import BASE_URL, Doors, Publish, doors_of, publishing
from tests.server.api.conftest import Answer

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

PASSWORD = "correct horse battery"
LINES = 4
"""Connections at each door."""


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that trusts no token unseen, because other processes end tokens as well."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("strict"),
        admin_password=PASSWORD,
        base_url=BASE_URL,
        jupyter=True,
        options=["--KernelFactory.preload_at_start=false", "--TokenManager.cache_seconds=0"],
    ) as server:
        for name in ("ana", "ben", "carl"):
            command(server, "add", name, "--role", "reader")
        yield server


def command(server: ServerProcess, *arguments: str) -> None:
    """Change users from another process, as an operator does."""
    change_users(server, PASSWORD, *arguments)


def disable(server: ServerProcess, name: str) -> None:
    command(server, "disable", name)


def log_in(server: ServerProcess, name: str, password: str | None) -> dict[str, Any]:
    body = {"username": name, "password": password}
    answer = requests.post(f"{server.public_url}/login", json=body, timeout=30)
    assert answer.ok, answer.text
    pair: dict[str, Any] = answer.json()
    return pair


def with_token(server: ServerProcess, pair: dict[str, Any]) -> list[Door]:
    return [Door(url, pair["access_token"]) for url in door_urls(server).values()]


def is_refused(answer: Answer) -> bool:
    if answer.status != 401:
        return False
    assert "invalid_token" in answer.headers["www-authenticate"]
    assert answer.json()["exceptionType"] == "UnauthorizedException"
    return True


class Holder:
    """Somebody whose token ends while they call."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers = itertools.count()
        self.is_ending = False
        self.has_ended = False
        self.refused = 0

    async def look(self, line: Line) -> None:
        """Ask a few things at once: after the end nothing but refusals is right."""
        n, has_ended = next(self._numbers), self.has_ended
        line.send(
            line.request(self._path, {"n": n})
            + line.request("/user", method="GET")
            + line.request(self._path, {"n": -n})
        )
        for right in (n, None, -n):
            answer = await line.receive()
            if is_refused(answer):
                self.refused += 1
                assert self.is_ending or self.has_ended
            else:
                assert answer.status == 200, answer
                assert not has_ended, answer
                assert right is None or answer.json()["outputParameters"] == {"y": right}

    async def ends(self, end: Callable[[], Awaitable[object]]) -> None:
        """Have the token end."""
        self.is_ending = True
        await end()
        self.has_ended = True


async def end_under_load(
    server: ServerProcess,
    path: str,
    pair: dict[str, Any],
    others: list[Door],
    end: Callable[[], Awaitable[object]],
) -> None:
    """End a token while it is used at both doors; nobody else notices."""
    holder, other = Holder(path), Holder(path)
    async with (
        calling(with_token(server, pair) * LINES, holder.look) as callers,
        calling(others * LINES, other.look) as other_callers,
    ):
        await callers.go_on(20 * LINES)
        await holder.ends(end)
        await callers.go_on(10 * LINES)
        await other_callers.go_on(10 * LINES)
    assert holder.refused >= 20 * LINES
    assert not other.refused


WAYS = {
    "revocation": lambda door, pair: door.delete(
        "/login/refreshToken", params={"refreshToken": pair["refresh_token"]}
    ),
    "renewal": lambda door, pair: door.post(
        "/login/refreshToken", json={"refreshToken": pair["refresh_token"]}
    ),
}


@pytest.mark.parametrize("by", ["public", "jupyter"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_token_that_is_ended_at_a_door_is_refused_at_both(
    loaded_server: ServerProcess, doors: Doors, publish: Publish, way: str, by: str
) -> None:
    pair = log_in(loaded_server, "admin", loaded_server.admin_password)
    await end_under_load(
        loaded_server,
        publish("y = n", workers=2),
        pair,
        list(doors.values()),
        lambda: in_thread(WAYS[way], doors[by], pair),
    )


async def test_a_stolen_pair_ends_for_both_who_have_it(
    loaded_server: ServerProcess, doors: Doors, publish: Publish
) -> None:
    """A refresh token that is used again ends what came of it."""
    stolen = log_in(loaded_server, "admin", loaded_server.admin_password)
    pair = (await in_thread(WAYS["renewal"], doors["public"], stolen)).json()

    async def use_again() -> None:
        answer = await asyncio.to_thread(WAYS["renewal"], doors["jupyter"], stolen)
        assert answer.status_code == 401

    path = publish("y = n", workers=2)
    await end_under_load(loaded_server, path, pair, list(doors.values()), use_again)


async def test_a_token_that_ends_while_it_is_looked_at_is_not_remembered(
    loaded_server: ServerProcess, doors: Doors, publish: Publish
) -> None:
    """Its first requests and its end come at the same time."""
    path = publish("y = n", workers=2)
    pair = log_in(loaded_server, "admin", loaded_server.admin_password)
    for turn in range(25):
        door = doors["public" if turn % 2 else "jupyter"]
        async with lines_to(with_token(loaded_server, pair) * 2) as lines:
            asking = [asyncio.create_task(line.ask(path, {"n": turn})) for line in lines]
            renewal, *first = await asyncio.gather(in_thread(WAYS["renewal"], door, pair), *asking)
            assert {answer.status for answer in first} <= {200, 401}
            for line in lines:
                assert is_refused(await line.ask(path, {"n": turn}))
        pair = renewal.json()


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("ana", lambda server: command(server, "passwd", "ana")),
        ("ben", lambda server: command(server, "remove", "ben")),
        ("carl", lambda server: disable(server, "carl")),
    ],
    ids=["another password", "removed", "disabled"],
)
async def test_a_user_who_may_no_longer_is_refused_at_once(
    strict_server: ServerProcess, name: str, end: Callable[[ServerProcess], None]
) -> None:
    doors = doors_of(strict_server)
    with contextlib.contextmanager(publishing)(doors) as publish:
        await end_under_load(
            strict_server,
            publish("y = n", workers=2),
            log_in(strict_server, name, PASSWORD),
            list(doors.values()),
            lambda: asyncio.to_thread(end, strict_server),
        )


async def test_who_is_trusted_for_a_while_is_refused_after_it(
    loaded_server: ServerProcess, publish: Publish, doors: Doors
) -> None:
    """As set: what another process ends may be trusted for ``cache_seconds``, and no longer."""
    await asyncio.to_thread(command, loaded_server, "add", "dora", "--role", "reader")
    pair = log_in(loaded_server, "dora", PASSWORD)
    path = publish("y = n", workers=2)
    async with lines_to(with_token(loaded_server, pair)) as lines:
        for line in lines:
            assert (await line.ask(path, {"n": 1})).status == 200
        await asyncio.to_thread(command, loaded_server, "remove", "dora")
        for line in lines:
            async with asyncio.timeout(30):
                while not is_refused(await line.ask(path, {"n": 2})):  # noqa: ASYNC110  # it is polled
                    await asyncio.sleep(0.05)
