"""No process, file or descriptor is left behind, however the server ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.guard import HAS_GUARDS
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.processes import long_sleep, that_run_on, that_sleep
from tests.server.scoring.serving import Service, Snapshots, define, no_definition, serve_by
from tests.waiting import until

pytestmark = pytest.mark.process
needs_orphans = pytest.mark.skipif(not HAS_GUARDS, reason="no process adopts orphans here")

MakeEngine = Callable[..., Awaitable[LocalEngine]]


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def test_stop_leaves_no_process_file_or_descriptor(tmp_path: Path) -> None:
    gc.collect()
    before_processes = {process.pid for process in below(os.getpid())}
    before_descriptors = descriptors()
    engine = LocalEngine(data_dir=tmp_path, definitions=no_definition, preload=[], workers_max=2)
    await engine.start()
    service = await serve_by(engine, "import time; time.sleep(n); y = 1", inputs="n:numeric")
    await asyncio.gather(*(service.outputs(n=0.05) for _ in range(4)))
    await engine.check(define("y = 1", revision="only checked"))
    await engine.put(define("import time; time.sleep(n); y = 2", inputs="n:numeric", revision="2"))
    running = asyncio.create_task(service.outputs(n=600))

    def ours() -> list[psutil.Process]:
        return [process for process in below(os.getpid()) if process.pid not in before_processes]

    await until(lambda: len(ours()) >= 4)
    started = ours()
    await engine.stop()
    with pytest.raises(MlsvcServerError):
        await running
    assert not that_run_on(started)
    await engine.stop()
    assert not list((tmp_path / "work").iterdir())
    await asyncio.sleep(0)
    gc.collect()
    assert descriptors() <= before_descriptors


async def test_no_zombie_stays_while_workers_come_and_go(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1)
    left = "t.Thread(target=t.Event().wait, daemon=True).start()"
    service = await serve_by(engine, f"import os, threading as t; {left}; y = os.getpid()")
    pids = {(await service.outputs())["y"] for _ in range(8)}
    assert len(pids) == 8
    forkserver = engine._forkservers.live().pid
    await until(lambda: psutil.STATUS_ZOMBIE not in [each.status() for each in below(forkserver)])
    # That of one worker, and that of its temporary files.
    await until(lambda: len(list(engine._work.glob("*/worker-*"))) <= 2)


SERVER = """
    import asyncio, sys
    from pathlib import Path
    import psutil
    from tests.waiting import until
    from tests.server.scoring.serving import define, no_definition
    from jupyter_mlsvc_server.scoring.local import LocalEngine

    async def main():
        engine = LocalEngine(
            data_dir=Path(sys.argv[1]), definitions=no_definition, preload=[], workers_min=2
        )
        await engine.start()
        await engine.put(define("while True: pass"))
        await engine.put(define(
            f"import os; y = os.system('setsid sleep {sys.argv[2]} &')", name="Child"
        ))
        await engine.consume("Child", "V1.0", b"")
        busy = asyncio.create_task(engine.consume("Test", "V1.0", b""))
        # The forkserver and its guard, two templates, and two workers each.
        await until(lambda: len(psutil.Process().children(recursive=True)) >= 8)
        print("ready", flush=True)
        await busy

    asyncio.run(main())
"""


async def test_a_killed_server_leaves_no_process_behind(tmp_path: Path) -> None:
    seconds = long_sleep()
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(SERVER),
        str(tmp_path),
        seconds,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert server.stdout is not None
    assert await server.stdout.readline() == b"ready\n"
    await until(lambda: that_sleep(seconds))
    processes = below(server.pid)
    daemons = that_sleep(seconds)
    server.send_signal(signal.SIGKILL)
    await server.wait()
    assert not await asyncio.to_thread(that_run_on, processes)
    assert not await asyncio.to_thread(that_run_on, daemons)


@needs_orphans
@pytest.mark.parametrize("end", ["worker", "template", "forkserver", "guard", "version"])
async def test_what_code_has_started_ends_with_its_worker_and_version(
    make_engine: MakeEngine, end: str
) -> None:
    engine = await make_engine(workers_max=1)
    seconds = long_sleep()
    code = f"import os; os.system('setsid sleep {seconds} &'); os.system('sleep {seconds} &')"
    service = await serve_by(engine, f"{code}; y = os.getpid()")
    worker = (await service.outputs())["y"]
    await until(lambda: len(that_sleep(seconds)) == 2)
    daemons = that_sleep(seconds)
    if end == "worker":
        os.kill(worker, signal.SIGKILL)
    elif end == "template":
        os.kill(engine._pools[service.key].template_pid, signal.SIGKILL)
    elif end in {"forkserver", "guard"}:
        forkserver = psutil.Process(engine._pools[service.key].template_pid).parent()
        assert forkserver is not None
        os.kill(forkserver.pid if end == "forkserver" else forkserver.ppid(), signal.SIGKILL)
    else:
        await engine.remove(*service.key)
    assert not await asyncio.to_thread(that_run_on, daemons)


async def test_what_restoring_has_started_lives_as_long_as_the_template(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine(workers_max=1)
    seconds = long_sleep()
    source = (
        "class Starts:\n"
        f" def __reduce__(self): return __import__('os').system, ('sleep {seconds} &',)\n"
        "starts = Starts()\n"
    )
    service = await serve_by(engine, "import os; y = os.getpid()", snapshots.take(source))
    await until(lambda: that_sleep(seconds))
    (helper,) = that_sleep(seconds)
    os.kill((await service.outputs())["y"], signal.SIGKILL)
    await until(lambda: engine._timings[service.key].lost_workers == 1)
    assert await service.outputs()
    # A look for what the worker has left comes after half a second.
    await asyncio.sleep(1)
    assert helper.is_running()
    await engine.remove(*service.key)
    assert not await asyncio.to_thread(that_run_on, [helper])


async def test_a_killed_template_or_forkserver_is_replaced(make_engine: MakeEngine) -> None:
    engine = await make_engine(workers_max=1)

    async def definitions(name: str, version: str) -> ServiceDefinition:
        return define("y = 1", name=name)

    engine.definitions = definitions
    service = Service(engine, define("", name="Again").key)
    assert await service.outputs() == {"y": 1}
    for victim in ("template", "forkserver"):
        pool = engine._pools[service.key]
        pid = pool._template.pid if victim == "template" else engine._forkservers.live().pid
        workers = [psutil.Process(worker) for worker in engine._pools[service.key].pids]
        os.kill(pid, signal.SIGKILL)
        assert not await asyncio.to_thread(that_run_on, workers)
        await asyncio.sleep(0.1)
        assert await service.outputs() == {"y": 1}
        assert await service.outputs() == {"y": 1}
    counters = await engine.counters()
    assert counters.forkserver_restarts == 1
    assert sum(each.lost_templates for each in counters.versions) == 2
