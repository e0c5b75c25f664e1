"""Each setting of the magics' connection does what its help says."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from jupyter_mlsvc.errors import ConnectionFailed
from jupyter_mlsvc.magics.connection import MlsvcConnection

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the certificate"
)


class Accepting(BaseHTTPRequestHandler):
    """Lets anybody log in."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = (
            b'{"token_type":"Bearer","access_token":"a","expires_in":60,"expires_on":1,'
            b'"refresh_token":"r"}'
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two certificates for the loopback address, each with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificates")
    made = folder / "own.pem", folder / "other.pem"
    for path in made:
        options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
        subprocess.run(
            ["openssl", *options.split(), *names, "-keyout", f"{path}.key", "-out", path],
            check=True,
            capture_output=True,
        )
        path.write_text(path.read_text() + Path(f"{path}.key").read_text())
    return made


@pytest.fixture
def tls_url(certificates: tuple[Path, Path]) -> Iterator[str]:
    """Address of a server whose certificate nobody signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates[0])
    server = HTTPServer(("127.0.0.1", 0), Accepting)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.process
@needs_openssl
@pytest.mark.parametrize("has_other_authorities", [False, True])
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verify_tls_checks_the_certificate(
    connection: MlsvcConnection,
    tls_url: str,
    certificates: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    has_other_authorities: bool,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if has_other_authorities:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates[1]))
    with pytest.raises(ConnectionFailed, match="its certificate is not trusted"):
        connection.login(tls_url, "ana", "secret")
    connection.verify_tls = False
    assert connection.login(tls_url, "ana", "secret").is_logged_in


@pytest.mark.process
@needs_openssl
def test_authorities_of_the_environment_are_trusted(
    connection: MlsvcConnection,
    tls_url: str,
    certificates: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates[0]))
    assert connection.login(tls_url, "ana", "secret").is_logged_in


def test_read_timeout_ends_the_wait_for_an_answer(connection: MlsvcConnection) -> None:
    connection.read_timeout = 0.1
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ConnectionFailed, match="it did not answer in time"),
    ):
        connection.login(f"http://127.0.0.1:{silent.getsockname()[1]}", "ana", "secret")


def test_connect_timeout_ends_the_wait_for_a_connection(connection: MlsvcConnection) -> None:
    connection.connect_timeout = 0.05
    with ExitStack() as opened:
        # Who connects beyond the queue of a socket that accepts nobody hears nothing.
        full = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(ConnectionFailed, match="it did not accept the connection in time"):
            connection.login(f"http://127.0.0.1:{full.getsockname()[1]}", "ana", "secret")


def test_url_counts_for_more_than_the_environment(
    connection: MlsvcConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSVC_URL", "http://environment:1")
    assert connection.client.url == "http://environment:1"
    connection.disconnect()
    connection.url = "http://setting:2"
    assert connection.client.url == "http://setting:2"
