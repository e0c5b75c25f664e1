"""Priority of kernels among groups of processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_mlsvc_server.sessions.priority import lower_group


@pytest.mark.parametrize(("own", "by", "set_to"), [(0, 10, "10"), (-5, 10, "5"), (15, 10, "19")])
async def test_the_group_of_a_process_is_set_below_our_own(
    own: int, by: int, set_to: str, tmp_path: Path
) -> None:
    ours, theirs = (
        folder(tmp_path / "own", f"/autogroup-7 nice {own}\n"),
        folder(tmp_path / "1", ""),
    )
    await lower_group(theirs, by, own=ours)
    assert (theirs / "autogroup").read_text() == set_to


async def test_without_groups_there_is_nothing_to_set(tmp_path: Path) -> None:
    theirs = folder(tmp_path / "1", "as it was")
    await lower_group(theirs, 10, own=tmp_path)
    assert (theirs / "autogroup").read_text() == "as it was"


def folder(path: Path, group: str) -> Path:
    path.mkdir()
    (path / "autogroup").write_text(group)
    return path
