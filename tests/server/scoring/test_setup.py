"""Code that runs once in each worker, before its first request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from jupyter_mlsvc_server.scoring.errors import ServiceUnavailable, UnservableCode
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import Service, Snapshots, define, serve_by

pytestmark = pytest.mark.asyncio(loop_scope="module")
Serve = Callable[..., Awaitable[Service]]


async def test_its_names_are_there_for_each_request(serve: Serve) -> None:
    setup = "import threading\nlock = threading.Lock()\nruns = []\ndef double(n): return 2 * n"
    code = "with lock: y = double(x)\nruns.append(1)\ndel lock"
    service = await serve(code, setup_code=setup, inputs="x:integer")
    assert [await service.outputs(x=n) for n in (1, 2, 3)] == [{"y": 2}, {"y": 4}, {"y": 6}]


async def test_it_runs_once_in_each_worker(serve: Serve) -> None:
    setup = "import os, time\nmade = [os.getpid(), time.perf_counter_ns()]"
    service = await serve("y = [*made, os.getpid()]", setup_code=setup)
    first = (await service.outputs())["y"]
    assert first[0] == first[2]
    assert (await service.outputs())["y"] == first


async def test_functions_of_the_snapshot_see_what_it_sets(
    serve: Serve, snapshots: Snapshots
) -> None:
    content = snapshots.take("def score(): return factor * base\nbase = 7\n")
    service = await serve("y = score()", content, setup_code="factor = base - 1")
    assert [await service.outputs() for _ in range(2)] == [{"y": 42}] * 2


async def test_files_that_it_writes_are_there_as_it_wrote_them(
    serve: Serve, snapshots: Snapshots
) -> None:
    content = snapshots.take("", files={"kept.txt": b"1", "gone.txt": b"2"})
    setup = (
        "import os\nos.mkdir('in')\nopen('in/a.txt', 'w').write('a')\nos.remove('gone.txt')\n"
        "open('kept.txt', 'w').write('3')"
    )
    code = (
        "y = [sorted(os.listdir('.')), open('in/a.txt').read(), open('kept.txt').read()]\n"
        "open('in/a.txt', 'w').write('b')\nopen('new.txt', 'w').write('c')"
    )
    service = await serve(code, content, setup_code=setup)
    for _ in range(3):
        result = await service.call()
        assert result["outputParameters"]["y"] == [["in", "kept.txt"], "a", "3"]
        assert result["changedFiles"] == ["in/a.txt", "new.txt"]


async def test_names_that_it_gives_are_not_missed_in_the_snapshot(
    engine: LocalEngine, snapshots: Snapshots
) -> None:
    content = snapshots.take("import threading\nlock = threading.Lock()\n")
    await engine.check(define("with lock: y = 1", content, setup_code="lock = open('x', 'w')"))
    with pytest.raises(UnservableCode, match="lock"):
        await engine.check(define("with lock: y = 1", content))


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ("a = 1\n\n1 / 0", ["setupCode failed in line 3: ZeroDivisionError", "1 / 0"]),
        ("print('so far')\nraise OSError('no device')", ["line 2: OSError: no device", "so far"]),
        ("raise SystemExit(3)", ["line 1: SystemExit: 3"]),
        ("def f(:", ["setupCode has a SyntaxError in line 1", "^"]),
        ("import os\nos._exit(3)", ["setupCode ended the process"]),
    ],
)
async def test_what_fails_in_it_is_refused_when_it_is_published(
    engine: LocalEngine, setup: str, words: list[str]
) -> None:
    with pytest.raises(UnservableCode) as caught:
        await engine.check(define("y = 1", setup_code=setup))
    for word in words:
        assert word in caught.value.message
    assert "jupyter_mlsvc_server" not in caught.value.message


async def test_what_does_not_end_in_it_is_refused(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "start_seconds", 1.0)
    with pytest.raises(UnservableCode, match="more than 1 s"):
        await engine.check(define("y = 1", setup_code="while True: pass"))


async def test_setup_that_fails_later_gives_callers_its_line(engine: LocalEngine) -> None:
    setup = "a = 1\nraise OSError('gone')"
    service = await serve_by(engine, "y = 1", setup_code=setup, name="Gone", revision="gone")
    with pytest.raises(ServiceUnavailable, match="in line 2: OSError: gone"):
        await service.outputs()


async def test_error_about_a_temporary_file_names_no_folder_of_the_server(serve: Serve) -> None:
    code = "import os, tempfile\nopen(tempfile.gettempdir() + os.sep + 'gone.txt')"
    service = await serve(code, revision="paths")
    result = await service.call()
    assert "gone.txt" in result["errorMessage"]
    assert "/gone.txt" not in result["errorMessage"] + result["consoleOutput"]
