"""A change is seen by every request that is sent after it, and harms none that is on its way."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy
import pytest
from sklearn.linear_model import LinearRegression

from jupyter_mlsvc import serialize_model
from tests.contract.doors import Door
from tests.reliability.callers import Line, calling, in_thread
from tests.reliability.conftest import Doors, Publish, definition
from tests.server.api.conftest import Answer

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

GONE = -1
"""In the place of a revision where there is no service."""

SCORE = "import time; time.sleep(0.03 if n % 20 == 0 else 0); y = [n, before, {0}]"


@dataclass
class History:
    """What was true, one after the other; of the last one it may not be known yet."""

    told: list[int]
    settled: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def becomes(self, what: int) -> Iterator[None]:
        """Something is being told in the block, and holds from its end on."""
        self.told.append(what)
        yield
        self.settled = len(self.told) - 1


def everybody(doors: Doors, each: int = 8) -> list[Door]:
    return [door for door in doors.values() for _ in range(each)]


def revised(revision: int) -> dict[str, Any]:
    """Definition of a revision; a mix of two would show."""
    return definition(SCORE.format(revision), initCode=f"before = {revision}")


def revision_of(answer: Answer, n: int) -> int:
    """Which revision gave a whole answer to ``n``."""
    if answer.status == 404:
        assert answer.json()["exceptionType"] == "NotFoundException"
        return GONE
    assert answer.status == 200, answer
    body = answer.json()
    assert body["success"], body
    (echo, before, after) = body["outputParameters"]["y"]
    assert echo == n
    assert before == after
    return int(after)


async def look(line: Line, path: str, history: History, ahead: int = 3) -> None:
    """Ask a few times at once; only what was true in the meantime is a right answer."""
    asked = [next(history.numbers) for _ in range(ahead)]
    settled = history.settled
    line.send(b"".join(line.request(path, {"n": n}) for n in asked))
    for n in asked:
        found = revision_of(await line.receive(), n)
        assert found in history.told[settled:], (found, history.told[settled:])


async def test_a_patch_is_seen_at_once_and_no_request_is_lost(
    doors: Doors, publish: Publish
) -> None:
    path = publish(**revised(0), workers=2)
    service = path.replace("/api", "/services")
    history = History([0])
    async with calling(everybody(doors), lambda line: look(line, path, history)) as callers:
        # Back and forth, so that nothing that was kept of a former revision comes back.
        for number, door in zip(range(16), itertools.cycle(doors.values()), strict=False):
            revision = number // 2 + 1 if number % 2 == 0 else 0
            with history.becomes(revision):
                await in_thread(door.patch, service, json=revised(revision))
            await callers.go_on(30)
    assert callers.turns >= 16 * 30


async def test_deletion_and_another_publication_are_seen_at_once(
    doors: Doors, publish: Publish
) -> None:
    path = publish(**revised(0), workers=2)
    service = path.replace("/api", "/services")
    history = History([0])
    async with calling(everybody(doors), lambda line: look(line, path, history)) as callers:
        for revision, door in zip(range(1, 11), itertools.cycle(doors.values()), strict=False):
            with history.becomes(GONE):
                await in_thread(door.delete, service)
            await callers.go_on(20)
            with history.becomes(revision):
                await in_thread(door.post, service, json=revised(revision))
            await callers.go_on(30)


async def test_a_service_that_nobody_called_yet_changes_while_it_is_loaded(
    doors: Doors, publish: Publish
) -> None:
    """Its first callers come while it is changed or deleted."""
    for number in range(6):
        path = publish(**revised(0))
        service = path.replace("/api", "/services")
        history = History([0])
        async with calling(everybody(doors, 2), lambda line: look(line, path, history)) as callers:  # noqa: B023  # over before the next one begins
            with history.becomes(1):
                await in_thread(doors["public"].patch, service, json=revised(1))
            await callers.go_on(8)
            with history.becomes(GONE):
                await in_thread(doors["jupyter"].delete, service)
            await callers.go_on(8)
            if number % 2:
                with history.becomes(2):
                    await in_thread(doors["public"].post, service, json=revised(2))
                await callers.go_on(8)


async def test_a_pool_that_is_resized_loses_nothing(doors: Doors, publish: Publish) -> None:
    path = publish(**revised(0))
    service = path.replace("/api", "/services")
    history = History([0])
    async with calling(everybody(doors), lambda line: look(line, path, history)) as callers:
        for most in (1, 3, 2, 4, 1, 3) * 2:
            size = {"InitialPoolSize": most // 2, "MaxPoolSize": most}
            await in_thread(doors["public"].post, f"{service}/pool", json=size)
            await callers.go_on(40)
        await in_thread(doors["jupyter"].delete, f"{service}/pool")
        await callers.go_on(40)


def model_of(revision: int) -> bytes:
    """A model that predicts ``1000 x + revision``."""
    rows = numpy.array([[0.0], [1.0]])
    return serialize_model(LinearRegression().fit(rows, [revision, 1000.0 + revision]))


async def look_at_model(line: Line, path: str, history: History) -> None:
    asked = [[float(next(history.numbers)) for _ in range(n + 1)] for n in range(3)]
    settled = history.settled
    line.send(b"".join(line.request(path, {"inputData": {"x": rows}}) for rows in asked))
    for rows in asked:
        found = revision_of_model(await line.receive(), rows)
        assert found in history.told[settled:], (found, history.told[settled:])


def revision_of_model(answer: Answer, rows: Sequence[float]) -> int:
    if answer.status == 404:
        return GONE
    assert answer.status == 200, answer
    body = answer.json()
    assert body["success"], body
    predicted = body["outputParameters"]["outputData"]["y_Pred"]
    found: int
    (found,) = {round(y - 1000 * x) for x, y in zip(rows, predicted, strict=True)}
    return found


async def test_another_model_is_seen_at_once(doors: Doors) -> None:
    name = f"svc-{uuid.uuid4().hex[:8]}"
    path, realtime = f"/api/{name}/1.0", f"/realtime-services/{name}/1.0"
    door = doors["public"]
    await in_thread(door.post, realtime, files={"model": ("model", model_of(0))})
    history = History([0])
    async with calling(everybody(doors), lambda line: look_at_model(line, path, history)) as group:
        for revision in range(1, 9):
            with history.becomes(revision):
                files = {"model": ("model", model_of(revision))}
                await in_thread(door.patch, realtime, files=files)
            await group.go_on(30)
        with history.becomes(GONE):
            await in_thread(doors["jupyter"].delete, f"/services/{name}/1.0")
        await group.go_on(30)
        with history.becomes(9):
            await in_thread(door.post, realtime, files={"model": ("model", model_of(9))})
        await group.go_on(30)
    door.delete(f"/services/{name}/1.0")
