"""Writing a snapshot's files into a directory that somebody may have prepared."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_mlsvc_server.formats.files import write_files
from jupyter_mlsvc_server.formats.manifest import FileEntry

WriteFile = Callable[..., None]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def write_file(tmp_path: Path, directory: Path) -> WriteFile:
    """Write ``content`` under a path of the working directory."""
    (tmp_path / "blob").write_text("content")
    (tmp_path / "blob").chmod(0o400)

    def write(path: str, *, executable: bool = False) -> None:
        entry = FileEntry(path=path, digest="blob", size=7, executable=executable)
        write_files([entry], lambda digest: tmp_path / digest, directory)

    return write


def test_files_come_with_their_folders_and_can_be_changed(
    directory: Path, write_file: WriteFile
) -> None:
    write_file("data/deep/a.csv")
    (directory / "data/deep/a.csv").write_text("changed")
    write_file("run.sh", executable=True)
    assert os.access(directory / "run.sh", os.X_OK)
    assert sorted(path.name for path in directory.rglob("*")) == ["a.csv", "data", "deep", "run.sh"]


def test_files_in_any_order_come_into_their_own_folders(tmp_path: Path, directory: Path) -> None:
    paths = ["a/1", "a/b/2", "a/b/c/3", "a/4", "5", "b/b/6", "a/b/7", "ab/8"]
    for path in paths:
        (tmp_path / path.replace("/", "-")).write_text(path)
    entries = [FileEntry(path=path, digest=path.replace("/", "-"), size=3) for path in paths]
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    write_files(entries, lambda digest: tmp_path / digest, directory)
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
    there = {path for path in directory.rglob("*") if path.is_file()}
    assert {str(path.relative_to(directory)): path.read_text() for path in there} == {
        path: path for path in paths
    }


@pytest.mark.parametrize("size", [0, 6, 7, 8, 2**30])
def test_a_file_is_copied_to_its_end_whatever_its_size_is_said_to_be(
    tmp_path: Path, directory: Path, size: int
) -> None:
    (tmp_path / "blob").write_text("content")
    write_files(
        [FileEntry(path="a", digest="blob", size=size)], lambda each: tmp_path / each, directory
    )
    assert (directory / "a").read_text() == "content"


def test_files_of_the_same_name_are_overwritten_and_others_stay(
    directory: Path, write_file: WriteFile
) -> None:
    (directory / "a.csv").write_text("old and longer than the new one")
    (directory / "b.csv").write_text("other")
    write_file("a.csv")
    assert (directory / "a.csv").read_text() == "content"
    assert (directory / "b.csv").read_text() == "other"


@pytest.mark.parametrize("path", ["../evil", "data/../../evil", "/etc/evil", ".."])
def test_a_path_that_leads_out_is_refused(
    tmp_path: Path, directory: Path, write_file: WriteFile, path: str
) -> None:
    with pytest.raises(OSError):  # noqa: PT011  # whichever the system answers
        write_file(path)
    assert not (tmp_path / "evil").exists()
    assert not list(directory.rglob("evil*"))


def test_a_link_in_place_of_a_folder_is_not_followed(
    tmp_path: Path, directory: Path, write_file: WriteFile
) -> None:
    (tmp_path / "outside").mkdir()
    (directory / "data").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="data"):
        write_file("data/a.csv")
    assert not list((tmp_path / "outside").iterdir())


def test_a_link_in_place_of_the_directory_is_not_followed(
    tmp_path: Path, directory: Path, write_file: WriteFile
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    directory.rmdir()
    directory.symlink_to(elsewhere)
    with pytest.raises(OSError, match="directory"):
        write_file("a.csv")
    assert not list(elsewhere.iterdir())


def test_a_link_in_place_of_a_file_is_replaced_and_not_written_through(
    tmp_path: Path, directory: Path, write_file: WriteFile
) -> None:
    (tmp_path / "outside.csv").write_text("mine")
    (directory / "a.csv").symlink_to(tmp_path / "outside.csv")
    write_file("a.csv")
    assert (tmp_path / "outside.csv").read_text() == "mine"
    assert not (directory / "a.csv").is_symlink()


def test_a_folder_in_the_way_is_an_error_that_leaves_nothing_behind(
    directory: Path, write_file: WriteFile
) -> None:
    (directory / "a.csv").mkdir()
    with pytest.raises(OSError, match=r"a\.csv"):
        write_file("a.csv")
    assert [path.name for path in directory.iterdir()] == ["a.csv"]
