"""Models that start threads: they are restored where their threads go on running."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from jupyter_mlsvc_server.scoring.errors import UnservableCode
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import Service, Snapshots, define, serve_by

Serve = Callable[..., Awaitable[Service]]
MakeEngine = Callable[..., Awaitable[LocalEngine]]

THREADED: Final = """
import queue, threading
class Doubler:
    def __init__(self):
        self.asked, self.told = queue.Queue(), queue.Queue()
        threading.Thread(target=self.answer, daemon=True).start()
    def answer(self):
        while True:
            self.told.put(2 * self.asked.get())
    def __reduce__(self):
        return Doubler, ()
    def double(self, x):
        self.asked.put(x)
        return self.told.get()
doubler = Doubler()
"""
EXPLICIT: Final = """
import threadpoolctl
from sklearn.ensemble import HistGradientBoostingRegressor
def fitted():
    with threadpoolctl.threadpool_limits(2, "openmp"):
        return HistGradientBoostingRegressor(max_iter=2).fit([[n] for n in range(100)], range(100))
class Fitted:
    # Computes with two threads as it is restored, whatever the library is told.
    def __reduce__(self):
        return fitted, ()
model = Fitted()
"""
PARALLEL: Final = """
from sklearn.ensemble import HistGradientBoostingRegressor
class Fitted:
    def __init__(self):
        self.model = HistGradientBoostingRegressor(max_iter=2)
        self.model.fit([[float(n % 7)] for n in range(100)], [n % 7 for n in range(100)])
    def __reduce__(self):
        return Fitted, ()
fitted = Fitted()
"""


@pytest.mark.asyncio(loop_scope="module")
async def test_a_model_with_a_thread_of_its_own_answers(serve: Serve, snapshots: Snapshots) -> None:
    content = snapshots.take(THREADED, {"part.py": b"factor = 10"})
    code = "import part\ny = part.factor * doubler.double(x)"
    service = await serve(code, content, inputs="x:integer")
    assert [await service.outputs(x=x) for x in (1, 2)] == [{"y": 20}, {"y": 40}]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("content", "setup"), [(THREADED, ""), ("", THREADED)])
async def test_threads_from_before_a_call_that_has_a_process_of_its_own_are_refused(
    engine: LocalEngine, snapshots: Snapshots, content: str, setup: str
) -> None:
    definition = define(
        "y = doubler.double(2)", snapshots.take(content), isolation="call", setup_code=setup
    )
    with pytest.raises(UnservableCode, match=r"starts threads.*Publish with isolation 'worker'"):
        await engine.check(definition)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("setup", ["", "model = fitted()"])
async def test_threads_of_openmp_from_before_a_fork_start_again(
    serve: Serve, snapshots: Snapshots, setup: str
) -> None:
    code = "with threadpoolctl.threadpool_limits(2, 'openmp'): y = len(model.predict([[1]] * 1000))"
    content = snapshots.take(EXPLICIT)
    service = await serve(code, content, isolation="call", setup_code=setup)
    assert await service.outputs() == {"y": 1000}


@pytest.mark.asyncio
async def test_a_model_computes_with_all_cores_in_workers_alone(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine(threads=0)
    code = (
        "import threadpoolctl\n"
        "y = [round(fitted.model.predict([[3.0]])[0]) >= 0,\n"
        "     max(each['num_threads'] for each in threadpoolctl.threadpool_info())]"
    )
    content = snapshots.take(PARALLEL)
    for isolation in ("worker", "call"):
        service = await serve_by(engine, code, content, name=isolation, isolation=isolation)
        assert (await service.outputs())["y"] == [True, len(os.sched_getaffinity(0))]
