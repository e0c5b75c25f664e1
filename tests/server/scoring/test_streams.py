"""Answers that come item by item."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.errors import StreamTooLong, WorkerEnded
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.scheduler_settings import SchedulerSettings
from jupyter_mlsvc_server.scoring.stream import AnswerStream
from tests.server.scoring.serving import Service
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
_KEY = DefinitionKey("Test", "V1.0")
Serve = Callable[..., Awaitable[Service]]

COUNT = "def count(n):\n    for i in range(n):\n        yield i\ny = count(n)\nz = 'set'"
LEFT = """
import os
def steps():
    try:
        while True: yield 'x' * 1000
    finally:
        open(os.path.join(folder, str(os.getpid())), 'w').close()
y = steps()
"""


def streamed(service: Service, **inputs: Any) -> AnswerStream:
    return service.engine.stream(*service.key, msgspec.json.encode(inputs))


async def items_of(stream: AnswerStream) -> list[Any]:
    found: list[Any] = []
    while items := await stream.read():
        found += [msgspec.json.decode(item) for item in items]
    return found


def result_of(stream: AnswerStream) -> dict[str, Any]:
    assert isinstance(stream.outcome, ScoringAnswer), stream.outcome
    result: dict[str, Any] = msgspec.json.decode(bytes(stream.outcome.body))
    return result


@pytest.mark.parametrize("isolation", ["worker", "none", "call"])
async def test_items_come_before_the_result(serve: Serve, isolation: str) -> None:
    service = await serve(COUNT, inputs="n:integer", outputs="y:vector z:any", isolation=isolation)
    stream = streamed(service, n=3)
    assert await items_of(stream) == [{"output": "y", "value": i} for i in range(3)]
    assert result_of(stream)["outputParameters"] == {"z": "set"}
    assert await service.outputs(n=3) == {"y": [0, 1, 2], "z": "set"}
    (call, *_) = await service.engine.calls(*service.key, limit=2, only_failed=False)
    assert call.first_item is None
    calls = await service.engine.calls(*service.key, limit=2)
    assert calls[1].first_item is not None
    assert calls[1].answer_bytes > 3 * len(b'{"output":"y","value":0}')


@pytest.mark.parametrize(
    ("kind", "items", "whole"),
    [
        ("character", ["'a'", "'b'"], "ab"),
        ("vector", ["1", "None", "'b'"], [1, None, "b"]),
        ("matrix", ["[1, 2]", "(3, 4)"], [[1, 2], [3, 4]]),
        ("data.frame", ["{'a': 1}", "{'a': [2, 3]}"], {"a": [1, 2, 3]}),
        ("any", ["{'a': 1}", "[2]"], [{"a": 1}, [2]]),
        ("vector", ["1", "[2]"], "y[1]"),
        ("matrix", ["[1]", "[2, 3]"], "y[1]"),
        ("data.frame", ["{'a': 1}", "{'b': 2}"], "y[1]"),
        ("numeric", ["1"], "declare the output as a vector"),
    ],
)
async def test_whole_of_a_stream_is_of_the_declared_type(
    serve: Serve, kind: str, items: list[str], whole: Any
) -> None:
    service = await serve("".join(f"yield {item}\n" for item in items), outputs=f"y:{kind}")
    result = await service.call()
    if result["success"]:
        assert result["outputParameters"] == {"y": whole}
    else:
        assert whole in result["errorMessage"]


async def test_exception_after_items_is_in_the_result(serve: Serve) -> None:
    service = await serve("print('begun')\nyield 1\nprint('on')\nyield 1 / 0", outputs="y:vector")
    stream = streamed(service)
    assert await items_of(stream) == [{"output": "y", "value": 1}]
    result = result_of(stream)
    assert result["success"] is False
    assert result["errorMessage"] == "ZeroDivisionError: division by zero"
    assert result["consoleOutput"].startswith("begun\non\nTraceback")
    assert "line 4, in <module>" in result["consoleOutput"]


async def test_asynchronous_generator_is_a_stream(serve: Serve) -> None:
    code = "import asyncio\nfor i in range(3):\n    await asyncio.sleep(0)\n    yield i"
    service = await serve(code, outputs="y:vector")
    assert [await service.outputs() for _ in range(2)] == [{"y": [0, 1, 2]}] * 2


@pytest.mark.parametrize("isolation", ["worker", "call"])
async def test_code_stops_where_its_caller_leaves(
    serve: Serve, tmp_path: Path, isolation: str
) -> None:
    service = await serve(LEFT, inputs="folder:character", outputs="y:vector", isolation=isolation)
    stream = streamed(service, folder=str(tmp_path))
    assert await stream.read()
    stream.leave()
    await until(lambda: [*tmp_path.iterdir()], "the generator was not closed")
    figures = await service.engine.figures(*service.key)
    assert figures.lost_workers == 0


async def test_slow_reader_makes_the_worker_wait(serve: Serve, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = f"for i in range(2000):\n    open({str(seen)!r}, 'a').write('.')\n    yield 'x' * 10_000"
    service = await serve(code, outputs="y:vector")
    stream = streamed(service)
    await until(lambda: stream._is_paused, "reading was not paused")
    # As much as the system's buffers hold goes on, and not all 20 MB.
    assert stream.size < 2_000_000
    assert seen.stat().st_size < 2000
    assert len(await items_of(stream)) == 2000


async def test_worker_that_ends_after_items_is_not_replaced_for_the_same_call(
    serve: Serve,
) -> None:
    service = await serve("import os\nyield 1\nos.kill(os.getpid(), 9)", outputs="y:vector")
    stream = streamed(service)
    assert len(await items_of(stream)) == 1
    assert isinstance(stream.outcome, WorkerEnded)


# --- what a stream may take ------------------------------------------------------------------


def begun(now: float, **settings: float) -> tuple[AnswerStream, Callable[[float], Any]]:
    stream = AnswerStream()
    stream.request = PendingRequest(_KEY, b"", stream.end, stream=stream)
    stream.put(b"1", now)
    known = SchedulerSettings(**settings)  # type: ignore[arg-type]
    return stream, lambda later: stream.problem(now, later, known)


async def test_deadline_counts_from_item_to_item_and_another_one_for_all() -> None:
    stream, problem = begun(100.0, deadline_seconds=30, stream_seconds=60)
    assert problem(129.0) is None
    stream.put(b"2", 125.0)
    assert problem(150.0) is None
    assert isinstance(problem(156.0), StreamTooLong)
    stream.put(b"3", 156.0)
    assert "stream_seconds" in problem(161.0).message


async def test_time_for_which_the_reader_is_slow_is_not_the_codes() -> None:
    stream, problem = begun(100.0, deadline_seconds=30, stream_seconds=0)
    stream._is_paused = True
    assert problem(200.0) is None
