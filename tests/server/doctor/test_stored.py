"""The doctor on all that is stored: what is damaged is named, with who has it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import sqlalchemy as sa
from traitlets.config import Config

from jupyter_mlsvc_server.batches.files import RECORDS, RESULTS
from jupyter_mlsvc_server.doctor.data import check_object_store
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State
from jupyter_mlsvc_server.doctor.stored import check_stored_data
from jupyter_mlsvc_server.storage.backup import back_up
from jupyter_mlsvc_server.storage.blobs import TRASH
from jupyter_mlsvc_server.storage.object_store import ObjectStore
from jupyter_mlsvc_server.storage.schema import contents
from tests.server.snapshots.test_damage import flip
from tests.server.snapshots.test_upload import manifest_of
from tests.server.storage.stored import BATCH, store


@pytest.fixture
async def setup(tmp_path: Path) -> Setup:
    """A data folder with a snapshot and a batch that has ended."""
    await store(tmp_path)
    return Setup(data_dir=tmp_path)


def wrong(setup: Setup) -> list[Finding]:
    return [each for each in check_stored_data(setup) if each.state is State.FAIL]


def blob(setup: Setup, digest: str) -> Path:
    return setup.data_dir / "blobs" / digest[:2] / digest


async def test_whole_data_are_found_whole(setup: Setup) -> None:
    found = list(check_stored_data(setup))
    assert [each.state for each in found] == [State.OK] * 3
    assert found[1].message == "Whole: 4 contents, blobs or batches."
    assert found[2].message == "Whole: 1 contents, blobs or batches."


async def test_an_empty_folder_has_nothing_to_check(tmp_path: Path) -> None:
    (found,) = check_stored_data(Setup(data_dir=tmp_path))
    assert found.state is State.INFO


async def test_each_damaged_blob_is_named_with_who_has_it(setup: Setup) -> None:
    manifest = manifest_of()
    flip(blob(setup, manifest.buffers[0].digest))
    blob(setup, manifest.files[0].digest).unlink()
    found = {each.message for each in wrong(setup)}
    assert found == {
        f"blob {manifest.buffers[0].digest}, the large data of its objects of snapshot 'iris' of "
        "ann: its content is not what it was.",
        f"blob {manifest.files[0].digest}, the file 'data.csv' of snapshot 'iris' of ann: its file "
        "is missing.",
    }


async def test_a_blob_in_the_trash_is_not_missing(setup: Setup) -> None:
    digest = manifest_of().stream.digest
    (setup.data_dir / "blobs" / TRASH).mkdir()
    blob(setup, digest).rename(setup.data_dir / "blobs" / TRASH / digest)
    assert wrong(setup) == []


async def test_a_damaged_manifest_is_found(setup: Setup) -> None:
    engine = sa.create_engine(f"sqlite:///{setup.data_dir / 'mlsvc.db'}")
    with engine.begin() as connection:
        changed = sa.func.replace(contents.c.manifest, "data.csv", "Data.csv")
        connection.execute(contents.update().values(manifest=changed))
    engine.dispose()
    (found,) = wrong(setup)
    assert "of snapshot 'iris' of ann: The stored content is damaged" in found.message


@pytest.mark.parametrize(
    ("name", "what"), [(RECORDS, "1 of 2 records"), (RESULTS, "1 of 2 results")]
)
async def test_a_damaged_batch_is_found(setup: Setup, name: str, what: str) -> None:
    flip(setup.data_dir / "batches" / BATCH / name)
    (found,) = wrong(setup)
    assert found.message == f"batch {BATCH} of service echo/1: {what} are damaged."
    (setup.data_dir / "batches" / BATCH / name).unlink()
    (found,) = wrong(setup)
    assert "a file of it cannot be read" in found.message


async def test_a_damaged_database_file_is_found(setup: Setup) -> None:
    path = setup.data_dir / "mlsvc.db"
    content = bytearray(path.read_bytes())
    for at in range(8192, len(content), 4096):
        content[at : at + 200] = bytes(200)
    path.write_bytes(content)
    assert wrong(setup)[0].check in {"database file", "stored data"}


async def test_blobs_of_an_object_store_are_read_there(
    setup: Setup, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("obstore", reason="pip install obstore")
    objects = tmp_path / "objects"
    objects.mkdir()
    (setup.data_dir / "blobs").rename(objects / "blobs")
    shared = Setup(data_dir=setup.data_dir, config=Config({"BlobStore": {"url": objects.as_uri()}}))
    assert wrong(shared) == []
    manifest = manifest_of()
    flip(objects / "blobs" / manifest.stream.digest[:2] / manifest.stream.digest)
    (found,) = wrong(shared)
    assert "the object store has something else under its name" in found.message
    copied = back_up(
        sa.make_url(f"sqlite:///{setup.data_dir}/mlsvc.db"),
        setup.data_dir,
        tmp_path_factory.mktemp("copy"),
        objects=ObjectStore.at(objects.as_uri(), logging.getLogger("test")),
    )
    assert (copied.blobs, copied.problems) == (
        2,
        [f"Blob {manifest.stream.digest} is damaged and was not copied."],
    )
    (found,) = check_object_store(shared)
    assert found.state is State.INFO
    (objects / "blobs").rename(tmp_path / "gone")
    objects.rmdir()
    (found,) = check_object_store(shared)
    assert found.state is State.FAIL
    (found,) = check_object_store(setup)
    assert found.state is State.INFO
