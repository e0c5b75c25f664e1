"""Clients that leave in the middle, by the hundreds, disturb nobody who stays."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

import pytest

from tests.reliability.callers import Line, calling
from tests.reliability.conftest import Doors, Publish

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

LEAVERS = 400
CODE = "import os, time; time.sleep(0.01 if n % 7 == 0 else 0); y = [n, os.getpid(), 'x' * size]"


Sent = Callable[[bytes, bytes], bytes]
"""Makes of a request, and one with a large answer, what a leaver sends."""

LEFT_AFTER: list[Sent] = [
    lambda whole, _: b"",
    lambda whole, _: whole[:40],
    lambda whole, _: whole[:-2],
    lambda whole, _: whole,
    lambda whole, _: whole * 5 + whole[:-2],
    lambda whole, large: large,
    lambda whole, large: whole + large + whole,
    lambda whole, _: whole.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: nonsense\r\n\r\n"),
]
WHEN = [0, 0, 0.001, 0.01, 0.03]


async def test_the_answers_of_those_who_stay_are_theirs(doors: Doors, publish: Publish) -> None:
    path = publish(CODE, inputs="n:integer size:integer", workers=2)
    chance, numbers, workers = random.Random(1), itertools.count(1), set[int]()

    def question(size: int = 0) -> dict[str, int]:
        return {"n": next(numbers), "size": size}

    async def stay(line: Line) -> None:
        asked = [question(n % 3 * 20_000) for n in range(chance.choice([1, 3, 6]))]
        line.send(b"".join(line.request(path, each) for each in asked))
        for each in asked:
            answer = await line.receive()
            assert answer.status == 200, answer
            n, worker, text = answer.json()["outputParameters"]["y"]
            assert (n, len(text)) == (each["n"], each["size"])
            workers.add(worker)

    async def leave(number: int) -> None:
        async with Line(both[number % 2]) as line:
            whole, large = line.request(path, question()), line.request(path, question(1_000_000))
            if number % 3 == 0:  # in the middle of the second request
                await line.ask(path, question())
            line.send(LEFT_AFTER[number // 2 % len(LEFT_AFTER)](whole, large))
            await asyncio.sleep(chance.choice(WHEN))

    both = [*doors.values()]
    async with calling(both * 8, stay) as callers:
        for start in range(0, LEAVERS, 40):
            await asyncio.gather(*(leave(number) for number in range(start, start + 40)))
            await callers.go_on(10)
        await callers.go_on(100)
    assert len(workers) <= 2, "a worker was replaced: its link got out of order"
