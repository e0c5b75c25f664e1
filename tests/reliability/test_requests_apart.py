"""No request sees what another one did, however many there are and however they end."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.doors import Door
from tests.reliability.callers import Line, calling
from tests.reliability.conftest import Doors, Publish

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

WORKSPACE = """
import numpy as np
count = 0
seen = []
table = {'a': {'b': [1]}}
weights = np.zeros(3)
class Model:
    shared = []
    def __init__(self): self.state = {'n': 0}
model = Model()
def remember(v, memory=[]):
    memory.append(v)
    return len(memory)
with open('state.txt', 'w') as file: file.write('0')
with open('local_module.py', 'w') as file: file.write('number = 0\\ncalls = []\\n')
del file
"""

CODE = """
import builtins, decimal, json, os, random, sys, time, warnings
import numpy as np
import local_module

ASPECTS = {
    "a name": lambda: "leaked" in globals(),
    "a number": lambda: count != 0,
    "a list": lambda: seen != [],
    "a nested list": lambda: table != {"a": {"b": [1]}},
    "an array": lambda: weights.any(),
    "an object": lambda: model.state != {"n": 0} or hasattr(model, "extra"),
    "a class": lambda: Model.shared != [],
    "a default": lambda: remember.__defaults__ != ([],),
    "a module of the snapshot": lambda: (local_module.number, local_module.calls) != (0, []),
    "the environment": lambda: "LEAK" in os.environ,
    "the folder": lambda: not os.getcwd().rpartition("/")[2].startswith("worker-"),
    "the files": lambda: sorted(os.listdir(".")) != ["local_module.py", "state.txt"],
    "the content of a file": lambda: open("state.txt").read() != "0",
    "the search path": lambda: "/leak" in sys.path,
    "a filter": lambda: any(f[1] and "leak" in f[1].pattern for f in warnings.filters),
    "the console": lambda: sys.stdout is None,
    "random numbers": lambda: random.random() == random.Random(1).random(),
    "numpy's random numbers": lambda: np.random.random() == np.random.RandomState(1).random(),
}

def change():
    global count, leaked, weights
    leaked = count = n
    if "random" in what:
        random.seed(1)
        np.random.seed(1)
    if "objects" in what:
        seen.append(n)
        table["a"]["b"].append(n)
        weights += n
        model.state["n"] = model.extra = n
        Model.shared.append(n)
        remember(n)
        local_module.number = n
        local_module.calls.append(n)
    if "process" in what:
        os.environ["LEAK"] = str(n)
        sys.path.append("/leak")
        warnings.filterwarnings("ignore", "leak")
        sys.stdout = None
    if "files" in what:
        open("state.txt", "a").write(str(n))
        open("new.txt", "w").write(str(n))
        os.makedirs("deep/er", exist_ok=True)
    if "folder" in what:
        os.chdir("/")

found = [name for name, is_dirty in ASPECTS.items() if is_dirty()]
change()
if end == "slowly":
    time.sleep(0.02)
if end == "raising":
    raise ValueError(f"after {n}: {found}")
if end == "exiting":
    raise SystemExit(f"after {n}: {found}")
y = [n, *found]
"""

CHANGES = [
    "",
    "",
    "",
    "",
    "random",
    "random",
    "objects",
    "process",
    "files",
    "folder",
    "files random",
]
"""What a request changes besides a name; most of it costs a worker."""
ENDS = ["well", "well", "well", "slowly", "raising", "exiting"]


@pytest.fixture(scope="module")
def snapshot(doors: Doors) -> Iterator[str]:
    """Id of a snapshot with objects that can be changed, and files."""
    door = doors["public"]
    session = door.post("/sessions", json={}).json()["sessionId"]
    ran = door.post(f"/sessions/{session}/execute", json={"code": WORKSPACE})
    assert ran.json()["success"], ran.text
    identifier = door.post(f"/sessions/{session}/snapshot", json={}).json()["snapshotId"]
    door.delete(f"/sessions/{session}")
    yield identifier
    door.delete(f"/snapshots/{identifier}")


@pytest.mark.parametrize("workers", [1, 3])
async def test_nothing_is_left_for_the_next_request(
    doors: Doors, publish: Publish, snapshot: str, workers: int
) -> None:
    path = publish(
        CODE, inputs="n:integer what:string end:string", workers=workers, snapshotId=snapshot
    )
    chance, numbers = random.Random(workers), itertools.count(1)

    def question() -> dict[str, Any]:
        return {"n": next(numbers), "what": chance.choice(CHANGES), "end": chance.choice(ENDS)}

    async def turn(line: Line) -> None:
        if chance.random() < 0.2:
            await leave_in_the_middle(line.door)
            return
        asked = [question() for _ in range(chance.choice([1, 2, 4]))]
        line.send(b"".join(line.request(path, each) for each in asked))
        for each in asked:
            told = (await line.receive()).json()
            if each["end"] in {"raising", "exiting"}:
                assert told["success"] is False
                assert told["errorMessage"].endswith(f"after {each['n']}: []"), told
            else:
                assert told["outputParameters"] == {"y": [each["n"]]}, told["errorMessage"]

    async def leave_in_the_middle(door: Door) -> None:
        async with Line(door) as leaver:
            leaver.send(leaver.request(path, question() | {"end": "slowly"}))
            await asyncio.sleep(chance.choice([0, 0.005, 0.01]))

    everybody = [door for door in doors.values() for _ in range(8)]
    async with calling(everybody, turn) as callers:
        await callers.go_on(100)
    assert next(numbers) > 150
