"""Snapshots whose files, or rows, are not what they were: refused by name, and healed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa

from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.formats.manifest import BlobEntry, Manifest
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.errors import ContentDamaged
from jupyter_mlsvc_server.storage.schema import contents
from tests.server.snapshots.conftest import run

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

_CODE = """
import numpy as np
model = np.arange(50_000.0)
open("data.csv", "w").write("a,b")
"""

PARTS: dict[str, tuple[Callable[[Manifest], BlobEntry], str]] = {
    "stream": (lambda manifest: manifest.stream, "the objects of its workspace"),
    "buffer": (lambda manifest: manifest.buffers[0], "the large data of its objects"),
    "file": (lambda manifest: manifest.files[0], "the file 'data.csv'"),
}


@pytest_asyncio.fixture(loop_scope="module")
async def session(server: Any, ann: Principal) -> AsyncIterator[Session]:
    opened = await server.session(ann, _CODE)
    yield opened
    await server.sessions.close(ann, opened.id)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def no_leftovers(server: Any, ann: Principal) -> AsyncIterator[None]:
    yield
    for snapshot in await server.snapshots.list(ann):
        await server.snapshots.delete(ann, snapshot.id)


def flip(path: Path) -> None:
    """Turn a bit in the middle of a file."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("kind", PARTS)
async def test_a_turned_bit_is_refused_by_all_who_read_and_healed_by_a_new_snapshot(
    server: Any, ann: Principal, session: Session, kind: str
) -> None:
    snapshot_id = (await server.snapshots.create(ann, session)).snapshot_id
    record = await server.snapshots.find(snapshot_id)
    part, name = PARTS[kind]
    digest = part((await server.snapshots.content(record.content_id)).manifest).digest
    flip(server.blobs.path(digest))
    await run(session, "model[:] = 7; open('data.csv', 'w').write('c')")
    for refused in (
        server.snapshots.content(record.content_id),
        server.snapshots.zip_stream(ann, snapshot_id),
        server.snapshots.load(ann, snapshot_id, session),
    ):
        with pytest.raises(ContentDamaged, match=f"damaged in {name}.*{digest} is damaged"):
            await refused
    assert await run(session, "m = model[1]; text = open('data.csv').read()", "m", "text") == {
        "m": 7,
        "text": "c",
    }
    assert (await server.snapshots.contents(ann, snapshot_id)).objects
    await run(session, "del m, text")
    await run(session, _CODE)
    await server.snapshots.create(ann, session)
    await server.snapshots.load(ann, snapshot_id, session)
    assert await run(session, "m = model[1]; text = open('data.csv').read()", "m", "text") == {
        "m": 1,
        "text": "a,b",
    }


async def test_a_manifest_that_is_not_what_was_written_is_refused(
    server: Any, ann: Principal, session: Session
) -> None:
    snapshot_id = (await server.snapshots.create(ann, session)).snapshot_id
    record = await server.snapshots.find(snapshot_id)
    changed = sa.func.replace(contents.c.manifest, "numpy.ndarray", "numpy.ndarraz")
    await server.database.run(
        lambda connection: connection.execute(
            contents.update().where(contents.c.id == record.content_id).values(manifest=changed)
        )
    )
    for refused in (
        server.snapshots.content(record.content_id),
        server.snapshots.contents(ann, snapshot_id),
        server.snapshots.archive_size(ann, snapshot_id),
    ):
        with pytest.raises(ContentDamaged, match=f"its manifest .content {record.content_id}."):
            await refused
    # An equal one does not share what is damaged.
    other = (await server.snapshots.create(ann, session)).snapshot_id
    assert await server.snapshots.contents(ann, other)
    assert [each.id for each in await server.snapshots.list(ann)] == [snapshot_id, other]
