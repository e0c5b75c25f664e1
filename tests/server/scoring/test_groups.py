"""Requests that come together stand beside those whose callers wait for one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from itertools import accumulate
from pathlib import Path

import msgspec
import pytest

from jupyter_mlsvc_server.errors import NotFound
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import Outcome, ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import WaitTooLong
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import Service, define, serve_by
from tests.waiting import until

MakeEngine = Callable[..., Awaitable[LocalEngine]]


class Noting:
    """A service that notes in a file which requests begin and end, and takes its time."""

    def __init__(self, service: Service, notes: Path) -> None:
        self.service = service
        self._notes = notes

    def together(
        self, count: int, seconds: float, at_a_time: int = 100
    ) -> asyncio.Task[list[Outcome]]:
        bodies = [body_of("many", seconds)] * count
        return asyncio.create_task(
            self.service.engine.consume_many(self.service.key, bodies, at_a_time)
        )

    async def alone(self, seconds: float) -> ScoringAnswer:
        return await self.service.raw(body_of("one", seconds))

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().split()

    def ended(self, who: str) -> int:
        return self.notes.count(f"-{who}")

    @property
    def most_at_a_time(self) -> int:
        return max(accumulate(1 if note[0] == "+" else -1 for note in self.notes))

    async def until_ended(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.ended("many") < count:  # noqa: ASYNC110  # another process notes it
                await asyncio.sleep(0.002)


def body_of(who: str, seconds: float) -> bytes:
    return msgspec.json.encode({"who": who, "seconds": seconds})


def code_of(notes: Path, answer: int = 1) -> str:
    return (
        "import os, time\n"
        f"notes = os.open({str(notes)!r}, os.O_WRONLY | os.O_APPEND)\n"
        "os.write(notes, f'+{who} '.encode())\n"
        "time.sleep(seconds)\n"
        "os.write(notes, f'-{who} '.encode())\n"
        f"os.close(notes)\ny = {answer}"
    )


INPUTS = "who:character seconds:numeric"


@pytest.fixture
def serve(make_engine: MakeEngine, tmp_path: Path) -> Callable[..., Awaitable[Noting]]:
    async def serve(workers: int = 1) -> Noting:
        notes = tmp_path / "notes"
        notes.touch()
        engine = await make_engine(workers_min=workers, workers_max=workers)
        service = await serve_by(engine, code_of(notes), inputs=INPUTS, outputs="y:integer")
        await service.raw(body_of("first", 0))
        await until(lambda: engine._pools[service.key].is_full)
        notes.write_text("")
        return Noting(service, notes)

    return serve


Serve = Callable[..., Awaitable[Noting]]


async def test_who_waits_for_one_answer_is_not_behind_a_group(serve: Serve) -> None:
    service = await serve()
    together = service.together(400, 0.002)
    await service.until_ended(3)
    before = service.ended("many")
    assert (await service.alone(0)).success
    # Those that the worker had been given, and a turn of the group's.
    assert service.ended("many") - before < 40
    assert not together.done()
    together.cancel()


async def test_requests_come_back_that_no_worker_has_room_for_soon(serve: Serve) -> None:
    service = await serve()
    outcomes = await service.together(200, 0.02)
    answered = [outcome for outcome in outcomes if isinstance(outcome, ScoringAnswer)]
    returned = [outcome for outcome in outcomes if isinstance(outcome, WaitTooLong)]
    assert len(answered) + len(returned) == 200
    assert returned
    assert service.ended("many") == len(answered)
    # They are no failures of the service: nobody has waited for an answer in vain.
    figures = await service.service.engine.figures(*service.service.key)
    assert (figures.errors, figures.waiting) == (0, 0)


@pytest.mark.parametrize(("at_a_time", "most"), [(1, 1), (2, 2), (50, 3)])
async def test_no_more_of_a_group_run_than_may_at_a_time(
    serve: Serve, at_a_time: int, most: int
) -> None:
    service = await serve(workers=3)
    outcomes = await service.together(20, 0.01, at_a_time)
    assert all(isinstance(outcome, ScoringAnswer) for outcome in outcomes)
    assert service.most_at_a_time == most


async def test_a_few_requests_are_shared_among_the_workers(serve: Serve) -> None:
    service = await serve(workers=2)
    await service.together(2, 0.3)
    assert service.notes == ["+many", "+many", "-many", "-many"]


async def test_a_group_ends_on_the_revision_it_began_on(serve: Serve, tmp_path: Path) -> None:
    service = await serve()
    together = service.together(40, 0.005)
    await service.until_ended(3)
    newer = define(
        code_of(tmp_path / "notes", 2), inputs=INPUTS, outputs="y:integer", revision="newer"
    )
    await service.service.engine.put(newer)
    outcomes = await together
    assert [
        msgspec.json.decode(bytes(each.body))["outputParameters"] for each in answers(outcomes)
    ] == [{"y": 1}] * 40
    assert b'"y":2' in (await service.alone(0)).body


async def test_a_group_goes_on_when_all_processes_of_its_service_end(serve: Serve) -> None:
    service = await serve()
    engine = service.service.engine
    definition = define(code_of(service._notes), inputs=INPUTS, outputs="y:integer")

    async def find(_name: str, _version: str) -> object:
        return definition

    engine.definitions = find  # type: ignore[assignment]
    together = service.together(60, 0.002)
    await service.until_ended(3)
    os.kill(engine._pools[service.service.key].template_pid, signal.SIGKILL)
    # The one that ran may be lost.
    assert len(answers(await together)) >= 59


async def test_nothing_runs_any_more_of_a_group_that_nobody_wants(serve: Serve) -> None:
    service = await serve()
    together = service.together(100, 0.005)
    await service.until_ended(3)
    together.cancel()
    await asyncio.gather(together, return_exceptions=True)
    assert (await service.alone(0)).success
    assert (await service.alone(0)).success
    assert service.ended("many") < 30
    figures = await service.service.engine.figures(*service.service.key)
    assert figures.waiting == 0


async def test_group_for_no_service_is_refused(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    outcomes = await engine.consume_many(DefinitionKey("None", "1"), [b"{}"] * 3, 3)
    assert [type(outcome) for outcome in outcomes] == [NotFound] * 3


def answers(outcomes: list[Outcome]) -> list[ScoringAnswer]:
    return [outcome for outcome in outcomes if isinstance(outcome, ScoringAnswer)]
