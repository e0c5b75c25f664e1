from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jupyter_mlsvc_server.storage.body_file import BodyFile

PIECES = [bytes([number]) * 300_000 for number in range(10)]


@pytest.mark.parametrize("count", [0, 1, 10])
async def test_a_file_has_all_pieces_in_their_order(tmp_path: Path, count: int) -> None:
    file = BodyFile(tmp_path / "body")
    for piece in PIECES[:count]:
        await file.write(piece)
    await file.finish()
    assert file.path.read_bytes() == b"".join(PIECES[:count])


async def test_nothing_is_written_after_it_was_discarded(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = BodyFile(folder / "body")
    for piece in PIECES[:5]:
        await file.write(piece)
    await asyncio.to_thread(file.discard)
    file.path.unlink()
    folder.rmdir()
    for piece in PIECES:
        await file.write(piece)
    await file.finish()
    file.discard()
    assert not folder.exists()
