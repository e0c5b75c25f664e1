"""Processes that end in the middle of much work cost time, and nobody an answer."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable

import psutil
import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.reliability.callers import Line, calling, in_thread
from tests.reliability.conftest import Doors, Publish
from tests.reliability.test_changes_under_load import model_of, revision_of_model
from tests.server.api.conftest import Answer

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

WORKERS = 2
CODE = """
import os, time
time.sleep(0.002)
y = [n, os.getpid(), os.getppid()]
"""


def tells_of_an_end(answer: Answer) -> bool:
    """Whether it is what somebody gets whose request was lost with two processes."""
    assert answer.status == 503, answer
    assert answer.headers["Retry-After"] == "1"
    assert "for the second time" in answer.json()["message"]
    return True


class Witness:
    """Asks a service of :data:`CODE`, and counts the answers that tell of an end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers = itertools.count()
        self.lost = 0
        self.template = 0

    async def look(self, line: Line) -> None:
        """Ask a few times at once: each has its own answer, or is told that it was lost."""
        asked = [next(self._numbers) for _ in range(3)]
        line.send(b"".join(line.request(self._path, {"n": n}) for n in asked))
        for n in asked:
            self.judge(await line.receive(), n)

    def judge(self, answer: Answer, n: int) -> None:
        """Look at one answer."""
        if answer.status == 503:
            self.lost += tells_of_an_end(answer)
            return
        assert answer.status == 200, answer
        echo, _, self.template = answer.json()["outputParameters"]["y"]
        assert echo == n


def kill_worker(witness: Witness) -> None:
    psutil.Process(witness.template).children()[0].kill()


def kill_template(witness: Witness) -> None:
    psutil.Process(witness.template).kill()


def kill_forkserver(witness: Witness) -> None:
    forkserver = psutil.Process(witness.template).parent()
    assert forkserver is not None
    forkserver.kill()


@pytest.mark.parametrize(
    ("kill", "times"),
    # A forkserver takes seconds to be ready again.
    [(kill_worker, 8), (kill_template, 5), (kill_forkserver, 1)],
    ids=["worker", "template", "forkserver"],
)
async def test_what_a_killed_process_ran_is_run_again(
    doors: Doors, publish: Publish, kill: Callable[[Witness], None], times: int
) -> None:
    witness = Witness(publish(CODE, workers=WORKERS))
    async with calling([*doors.values()] * 8, witness.look) as callers:
        for _ in range(times):
            await callers.go_on(30)
            kill(witness)
        await callers.go_on(100)
    # One may meet two kills.
    assert witness.lost <= times // 4


async def test_killed_workers_of_a_model_give_no_wrong_answer(
    loaded_server: ServerProcess, doors: Doors
) -> None:
    name = f"svc-{uuid.uuid4().hex[:8]}"
    door, numbers, lost = doors["public"], itertools.count(), 0
    others = below_server(loaded_server)
    files = {"model": ("model", model_of(7))}
    await in_thread(door.post, f"/realtime-services/{name}/1.0", files=files)
    size = {"InitialPoolSize": WORKERS, "MaxPoolSize": WORKERS}
    await in_thread(door.post, f"/services/{name}/1.0/pool", json=size)
    path = f"/api/{name}/1.0"

    async def turn(line: Line) -> None:
        nonlocal lost
        asked = [[float(next(numbers)) for _ in range(n + 1)] for n in range(3)]
        line.send(b"".join(line.request(path, {"inputData": {"x": rows}}) for rows in asked))
        for rows in asked:
            answer = await line.receive()
            if answer.status == 503:
                lost += tells_of_an_end(answer)
            else:
                assert revision_of_model(answer, rows) == 7

    async with calling([*doors.values()] * 8, turn) as callers:
        for _ in range(5):
            await callers.go_on(30)
            ours = below_server(loaded_server) - others
            # A template has children and its workers have none.
            next(each for each in ours if not each.children()).kill()
        await callers.go_on(100)
    assert lost <= 1, "one may meet two kills"
    door.delete(f"/services/{name}/1.0")


def below_server(server: ServerProcess) -> set[psutil.Process]:
    """Processes that run services."""
    return set(psutil.Process(server.server_pid).children(recursive=True))
