"""What versions did over an hour, a day and a week, over restarts and deletions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa

from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.statistics import EngineCounters, Interval, Timings
from jupyter_mlsvc_server.scoring.statistics import VersionCounters as Counters
from jupyter_mlsvc_server.services.call_history import PERIODS, CallRecorder
from jupyter_mlsvc_server.services.record import ServiceKey, ServiceRecord
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.machine_faults import DatabaseUnavailable
from jupyter_mlsvc_server.storage.schema import call_intervals
from tests.clocks import ManualClock

KEY = DefinitionKey("Iris", "V1.0")
HOUR, DAY, WEEK = PERIODS.values()
NOON = 1_700_049_600
"""A full hour."""


class Engine:
    """Stands for the scoring engine: has the counts of versions, and no processes."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.timings: dict[DefinitionKey, Timings] = {}

    def call(self, seconds: float = 0.003, *, times: int = 1, failed: bool = False) -> None:
        timings = self.timings.setdefault(KEY, Timings(self.clock))
        for _ in range(times):
            timings.add(seconds, failed=failed)

    async def counters(self) -> EngineCounters:
        return EngineCounters(
            versions=[
                Counters(
                    name=key.name,
                    version=key.version,
                    calls=each.count,
                    errors=each.errors,
                    rejected=each.rejected,
                    latency=each.latency(),
                )
                for key, each in self.timings.items()
            ]
        )


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(data_dir=tmp_path)
    await opened.start()
    await publish(opened)
    yield opened
    await opened.stop()


async def publish(database: Database) -> None:
    spec = ServiceSpec(
        name=ServiceName(KEY.name), version=Version(KEY.version), revision_id="r1", code="y = 1"
    )
    record = ServiceRecord(spec=spec, owner=Owner("ann", "ann"), created_at="2024-05-01T10:00:00")
    await ServiceStore(database=database).insert(record, may_use=lambda _: True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON + 30)


@pytest.fixture
def engine(clock: ManualClock) -> Engine:
    return Engine(clock)


def recorder(database: Database, engine: Any) -> CallRecorder:
    return CallRecorder(database=database, scoring=engine, clock=engine.clock)


def counted(intervals: list[Interval]) -> dict[int, int]:
    """Return the calls of those intervals that have any."""
    return {each.start: each.calls for each in intervals if each.calls}


async def rows(database: Database) -> int:
    query = sa.select(sa.func.count()).select_from(call_intervals)
    return await database.read(lambda connection: connection.scalar(query) or 0)


async def test_calls_are_in_the_intervals_in_which_they_were_written_down(
    database: Database, engine: Engine, clock: ManualClock
) -> None:
    calls = recorder(database, engine)
    engine.call(times=2)
    clock.now = NOON + 60
    await calls.record()
    engine.call(failed=True)
    clock.now = NOON + 120
    await calls.record()
    engine.call(times=4)  # not written yet
    hour = await calls.history(KEY, HOUR)
    assert counted(hour) == {NOON: 2, NOON + 60: 1, NOON + 120: 4}
    assert [each.errors for each in hour if each.calls] == [0, 1, 0]
    assert (len(hour), hour[-1].start) == (60, NOON + 120)
    assert counted(await calls.history(KEY, DAY)) == {NOON: 7}
    assert counted(await calls.history(KEY, WEEK)) == {NOON: 7}


async def test_a_restart_keeps_what_was_and_adds_to_it(
    database: Database, engine: Engine, clock: ManualClock
) -> None:
    first = recorder(database, engine)
    engine.call(times=3)
    await first.stop()
    again = Engine(clock)
    second = recorder(database, again)
    again.call(times=2)
    assert counted(await second.history(KEY, HOUR)) == {NOON: 5}
    await second.record()
    assert counted(await second.history(KEY, HOUR)) == {NOON: 5}


async def test_a_version_that_is_published_anew_begins_with_nothing(
    database: Database, engine: Engine
) -> None:
    calls = recorder(database, engine)
    engine.call(times=3)
    await calls.record()
    engine.call()
    await ServiceStore(database=database).delete(
        ServiceKey(ServiceName(KEY.name), Version(KEY.version))
    )
    await calls.record()
    assert await rows(database) == 0
    engine.timings.clear()
    await publish(database)
    engine.call()
    await calls.record()
    assert counted(await calls.history(KEY, WEEK)) == {NOON: 1}


async def test_what_a_database_does_not_take_is_written_the_next_time(
    database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = recorder(database, engine)
    engine.call(times=3)

    async def refuse(_: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(database, "run", refuse)
        with pytest.raises(DatabaseUnavailable):
            await calls.record()
        assert counted(await calls.history(KEY, HOUR)) == {NOON: 3}
    engine.call()
    await calls.record()
    assert counted(await calls.history(KEY, HOUR)) == {NOON: 4}


async def test_what_is_kept_has_bounds(
    database: Database, engine: Engine, clock: ManualClock
) -> None:
    calls = recorder(database, engine)
    for _ in range(40):
        engine.call()
        await calls.record()
        clock.advance(6 * 3600)
    clock.advance(-6 * 3600)
    most = sum(each.intervals + 1 for each in PERIODS.values())
    assert await rows(database) < most
    assert sum(counted(await calls.history(KEY, WEEK)).values()) == 28
    assert sum(counted(await calls.history(KEY, DAY)).values()) == 4
    assert sum(counted(await calls.history(KEY, HOUR)).values()) == 1


async def test_nothing_is_written_where_nobody_calls(
    database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = recorder(database, engine)
    engine.call()
    await calls.record()
    monkeypatch.setattr(database, "run", None)
    await calls.record()


async def test_times_are_estimated_within_the_bounds_of_a_histogram(
    database: Database, engine: Engine
) -> None:
    calls = recorder(database, engine)
    engine.call(0.003, times=98)
    engine.call(60, times=2)
    running = (await calls.history(KEY, HOUR))[-1]
    assert running.p50 is not None
    assert 0.0025 <= running.p50 <= 0.005
    assert running.p99 == 30
    assert replace(running, p50=None, p99=None) == Interval(NOON, calls=100)


async def test_it_writes_once_a_minute_until_it_stops(
    database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_written, run = asyncio.Event(), database.run

    async def noted(work: Any) -> Any:
        found = await run(work)
        has_written.set()
        return found

    monkeypatch.setattr(database, "run", noted)
    engine.clock.now = NOON + 59.99
    calls = recorder(database, engine)
    engine.call()
    await calls.start()
    async with asyncio.timeout(30):
        await has_written.wait()
    await calls.stop()
    assert counted(await calls.history(KEY, HOUR)) == {NOON: 1}


async def test_what_is_written_while_it_stops_counts_once(
    database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_written, may_return, run = asyncio.Event(), asyncio.Event(), database.run

    async def held(work: Any) -> Any:
        found = await run(work)
        has_written.set()
        await may_return.wait()
        return found

    monkeypatch.setattr(database, "run", held)
    engine.clock.now = NOON + 59.99
    calls = recorder(database, engine)
    engine.call()
    await calls.start()
    async with asyncio.timeout(30):
        await has_written.wait()
        stopping = asyncio.create_task(calls.stop())
        await asyncio.sleep(0)
        may_return.set()
        await stopping
    assert counted(await calls.history(KEY, WEEK)) == {NOON: 1}
