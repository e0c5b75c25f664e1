"""A real database, blob store and snapshot manager, and real sessions to take snapshots of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_mlsvc.wire.models import CreateSessionRequest, ExecuteRequest
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.snapshots.stat_cache import ScanTime
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import Database


@dataclass(frozen=True)
class Server:
    """The parts of a server that snapshots touch."""

    data_dir: Path
    database: Database
    blobs: BlobStore
    snapshots: SnapshotManager
    sessions: MlsvcSessionManager

    def blob_names(self) -> set[str]:
        return {path.name for path in self.blobs.folder.rglob("*") if path.is_file()}

    async def session(
        self, principal: Principal, code: str = "", runtime_type: str = "Python"
    ) -> Session:
        request = CreateSessionRequest(runtime_type=runtime_type)
        session = await self.sessions.create(principal, request)
        await run(session, code)
        return session


async def run(session: Session, code: str, *outputs: str) -> dict[str, Any]:
    """Run code that must succeed; gives the values of outputs."""
    request = ExecuteRequest(code=code, output_parameters=list(outputs))
    response = await session.execute(request)
    assert response.success, response.console_output
    return {output.name: output.value for output in response.output_parameters}


@pytest.fixture(scope="session")
def ann() -> Principal:
    return Principal("ann", "ann", Role.CONTRIBUTOR)


@pytest.fixture(scope="session")
def ben() -> Principal:
    return Principal("ben", "ben", Role.OWNER)


@pytest.fixture(scope="session")
def tells_of_changes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip the test where the file system does not tell of every change of a file."""
    if ScanTime.at(tmp_path_factory.getbasetemp()).device is None:
        pytest.skip("the folder for temporary files is not on ext4, XFS or Btrfs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    data_dir = tmp_path_factory.mktemp("data")
    database = Database(data_dir=data_dir)
    blobs = BlobStore(data_dir=data_dir, grace_seconds=0, trash_seconds=0)
    snapshots = SnapshotManager(
        database=database, blobs=blobs, data_dir=data_dir, hold_seconds=0, collect_interval=0
    )
    sessions = MlsvcSessionManager(data_dir=data_dir, snapshots=snapshots)
    await database.start()
    await snapshots.start()
    await sessions.start()
    yield Server(data_dir, database, blobs, snapshots, sessions)
    await sessions.stop()
    await snapshots.stop()
    await database.stop()
