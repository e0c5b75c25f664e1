from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from traitlets.config import Config

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.models import CreateSessionRequest
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.events.record import Change, EventAction
from jupyter_mlsvc_server.formats import confine
from jupyter_mlsvc_server.formats.guard import HAS_GUARDS
from jupyter_mlsvc_server.sessions.errors import (
    KernelDidNotStart,
    QueueIsFull,
    RuntimeNotAvailable,
    SessionEnded,
    SessionNotFound,
    SessionStarting,
    TooManySessions,
)
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.errors import SnapshotNotFound
from tests.clocks import ManualClock
from tests.processes import long_sleep, that_run_on, that_sleep
from tests.waiting import until

from .conftest import NoSnapshots, Run, make_manager, request_of

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

PLAIN = CreateSessionRequest()


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, Any]]:
    # Bounds that tests can reach; the shared session is one of Ann's three.
    return {
        "MlsvcSessionManager": {"max_sessions_per_user": 3, "cull_interval": 0.05, "max_queue": 2},
        "KernelFactory": {"environment": {"GIVEN": "by the operator"}},
    }


def folders(data_dir: Path, pattern: str) -> list[Path]:
    return list((data_dir / "sessions").glob(pattern))


async def test_a_session_is_listed_for_its_owner_alone(
    manager: MlsvcSessionManager, session: Session, ann: Principal, ben: Principal
) -> None:
    assert [each.id for each in await manager.list(ann)] == [session.id]
    assert (session.name, session.owner.name, session.runtime_type) == ("shared", "ann", "Python")
    assert await manager.list(ben) == []


async def test_other_peoples_sessions_look_as_if_they_were_not_there(
    manager: MlsvcSessionManager, session: Session, ben: Principal
) -> None:
    for call in (manager.get, manager.get_for_workspace, manager.close, manager.close_by_force):
        with pytest.raises(SessionNotFound) as refused:
            await call(ben, session.id)
        assert str(refused.value) == str(SessionNotFound(session.id))


async def test_a_user_can_have_no_more_sessions_than_allowed(
    manager: MlsvcSessionManager, session: Session, ann: Principal
) -> None:
    # Asked for at the same moment, four where two are free.
    outcomes = await asyncio.gather(
        *(manager.create(ann, PLAIN) for _ in range(4)), return_exceptions=True
    )
    created = [each for each in outcomes if isinstance(each, Session)]
    refused = [each for each in outcomes if isinstance(each, TooManySessions)]
    await asyncio.gather(*(manager.close_by_force(ann, each.id) for each in created))
    assert (len(created), len(refused)) == (0, 4) or (len(created), len(refused)) == (2, 2)
    assert [each.id for each in await manager.list(ann)] == [session.id]


async def test_session_is_listed_and_published_from_the_moment_it_is_asked_for(
    tmp_path: Path, ann: Principal, ben: Principal
) -> None:
    events: list[Change] = []
    manager = MlsvcSessionManager(
        data_dir=tmp_path,
        snapshots=NoSnapshots(),
        publish_event=events.append,
        config=Config({"KernelFactory": {"preload_at_start": False}}),
    )
    await manager.start()
    try:
        creating = asyncio.create_task(manager.create(ann, CreateSessionRequest(name="new")))
        await until(lambda: events)
        (row,) = await manager.describe(ann)
        assert (row.name, row.state, row.memory_bytes) == ("new", "starting", None)
        assert await manager.describe(ben) == []
        with pytest.raises(SessionStarting):
            await manager.get(ann, row.id)
        with pytest.raises(SessionNotFound):
            await manager.get(ben, row.id)
        session = await creating
        assert session.id == row.id
        (up,) = await manager.describe(ann)
        assert (up.id, up.state, up.creation_time) == (row.id, "idle", row.creation_time)
        assert [(each.action, each.owner.name) for each in events] == [
            (EventAction.CREATED, "ann"),
            (EventAction.CHANGED, "ann"),
        ]
    finally:
        await manager.stop()


async def test_session_that_cannot_be_made_is_published_as_deleted(
    tmp_path: Path, ann: Principal
) -> None:
    events: list[Change] = []
    manager = MlsvcSessionManager(
        data_dir=tmp_path,
        snapshots=NoSnapshots(),
        publish_event=events.append,
        config=Config(
            {
                "KernelFactory": {"environment": {"PYTHONHOME": "/nowhere"}},
            }
        ),
    )
    await manager.start()
    try:
        with pytest.raises(KernelDidNotStart):
            await manager.create(ann, PLAIN)
        assert [each.action for each in events] == [EventAction.CREATED, EventAction.DELETED]
        assert await manager.describe(ann) == []
    finally:
        await manager.stop()


async def test_loading_an_unknown_snapshot_leaves_no_session_and_publishes_that(
    tmp_path: Path, ann: Principal
) -> None:
    events: list[Change] = []
    manager = MlsvcSessionManager(
        data_dir=tmp_path, snapshots=NoSnapshots(), publish_event=events.append
    )
    await manager.start()
    try:
        with pytest.raises(SnapshotNotFound):
            await manager.create(ann, CreateSessionRequest(snapshot_id="none"))
        assert [each.action for each in events] == [EventAction.CREATED, EventAction.DELETED]
    finally:
        await manager.stop()


class LastLoad:
    """Loads a snapshot into sessions that die of it."""

    def __init__(self) -> None:
        self.events: list[Change] = []

    async def load(self, _principal: Principal, _snapshot_id: str, session: Session) -> None:
        assert session.process_id is not None
        os.kill(session.process_id, signal.SIGKILL)
        await until(lambda: self.events[-1].action is EventAction.DELETED)


async def test_session_that_dies_while_it_loads_is_published_as_deleted(
    tmp_path: Path, ann: Principal
) -> None:
    snapshots = LastLoad()
    manager = MlsvcSessionManager(
        data_dir=tmp_path, snapshots=snapshots, publish_event=snapshots.events.append
    )
    await manager.start()
    try:
        session = await manager.create(ann, CreateSessionRequest(snapshot_id="last"))
        with pytest.raises(SessionEnded):
            await manager.get(ann, session.id)
        assert [each.action for each in snapshots.events][-1] is EventAction.DELETED
    finally:
        await manager.stop()


@pytest.mark.parametrize("runtime_type", ["Julia", "python"])
async def test_a_runtime_that_is_not_there_is_refused_with_the_way_out(
    manager: MlsvcSessionManager, ann: Principal, runtime_type: str
) -> None:
    with pytest.raises(RuntimeNotAvailable, match='"runtimeType": "Python"') as refused:
        await manager.create(ann, CreateSessionRequest(runtime_type=runtime_type))
    assert runtime_type in str(refused.value)


async def test_a_name_without_end_is_refused(manager: MlsvcSessionManager, ann: Principal) -> None:
    with pytest.raises(BadRequest):
        await manager.create(ann, CreateSessionRequest(name="n" * 300))


async def test_no_session_is_left_when_its_snapshot_is_not_there(
    manager: MlsvcSessionManager, session: Session, ann: Principal
) -> None:
    with pytest.raises(SnapshotNotFound):
        await manager.create(ann, CreateSessionRequest(snapshot_id="nothing"))
    assert [each.id for each in await manager.list(ann)] == [session.id]


async def test_a_closed_session_tells_its_owner_that_it_was_closed(
    manager: MlsvcSessionManager, ann: Principal, ben: Principal
) -> None:
    session = await manager.create(ann, PLAIN)
    running = session.begin(request_of("import time; time.sleep(60)"))
    process = psutil.Process(session.process_id)
    await manager.close(ann, session.id)
    assert not process.is_running()
    assert not session.directory.exists()
    assert not (await running.response()).success
    with pytest.raises(SessionEnded, match="it was closed"):
        await manager.get(ann, session.id)
    with pytest.raises(SessionNotFound):
        await manager.get(ben, session.id)


@pytest.mark.parametrize("end", ["close", "close_by_force", "kill"])
async def test_what_the_code_has_started_ends_with_the_session(
    manager: MlsvcSessionManager, ann: Principal, end: str
) -> None:
    session = await manager.create(ann, PLAIN)
    seconds = long_sleep()
    code = f"import os; os.system('sleep {seconds} &'); kernel = os.getpid()"
    if HAS_GUARDS:
        code += f"; os.system('setsid sleep {seconds} &')"
    result = await session.execute(request_of(code, outputs=["kernel"]))
    await until(lambda: len(that_sleep(seconds)) == 1 + HAS_GUARDS)
    started = that_sleep(seconds)
    if end == "kill":
        os.kill(result.output_parameters[0].value, signal.SIGKILL)
    else:
        await getattr(manager, end)(ann, session.id)
    assert not await asyncio.to_thread(that_run_on, started)


async def test_no_more_executions_wait_than_allowed(session: Session) -> None:
    executions = [session.begin(request_of("import time; time.sleep(0.1)")) for _ in range(3)]
    with pytest.raises(QueueIsFull):
        session.begin(request_of("1"))
    assert all([(await each.response()).success for each in executions])


async def test_the_servers_environment_does_not_reach_a_session(session: Session, run: Run) -> None:
    assert session.process_id is not None
    result = await run("import os\nseen = dict(os.environ)", outputs=["seen"])
    seen = result.output_parameters[0].value
    assert seen["GIVEN"] == "by the operator"
    # What the process was started with can't hold more, as code may read that too.
    started_with = psutil.Process(session.process_id).environ()
    started_with.pop(confine.VARIABLE, None)  # is for the guard
    for environment in (seen, started_with):
        assert not [
            name for name in environment if name.startswith(("MLSVC_", "JUPYTER", "PYTEST"))
        ]
    assert set(started_with) & {"JPY_SESSION_NAME", "JPY_API_TOKEN"} == set()
    assert not [name for name in seen if name.startswith("JPY_")]


async def test_a_session_has_a_folder_of_its_own_and_a_clean_workspace(
    session: Session, run: Run
) -> None:
    result = await run("import os\nwhere = os.getcwd()", outputs=["where"])
    assert result.output_parameters[0].value == str(session.directory)
    home = session.directory.parent
    assert home.stat().st_mode & 0o077 == 0
    assert (home / "connection.json").stat().st_mode & 0o077 == 0
    assert set(await session.objects()) <= {"os", "where", "seen", "time", "x"}


async def test_startup_files_of_the_servers_owner_do_not_run(session: Session, run: Run) -> None:
    result = await run("folder = get_ipython().ipython_dir", outputs=["folder"])
    assert result.output_parameters[0].value == str(session.directory.parent / "own" / "ipython")


async def test_sessions_that_are_idle_for_too_long_are_closed_but_busy_ones_are_not(
    manager: MlsvcSessionManager, session: Session, ann: Principal, clock: ManualClock
) -> None:
    idle = await manager.create(ann, PLAIN)
    busy = session.begin(request_of("import time; time.sleep(600)"))
    clock.advance(manager.idle_timeout - 1)
    assert (await row_of(manager, ann, idle)).idle_seconds == manager.idle_timeout - 1
    assert idle.directory.exists()
    clock.advance(2)
    await until(lambda: not idle.directory.exists())
    assert not busy.is_finished
    assert await session.cancel()
    assert (await manager.get(ann, session.id)) is session
    with pytest.raises(SessionEnded, match="idle for more than"):
        await manager.get(ann, idle.id)


async def test_a_session_with_a_lease_ends_with_it_even_if_it_is_busy(
    manager: MlsvcSessionManager, ann: Principal, clock: ManualClock
) -> None:
    leased = await manager.create(ann, CreateSessionRequest(name="run", lease_seconds=60))
    busy = leased.begin(request_of("import time; time.sleep(600)"))
    for _ in range(3):
        clock.advance(50)
        assert (await row_of(manager, ann, leased)).lease_seconds == 10
        await manager.renew(ann, leased.id)
        assert (await row_of(manager, ann, leased)).lease_seconds == 60
    clock.advance(61)
    await until(lambda: not leased.directory.exists())
    assert busy.is_finished
    with pytest.raises(SessionEnded, match="did not renew its lease"):
        await manager.renew(ann, leased.id)


async def row_of(
    manager: MlsvcSessionManager, person: Principal, session: Session
) -> models.Session:
    (row,) = [each for each in await manager.describe(person) if each.id == session.id]
    return row


@pytest.mark.parametrize("seconds", [0, -1, 0.5, float("nan")])
async def test_a_lease_has_a_length(
    manager: MlsvcSessionManager, ann: Principal, seconds: float
) -> None:
    with pytest.raises(BadRequest, match="leaseSeconds"):
        await manager.create(ann, CreateSessionRequest(lease_seconds=seconds))


async def test_renewing_is_no_use_and_for_the_owner_alone(
    manager: MlsvcSessionManager, session: Session, ann: Principal, ben: Principal
) -> None:
    before = session.last_activity
    await manager.renew(ann, session.id)
    assert session.last_activity == before
    with pytest.raises(SessionNotFound):
        await manager.renew(ben, session.id)


async def test_a_session_tells_whose_notebooks_it_is(
    manager: MlsvcSessionManager, ann: Principal
) -> None:
    path = "/home/ann/a.ipynb"
    session = await manager.create(ann, CreateSessionRequest(notebook=path))
    assert (await row_of(manager, ann, session)).notebook == path
    await manager.close(ann, session.id)
    with pytest.raises(BadRequest, match="path of a notebook"):
        await manager.create(ann, CreateSessionRequest(notebook="n" * 5000))


async def test_a_kernel_that_cannot_start_is_an_error_and_leaves_nothing(
    tmp_path: Path, ann: Principal
) -> None:
    manager = make_manager(
        tmp_path,
        KernelFactory={"environment": {"PYTHONHOME": "/nowhere"}},
    )
    await manager.start()
    try:
        with pytest.raises(KernelDidNotStart):
            await manager.create(ann, PLAIN)
        assert await manager.list(ann) == []
        assert folders(tmp_path, "run-*/*-*") == []
    finally:
        await manager.stop()


SERVER = """
import asyncio, sys
from pathlib import Path
from jupyter_mlsvc.wire.models import CreateSessionRequest, ExecuteRequest
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager

async def main():
    manager = MlsvcSessionManager(data_dir=Path(sys.argv[1]), snapshots=None)
    await manager.start()
    session = await manager.create(Principal("ann", "ann", Role.OWNER), CreateSessionRequest())
    code = f"import os; os.system('setsid sleep {sys.argv[2]} &')"
    await session.execute(ExecuteRequest(code=code))
    print(session.process_id, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_server_leaves_no_kernel_and_the_next_one_sweeps_its_folders(
    tmp_path: Path,
) -> None:
    seconds = long_sleep()
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(tmp_path), seconds, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    kernel = psutil.Process(int(await server.stdout.readline()))
    (run,) = folders(tmp_path, "run-*")
    sockets = (run / "sockets").readlink()

    # While it lives, another server on the same folder leaves its folders alone.
    other = make_manager(tmp_path, KernelFactory={"preload_at_start": False})
    await other.start()
    await other.stop()
    assert run.exists()

    await until(lambda: that_sleep(seconds))
    if HAS_GUARDS:  # the guard adopts it once its parent has ended
        await until(lambda: that_sleep(seconds)[0] in kernel.children(recursive=True))
    started = [kernel, *kernel.children(recursive=True)]
    server.kill()
    await server.wait()
    assert not await asyncio.to_thread(that_run_on, started)
    await other.start()
    await other.stop()
    assert not run.exists()
    assert not sockets.exists()
