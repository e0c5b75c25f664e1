"""Callers of every kind at once, who look at each answer: for hours, or while processes are killed.

Calls of services go over kept-alive connections. Sessions, batches and publications go on beside
them, each in a loop of its own. An answer is right, refused (another status than 2xx), or wrong: a
status of 2xx with another value than the request's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from tests.contract.doors import Door
from tests.reliability.callers import Line
from tests.reliability.conftest import definition
from tests.reliability.test_changes_under_load import model_of, revision_of_model
from tests.server.api.conftest import Answer

PYTHON: Final = "/api/steady/1.0"
MODEL: Final = "/api/model/1.0"
R: Final = "/api/steady-r/1.0"
PYTHON_CODE: Final = "import os\ny = [7 * n + 1, os.getpid(), os.getppid()]"
R_CODE: Final = "y <- 7L * n + 1L"
REVISION: Final = 7

BROKEN: Final = (OSError, EOFError, TimeoutError)
"""What a caller sees whose connection ends."""

_NUMBER: Final = re.compile(r"\d+(\.\d+)?")
_RETRY_SECONDS: Final = 0.05
_LOST_SECONDS: Final = 90.0
"""Seconds after which a batch that does not go on is lost."""
_KEPT: Final = 12


@dataclass
class Counts:
    """What became of the requests.

    Attributes
    ----------
    right
        Right answers, by kind of request.
    refused
        Other answers than 2xx, by kind of request and status.
    reasons
        The same with what the answers said.
    broken
        Requests whose connection ended before the answer.
    wrong
        Wrong answers, in words.
    lost
        What was answered with 2xx and was not there afterwards.
    """

    right: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def judge(
        self,
        kind: str,
        status: int,
        *,
        is_right: Callable[[], bool],
        what: str,
        reason: str = "",
    ) -> None:
        """Count one answer; a refusal with its reason, numbers in it left out."""
        if status // 100 != 2:
            self.refused[f"{kind} {status}"] += 1
            if reason:
                self.reasons[f"{kind} {status}: {_NUMBER.sub('N', reason)}"] += 1
        elif is_right():
            self.right[kind] += 1
        else:
            self.wrong.append(f"{kind}: {what}")


class MixedLoad:
    """Callers of a server, and what they have published.

    Parameters
    ----------
    door
        The server, for an owner.
    seed
        Of the pauses and choices.
    rate
        Calls of services a second, of all connections together; None for as many as are answered.
    connections
        Connections for calls of services.
    """

    def __init__(
        self, door: Door, *, seed: int, rate: float | None = None, connections: int = 6
    ) -> None:
        self.counts = Counts()
        self.rate = rate
        self.has_r = _has_r()
        self._door = door
        self._connections = connections
        self._random = random.Random(seed)  # a load that can be repeated
        self._numbers = itertools.count()
        self.kept: dict[str, int] = {}
        self._is_over = False

    def publish(self) -> None:
        """Publish the services that are called."""
        made = [self._door.post("/services/steady/1.0", json=definition(PYTHON_CODE))]
        files = {"model": ("model", model_of(REVISION))}
        made.append(self._door.post("/realtime-services/model/1.0", files=files))
        if self.has_r:
            one = {"runtimeType": "R", "outputParameterDefinitions": [_INTEGER]}
            made.append(self._door.post("/services/steady-r/1.0", json=definition(R_CODE) | one))
        for answer in made:
            assert answer.status_code == 201, answer.text

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have all callers call while the block runs; those that are in the middle finish."""
        self._is_over = False
        kinds = [self._call_python, self._call_model, *([self._call_r] if self.has_r else [])]
        loops = [self._use_session, self._use_batch, self.change_services]
        async with asyncio.TaskGroup() as group:
            for _, call in zip(range(self._connections), itertools.cycle(kinds), strict=False):
                group.create_task(self._call_on_a_line(call))
            for each in loops:
                group.create_task(self._repeat(each))
            try:
                yield
            finally:
                self._is_over = True

    def check_kept(self) -> None:
        """Call what was published and answered with 2xx; it has to be there."""
        for name, constant in self.kept.items():
            answer = self._door.post(f"/api/{name}/1.0", json={"n": 1})
            if not answer.ok or answer.json()["outputParameters"] != {"y": 1 + constant}:
                self.counts.lost.append(f"service {name}: {answer.status_code} {answer.text[:200]}")

    # --- calls of services -------------------------------------------------------------------

    async def _call_on_a_line(self, call: Callable[[Line], Awaitable[None]]) -> None:
        while not self._is_over:
            try:
                async with Line(self._door) as line:
                    while not self._is_over:
                        began = time.monotonic()
                        await call(line)
                        await self._pause(time.monotonic() - began)
            except BROKEN:
                self.counts.broken += 1
                await asyncio.sleep(_RETRY_SECONDS)

    async def _pause(self, taken: float) -> None:
        if self.rate is not None:
            every = self._connections / self.rate
            await asyncio.sleep(max(0.0, every * self._random.uniform(0.5, 1.5) - taken))

    async def _call_python(self, line: Line) -> None:
        n = next(self._numbers)
        answer = await line.ask(PYTHON, {"n": n})
        self._judge("call", answer, n, lambda outputs: outputs["y"][0] == 7 * n + 1)

    async def _call_r(self, line: Line) -> None:
        n = next(self._numbers) % 1_000_000
        answer = await line.ask(R, {"n": n})
        self._judge("call of R", answer, n, lambda outputs: outputs["y"] == 7 * n + 1)

    async def _call_model(self, line: Line) -> None:
        n = float(next(self._numbers) % 100_000)
        answer = await line.ask(MODEL, {"inputData": {"x": [n, n + 1]}})

        def is_right(_: object) -> bool:
            return revision_of_model(answer, [n, n + 1]) == REVISION

        self._judge("call of a model", answer, n, is_right)

    def _judge(
        self, kind: str, answer: Answer, n: float, is_right: Callable[[dict[str, Any]], bool]
    ) -> None:
        def check() -> bool:
            body = answer.json()
            return bool(body["success"] and is_right(body["outputParameters"]))

        what = f"{n} was answered with {answer.body[:200]!r}"
        reason = "" if answer.status // 100 == 2 else _reason(answer)
        self.counts.judge(kind, answer.status, is_right=check, what=what, reason=reason)

    # --- everything else ---------------------------------------------------------------------

    async def _repeat(self, work: Callable[[], None]) -> None:
        while not self._is_over:
            try:
                await asyncio.to_thread(work)
            except requests.RequestException:
                self.counts.broken += 1
                await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.sleep(self._random.uniform(0.1, 0.5))

    def _use_session(self) -> None:
        n = next(self._numbers)
        made = self._door.post("/sessions", json={"runtimeType": "Python"})
        if not made.ok:
            self.counts.refused[f"session {made.status_code}"] += 1
            return
        path = f"/sessions/{made.json()['sessionId']}"
        try:
            wanted = {"code": f"y = {n} * 7 + 1", "outputParameters": ["y"]}
            answer = self._door.post(f"{path}/execute", json=wanted)
            self.counts.judge(
                "execution in a session",
                answer.status_code,
                is_right=lambda: (
                    answer.json().get("outputParameters") == [{"name": "y", "value": 7 * n + 1}]
                ),
                what=f"{n} was answered with {answer.text[:200]}",
            )
        finally:
            with contextlib.suppress(requests.RequestException):
                self._door.delete(path)

    def _use_batch(self) -> None:
        numbers = [next(self._numbers) for _ in range(20)]
        started = self._door.post(f"{PYTHON}/batch", json=[{"n": n} for n in numbers])
        if not started.ok:
            self.counts.refused[f"batch {started.status_code}"] += 1
            return
        path = f"{PYTHON}/batch/{started.json()['batchExecutionId']}"
        deadline = time.monotonic() + _LOST_SECONDS
        body: dict[str, Any] = {"state": "nobody knows"}
        while body["state"] not in {"Complete", "Failed"} and time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                answer = self._door.get(path)
                body = answer.json() if answer.ok else body
            time.sleep(0.1)
        if body["state"] != "Complete":
            self.counts.lost.append(f"batch: {str(body)[:200]}")
            return
        found = [one["outputParameters"]["y"][0] for one in body["batchExecutionResults"]]
        is_right = found == [7 * n + 1 for n in numbers]
        self.counts.judge("batch", 200, is_right=lambda: is_right, what=f"{numbers} gave {found}")
        self._door.delete(path)

    def change_services(self) -> None:
        """Publish a service, which has to be there from then on; the oldest of many goes."""
        constant = next(self._numbers)
        name = f"kept-{constant}"
        request = definition(f"y = n + {constant}") | {"outputParameterDefinitions": [_INTEGER]}
        made = self._door.post(f"/services/{name}/1.0", json=request)
        if made.status_code != 201:
            self.counts.refused[f"publication {made.status_code}"] += 1
            return
        self.counts.right["publication"] += 1
        self.kept[name] = constant
        if len(self.kept) > _KEPT:
            oldest = next(iter(self.kept))
            # What becomes of it is not known where no answer comes.
            del self.kept[oldest]
            self._door.delete(f"/services/{oldest}/1.0")


def _reason(answer: Answer) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError):
        return repr(answer.body[:200])


_INTEGER: Final = {"name": "y", "type": "integer"}


def _has_r() -> bool:
    try:
        KernelSpecManager().get_kernel_spec("ir")
    except NoSuchKernel:
        return False
    return True
