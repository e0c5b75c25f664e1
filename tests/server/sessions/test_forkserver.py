"""Sessions whose kernels are forked: they are like others, and need their forkserver no more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from jupyter_client.kernelspec import KernelSpec

from jupyter_mlsvc.wire.models import CreateSessionRequest
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.formats.guard import HAS_GUARDS
from jupyter_mlsvc_server.formats.kernel_fork import KernelRequest
from jupyter_mlsvc_server.sessions.forkserver import (
    CannotFork,
    ForkedProcess,
    KernelForkserver,
    interpreter_of,
)
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session
from tests.server.sessions.conftest import make_manager, request_of
from tests.waiting import until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not HAS_GUARDS, reason="kernels are forked on Linux only"),
]

PLAIN = CreateSessionRequest(name="plain")

LOOK = """
import gc, json, os, signal, sys, threading, warnings, random, locale
print(json.dumps({
    "modules": sorted(sys.modules),
    "path": sys.path,
    "argv": sys.argv,
    "orig_argv": sys.orig_argv[1:],
    "flags": repr(sys.flags),
    "options": repr(sys._xoptions),
    "variables": dict(os.environ),
    "directory": os.getcwd(),
    "signals": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "filters": sorted(map(repr, warnings.filters)),
    "main": threading.current_thread() is threading.main_thread(),
    "session": os.getsid(0) == os.getpgid(0) == os.getppid(),
    "score": open("/proc/self/oom_score_adj").read(),
    "locale": locale.setlocale(locale.LC_ALL),
    "umask": os.umask(0o022),
    "main_file": hasattr(sys.modules["__main__"], "__file__"),
    "gc": gc.isenabled(),
}))
"""
FORKED = {
    *("jupyter_mlsvc_server.formats.guard", "jupyter_mlsvc_server.formats.confine"),
    *("jupyter_mlsvc_server.formats.kernel_fork", "pwd", "resource"),
}
"""Modules that the way to a forked kernel needs, and others do without."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MlsvcSessionManager]:
    started = make_manager(tmp_path_factory.mktemp("forked"))
    await started.start()
    yield started
    await started.stop()


def forkserver_of(manager: MlsvcSessionManager) -> KernelForkserver:
    return manager._factory._forkserver


async def printed(session: Session, code: str) -> str:
    answer = await session.execute(request_of(code))
    assert answer.success, answer.error_message
    return answer.console_output


async def looks(session: Session) -> dict[str, Any]:
    """What code sees, with the folders of its session taken out."""
    text = await printed(session, LOOK)
    folders = session._kernel.folders
    for folder in (folders.home, folders.sockets):
        text = text.replace(str(folder), "FOLDER")
    found: dict[str, Any] = json.loads(text)
    return found


def is_forked(session: Session) -> bool:
    assert session.process_id is not None
    command = psutil.Process(session.process_id).cmdline()
    return "jupyter_mlsvc_server.kernel.forkserver" in command


async def test_code_can_not_tell_that_its_kernel_was_forked(
    manager: MlsvcSessionManager, ann: Principal
) -> None:
    forked = await manager.create(ann, PLAIN)
    assert is_forked(forked)
    await forkserver_of(manager).stop()
    plain = await manager.create(ann, PLAIN)
    assert not is_forked(plain)
    ours, others = await looks(forked), await looks(plain)
    modules, usual = set(ours.pop("modules")), set(others.pop("modules"))
    assert modules - usual <= FORKED
    assert usual - modules == set()
    assert ours == others
    await manager._factory._use_forkserver()
    await asyncio.gather(forked.close(), plain.close())


async def test_sessions_outlive_their_forkserver_and_the_next_one_has_a_new_one(
    manager: MlsvcSessionManager, ann: Principal
) -> None:
    first = await manager.create(ann, PLAIN)
    assert (await first.execute(request_of("x = 1"))).success
    pid = forkserver_of(manager).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    second = await manager.create(ann, PLAIN)
    assert is_forked(second)
    assert forkserver_of(manager).pid != pid
    assert await printed(first, "print(x)") == "1\n"
    code = "import random; print(random.random())"
    assert await printed(first, code) != await printed(second, code)
    await asyncio.gather(first.close(), second.close())


async def test_a_kernel_that_is_killed_ends_its_session_with_the_reason(
    manager: MlsvcSessionManager, ann: Principal
) -> None:
    session = await manager.create(ann, PLAIN)
    answer = await session.execute(request_of("import os; os.kill(os.getpid(), 9)"))
    assert not answer.success
    assert "SIGKILL" in (answer.error_message or "")
    assert session.process_id is not None
    await until(lambda: not psutil.pid_exists(session.process_id or 0))


async def test_a_fork_that_nobody_waits_for_leaves_no_process(
    manager: MlsvcSessionManager, tmp_path: Path
) -> None:
    forkserver, me = forkserver_of(manager), psutil.Process()
    assert forkserver.pid is not None
    before = {each.pid for each in me.children()}
    request = KernelRequest(
        arguments=("-f", str(tmp_path / "connection.json")),
        environment=dict(os.environ),
        directory=str(tmp_path),
    )
    with Path(os.devnull).open("w") as output:  # noqa: ASYNC230  # it takes no time
        fork = asyncio.create_task(forkserver.fork(request, output.fileno()))
        await asyncio.sleep(0)
        await until(lambda: len(forkserver._tasks) == 1)
        fork.cancel()
        await asyncio.gather(fork, return_exceptions=True)
        assert fork.cancelled()
        await until(lambda: not forkserver._tasks)
    assert {each.pid for each in me.children()} <= before


async def test_a_forkserver_that_has_just_ended_is_replaced_at_once(
    manager: MlsvcSessionManager, tmp_path: Path
) -> None:
    forkserver = forkserver_of(manager)
    request = KernelRequest(
        arguments=("-f", str(tmp_path / "connection.json")),
        environment=dict(os.environ),
        directory=str(tmp_path),
    )
    with Path(os.devnull).open("w") as output:  # noqa: ASYNC230  # it takes no time
        for _ in range(2):
            process = await forkserver.fork(request, output.fileno())
            process.terminate()
            await asyncio.to_thread(process.wait)
            assert forkserver.pid is not None
            os.kill(forkserver.pid, signal.SIGKILL)
            # Nothing else has its turn before the next one is wanted.
            os.waitid(os.P_PID, forkserver.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222


async def test_a_kernel_gets_no_file_that_has_the_number_of_its_output(
    manager: MlsvcSessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forkserver = forkserver_of(manager)
    sent: list[str] = []
    is_its_turn = asyncio.Event()

    async def fork(_request: KernelRequest, output: int) -> ForkedProcess:
        await is_its_turn.wait()
        sent.append(os.readlink(f"/proc/self/fd/{output}"))  # noqa: PTH115
        raise CannotFork

    monkeypatch.setattr(forkserver, "_fork", fork)
    request = KernelRequest(arguments=(), environment={}, directory=str(tmp_path))
    output = os.open(os.devnull, os.O_WRONLY)
    asked = asyncio.create_task(forkserver.fork(request, output))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    os.close(output)
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_WRONLY)
    is_its_turn.set()
    await until(lambda: bool(sent))
    os.close(other)
    assert sent == [os.devnull]


@pytest.mark.parametrize(
    ("argv", "metadata", "interpreter"),
    [
        (["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], {}, ["/py"]),
        (["/env/bin/python", "-Xa", "-m", "ipykernel", "-f", "x"], {}, ["/env/bin/python", "-Xa"]),
        (["python", "-m", "bash_kernel", "-f", "{connection_file}"], {}, []),
        (["R", "--slave", "-e", "IRkernel::main()"], {}, []),
        (["python", "-m", "ipykernel", "-f", "x"], {"kernel_provisioner": {}}, []),
    ],
    ids=["usual", "options", "another kernel", "another language", "started by others"],
)
async def test_only_kernels_of_ipykernel_are_forked(
    argv: list[str], metadata: dict[str, Any], interpreter: list[str]
) -> None:
    assert interpreter_of(KernelSpec(argv=argv, metadata=metadata), "/py") == interpreter
