"""The doctor on how the server is reached: socket, port, TLS, and files of kernels."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import json
import os
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.doctor import network
from jupyter_mlsvc_server.doctor.findings import Setup, State
from jupyter_mlsvc_server.formats.host import lock_path, socket_path

WELL = {"statusCode": "pass", "details": {"version": __version__}, "components": {}}
ILL = WELL | {
    "statusCode": "fail",
    "components": {
        "database": {"statusCode": "fail"},
        "backends": {"statusCode": "warn", "components": {"disk": {"statusCode": "warn"}}},
        "authentication": {"statusCode": "pass"},
    },
}


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        assert self.headers["X-Mlsvc-User"], "only a host is believed"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def address_string(self) -> str:
        return "host"

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@contextlib.contextmanager
def held_lock(folder: Path) -> Iterator[None]:
    lock = os.open(lock_path(folder), os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def server_that_says(folder: Path, status: int, body: object) -> Iterator[None]:
    with held_lock(folder):
        server = socketserver.UnixStreamServer(str(socket_path(folder)), _Answer)
        server.answer = (status, body)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


# --- the server ------------------------------------------------------------------------------


def test_no_server_runs(tmp_path: Path) -> None:
    lock_path(tmp_path).touch()
    (found,) = network.check_server(Setup(data_dir=tmp_path))
    assert found.state is State.INFO


@pytest.mark.parametrize(
    ("status", "body", "state", "shown"),
    [
        (200, WELL, State.OK, "runs and answers"),
        (200, ILL, State.FAIL, "database: fail; backends disk: warn"),
        (200, ILL | {"statusCode": "warn"}, State.WARN, "database: fail"),
        (503, {}, State.FAIL, "answers 503"),
    ],
)
def test_a_running_server_says_how_it_is(
    tmp_path: Path, status: int, body: object, state: State, shown: str
) -> None:
    with server_that_says(tmp_path, status, body):
        (found,) = network.check_server(Setup(data_dir=tmp_path))
    assert (found.state, shown in found.message) == (state, True), found


def test_a_server_of_another_version_has_to_be_started_again(tmp_path: Path) -> None:
    with server_that_says(tmp_path, 200, WELL | {"details": {"version": "0.0.1"}}):
        first, _ = network.check_server(Setup(data_dir=tmp_path))
    assert (first.state, first.mend) == (State.WARN, "Start it again.")


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with held_lock(tmp_path):
        (found,) = network.check_server(Setup(data_dir=tmp_path))
    assert found.state is State.FAIL


# --- the port --------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_that_is_taken_is_told(tmp_path: Path, taken: int) -> None:
    setup = Setup(data_dir=tmp_path, public_port=taken)
    (found,) = network.check_port(setup)
    assert (found.state, "MLSVC_PORT" in found.mend) == (State.FAIL, True)
    with held_lock(tmp_path):
        (found,) = network.check_port(setup)
    assert found.state is State.OK, "it is the running server's"


def test_a_running_server_without_its_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        free = listening.getsockname()[1]
    setup = Setup(data_dir=tmp_path, public_port=free)
    with held_lock(tmp_path):
        (found,) = network.check_port(setup)
    assert found.state is State.FAIL
    (found,) = network.check_port(setup)
    assert found.state is State.OK


@pytest.mark.parametrize(
    ("change", "state"), [({"public_enabled": False}, State.INFO), ({"public_port": 0}, State.OK)]
)
def test_ports_that_need_no_look(tmp_path: Path, change: dict[str, Any], state: State) -> None:
    (found,) = network.check_port(Setup(data_dir=tmp_path, **change))
    assert found.state is state


# --- TLS -------------------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes them")


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificate(folder: Path, name: str, days: int) -> tuple[str, str]:
    """Make a certificate that is valid for so many days, and its key."""
    certfile, keyfile, request = (str(folder / f"{name}.{end}") for end in ("pem", "key", "csr"))
    new = ("-newkey", "rsa:2048", "-nodes", "-keyout", keyfile)
    openssl("req", "-new", *new, "-subj", "/CN=localhost", "-out", request)
    signed = ("-signkey", keyfile, "-days", str(days))
    openssl("x509", "-req", "-in", request, *signed, "-out", certfile)
    Path(keyfile).chmod(0o600)
    return certfile, keyfile


@needs_openssl
@pytest.mark.process
@pytest.mark.parametrize(
    ("days", "state", "shown"),
    [(100, State.OK, "more days"), (3, State.WARN, "more days"), (-1, State.FAIL, "expired")],
)
def test_a_certificate_is_valid_for_long(
    tmp_path: Path, days: int, state: State, shown: str
) -> None:
    certfile, keyfile = certificate(tmp_path, "own", days)
    setup = Setup(data_dir=tmp_path, certfile=certfile, keyfile=keyfile)
    (found,) = network.check_tls(setup)
    assert (found.state, shown in found.message) == (state, True), found


@needs_openssl
@pytest.mark.process
def test_a_key_has_to_be_the_certificates_and_nobody_elses(tmp_path: Path) -> None:
    certfile, keyfile = certificate(tmp_path, "own", 100)
    _, other = certificate(tmp_path, "other", 100)
    (found,) = network.check_tls(Setup(data_dir=tmp_path, certfile=certfile, keyfile=other))
    assert found.state is State.FAIL
    Path(keyfile).chmod(0o644)
    first, _ = network.check_tls(Setup(data_dir=tmp_path, certfile=certfile, keyfile=keyfile))
    assert (first.state, "chmod 600" in first.mend) == (State.WARN, True)


def test_a_certificate_that_is_not_there_is_told(tmp_path: Path) -> None:
    (found,) = network.check_tls(Setup(data_dir=tmp_path, certfile=str(tmp_path / "none.pem")))
    assert (found.state, "No such file" in found.message) == (State.FAIL, True)


@pytest.mark.parametrize(
    ("address", "state", "allowed"),
    [
        ("127.0.0.1", State.INFO, State.INFO),
        ("::1", State.INFO, State.INFO),
        ("", State.FAIL, State.WARN),
        ("0.0.0.0", State.FAIL, State.WARN),
    ],
)
def test_plain_http_is_for_this_machine(
    tmp_path: Path, address: str, state: State, allowed: State
) -> None:
    for is_allowed, expected in ((False, state), (True, allowed)):
        setup = Setup(data_dir=tmp_path, public_ip=address, allow_plain_http=is_allowed)
        (found,) = network.check_tls(setup)
        assert found.state is expected


# --- connection files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "mode", "state"),
    [
        ('{"url": "http://127.0.0.1:8888/mlsvc"}', 0o600, State.OK),
        ('{"url": "http://127.0.0.1:8888/mlsvc"}', 0o644, State.FAIL),
        ('{"url": "", "problem": "The disk is full."}', 0o600, State.FAIL),
        ("[]", 0o600, State.FAIL),
        ("no json", 0o600, State.FAIL),
    ],
)
def test_connection_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, mode: int, state: State
) -> None:
    monkeypatch.setattr(network, "jupyter_runtime_dir", lambda: str(tmp_path))
    (tmp_path / "mlsvc-999999999.json").write_text("of a process that ended")
    file = tmp_path / f"mlsvc-{os.getpid()}.json"
    file.write_text(content)
    file.chmod(mode)
    (found,) = network.check_connection_files(Setup(data_dir=tmp_path))
    assert found.state is state


def test_no_jupyter_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "jupyter_runtime_dir", lambda: str(tmp_path))
    (found,) = network.check_connection_files(Setup(data_dir=tmp_path))
    assert found.state is State.INFO
