"""Services whose calls share what they change, and services with a process for each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from jupyter_mlsvc_server.scoring.errors import CodeEnded, RunTooLong
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.processes import long_sleep, that_have
from tests.server.scoring.serving import Service, Snapshots, StoredContent, serve_by
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
Serve = Callable[..., Awaitable[Service]]

WORKSPACE = """
import numpy as np
count = 0
seen = []
cells = np.zeros(400_000)
def visit():
    global count
    count += 1
    return count
"""


@pytest.fixture(scope="module")
def workspace(snapshots: Snapshots) -> StoredContent:
    return snapshots.take(WORKSPACE, files={"log.txt": b""})


# --- none ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "seen.append(1); y = len(seen)",
        "count += 1; y = count",
        "y = visit()",
        "cells[200_000] += 1; y = int(cells[200_000])",
        "import os; y = int(os.environ.get('N', 0)) + 1; os.environ['N'] = str(y)",
        "import json; y = json.n = getattr(json, 'n', 0) + 1",
        "open('log.txt', 'a').write('x'); y = len(open('log.txt').read())",
        "cache = globals().get('cache', 0) + 1; y = cache",
        "import decimal as d; d.getcontext().prec += 1; y = d.getcontext().prec - 28",
    ],
)
async def test_calls_share_what_they_change_where_that_is_meant(
    serve: Serve, workspace: StoredContent, code: str
) -> None:
    service = await serve(code, workspace, isolation="none")
    assert [(await service.outputs())["y"] for _ in range(3)] == [1, 2, 3]


async def test_inputs_outputs_and_output_files_are_a_calls_own_all_the_same(serve: Serve) -> None:
    code = "if x: y = x\nif x > 0: open('a.txt', 'w').write('a')\nz = 'x' in globals(), x"
    service = await serve(
        code, inputs="x:integer", outputs="y:any z:any", isolation="none", output_files=("a.txt",)
    )
    first = await service.call(x=5)
    assert first["outputParameters"] == {"y": 5, "z": [True, 5]}
    second = await service.call(x=0)
    assert "'y'" in second["errorMessage"]
    third = await service.call(x=-1)
    assert third["outputParameters"]["y"] == -1
    assert third["outputFiles"] == {"a.txt": None}


async def test_a_connection_of_the_setup_is_kept(serve: Serve) -> None:
    setup = (
        "import sqlite3\nbase = sqlite3.connect('calls.db')\n"
        "base.execute('CREATE TABLE calls (n INTEGER)')"
    )
    code = (
        "base.execute('INSERT INTO calls VALUES (?)', (x,)); base.commit()\n"
        "y = base.execute('SELECT sum(n) FROM calls').fetchone()[0]"
    )
    service = await serve(code, setup_code=setup, isolation="none", inputs="x:integer")
    assert [(await service.outputs(x=n))["y"] for n in (1, 2, 3)] == [1, 3, 6]


# --- call ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "seen.append(1); y = len(seen)",
        "y = visit()",
        "cells[200_000] += 1; y = int(cells[200_000])",
        "import os; y = int(os.environ.get('N', 0)) + 1; os.environ['N'] = str(y)",
        "import json; y = getattr(json, 'n', 0) + 1; setattr(json, 'n', y)",
        "open('log.txt', 'a').write('x'); y = len(open('log.txt').read())",
        "import tempfile, os; y = len(os.listdir(tempfile.gettempdir())) + 1; tempfile.mkdtemp()",
        "import threading as t; y = t.active_count(); t.Thread(target=t.Event().wait).start()",
        "import ctypes; n = ctypes.c_long.from_address(id(seen) + 16); n.value += 0; y = 1",
        "import codecs\ntry: codecs.lookup_error('own'); y = 2\nexcept LookupError: y = 1\n"
        "codecs.register_error('own', print)",
    ],
)
async def test_nothing_of_a_call_is_left_where_it_has_a_process_of_its_own(
    serve: Serve, workspace: StoredContent, code: str
) -> None:
    service = await serve(code, workspace, isolation="call")
    assert [(await service.outputs())["y"] for _ in range(3)] == [1, 1, 1]


async def test_each_process_of_a_call_has_random_numbers_of_its_own(serve: Serve) -> None:
    service = await serve(
        "import numpy, random; y = [numpy.random.random(), random.random()]", isolation="call"
    )
    pairs = [(await service.outputs())["y"] for _ in range(3)]
    assert len({number for pair in pairs for number in pair}) == 6


async def test_large_answers_console_and_files_come_out_of_the_process(serve: Serve) -> None:
    code = "print('said'); y = 'x' * 3_000_000; open('f.txt', 'w').write('z')"
    service = await serve(code, isolation="call", output_files=("f.txt",))
    for _ in range(2):
        result = await service.call()
        assert len(result["outputParameters"]["y"]) == 3_000_000
        assert result["consoleOutput"] == "said\n"
        assert result["outputFiles"] == {"f.txt": "eg=="}
        assert result["changedFiles"] == ["f.txt"]


async def test_all_calls_are_of_one_worker_and_setup_runs_once(
    serve: Serve, engine: LocalEngine
) -> None:
    setup = "import time, os\nmade = time.perf_counter_ns()"
    service = await serve("y = [made, os.getppid(), os.getpid()]", setup_code=setup,
                          isolation="call", name="One")  # fmt: skip
    rows = [(await service.outputs())["y"] for _ in range(3)]
    assert len({row[0] for row in rows}) == len({row[1] for row in rows}) == 1
    assert len({row[2] for row in rows}) == 3
    assert (await engine.figures(*service.key)).retired == 0


async def test_failed_and_invalid_calls_have_the_usual_error(serve: Serve) -> None:
    service = await serve("y = 1 / x", inputs="x:integer", isolation="call")
    result = await service.call(x=0)
    assert result["errorMessage"] == "ZeroDivisionError: division by zero"
    assert "'x'" in await service.problem_of(b"{}")


async def test_a_call_that_ends_its_process_fails_alone(serve: Serve) -> None:
    code = "import os\nif x: os.kill(os.getpid(), 11)\ny = 1"
    service = await serve(code, inputs="x:logical", isolation="call")
    with pytest.raises(CodeEnded, match="SIGSEGV"):
        await service.call(x=True)
    assert await service.outputs(x=False) == {"y": 1}


async def test_what_a_call_has_started_ends_with_it(serve: Serve) -> None:
    seconds = long_sleep()
    code = f"import subprocess; subprocess.Popen(['sleep', '{seconds}']); y = 1"
    service = await serve(code, isolation="call")
    assert await service.outputs() == {"y": 1}
    await until(lambda: not that_have(seconds))


@pytest.mark.asyncio(loop_scope="function")
async def test_a_call_over_its_deadline_is_ended_with_its_process(
    make_engine: Callable[..., Awaitable[LocalEngine]],
) -> None:
    engine = await make_engine(workers_max=1, deadline_seconds=3)
    service = await serve_by(
        engine,
        "import time\nif x: time.sleep(100)\ny = 1",
        inputs="x:logical",
        isolation="call",
    )
    body = msgspec.json.encode({"x": True})
    with pytest.raises(RunTooLong):
        await service.raw(body)
    assert await service.outputs(x=False) == {"y": 1}
