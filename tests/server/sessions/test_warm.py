"""Warm kernels that do not start, or die, on a clock of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from traitlets.config import Config

from jupyter_mlsvc_server.sessions.errors import KernelDidNotStart
from jupyter_mlsvc_server.sessions.warm import WarmKernels
from tests.waiting import until


class Kernels:
    """Starts kernels that are none, unless it is told to fail."""

    serves_anybody = True

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.failures = 0

    def available(self) -> list[str]:
        return ["Python"]

    async def start_kernel(self, runtime_type: str, user: int = 0) -> Any:
        assert not user
        if self.failures:
            self.failures -= 1
            raise KernelDidNotStart(runtime_type)
        self.started.append(SimpleNamespace(ended=None, on_end=None, stop=_end))
        return self.started[-1]


async def _end(*, now: bool) -> None:
    assert now


class Pauses:
    """Pauses that end when a test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._ends = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self._ends.wait()

    def are(self, count: int) -> bool:
        return len(self.asked) == count

    def end(self) -> None:
        self._ends.set()
        self._ends = asyncio.Event()


@pytest.fixture
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def warm(kernels: Kernels, pauses: Pauses) -> WarmKernels:
    config = Config({"WarmKernels": {"warm_kernels": 2}})
    return WarmKernels(factory=cast("Any", kernels), pause=pauses, config=config)


async def test_kernels_that_do_not_start_are_tried_again_after_a_pause(
    warm: WarmKernels, kernels: Kernels, pauses: Pauses
) -> None:
    kernels.failures = 4
    await warm.start()
    for count in (2, 4):
        await until(partial(pauses.are, count))
        assert (warm.ready("Python"), kernels.started) == (0, [])
        pauses.end()
    await until(lambda: warm.ready("Python") == 2)
    assert pauses.asked == [10.0] * 4
    await warm.stop()


async def test_kernel_that_dies_is_replaced_after_a_pause(
    warm: WarmKernels, kernels: Kernels, pauses: Pauses
) -> None:
    await warm.start()
    await until(lambda: warm.ready("Python") == 2)
    lost: Callable[[str], None] = kernels.started[0].on_end
    lost("it was killed")
    await until(lambda: pauses.asked)
    assert (warm.ready("Python"), len(kernels.started)) == (1, 2)
    pauses.end()
    await until(lambda: warm.ready("Python") == 2)
    assert (pauses.asked, len(kernels.started)) == ([1.0], 3)
    await warm.stop()


async def test_kernel_is_handed_out_once_and_replaced_without_a_pause(
    warm: WarmKernels, kernels: Kernels, pauses: Pauses
) -> None:
    await warm.start()
    await until(lambda: warm.ready("Python") == 2)
    taken = [await warm.take("Python", "ann") for _ in range(3)]
    assert len({id(each) for each in taken}) == 3
    await until(lambda: warm.ready("Python") == 2)
    assert pauses.asked == []
    await warm.stop()
