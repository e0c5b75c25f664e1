from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_mlsvc.wire.names import InvalidName
from jupyter_mlsvc_server.sessions.errors import DirectoryReplaced, FileNotFound, NotAFile
from jupyter_mlsvc_server.sessions.files import WorkingDirectory


@pytest.fixture
def files(tmp_path: Path) -> WorkingDirectory:
    (tmp_path / "work").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return WorkingDirectory(tmp_path / "work", tmp_path / "incoming")


def read(files: WorkingDirectory, name: str) -> bytes:
    file = files.open(name)
    with file.stream:
        data = file.stream.read()
    assert len(data) == file.size
    return data


def put(files: WorkingDirectory, name: str, data: bytes) -> None:
    """Upload what is in a file of the test's own."""
    source = files.path.parent / "source"
    source.write_bytes(data)
    files.put(name, source)


def test_a_file_is_written_listed_read_and_deleted(files: WorkingDirectory) -> None:
    put(files, "résumé 1.csv", b"a,b")
    assert files.names() == ["résumé 1.csv"]
    assert read(files, "résumé 1.csv") == b"a,b"
    files.delete("résumé 1.csv")
    assert files.names() == []


def test_writing_replaces_a_file_and_leaves_nothing_else(files: WorkingDirectory) -> None:
    put(files, "a", b"long content")
    put(files, "a", b"new")
    assert read(files, "a") == b"new"
    assert files.names() == ["a"]
    assert not list((files.path.parent / "incoming").iterdir())


@pytest.mark.parametrize(
    "name", ["../secret.txt", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "nul\x00", "x" * 256]
)
def test_a_name_that_could_lead_elsewhere_is_refused(files: WorkingDirectory, name: str) -> None:
    with pytest.raises(InvalidName):
        put(files, name, b"x")
    with pytest.raises(InvalidName):
        files.open(name)
    with pytest.raises(InvalidName):
        files.delete(name)


def test_a_link_is_neither_listed_nor_followed(files: WorkingDirectory) -> None:
    secret = files.path.parent / "secret.txt"
    (files.path / "link").symlink_to(secret)
    assert files.names() == []
    with pytest.raises(FileNotFound):
        files.open("link")
    put(files, "link", b"mine")
    assert secret.read_text() == "secret"
    assert read(files, "link") == b"mine"


def test_deleting_a_link_leaves_what_it_points_at(files: WorkingDirectory) -> None:
    (files.path / "link").symlink_to(files.path.parent / "secret.txt")
    files.delete("link")
    assert (files.path.parent / "secret.txt").exists()
    assert not (files.path / "link").is_symlink()


@pytest.mark.parametrize("place", ["link", "file", "nothing"])
def test_a_working_directory_that_was_replaced_is_an_error_of_its_code(
    files: WorkingDirectory, place: str
) -> None:
    put(files, "own.txt", b"own")
    files.path.rename(files.path.with_name("moved"))
    if place == "link":
        files.path.symlink_to(files.path.parent)
    elif place == "file":
        files.path.write_text("")
    for operation in (
        files.names,
        lambda: put(files, "planted", b"x"),
        lambda: files.open("secret.txt"),
        lambda: files.delete("secret.txt"),
    ):
        with pytest.raises(DirectoryReplaced):
            operation()
    assert files.state() == {}
    assert {path.name for path in files.path.parent.iterdir()} >= {"secret.txt", "moved"}
    assert not (files.path.parent / "planted").exists()


def test_a_pipe_does_not_hold_the_reader(files: WorkingDirectory) -> None:
    os.mkfifo(files.path / "pipe")
    with pytest.raises(FileNotFound):
        files.open("pipe")


def test_a_folder_is_no_file(files: WorkingDirectory) -> None:
    (files.path / "folder").mkdir()
    with pytest.raises(FileNotFound):
        files.open("folder")
    with pytest.raises(NotAFile):
        put(files, "folder", b"x")
    with pytest.raises(NotAFile):
        files.delete("folder")


def test_a_missing_file_is_not_found(files: WorkingDirectory) -> None:
    with pytest.raises(FileNotFound):
        files.open("missing")
    with pytest.raises(FileNotFound):
        files.delete("missing")


def test_changed_files_are_new_and_rewritten_ones_by_relative_path(files: WorkingDirectory) -> None:
    put(files, "same", b"1")
    put(files, "rewritten", b"1")
    (files.path / "sub").mkdir()
    (files.path / "__pycache__").mkdir()
    before = files.state()
    put(files, "rewritten", b"2")
    (files.path / "sub" / "new").write_text("x")
    (files.path / "__pycache__" / "m.pyc").write_text("x")
    (files.path / "link").symlink_to(files.path.parent / "secret.txt")
    assert files.changed_since(before) == ["rewritten", "sub/new"]


def test_file_list_leaves_out_names_that_are_no_text(files: WorkingDirectory) -> None:
    before = files.state()
    put(files, "text", b"1")
    (files.path / "\udc80").write_bytes(b"1")
    assert files.names() == files.changed_since(before) == ["text"]
