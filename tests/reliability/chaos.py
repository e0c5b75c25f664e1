"""Kill processes of a server at random, under load, and see what that costs."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door
from tests.reliability.callers import Line
from tests.reliability.mixed_load import BROKEN, PYTHON, Counts, MixedLoad, R

KINDS: Final = ("worker", "template", "forkserver", "R helper", "server")
_PLACES: Final = {"worker": 1, "template": 2, "forkserver": 2, "server": 2}
"""Where an output has the process that has to be another one after a kill."""
_RECOVERY_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.02


class NotRecovered(AssertionError):
    """Calls are not answered again after a kill."""


@dataclass
class Kills:
    """What was killed, and the seconds until another process gave a right answer."""

    seed: int
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Write a table in Markdown."""
        yield "| killed | times | recovery, median | longest |"
        yield "| --- | --- | --- | --- |"
        for kind, times in self.seconds.items():
            if not times:
                continue
            median, longest = statistics.median(times), max(times)
            yield f"| {kind} | {len(times)} | {median:.2f} s | {longest:.2f} s |"


async def kill_under_load(
    server: ServerProcess,
    door: Door,
    *,
    each: int,
    seed: int,
    progress: Callable[[str], None],
    kinds: Sequence[str] = KINDS,
    rate: float | None = None,
    seconds: float = math.inf,
) -> tuple[Kills, Counts]:
    """Kill each kind of process so many times, in random order and at random moments.

    It ends early where the seconds have passed.

    Raises
    ------
    NotRecovered
        The server did not answer right within two minutes.
    """
    chosen = random.Random(seed)  # kills that can be repeated
    load = MixedLoad(door, seed=seed, rate=rate)
    await asyncio.to_thread(load.publish)
    kinds = [kind for kind in kinds if kind != "R helper" or load.has_r]
    order = [kind for kind in kinds for _ in range(each)]
    chosen.shuffle(order)
    kills = Kills(seed, {kind: [] for kind in kinds})
    ends_at = time.monotonic() + seconds
    async with load.running():
        for number, kind in enumerate(order, 1):
            path = R if kind == "R helper" else PYTHON
            if time.monotonic() > ends_at:
                break
            before = await _answer(door, path)
            await asyncio.sleep(chosen.uniform(0.0, 1.0))
            killed = time.monotonic()
            if _kill(kind, server, before):
                await _answer(door, path, unlike=before, at=_PLACES.get(kind))
                kills.seconds[kind].append(time.monotonic() - killed)
                progress(f"{number} of {len(order)}: {kind}, {kills.seconds[kind][-1]:.2f} s")
    await _answer(door, PYTHON)
    await asyncio.to_thread(load.check_kept)
    return kills, load.counts


async def _answer(door: Door, path: str, *, unlike: Any = None, at: int | None = None) -> Any:
    """Call until an answer is right, on a new connection each time; returns the output.

    Where a place is given, another process than before has to have answered.
    """
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(*BROKEN):
            async with Line(door) as line:
                answer = await line.ask(path, {"n": 1})
                if answer.status == 200 and answer.json()["success"]:
                    output = answer.json()["outputParameters"]["y"]
                    if at is None or output[at] != unlike[at]:
                        return output
        await asyncio.sleep(_POLL_SECONDS)
    raise NotRecovered(f"{path} is not answered {_RECOVERY_SECONDS:.0f} s after a kill")


def _kill(kind: str, server: ServerProcess, outputs: Any) -> bool:
    """Kill one process; false where there is none of its kind now."""
    with contextlib.suppress(psutil.NoSuchProcess, StopIteration):
        _process(kind, server, outputs).kill()
        return True
    return False


def _process(kind: str, server: ServerProcess, outputs: Any) -> psutil.Process:
    if kind == "server":
        return psutil.Process(server.server_pid)
    if kind == "R helper":
        family = psutil.Process(server.server_pid).children(recursive=True)
        return next(each for each in family if each.name() == "R")
    _, worker, template = outputs
    if kind == "worker":
        return psutil.Process(worker)
    if kind == "template":
        return psutil.Process(template)
    parent = psutil.Process(template).parent()
    if parent is None:
        raise StopIteration
    return parent
