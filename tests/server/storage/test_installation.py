"""A database that does not belong to the data folder: refused before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlsvc_server.storage.clock import now_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.installation import (
    ID_FILE,
    Half,
    Installation,
    OtherInstallation,
    misfit,
)
from jupyter_mlsvc_server.storage.schema import content_blobs, contents
from tests.server.storage.test_database import mode_of

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("database", "folder", "common", "why"),
    [
        (Half("x", 3), Half("x", 9), True, None),
        (Half("x", 0), Half("x", 9), False, None),  # an older one: what is too much is kept
        (Half(None, 0), Half(None, 0), False, None),
        (Half("x", 0), Half(None, 0), False, None),
        (Half(None, 0), Half("x", 0), False, None),
        (Half(None, 2), Half(None, 2), True, None),  # from before there were ids
        (Half("x", 0), Half("y", 0), False, "of another data folder"),
        (Half("x", 2), Half("y", 2), True, "of another data folder"),
        (Half(None, 0), Half("x", 1), False, "it is empty, and the data folder holds one thing"),
        (Half(None, 0), Half(None, 5), False, "it is empty, and the data folder holds 5 things"),
        (Half(None, 2), Half("x", 5), True, "it has no installation id"),
        (Half("x", 2), Half(None, 0), False, "the data folder is empty, and it refers to 2"),
        (Half("x", 2), Half(None, 3), True, "the data folder has no installation id"),
        (Half(None, 2), Half(None, 3), False, "it has no installation id"),
    ],
)
def test_a_database_fits_a_folder_that_has_its_id_or_nothing_yet(
    database: Half, folder: Half, common: bool, why: str | None
) -> None:
    found = misfit(database, folder, have_in_common=common)
    assert found is None if why is None else why in (found or "")


def test_only_a_cache_may_be_empty_where_the_database_is_not() -> None:
    joins = Half("x", 2), Half(None, 0)
    assert misfit(*joins, have_in_common=False, is_cache=True) is None
    emptied = Half("x", 2), Half("y", 0)
    assert misfit(*emptied, have_in_common=False, is_cache=True) is not None


def lose_the_database(data_dir: Path) -> None:
    for path in data_dir.glob("mlsvc.db*"):
        path.unlink()


def empty_the_database(data_dir: Path) -> None:
    lose_the_database(data_dir)
    (data_dir / "mlsvc.db").touch()


async def open_one(data_dir: Path, *, has_content: bool = False) -> None:
    """Start a database as a server does, and stop it again."""
    database = Database(data_dir=data_dir)
    await database.start()
    try:
        await Installation(database=database, data_dir=data_dir).require()
        if has_content:
            await database.run(add_content)
            (data_dir / "blobs" / "ab").mkdir(parents=True)
            (data_dir / "blobs" / "ab" / DIGEST).write_bytes(b"content")
    finally:
        await database.stop()


def add_content(connection: sa.Connection) -> None:
    connection.execute(
        contents.insert().values(id="c", manifest="{}", size=7, created_at=now_text())
    )
    connection.execute(content_blobs.insert().values(content_id="c", digest=DIGEST))


async def test_a_new_folder_is_marked_and_opens_again(tmp_path: Path) -> None:
    await open_one(tmp_path, has_content=True)
    assert mode_of(tmp_path / ID_FILE) == 0o600
    await open_one(tmp_path)


@pytest.mark.parametrize("damage", [lose_the_database, empty_the_database])
async def test_a_database_that_is_lost_is_refused_until_the_folder_is_adopted(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    await open_one(tmp_path, has_content=True)
    damage(tmp_path)
    with pytest.raises(OtherInstallation) as refusal:
        await open_one(tmp_path)
    assert str(refusal.value) == (
        f"The database {tmp_path / 'mlsvc.db'} cannot be used: it is empty, and the data folder "
        "holds one thing. Nothing was changed. Start with the database that belongs to the data "
        f"folder {tmp_path}, or, where this one is meant, have it take over the folder with "
        "'jupyter mlsvc adopt'."
    )
    assert (tmp_path / "blobs" / "ab" / DIGEST).exists()
    database = Database(data_dir=tmp_path)
    await database.start()
    await Installation(database=database, data_dir=tmp_path).adopt()
    await database.stop()
    await open_one(tmp_path)


async def test_the_database_of_another_folder_is_refused(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        await open_one(folder, has_content=True)
    lose_the_database(ours)
    (theirs / "mlsvc.db").rename(ours / "mlsvc.db")
    with pytest.raises(OtherInstallation, match="the database of another data folder"):
        await open_one(ours)
