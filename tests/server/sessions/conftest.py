"""Real kernels under a real manager, one a module, and people to use them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from traitlets.config import Config

from jupyter_mlsvc.wire.models import (
    CreateSessionRequest,
    ExecuteRequest,
    ExecuteResponse,
    WorkspaceObject,
)
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.errors import SnapshotNotFound
from jupyter_mlsvc_server.storage.clock import Clock
from tests.clocks import ManualClock

Run = Callable[..., Awaitable[ExecuteResponse]]


class NoSnapshots:
    """A server on which nobody has taken a snapshot."""

    async def load(self, _principal: Principal, snapshot_id: str, _session: Session) -> object:
        raise SnapshotNotFound(snapshot_id)


def make_manager(
    data_dir: Path, clock: Clock = time.monotonic, **traits: dict[str, Any]
) -> MlsvcSessionManager:
    """Make a manager that is not started yet; traits by class, as in a configuration file."""
    return MlsvcSessionManager(
        data_dir=data_dir, snapshots=NoSnapshots(), clock=clock, config=Config(traits)
    )


def request_of(
    code: str, inputs: dict[str, Any] | None = None, outputs: list[str] | None = None
) -> ExecuteRequest:
    """Write a request as a client would."""
    given = [WorkspaceObject(name=name, value=value) for name, value in (inputs or {}).items()]
    return ExecuteRequest(code=code, input_parameters=given, output_parameters=outputs)


async def set_object(session: Session, name: str, data: bytes) -> None:
    """Set an object from its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "object"
        source.write_bytes(data)
        await session.set_object(name, source)


async def get_object(session: Session, name: str) -> bytes:
    """Read an object's bytes."""
    file = await session.get_object(name)
    with file.stream:
        return file.stream.read()


@pytest.fixture(scope="session")
def ann() -> Principal:
    return Principal("ann", "ann", Role.CONTRIBUTOR)


@pytest.fixture(scope="session")
def ben() -> Principal:
    return Principal("ben", "ben", Role.OWNER)


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, Any]]:
    """Traits of the module's manager; override to change them."""
    return {}


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The clock of the module's manager: sessions are idle for no longer than a test says."""
    return ManualClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(
    tmp_path_factory: pytest.TempPathFactory,
    settings: dict[str, dict[str, Any]],
    clock: ManualClock,
) -> AsyncIterator[MlsvcSessionManager]:
    started = make_manager(tmp_path_factory.mktemp("sessions"), clock, **settings)
    await started.start()
    yield started
    await started.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(manager: MlsvcSessionManager, ann: Principal) -> Session:
    """One session that a module's tests share."""
    return await manager.create(ann, CreateSessionRequest(name="shared"))


@pytest.fixture
def run(session: Session) -> Run:
    """Run code in the shared session: ``await run("y = x", {"x": 1}, ["y"])``."""

    async def run_it(
        code: str, inputs: dict[str, Any] | None = None, outputs: list[str] | None = None
    ) -> ExecuteResponse:
        return await session.execute(request_of(code, inputs, outputs))

    return run_it
