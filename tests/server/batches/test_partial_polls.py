"""How long polls for all results of a running batch wait, on a clock of their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from jupyter_mlsvc_server.batches.partial_polls import PartialPolls
from jupyter_mlsvc_server.batches.record import BatchRecord, Progress

TOTAL = 100_000


@dataclass
class Run:
    progress: Progress = field(default_factory=Progress)
    told: int = 0


class Batch:
    """A batch that gets results at an even pace, and is polled by a client like Microsoft's."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self.now = 0.0
        self.run = Run()
        self.runs = {"batch": self.run}
        self.polls = PartialPolls(self.runs, clock=lambda: self.now, pause=self.pass_time)
        self.record = cast(BatchRecord, cast(Any, Named("batch")))
        self.waited: list[float] = []

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        there = min(int(self.now * self.per_second), TOTAL)
        self.run.progress = replace(self.run.progress, completed=there)
        if there == TOTAL:
            self.runs.clear()

    async def poll(self) -> int:
        began = self.now
        await self.polls.wait(self.record)
        self.waited.append(self.now - began)
        return self.run.progress.completed


@dataclass
class Named:
    id: str


@pytest.mark.parametrize("seconds", [10, 57, 300])
async def test_all_polls_read_a_few_times_of_what_there_is(seconds: int) -> None:
    batch, read = Batch(TOTAL / seconds), 0
    while batch.runs:
        read += await batch.poll()
        await batch.pass_time(0.5)
    assert read <= (6 + seconds / 5 / 2) * TOTAL
    assert max(batch.waited) <= 5.1


async def test_a_batch_with_few_results_is_answered_at_once() -> None:
    batch = Batch(10)
    for _ in range(20):
        await batch.poll()
        await batch.pass_time(0.5)
    assert set(batch.waited) == {0.0}


async def test_a_poll_that_waits_is_answered_when_its_batch_ends() -> None:
    batch = Batch(TOTAL / 10)
    await batch.pass_time(9.8)
    await batch.poll()
    assert await batch.poll() == TOTAL
    assert batch.waited[-1] == pytest.approx(0.2)
