from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.transport import ApiRequest, RequestsTransport
from jupyter_mlsvc.errors import ConnectionFailed


class Recorder(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = (
            b'{"token_type":"Bearer","access_token":"a","expires_in":60,"expires_on":1,'
            b'"refresh_token":"secret-refresh"}'
        )
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_nobody_at_the_address_is_one_sentence_with_the_address() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(ConnectionFailed) as raised:
        Client(url, "token").status()
    assert str(raised.value).startswith(
        f"The server at {url} cannot be reached: connection refused."
    )


def test_silent_server_has_an_error_of_its_own() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", "token", timeout=(1, 0.2))
        with pytest.raises(ConnectionFailed, match="it did not answer in time"):
            client.sessions.with_id("s1").cancel()


def test_unknown_host_has_an_error_of_its_own() -> None:
    with pytest.raises(ConnectionFailed, match="its name is unknown"):
        Client("http://no-such-host.invalid", "token").status()


@pytest.mark.parametrize(("method", "calls"), [("GET", 2), ("POST", 1), ("DELETE", 1)])
def test_only_what_changes_nothing_is_tried_again(
    recorder: Recorder, method: str, calls: int
) -> None:
    recorder.statuses = [503]
    RequestsTransport(recorder.url).send(ApiRequest(method, "/x")).read()
    assert len(recorder.seen) == calls


def test_netrc_does_not_replace_the_token(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    request = ApiRequest("GET", "/x", headers={"Authorization": "Bearer mine"})
    RequestsTransport(recorder.url).send(request).read()
    assert recorder.seen[0][2]["Authorization"] == "Bearer mine"


def test_path_segments_are_quoted(recorder: Recorder) -> None:
    client = Client(recorder.url, "token")
    client.sessions.with_id("a/b").delete_file("my file?.txt")
    assert recorder.seen[0][1] == "/sessions/a%2Fb/files/my%20file%3F.txt"


def test_the_refresh_token_is_in_no_log_of_the_http_library(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client(recorder.url, username="maria", password="open sesame")
    client.logout()
    assert recorder.seen[-1][1] == "/login/refreshToken?refreshToken=secret-refresh"
    assert "urllib3.connectionpool" in {record.name for record in caplog.records}
    assert "secret-refresh" not in caplog.text
    assert "open sesame" not in caplog.text


def test_the_refresh_token_is_in_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    client = Client(server.url, username="maria", password="open sesame")
    client.close()
    server.shutdown()
    server.server_close()
    thread.join()
    with pytest.raises(ConnectionFailed) as raised:
        client.logout()
    assert "secret-refresh" not in str(raised.value)
    assert raised.value.__suppress_context__
    assert "secret-refresh" not in caplog.text
