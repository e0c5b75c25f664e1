"""A real server, raw connections to its public API, and services to call there."""

from __future__ import annotations

import json
import secrets
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.pytest_plugin import Api
from tests.contract.doors import Door, sign_in

Publish = Callable[..., str]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    head: str = ""
    """All but the body, as it came."""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RawConnection:
    """A connection on which bytes are sent as they are."""

    port: int
    token: str
    seconds: float = 30
    _read: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def request(self, path: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
        """Write a request."""
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self.token}",
            *headers,
        ]
        if not any(line.startswith("Transfer-Encoding") for line in headers) and body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def receive(self, *, has_body: bool = True) -> Answer:
        """Read an answer that tells its length; that to a HEAD has nothing of that length."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        length = int(headers.get("content-length", "0")) if has_body else 0
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Answer(int(first.split()[1]), headers, body, head.decode())

    def is_closed(self) -> bool:
        """Whether the server closes it, and has nothing more to say."""
        try:
            return not self._read and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _more(self) -> None:
        data = self.socket.recv(2**16)
        if not data:
            raise EOFError(f"The connection ended after {self._read!r}.")
        self._read += data


# Not the plugin's server with other options: pytest keeps a session's fixture as it was made first.
@pytest.fixture(scope="session")
def limited_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server that takes little at a time."""
    options = [
        "--MlsvcApp.max_body_bytes=100000",
        "--MlsvcApp.cors_origins=http://page.example",
        "--LocalEngine.preload=[]",
        "--LocalEngine.queue_limit=4",
        "--LocalEngine.deadline_seconds=2",
        "--KernelFactory.preload_at_start=false",
    ]
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("limited"),
        admin_password=secrets.token_urlsafe(12),
        options=options,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def limited_token(limited_server: ServerProcess) -> str:
    """An access token of the account ``admin``."""
    token = sign_in(limited_server.public_url, "admin", limited_server.admin_password).token
    assert token is not None
    return token


@pytest.fixture(scope="session")
def limited_api(limited_server: ServerProcess, limited_token: str) -> Api:
    """A function that calls the public API as ``admin``."""
    return Door(limited_server.public_url, limited_token).call


@pytest.fixture
def connect(
    limited_server: ServerProcess, limited_token: str
) -> Iterator[Callable[[], RawConnection]]:
    """A function that connects to the public API."""
    made: list[RawConnection] = []

    def open_one() -> RawConnection:
        made.append(RawConnection(limited_server.public_port, limited_token))
        return made[-1]

    yield open_one
    for connection in made:
        connection.socket.close()


@pytest.fixture
def connection(connect: Callable[[], RawConnection]) -> RawConnection:
    return connect()


@pytest.fixture(scope="session")
def publish(limited_api: Api) -> Publish:
    """A function that publishes code with an input ``n`` and an output ``y``; gives the path."""

    def make(code: str, name: str = "", version: str = "1.0") -> str:
        name = name or f"svc-{uuid.uuid4().hex[:8]}"
        answer = limited_api(
            "POST",
            f"/services/{name}/{version}",
            json={
                "code": code,
                "inputParameterDefinitions": [{"name": "n", "type": "string"}],
                "outputParameterDefinitions": [{"name": "y", "type": "string"}],
            },
        )
        assert answer.status_code == 201, answer.text
        return f"/api/{name}/{version}"

    return make


@pytest.fixture(scope="session")
def echo(publish: Publish) -> str:
    """Path of a service that answers what it is given."""
    return publish("y = n")


@pytest.fixture(scope="session")
def sleeper(publish: Publish) -> str:
    """Path of a service that takes ``n`` seconds."""
    return publish("import time; time.sleep(n); y = n")


def y_of(answer: requests.Response | Answer) -> Any:
    return answer.json()["outputParameters"]["y"]
