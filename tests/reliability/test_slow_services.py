"""A service that is slow, or hangs, is a matter of those who call it and of nobody else."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.doors import Door
from tests.reliability.callers import PATIENCE, Line, calling, lines_to
from tests.reliability.conftest import Doors, Publish, doors_of, publishing, serve
from tests.server.api.conftest import Answer, y_of

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

QUEUE = 8
WORKERS = 2
UNTIL_TOLD = "import os, time\nwhile not os.path.exists(gate): time.sleep(0.01)\ny = n"
HANGING = "while hangs: pass\ny = [n, text]"


@pytest.fixture(scope="module")
def narrow_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Doors of a server that lets few requests wait, and gives them few seconds."""
    folder = tmp_path_factory.mktemp("narrow")
    with serve(folder, "--LocalEngine.preload=[]", f"--LocalEngine.queue_limit={QUEUE}") as server:
        yield doors_of(server)


@pytest.fixture(scope="module")
def hasty_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Doors of a server that gives a request six seconds."""
    folder = tmp_path_factory.mktemp("hasty")
    with serve(folder, "--LocalEngine.preload=[]", "--LocalEngine.deadline_seconds=6") as server:
        yield doors_of(server)


publishing_at = contextmanager(publishing)


async def until_waiting(door: Door, path: str, count: int) -> None:
    """Wait until so many requests wait for a worker of a service."""
    statistics = path.replace("/api", "/services") + "/statistics"
    async with asyncio.timeout(PATIENCE):
        while (await asyncio.to_thread(door.get, statistics)).json()["waiting"] != count:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)


def is_sent_away(answer: Answer) -> bool:
    if answer.status != 503:
        return False
    assert int(answer.headers["retry-after"]) >= 1
    assert "are busy and 8 requests wait already" in answer.json()["message"]
    return True


async def test_a_slow_service_with_a_full_queue_delays_no_other(
    narrow_doors: Doors, tmp_path: Path
) -> None:
    gate, numbers = tmp_path / "gate", itertools.count()
    with publishing_at(narrow_doors) as publish:
        slow = publish(UNTIL_TOLD, inputs="n:integer gate:string", workers=WORKERS)
        fast = publish("y = n")

        async def ask_fast(line: Line) -> None:
            n = next(numbers)
            assert y_of(await line.ask(fast, {"n": n})) == n

        async def ask_slow(door: Door, n: int) -> Answer:
            async with Line(door) as line:
                return await line.ask(slow, {"n": n, "gate": str(gate)})

        both = itertools.cycle(narrow_doors.values())
        most = WORKERS + QUEUE
        waiting = [asyncio.create_task(ask_slow(next(both), n)) for n in range(most)]
        await until_waiting(narrow_doors["jupyter"], slow, QUEUE)
        async with calling([*narrow_doors.values()] * 3, ask_fast) as callers:
            for _ in range(10):
                await callers.go_on(20)
                for door in narrow_doors.values():
                    assert is_sent_away(await ask_slow(door, 0))
            assert not any(task.done() for task in waiting), "they were to wait all the time"
            gate.touch()
            answers = await asyncio.gather(*waiting)
        assert [y_of(answer) for answer in answers] == list(range(most))


async def test_requests_behind_a_slow_one_wait_on_its_own_connection_only(
    narrow_doors: Doors, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with publishing_at(narrow_doors) as publish:
        slow = publish(UNTIL_TOLD, inputs="n:integer gate:string", workers=WORKERS)
        fast = publish("y = n")
        for door in narrow_doors.values():
            async with Line(door) as first, Line(door) as second:
                first.send(
                    first.request(slow, {"n": 1, "gate": str(gate)}) + first.request(fast, {"n": 2})
                )
                for n in range(100):
                    assert y_of(await second.ask(fast, {"n": n})) == n
                gate.touch()
                assert [y_of(await first.receive()), y_of(await first.receive())] == [1, 2]
            gate.unlink()


async def test_a_slow_request_delays_no_other_while_workers_have_nothing_to_do(
    narrow_doors: Doors, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with publishing_at(narrow_doors) as publish:
        code = "import os, time\nwhile gate and not os.path.exists(gate): time.sleep(0.01)\ny = n"
        path = publish(code, inputs="n:integer gate:string", workers=3)
        async with lines_to([narrow_doors["public"]] * 9) as (first, *others):
            for n in range(100):  # until it counts as quick
                assert y_of(await first.ask(path, {"n": n, "gate": ""})) == n
            first.send(first.request(path, {"n": 1, "gate": str(gate)}))
            await asyncio.sleep(0.05)
            for line in others:
                line.send(line.request(path, {"n": 2, "gate": ""}))
            try:
                async with asyncio.timeout(PATIENCE):
                    answers = [await line.receive() for line in others]
            finally:
                gate.touch()
            assert [y_of(answer) for answer in answers] == [2] * len(others)
            assert y_of(await first.receive()) == 1


async def hang_under_load(
    doors: Doors, publish: Publish, lines: int, ahead: int, hanging: int
) -> None:
    """Have some requests hang among many; only these end by the deadline."""
    path = publish(HANGING, inputs="n:integer hangs:logical text:string", workers=3)
    numbers = itertools.count()

    async def turn(line: Line) -> None:
        asked = [next(numbers) for _ in range(ahead)]
        bodies = ({"n": n, "hangs": False, "text": "x" * (n % 500)} for n in asked)
        line.send(b"".join(line.request(path, body) for body in bodies))
        for n in asked:
            answer = await line.receive()
            assert answer.status == 200, answer
            assert y_of(answer) == [n, "x" * (n % 500)]

    async def hang(door: Door) -> Answer:
        async with Line(door) as line:
            return await line.ask(path, {"n": 0, "hangs": True, "text": ""})

    both = itertools.cycle(doors.values())
    async with calling([next(both) for _ in range(lines)], turn) as callers:
        await callers.go_on(50)
        answers = await asyncio.gather(*(hang(next(both)) for _ in range(hanging)))
        for answer in answers:
            assert answer.status == 504, answer
            assert "ran longer than 6 s" in answer.json()["message"]
        await callers.go_on(50)


async def test_a_deadline_costs_one_request_where_each_waits_for_its_own_worker(
    hasty_doors: Doors,
) -> None:
    with publishing_at(hasty_doors) as publish:
        await hang_under_load(hasty_doors, publish, lines=2, ahead=1, hanging=1)


async def test_a_deadline_costs_one_request_among_many(hasty_doors: Doors) -> None:
    with publishing_at(hasty_doors) as publish:
        await hang_under_load(hasty_doors, publish, lines=12, ahead=6, hanging=2)
