"""What a front remembers of its clients' words takes little memory, whoever they are."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest_asyncio

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.front.messages import Trusted
from jupyter_mlsvc_server.front.process import Front
from jupyter_mlsvc_server.front.tokens import TokenCache

LONG = b"x" * 60_000


@pytest_asyncio.fixture
async def front() -> AsyncIterator[Front]:
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with ours, theirs:
        yield Front(ours)


async def test_long_paths_are_read_and_not_kept(front: Front) -> None:
    for number in range(20):
        url = b"/api/name/%d?%b" % (number, LONG)
        assert front.key_of(url) == ("name", str(number))
    assert front.key_of(b"/api/name/1") == ("name", "1")
    assert [*front._paths] == [b"/api/name/1"]


async def test_long_headers_let_in_and_are_not_kept() -> None:
    asked: list[str] = []

    async def verify(token: str) -> Trusted:
        asked.append(token)
        return Trusted(Principal("ana", Role.READER), 60)

    tokens = TokenCache(verify)
    long = b"Bearer " + b" " * 60_000 + b"known"
    for authorization in (long, b"Bearer known"):
        await tokens.admit(authorization, "known")
    assert tokens.admits(b"Bearer known")
    assert not tokens.admits(long)
    assert asked == ["known", "known"]
