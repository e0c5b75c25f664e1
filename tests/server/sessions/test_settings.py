"""Each setting of sessions does what its help says."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from jupyter_mlsvc.wire.models import CreateSessionRequest
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.sessions.errors import KernelDidNotStart
from jupyter_mlsvc_server.sessions.kernels import Kernel, KernelFactory
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session

from .conftest import Run, make_manager, request_of

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, Any]]:
    return {
        "KernelFactory": {
            "max_output_message_bytes": 20_000,
            "sklearn_1d": False,
            "environment_names": ["MINE_*"],
            "environment": {"GIVEN": "given"},
            "shutdown_timeout": 0.2,
            "niceness": 7,
            "preload_at_start": False,
        },
        "MlsvcSessionManager": {"max_output_bytes": 50_000, "max_executions_kept": 3},
    }


def runs(process_id: int | None) -> bool:
    return Path(f"/proc/{process_id}").exists()


async def test_niceness_lowers_the_priority_of_all_threads_of_a_session(run: Run) -> None:
    code = (
        "import os, subprocess, threading\n"
        "ids = [int(each) for each in os.listdir('/proc/self/task')]\n"
        "found = {os.getpriority(os.PRIO_PROCESS, each) for each in ids}\n"
        "found.add(int(subprocess.check_output('nice')))\n"
        "print(found)"
    )
    assert (await run(code)).console_output == f"{{{os.getpriority(os.PRIO_PROCESS, 0) + 7}}}\n"


async def test_niceness_counts_among_groups_of_processes_as_well(run: Run) -> None:
    own = own_group()
    assert not own or await nice_of_group(run) == nice(own) + 7


async def nice_of_group(run: Run) -> int:
    return nice((await run("print(open('/proc/self/autogroup').read())")).console_output)


def own_group() -> str:
    """Describe our group; empty where processes are not scheduled by groups."""
    group = Path("/proc/self/autogroup")
    return group.read_text() if group.exists() else ""


def nice(group: str) -> int:
    return int(group.rpartition(" ")[2])


async def test_max_output_message_bytes_cuts_one_output(run: Run) -> None:
    result = await run("print('x' * 30_000, flush=True)\nprint('after')")
    assert "left out" in result.console_output
    assert "20,000" in result.console_output
    assert result.console_output.endswith("after\n")
    assert len((await run("print('x' * 15_000)")).console_output) == 15_001


async def test_max_output_bytes_cuts_all_output_of_an_execution(session: Session) -> None:
    code = "for _ in range(20): print('x' * 10_000, flush=True)"
    execution_id = await session.start_execution(request_of(code))
    lines = [line async for batch in session.events(execution_id) for line in batch.splitlines()]
    events = [json.loads(line) for line in lines]
    texts = [each["text"] for each in events if each["type"] == "stream"]
    assert 30_000 < sum(map(len, texts)) <= 50_000
    assert events[-2]["type"] == "truncated"
    assert 50_000 < len(events[-1]["consoleOutput"]) < 50_200


async def test_max_executions_kept_drops_the_oldest(session: Session) -> None:
    for number in range(6):
        await session.execute(request_of(f"kept = {number}"))
    kept = [each.code for each in session.executions()]
    assert kept[-1] == "kept = 5"
    assert 3 <= len(kept) <= 4


async def test_sklearn_1d_may_be_off(run: Run) -> None:
    code = "from sklearn.svm import SVC\nSVC().fit([[0], [1]], [0, 1]).predict([0])"
    assert "Expected 2D array" in (await run(code)).error_message


async def test_environment_of_sessions(
    manager: MlsvcSessionManager, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE_A", "a")
    monkeypatch.setenv("THEIRS", "b")
    session = await manager.create(ann, CreateSessionRequest(name="environment"))
    code = "import os; found = [os.environ.get(x) for x in ('MINE_A', 'THEIRS', 'GIVEN')]"
    result = await session.execute(request_of(code, outputs=["found"]))
    assert result.output_parameters[0].value == ["a", None, "given"]
    await session.close()


async def test_shutdown_timeout_ends_a_kernel_that_goes_on(
    manager: MlsvcSessionManager, ann: Principal
) -> None:
    session = await manager.create(ann, CreateSessionRequest(name="goes on"))
    # A thread that is no daemon holds the end of the interpreter up.
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(100_000,)).start()"
    await session.execute(request_of(code))
    process_id = session.process_id
    assert runs(process_id)
    await session.close()
    assert not runs(process_id)


async def test_start_timeout_gives_a_kernel_up(tmp_path: Path) -> None:
    factory = KernelFactory(
        data_dir=tmp_path, config=Config({"KernelFactory": {"start_timeout": 0.1}})
    )
    await factory.start()
    try:
        async with asyncio.timeout(60):
            with pytest.raises(KernelDidNotStart) as raised:
                await factory.start_kernel("Python")
    finally:
        await factory.stop()
    assert isinstance(raised.value.__cause__, TimeoutError)


class OwnFactory(KernelFactory):
    """Starts no kernel at all."""

    async def start_kernel(self, runtime_type: str, user: int = 0) -> Kernel:
        raise KernelDidNotStart(f"own {runtime_type}")


async def test_kernel_factory_class_starts_the_kernels(tmp_path: Path, ann: Principal) -> None:
    own = make_manager(
        tmp_path,
        MlsvcSessionManager={"kernel_factory_class": OwnFactory},
        KernelFactory={"preload_at_start": False},
    )
    await own.start()
    try:
        with pytest.raises(KernelDidNotStart, match="own Python"):
            await own.create(ann, CreateSessionRequest(name="own"))
    finally:
        await own.stop()
