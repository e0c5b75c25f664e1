from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.transport import ApiResponse
from jupyter_mlsvc.errors import MlsvcError

from .fake import FakeTransport, answer, body_of, lines

LARGE = bytes(range(256)) * 4000


@pytest.fixture
def session(client: Client) -> Session:
    return client.sessions.with_id("i1")


@pytest.fixture
def seen() -> list[tuple[int, int | None]]:
    return []


def test_a_file_is_read_while_it_is_sent_and_may_be_sent_again(
    session: Session,
    transport: FakeTransport,
    tmp_path: Path,
    seen: list[tuple[int, int | None]],
) -> None:
    (tmp_path / "größe 1.bin").write_bytes(LARGE)
    transport.answers = [answer("Wrote it.", 201)]
    session.upload_file(
        tmp_path / "größe 1.bin", progress=lambda done, total: seen.append((done, total))
    )
    form = transport.requests[0].body
    assert form is not None
    assert not isinstance(form, bytes)
    first, second = b"".join(form), b"".join(form)
    assert first == second
    assert len(first) == len(form)
    assert LARGE in first
    assert 'filename="größe 1.bin"'.encode() in first
    assert max(len(chunk) for chunk in form) < len(LARGE)
    assert seen[-1] == (len(LARGE), len(LARGE))
    assert [done for done, _ in seen[: len(seen) // 3]] == sorted({done for done, _ in seen})


def test_a_file_that_becomes_shorter_is_not_sent_as_if_it_were_whole(
    session: Session, transport: FakeTransport, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(LARGE)
    transport.answers = [answer("Wrote it.", 201)]
    session.upload_file(path)
    path.write_bytes(b"short")
    with pytest.raises(MlsvcError, match="became shorter"):
        body_of(transport.requests[0])


def test_a_download_tells_how_far_it_is(
    session: Session,
    transport: FakeTransport,
    tmp_path: Path,
    seen: list[tuple[int, int | None]],
) -> None:
    pieces = iter([b"ab", b"c"])
    transport.answers = [ApiResponse(200, {"Content-Length": "3"}, pieces), lines(b"xyz")]
    target = tmp_path / "a.txt"
    saved = session.save_file("a.txt", target, lambda done, total: seen.append((done, total)))
    assert saved.read_bytes() == b"abc"
    session.save_file("a.txt", target, lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == b"xyz"
    assert seen == [(2, 3), (3, 3), (3, None)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_download_that_is_interrupted_leaves_what_was_there(
    session: Session, transport: FakeTransport, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    transport.answers = [lines(b"ne", then=KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        session.save_file("a.txt", tmp_path / "a.txt")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.txt", b"old")]


def test_an_object_tells_how_far_it_is_both_ways(
    session: Session, transport: FakeTransport, seen: list[tuple[int, int | None]]
) -> None:
    transport.answers = [answer("Set.")]
    size = session.put_object("x", LARGE, progress=lambda done, total: seen.append((done, total)))
    sent = body_of(transport.requests[0])
    assert len(sent) == size
    assert seen[-1] == (size, size)
    transport.answers = [lines(sent)]
    seen.clear()
    assert session.get_object("x", progress=lambda done, total: seen.append((done, total))) == LARGE
    assert seen == [(size, None)]


def test_a_snapshot_is_uploaded_under_the_name_of_its_file(
    client: Client, transport: FakeTransport, tmp_path: Path
) -> None:
    (tmp_path / "Iris.zip").write_bytes(b"PK")
    skipped = [{"name": "sock", "type": "socket.socket", "reason": "it belongs to a process"}]
    transport.answers = [answer({"snapshotId": "s1", "skipped": skipped}, 201)] * 2
    snapshot = client.snapshots.upload(tmp_path / "Iris.zip")
    assert (snapshot.id, snapshot.name, snapshot.skipped[0].name) == ("s1", "Iris", "sock")
    assert transport.requests[0].path == "/snapshots"
    assert b'name="name"\r\n\r\nIris\r\n' in body_of(transport.requests[0])
