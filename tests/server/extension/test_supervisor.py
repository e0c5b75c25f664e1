"""When the supervisor tries again, on a clock of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio

from jupyter_mlsvc_server.extension.supervisor import ServerUnavailable, Supervisor
from jupyter_mlsvc_server.formats.host import HostStatus
from tests.clocks import ManualClock
from tests.waiting import until

STATUS = HostStatus(public_url="http://localhost:1", server_version="1")
FIRST = [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
"""Pauses after failures, one after the other."""


class Away:
    """A server apart that nobody runs, or that gives leases which end after some seconds."""

    prefix = ""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.lasts: list[float] = []
        self.leases = 0

    def __str__(self) -> str:
        return "http://away"

    async def connect(self) -> Any:
        raise ConnectionRefusedError

    async def lease(self) -> AsyncGenerator[HostStatus]:
        if self.lasts:
            self.leases += 1
            yield STATUS
            self._clock.advance(self.lasts.pop(0))
        raise ConnectionRefusedError


class Quiet:
    """A host that takes note of nothing."""

    async def attached(self, _client: object, _status: HostStatus) -> None: ...

    def reported(self, _status: HostStatus) -> None: ...

    def failed(self, _problem: str) -> None: ...


class Pauses:
    """Pauses that are over at once, up to a number of them."""

    def __init__(self, clock: ManualClock, most: int) -> None:
        self.asked: list[float] = []
        self._clock = clock
        self._most = most

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if len(self.asked) >= self._most:
            await asyncio.Event().wait()
        self._clock.advance(seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def away(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Away:
    away = Away(clock)
    monkeypatch.setattr("jupyter_mlsvc_server.extension.supervisor.HostClient", lambda _: away)
    return away


@pytest.fixture
def pauses(clock: ManualClock) -> Pauses:
    return Pauses(clock, len(FIRST))


@pytest_asyncio.fixture
async def supervisor(away: Away, clock: ManualClock, pauses: Pauses) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(
        upstream=cast("Any", away),
        config=None,
        host=Quiet(),
        log=logging.getLogger("supervisor"),
        clock=clock,
        pause=pauses,
    )
    yield supervisor
    await supervisor.stop()


async def test_pauses_grow_and_requests_are_told_how_long_they_last(
    supervisor: Supervisor, clock: ManualClock, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.start()
    await until(lambda: len(pauses.asked) == len(FIRST))
    assert pauses.asked == FIRST
    assert caplog.text.count("Nobody answers at http://away") == 1
    for passed, left in ((0, 60), (40, 20), (100, 1)):
        clock.advance(passed)
        with pytest.raises(ServerUnavailable, match="Nobody answers") as unavailable:
            await supervisor.connect()
        assert unavailable.value.retry_after == left


@pytest.mark.parametrize(
    ("lasts", "expected"),
    [
        # After five that end another one is looked for at once; then there is one in five seconds.
        ([0.0] * 5, FIRST[:2]),
        ([0.0] * 8, [5, 5, 5, *FIRST[:2]]),
        # It is counted from one to the next.
        ([1.0] * 8, [4, 4, *FIRST[:2]]),
        ([6.0] * 20, FIRST[:2]),
        # A time without any lets five come again.
        ([0.0] * 6 + [30.0] + [0.0] * 5, [5, 5, *FIRST[:2]]),
    ],
)
async def test_server_that_has_served_is_looked_for_at_once_unless_that_is_often(
    supervisor: Supervisor, away: Away, pauses: Pauses, lasts: list[float], expected: list[float]
) -> None:
    away.lasts = [*lasts]
    supervisor.start()
    await until(lambda: len(pauses.asked) == len(FIRST))
    assert away.leases == len(lasts)
    assert pauses.asked[: len(expected)] == expected
