"""Requests that a worker answers together, when one of them is its end."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jupyter_mlsvc_server.errors import DeadlinePassed, MlsvcServerError
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.worker.realtime import FORMER_NAME, load_model
from tests.server.scoring.serving import Service, Snapshots, serve_model

MakeEngine = Callable[..., Awaitable[LocalEngine]]

CRASHES, HANGS, CHANGES, SAYS_AND_CHANGES = -1, -2, -3, -4


def fragile() -> Any:
    """Make a model that doubles numbers, but for those that end or change it.

    Its class is defined in here so that it is pickled by value.
    """

    class Fragile:
        def __init__(self) -> None:
            self.seen = [0]

        def predict(self, rows: Any) -> Any:
            values = rows.to_numpy()[:, 0]
            if CRASHES in values:
                os._exit(3)
            if HANGS in values:
                time.sleep(60)
            predicted = values * 2 + len(self.seen) - 1
            if SAYS_AND_CHANGES in values:
                sys.stdout.write("changed")
            if CHANGES in values or SAYS_AND_CHANGES in values:
                self.seen.append(1)
            return predicted

    Fragile.__module__ = "__main__"  # as in a notebook
    return Fragile()


def slow() -> Any:
    """Make a model that takes its time for each row."""

    class Slow:
        def predict(self, rows: Any) -> Any:
            time.sleep(0.3 * len(rows))
            return rows.to_numpy()[:, 0]

    Slow.__module__ = "__main__"
    return Slow()


@pytest.fixture(scope="module")
def content(snapshots: Snapshots) -> Any:
    return snapshots.take_model(fragile(), gather=True)


async def ask(service: Service, numbers: list[Any]) -> list[Any]:
    """Ask for each number at once; give each prediction or error."""
    told = await asyncio.gather(
        *(service.outputs(inputData={"x": [number]}) for number in numbers), return_exceptions=True
    )
    return [
        each if isinstance(each, BaseException) else each["outputData"]["y_Pred"][0]
        for each in told
    ]


async def warm_up(service: Service) -> None:
    """Let the pool learn that this takes no time, or it would not give out many at once."""
    for number in range(40):
        assert await ask(service, [number]) == [2 * number]


async def test_a_model_answers_many_at_once(make_engine: MakeEngine, content: Any) -> None:
    engine = await make_engine(workers_max=2)
    service = await serve_model(engine, content)
    numbers = [*range(500)]
    assert await ask(service, numbers) == [2 * number for number in numbers]


@pytest.mark.parametrize("workers", [1, 2])
async def test_only_who_ends_the_worker_fails(
    make_engine: MakeEngine, content: Any, workers: int
) -> None:
    engine = await make_engine(workers_max=workers)
    service = await serve_model(engine, content)
    numbers = [CRASHES if n in (3, 50, 120) else n for n in range(130)]
    told = await ask(service, numbers)
    for number, answer in zip(numbers, told, strict=True):
        if number == CRASHES:
            assert isinstance(answer, MlsvcServerError)
            assert "ended its process (exit code 3)" in answer.message
        else:
            assert answer == 2 * number
    assert await ask(service, [1, 2]) == [2, 4]


async def test_only_who_takes_too_long_is_stopped(make_engine: MakeEngine, content: Any) -> None:
    engine = await make_engine(workers_max=2, deadline_seconds=4)
    service = await serve_model(engine, content)
    await warm_up(service)
    told = await ask(service, [0, 1, HANGS, 3, 4])
    assert isinstance(told.pop(2), DeadlinePassed)
    assert told == [0, 2, 6, 8]


async def test_a_change_of_the_model_is_seen_by_nobody_else(
    make_engine: MakeEngine, content: Any
) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_model(engine, content)
    numbers = [CHANGES if n % 7 == 3 else n for n in range(60)]
    assert await ask(service, numbers) == [2 * number for number in numbers]


async def test_each_gets_its_own_answer_where_only_some_could_run(
    make_engine: MakeEngine, content: Any
) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_model(engine, content)
    await warm_up(service)
    # Whole numbers are predicted apart from the others, and change the model before these can run.
    numbers = [CHANGES, 1.5, CHANGES, 2.5, CHANGES, 3.5]
    assert await ask(service, numbers) == [2 * number for number in numbers]


async def test_what_changes_the_model_and_can_only_be_answered_alone_is_answered(
    make_engine: MakeEngine, content: Any
) -> None:
    engine = await make_engine(workers_max=1)
    service = await serve_model(engine, content)
    await warm_up(service)
    for numbers in ([SAYS_AND_CHANGES], [1, SAYS_AND_CHANGES, 2, SAYS_AND_CHANGES]):
        async with asyncio.timeout(60):
            assert await ask(service, numbers) == [2 * number for number in numbers]


async def test_nobody_waits_for_the_first_request_of_all_if_that_hangs(
    make_engine: MakeEngine, content: Any
) -> None:
    engine = await make_engine(workers_max=2)
    service = await serve_model(engine, content)
    hanging = asyncio.create_task(ask(service, [HANGS]))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert await ask(service, [1, 2, 3]) == [2, 4, 6]
    assert not hanging.done()
    hanging.cancel()


async def test_a_slow_model_gets_another_worker(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine(workers_max=2)
    service = await serve_model(engine, snapshots.take_model(slow(), gather=True))
    assert await ask(service, [1]) == [1]
    assert await ask(service, [*range(8)]) == [*range(8)]
    assert (await engine.statistics())["workers"] == 2


async def test_a_model_that_an_older_version_stored_is_loaded(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    names = load_model.__module__.encode(), FORMER_NAME.encode()
    content = snapshots.take_model(fragile(), gather=True, renamed=names)
    engine = await make_engine()
    service = await serve_model(engine, content)
    assert await ask(service, [3, 4]) == [6, 8]
