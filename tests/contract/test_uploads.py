"""Forms with files: they go to disk as they come, and a broken one leaves nothing."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, door_urls, sign_in
from tests.contract.test_bad_input import assert_error
from tests.memory import Memory
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

BOUNDARY = "a-boundary"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
PART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
).encode()
END = f"\r\n--{BOUNDARY}--\r\n".encode()


class LargeForm:
    """A form with one large file, made while it is sent."""

    piece: ClassVar[bytes] = os.urandom(2**20)

    def __init__(self, mebibytes: int) -> None:
        self.mebibytes = mebibytes

    def __len__(self) -> int:
        return len(PART) + self.mebibytes * len(self.piece) + len(END)

    def __iter__(self) -> Iterator[bytes]:
        yield PART
        for _ in range(self.mebibytes):
            yield self.piece
        yield END


def staged(server: ServerProcess) -> list[Path]:
    """What lies in the folders of uploads that go on."""
    return [path for path in (server.data_dir / "staging").glob("run-*/*/*") if path.is_file()]


def until_nothing_is_staged(server: ServerProcess) -> None:
    """Wait until uploads have left nothing, no empty folder either."""
    folders = server.data_dir / "staging"
    wait_until(lambda: not [path for path in folders.glob("run-*/*") if path.is_dir()])


@pytest.fixture(scope="module")
def session(mlsvc_server: ServerProcess) -> Iterator[tuple[Door, str]]:
    door = sign_in(mlsvc_server.public_url, "admin", mlsvc_server.admin_password)
    path = f"/sessions/{door.post('/sessions', json={}).json()['sessionId']}"
    yield door, path
    door.delete(path)


@pytest.mark.parametrize("where", ["files", "snapshots", "realtime"])
def test_a_large_file_takes_little_memory(
    session: tuple[Door, str], mlsvc_server: ServerProcess, where: str
) -> None:
    door, path = session
    large = LargeForm(120)
    target = {
        "files": f"{path}/files",
        "snapshots": "/snapshots",
        "realtime": "/realtime-services/large/1",
    }
    assert mlsvc_server.process is not None
    with Memory(mlsvc_server.process.pid) as memory:
        answer = door.post(target[where], data=large, headers=HEADERS)
    grown = memory.most - memory.before
    assert grown < len(large) / 4, f"{grown / 1e6:.0f} MB"
    if where == "files":
        assert answer.status_code == 201, answer.text
        with door.get(f"{path}/files/a.bin", stream=True) as kept:
            assert int(kept.headers["Content-Length"]) == 120 * 2**20
            assert next(kept.iter_content(2**20)) == LargeForm.piece
        door.delete(f"{path}/files/a.bin")
    else:
        assert_error(answer, 400)
    until_nothing_is_staged(mlsvc_server)


def head_of_upload(door: Door, path: str) -> bytes:
    url = urlsplit(door.url)
    return (
        f"POST {url.path}{path}/files HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Authorization: Bearer {door.token}\r\n"
        f"Content-Type: {HEADERS['Content-Type']}\r\nContent-Length: 10000000\r\n\r\n"
    ).encode()


def connection_to(door: Door) -> socket.socket:
    url = urlsplit(door.url)
    assert url.hostname is not None
    assert url.port is not None
    return socket.create_connection((url.hostname, url.port))


@pytest.mark.parametrize("name", ["public", "jupyter"])
def test_an_upload_whose_client_leaves_at_once_leaves_nothing(
    session: tuple[Door, str], mlsvc_server: ServerProcess, name: str
) -> None:
    _, path = session
    door = sign_in(door_urls(mlsvc_server)[name], "admin", mlsvc_server.admin_password)
    with ExitStack() as stack:
        connections = [stack.enter_context(connection_to(door)) for _ in range(60)]
        for connection in connections:
            connection.sendall(head_of_upload(door, path))
    # What was sent before is at work by now.
    assert door.get(f"{path}/files").ok
    until_nothing_is_staged(mlsvc_server)


def test_an_upload_that_breaks_off_leaves_nothing(
    session: tuple[Door, str], mlsvc_server: ServerProcess
) -> None:
    door, path = session
    with connection_to(door) as connection:
        connection.sendall(head_of_upload(door, path) + PART + LargeForm.piece * 3)
        wait_until(lambda: staged(mlsvc_server), "nothing came to disk")
    until_nothing_is_staged(mlsvc_server)
    assert "a.bin" not in door.get(f"{path}/files").json()


BROKEN = {
    "no boundary": ("multipart/form-data", PART + b"1" + END),
    "another boundary": ("multipart/form-data; boundary=other", PART + b"1" + END),
    "no end": (HEADERS["Content-Type"], PART + b"1"),
    "no part": (HEADERS["Content-Type"], b"nonsense"),
    "a part without a name": (HEADERS["Content-Type"], f"--{BOUNDARY}\r\n\r\n1".encode() + END),
    "a header that never ends": (HEADERS["Content-Type"], PART[:-4] + b"x" * 10_000 + END),
    "too many parts": (HEADERS["Content-Type"], (PART + b"1\r\n") * 100 + PART + END),
    "a text that is too long": (
        HEADERS["Content-Type"],
        PART.replace(b'; filename="a.bin"', b"") + b"x" * 2_000_000 + END,
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_form_is_400_and_leaves_nothing(
    session: tuple[Door, str], mlsvc_server: ServerProcess, kind: str
) -> None:
    door, path = session
    content_type, body = BROKEN[kind]
    answer = door.post(f"{path}/files", data=body, headers={"Content-Type": content_type})
    assert_error(answer, 400)
    assert "a.bin" not in door.get(f"{path}/files").json()
    until_nothing_is_staged(mlsvc_server)


def test_a_body_that_is_no_form_is_400(session: tuple[Door, str]) -> None:
    door, path = session
    assert_error(door.post(f"{path}/files", json={}), 400, "multipart/form-data")


def test_a_form_over_the_limit_is_413_and_leaves_nothing(tmp_path: Path) -> None:
    with ServerProcess(
        data_dir=tmp_path,
        admin_password="secret-enough",
        options=["--MlsvcApp.max_upload_bytes=2000000"],
    ) as server:
        door = sign_in(server.public_url, "admin", "secret-enough")
        path = f"/sessions/{door.post('/sessions', json={}).json()['sessionId']}/files"
        assert_error(door.post(path, data=LargeForm(3), headers=HEADERS), 413, "2,000,000")
        # Nobody can tell beforehand how long a body in pieces is.
        pieces = iter(LargeForm(3))
        assert_error(door.post(path, data=pieces, headers=HEADERS), 413, "2,000,000")
        assert door.get(path).json() == []
        until_nothing_is_staged(server)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('filename="ü b.txt"', "ü b.txt"),
        # As clients on older versions of urllib3 write it, Microsoft's among them.
        ("filename*=utf-8''%C3%BC%20b.txt", "ü b.txt"),
        ('filename="C:\\temp\\b.txt"', "b.txt"),
        ("filename=plain", "plain"),
        ('filename="semi;colon.txt"', "semi;colon.txt"),
    ],
)
def test_names_of_files_are_read_as_clients_write_them(
    session: tuple[Door, str], disposition: str, name: str
) -> None:
    door, path = session
    part = PART.replace(b'filename="a.bin"', disposition.encode())
    answer = door.post(f"{path}/files", data=part + b"content" + END, headers=HEADERS)
    assert answer.status_code == 201, answer.text
    assert answer.json() == f"Wrote {name}."
    assert door.get(f"{path}/files/{quote(name)}").content == b"content"
    door.delete(f"{path}/files/{quote(name)}")


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\r\n--a-boundar", bytes(range(256)) * 5000])
def test_any_content_arrives_as_it_was(session: tuple[Door, str], content: bytes) -> None:
    door, path = session
    assert door.post(f"{path}/files", files={"file": ("c.bin", content)}).status_code == 201
    assert door.get(f"{path}/files/c.bin").content == content


def test_the_last_of_several_files_counts(session: tuple[Door, str]) -> None:
    door, path = session
    files: Any = [("file", ("d.txt", io.BytesIO(b"1"))), ("file", ("e.txt", io.BytesIO(b"2")))]
    answer: requests.Response = door.post(f"{path}/files", files=files)
    assert answer.json() == "Wrote e.txt."
    assert door.get(f"{path}/files/e.txt").content == b"2"
    assert "d.txt" not in door.get(f"{path}/files").json()
