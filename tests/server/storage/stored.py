"""A data folder with something in it, made without a server."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.batches.files import Result, Results
from jupyter_mlsvc_server.batches.record_parser import Upload
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.installation import Installation
from jupyter_mlsvc_server.storage.schema import batches
from tests.server.snapshots.test_upload import archive_of

BATCH = "b1"


async def store(data_dir: Path) -> None:
    """Store a snapshot, that of ``archive_of()``, and a batch that has ended."""
    database = Database(data_dir=data_dir)
    await database.start()
    await Installation(database=database, data_dir=data_dir).require()
    manager = SnapshotManager(
        database=database, blobs=BlobStore(data_dir=data_dir), data_dir=data_dir
    )
    await manager.start()
    await manager.upload(Principal("ann", "ann", Role.CONTRIBUTOR), archive_of(), "iris")
    await database.run(_add_batch)
    await manager.stop()
    await database.stop()
    folder = data_dir / "batches" / BATCH
    folder.mkdir(parents=True)
    upload = Upload(folder)
    await upload.write(b'[{"n":1},{"n":2}]')
    await upload.split(2)
    results = Results(folder)
    results.append([Result(0, b'{"y":1}', False), Result(1, b'{"y":2}', False)])
    results.close()


def _add_batch(connection: sa.Connection) -> None:
    numbers = {"parallel_count": 1, "total": 2, "completed": 2, "failed": 0}
    texts = {"reason": "", "created_at": now_text(), "finished_at": now_text()}
    connection.execute(
        batches.insert().values(
            id=BATCH, name="echo", version="1", owner_id="ann", state="Complete", **numbers, **texts
        )
    )
