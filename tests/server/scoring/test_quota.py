"""Workers that the services of one person have together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.scoring.definition import PoolSize
from jupyter_mlsvc_server.scoring.errors import NoWorkerLeft
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.quota import WorkerQuota, least_recently_used
from jupyter_mlsvc_server.scoring.scheduler_settings import SchedulerSettings
from tests.server.scoring.serving import UNTIL_OPEN, serve_by, until_queued
from tests.server.scoring.simulated_pool import SimulatedPool
from tests.waiting import until

DEFAULT: Final = SchedulerSettings()


def quota_of(pool: SimulatedPool) -> WorkerQuota:
    return pool.scheduler._quota


def two_at_a_quota(limit: int = 2) -> tuple[SimulatedPool, SimulatedPool]:
    """Make two pools of one person; the first one has as many workers as the person may have."""
    quota = WorkerQuota(limit)
    first, second = (SimulatedPool(PoolSize(1, 3), DEFAULT, quota=quota) for _ in range(2))
    first.expect_workers(limit)
    return first, second


def test_workers_of_one_person_are_counted_together_until_they_end() -> None:
    first, second = two_at_a_quota()
    quota = quota_of(first)
    assert (quota.held, quota.is_full) == (2, True)
    assert not second.scheduler.expect_worker()
    request = second.submit()
    assert (second.starting, second.rooms_wanted) == (0, [True])
    first.scheduler.release(first.now)
    first.carry_out()
    assert quota.held == 0, "one that ends is not counted"
    second.scheduler.room_made(second.now)
    second.carry_out()
    assert (second.starting, quota.held) == (1, 1)
    second.answer(second.start_worker())
    assert request in second.outcomes
    second.scheduler.stop()
    first.scheduler.stop()
    assert quota.held == 0


def test_workers_that_were_let_go_come_back_with_the_next_request_only() -> None:
    pool = SimulatedPool(PoolSize(1, 2), DEFAULT)
    pool.expect_workers(1)
    pool.now += 1
    pool.scheduler.release(pool.now)
    pool.carry_out()
    pool.lose(pool.only)
    pool.tick(100.0)
    assert (len(pool.processes), pool.starting) == (0, 0)
    pool.submit()
    assert pool.starting == 1


def test_room_for_a_worker_is_asked_for_once_in_a_while_and_told_of_at_the_deadline() -> None:
    first, second = two_at_a_quota()
    for _ in range(5):
        request = second.submit()
    assert second.rooms_wanted == [True]
    second.tick(DEFAULT.room_seconds + 0.01)
    assert second.rooms_wanted == [True, True]
    assert "have 2 workers together" in second.scheduler.shortage
    second.tick(DEFAULT.deadline_seconds + 1)
    assert isinstance(second.outcomes[request], NoWorkerLeft)
    assert (first.rooms_wanted, first.scheduler.shortage) == ([], "")


def test_a_first_worker_takes_the_place_of_idle_ones_and_a_further_one_of_long_idle_ones() -> None:
    @dataclass
    class Other:
        used_at: float
        has_idle_worker: bool

    busy, old, new = Other(1.0, False), Other(2.0, True), Other(9.0, True)
    assert least_recently_used([new, busy, old], unused_since=10.0) is old
    assert least_recently_used([new, busy], unused_since=5.0) is None


async def test_one_worker_serves_all_versions_of_a_person_who_may_have_one(
    make_engine: Callable[..., Awaitable[LocalEngine]], tmp_path: Path
) -> None:
    engine = await make_engine(max_workers_per_user=1)
    door = tmp_path / "door"
    slow = await serve_by(engine, UNTIL_OPEN, None, "door:character", name="slow")
    quick = await serve_by(engine, "y = 2", name="quick")
    assert (await quick.outputs())["y"] == 2
    running = asyncio.create_task(slow.outputs(door=str(door)))
    await until(lambda: engine._pools[slow.key].pids, "the slow one has no worker")
    waiting = asyncio.create_task(quick.outputs())
    await until_queued(engine, quick, 1)
    assert "have 1 workers together" in (await engine.figures(*quick.key)).message
    door.touch()
    assert ((await running)["y"], (await waiting)["y"]) == (1, 2)
    assert (await engine.statistics())["workers"] <= 1
