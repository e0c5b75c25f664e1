from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.errors import ConnectionFailed

from .fake import FakeTransport, answer, lines

SKIPPED = [{"name": "sock", "type": "socket.socket", "reason": "it belongs to this process"}]
ROW = {
    "id": "s1",
    "name": "Iris",
    "owner": "maria",
    "creationTime": "2026-11-23T13:38:07.1234560",
    "contentSize": 2048,
}


def test_a_snapshot_tells_what_it_left_out(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer({"snapshotId": "s1", "skipped": SKIPPED}, 201)]
    snapshot = client.snapshots.create("i1", "Iris")
    assert transport.requests[0].path == "/sessions/i1/snapshot"
    assert snapshot.id == "s1"
    assert "sock (socket.socket): it belongs to this process" in repr(snapshot)
    assert "sock (socket.socket)" in snapshot._repr_html_()


def test_the_session_is_given_as_an_object_or_by_its_id(
    client: Client, transport: FakeTransport
) -> None:
    session = client.sessions.with_id("i1")
    transport.answers = [answer({"snapshotId": "s1"}, 201), answer("Loaded.")]
    client.snapshots.create(session).load(session)
    assert [r.path for r in transport.requests] == [
        "/sessions/i1/snapshot",
        "/sessions/i1/loadsnapshot/s1",
    ]


def test_the_list_shows_sizes_for_people(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([ROW])]
    assert "2.05 kB" in repr(client.snapshots.list())


def test_load_and_delete(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer("Loaded."), answer("Deleted.")]
    client.snapshots.load("s1", "i1")
    client.snapshots.delete("s1")
    assert [(r.method, r.path) for r in transport.requests] == [
        ("POST", "/sessions/i1/loadsnapshot/s1"),
        ("DELETE", "/snapshots/s1"),
    ]


def test_download_writes_the_whole_file(
    client: Client, transport: FakeTransport, tmp_path: Path
) -> None:
    transport.answers = [lines(b"PK", b"rest")]
    assert client.snapshots.download("s1", tmp_path / "a.zip").read_bytes() == b"PKrest"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_download_that_breaks_leaves_nothing(
    client: Client, transport: FakeTransport, tmp_path: Path
) -> None:
    transport.answers = [lines(b"PK", then=ConnectionFailed("https://fake:1", "broke"))]
    with pytest.raises(ConnectionFailed):
        client.snapshots.download("s1", tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []
