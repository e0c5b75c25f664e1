"""Files that are whole or not there."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jupyter_mlsvc_server.formats.private_files import private_directory, write_atomic, write_new
from jupyter_mlsvc_server.storage.clock import from_text, now_text, to_text


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_written_file_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one")
    write_atomic(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert mode(tmp_path / "a") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_can_be_read_only(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one", mode=0o400)
    assert mode(tmp_path / "a") == 0o400


def test_writing_a_new_file_keeps_one_that_is_there(tmp_path: Path) -> None:
    assert write_new(tmp_path / "a", b"first")
    assert not write_new(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_private_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert mode(private_directory(tmp_path)) == 0o700
    assert mode(private_directory(tmp_path / "new")) == 0o700


def test_a_group_that_may_only_enter_a_private_directory_keeps_that(tmp_path: Path) -> None:
    group = tmp_path.stat().st_gid
    assert mode(private_directory(tmp_path, group)) == 0o710
    assert mode(private_directory(tmp_path)) == 0o710
    tmp_path.chmod(0o730)
    assert mode(private_directory(tmp_path)) == 0o700


def test_time_stamps_have_seven_digits_and_no_zone() -> None:
    moment = datetime(2017, 10, 5, 22, 49, 33, 783267, tzinfo=UTC)
    assert to_text(moment) == "2017-10-05T22:49:33.7832670"
    assert from_text(to_text(moment)) == moment
    assert len(now_text()) == 27
