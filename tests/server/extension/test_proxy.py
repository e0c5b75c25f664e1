"""The Jupyter-mounted API: by whose name it asks, and how it passes bodies on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import sign_in
from tests.server.extension.conftest import OPTIONS, PASSWORD, as_person
from tests.server.extension.waiting import until

pytestmark = pytest.mark.kernel

MEGABYTE = 2**20
AUTHORIZER = """
from jupyter_server.auth.authorizer import Authorizer

class ReadOnly(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return action == "read" or resource == "mlsvc:sessions"
"""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A Jupyter server under a base URL with a blank in it, and a server that it runs."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("proxied"),
        admin_password=PASSWORD,
        base_url="/user/a%20b/",
        jupyter=True,
        options=OPTIONS,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def session(jupyter: ServerProcess) -> str:
    """Path of a session."""
    made = as_person(jupyter, "POST", "/sessions", json={}).json()
    return f"/sessions/{made['sessionId']}"


@pytest.fixture
def browser(jupyter: ServerProcess) -> requests.Session:
    """Somebody who is logged in by a cookie."""
    browser = requests.Session()
    # The login page hands out the cookie that pages repeat in a header.
    assert browser.get(f"{jupyter.jupyter_url}/login", timeout=30).ok
    page = f"{jupyter.jupyter_url}/api/status?token={jupyter.jupyter_token}"
    assert browser.get(page, timeout=30).ok
    return browser


# --- who asks --------------------------------------------------------------------------------


def test_call_without_credentials_is_refused_in_the_servers_words(jupyter: ServerProcess) -> None:
    answer = requests.get(f"{jupyter.notebook_url}/sessions", timeout=30)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "POST /login" in answer.json()["message"]
    unknown = {"Authorization": "Bearer something-else"}
    answer = requests.get(f"{jupyter.notebook_url}/sessions", headers=unknown, timeout=30)
    assert answer.status_code == 401
    assert "not valid" in answer.json()["message"]


def test_header_of_hosts_is_believed_of_nobody_else(jupyter: ServerProcess) -> None:
    forged = {"X-Mlsvc-User": "admin", "x-mlsvc-user": "admin"}
    for url in (jupyter.public_url, jupyter.notebook_url):
        assert requests.get(f"{url}/user", headers=forged, timeout=30).status_code == 401
    assert as_person(jupyter, "GET", "/user", headers=forged).json()["name"] != "admin"
    token = {"Authorization": f"Bearer {sign_in(jupyter.public_url, 'admin', PASSWORD).token}"}
    for url in (jupyter.public_url, jupyter.notebook_url):
        answer = requests.get(f"{url}/user", headers={**token, "X-Mlsvc-User": "eve"}, timeout=30)
        assert answer.json()["name"] == "admin"


def test_paths_of_hosts_are_for_hosts(jupyter: ServerProcess) -> None:
    for path in ("/host", "/Host", "/host/", "/host/token", "/host/leave"):
        for method in ("GET", "POST"):
            assert as_person(jupyter, method, path).status_code == 404
            answer = requests.request(method, jupyter.public_url + path, timeout=30)
            assert answer.status_code in {401, 404, 405}


def test_socket_is_nobody_elses(jupyter: ServerProcess) -> None:
    path = jupyter.data_dir / "server.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert jupyter.data_dir.stat().st_mode & 0o777 == 0o700


def test_page_of_another_site_cannot_call_in_a_persons_name(
    jupyter: ServerProcess, browser: requests.Session
) -> None:
    url = f"{jupyter.notebook_url}/sessions"
    assert browser.get(url, timeout=30).status_code == 200
    assert browser.post(url, json={}, timeout=30).status_code == 403
    xsrf = {"X-XSRFToken": browser.cookies["_xsrf"]}
    assert browser.post(url, json={}, headers=xsrf, timeout=60).status_code == 201
    foreign = {"Origin": "http://evil.example"}
    assert browser.post(url, json={}, headers=xsrf | foreign, timeout=30).status_code == 404
    refused = browser.get(url, headers=foreign, timeout=30)
    assert refused.status_code == 403
    assert "Origin" in refused.json()["message"]


def test_name_that_leads_here_by_deceit_is_refused(jupyter: ServerProcess) -> None:
    headers = {"Authorization": f"token {jupyter.jupyter_token}", "Host": "evil.example"}
    answer = requests.get(f"{jupyter.notebook_url}/user", headers=headers, timeout=30)
    assert answer.status_code == 403


def test_cookies_and_tokens_of_jupyter_stay_there(
    jupyter: ServerProcess, browser: requests.Session
) -> None:
    answer = browser.get(f"{jupyter.notebook_url}/status", timeout=30)
    assert answer.ok
    # A service tells nobody what it was sent; the log of the server would.
    log = jupyter.log_file.read_text()
    cookies = SimpleCookie("; ".join(f"{name}={text}" for name, text in browser.cookies.items()))
    assert jupyter.jupyter_token not in log
    assert not [each for each in cookies.values() if each.value in log]


def test_refresh_token_stays_out_of_the_log_of_jupyter(jupyter: ServerProcess) -> None:
    url = f"{jupyter.notebook_url}/login/refreshToken?refreshToken=very-secret"
    assert requests.delete(url, timeout=30).status_code in {400, 401}
    assert "very-secret" not in jupyter.log_file.read_text()


def test_authorizer_of_jupyter_is_asked(tmp_path: Any) -> None:
    (tmp_path / "rules.py").write_text(AUTHORIZER)
    with ServerProcess(
        data_dir=tmp_path / "data",
        jupyter=True,
        environment={"PYTHONPATH": str(tmp_path)},
        options=[*OPTIONS, "--ServerApp.authorizer_class=rules.ReadOnly"],
    ) as server:
        assert as_person(server, "GET", "/services").status_code == 200
        assert as_person(server, "POST", "/sessions", json={}).status_code == 201
        refused = as_person(server, "POST", "/services/a/1", json={})
        assert refused.status_code == 403
        assert "not authorized to write mlsvc:service" in refused.json()["message"]


# --- how it passes ---------------------------------------------------------------------------


def test_names_pass_as_they_are(jupyter: ServerProcess) -> None:
    body = {"code": "y = 1", "outputParameterDefinitions": [{"name": "y", "type": "integer"}]}
    path = "/services/a%20b/V%2E1"
    assert as_person(jupyter, "POST", path, json=body).status_code == 201
    (found,) = as_person(jupyter, "GET", "/services/a%20b").json()
    assert (found["name"], found["version"]) == ("a b", "V.1")
    assert as_person(jupyter, "GET", "/services/a%2Fb/1").status_code in {400, 404}
    assert as_person(jupyter, "DELETE", path).status_code == 200


def test_head_and_options(jupyter: ServerProcess) -> None:
    whole = as_person(jupyter, "GET", "/services")
    head = as_person(jupyter, "HEAD", "/services")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    options = as_person(jupyter, "OPTIONS", "/services")
    assert options.ok
    assert "PATCH" in options.headers["Access-Control-Allow-Methods"]
    missing = as_person(jupyter, "HEAD", "/services/none-such/1")
    assert (missing.status_code, missing.content) == (404, b"")


def test_each_answer_has_the_request_id_of_the_server(jupyter: ServerProcess) -> None:
    answer = as_person(jupyter, "GET", "/services/none-such/1")
    assert answer.status_code == 404
    assert answer.headers["X-Request-Id"] in jupyter.log_file.read_text()
    assert "Transfer-Encoding" not in answer.headers


def test_output_of_an_execution_comes_while_it_runs(jupyter: ServerProcess, session: str) -> None:
    flag = jupyter.data_dir / "go-on"
    code = (
        "import time, pathlib\nprint('begun', flush=True)\n"
        f"while not pathlib.Path({str(flag)!r}).exists(): time.sleep(0.05)"
    )
    begun = as_person(jupyter, "POST", f"{session}/executions", json={"code": code}).json()
    path = f"{session}/executions/{begun['executionId']}/events"
    with as_person(jupyter, "GET", path, stream=True) as events:
        for line in events.iter_lines():
            if b"begun" in line:
                # It would wait for ever if the line came with the end only.
                flag.touch()
        assert json.loads(line)["type"] == "result"


@contextmanager
def memory_watched(pid: int) -> Iterator[list[int]]:
    """Collect how much memory a process has while this is open."""
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        process = psutil.Process(pid)
        while not ended.wait(0.02):
            seen.append(process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        ended.set()
        watching.join()


def test_large_bodies_are_not_kept(jupyter: ServerProcess, session: str) -> None:
    assert jupyter.process is not None
    large = b"x" * (100 * MEGABYTE)
    before = psutil.Process(jupyter.process.pid).memory_info().rss
    with memory_watched(jupyter.process.pid) as seen:
        sent = as_person(jupyter, "POST", f"{session}/files", files={"file": ("large", large)})
        assert sent.status_code == 201, sent.text
        got = as_person(jupyter, "GET", f"{session}/files/large")
    assert got.content == large
    assert max(seen) - before < 32 * MEGABYTE


def test_body_that_is_refused_is_answered(jupyter: ServerProcess) -> None:
    large = b"x" * (65 * MEGABYTE)
    answer = as_person(jupyter, "POST", "/services/large/1", data=large)
    assert answer.status_code == 413
    assert "max_body_bytes" in answer.json()["message"]
    answer = requests.post(f"{jupyter.notebook_url}/sessions", data=large, timeout=60)
    assert answer.status_code == 413


def test_clients_that_go_leave_nothing_in_the_log(jupyter: ServerProcess, session: str) -> None:
    assert jupyter.process is not None
    server = psutil.Process(jupyter.server_pid)
    parts = urlsplit(jupyter.notebook_url)
    before = len(jupyter.log_file.read_text())
    quiet = len(server.net_connections("unix"))
    for path in ("/events?wait=55", f"{session}/files/large"):
        for _ in range(10):
            with socket.create_connection((parts.hostname, parts.port)) as client:
                head = (
                    f"GET {parts.path}{path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                    f"Authorization: token {jupyter.jupyter_token}\r\n\r\n"
                )
                client.sendall(head.encode())
                client.settimeout(0.2)
                with suppress(TimeoutError):
                    client.recv(1000)
    with socket.create_connection((parts.hostname, parts.port)) as client:
        head = (
            f"POST {parts.path}/services/a/1 HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: token {jupyter.jupyter_token}\r\nContent-Length: 1000\r\n\r\nhalf"
        )
        client.sendall(head.encode())
    # The connections to the server are closed as well.
    until(lambda: len(server.net_connections("unix")) <= quiet)
    log = jupyter.log_file.read_text()[before:]
    assert "Traceback" not in log
    assert "Error" not in log


def test_file_that_is_cut_while_it_is_sent_is_no_whole_one(
    jupyter: ServerProcess, session: str
) -> None:
    def run(code: str) -> None:
        assert as_person(jupyter, "POST", f"{session}/execute", json={"code": code}).ok

    run("open('large.bin', 'wb').truncate(200_000_000)")
    with as_person(jupyter, "GET", f"{session}/files/large.bin", stream=True) as answer:
        assert answer.headers["Content-Length"] == "200000000"
        chunks = answer.iter_content(MEGABYTE)
        next(chunks)
        run("open('large.bin', 'wb').close()")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(chunks)


def test_answer_that_breaks_off_is_no_whole_one(jupyter: ServerProcess, session: str) -> None:
    code = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    begun = as_person(jupyter, "POST", f"{session}/executions", json={"code": code}).json()
    path = f"{session}/executions/{begun['executionId']}/events"
    with as_person(jupyter, "GET", path, stream=True) as events:
        lines = events.iter_lines()
        while b"begun" not in next(lines):
            pass
        psutil.Process(jupyter.server_pid).kill()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(lines)
    until(lambda: as_person(jupyter, "GET", "/services").ok)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: +{size}"], 400),
        (["Content-Length: {size} 1"], 400),
        (["Content-Length: \xb2"], 400),
        (["Content-Length:"], 400),
        (["Content-Length: " + "9" * 5000], 400),
        (["Content-Length: {size}", "Content-Length: 1"], 400),
        (["Content-Length: {size}", "Content-Length: {size}"], 200),
        (["Content-Length: {size}", "Connection: content-length"], 200),
        (["Transfer-Encoding: chunked", "Connection: transfer-encoding"], 200),
        (["Transfer-Encoding: chunked", "Content-Length: {size}"], 400),
        (["Transfer-Encoding: gzip"], 501),
    ],
)
def test_length_of_a_body_is_passed_on_or_refused(
    jupyter: ServerProcess, lines: list[str], status: int
) -> None:
    parts = urlsplit(jupyter.notebook_url)
    body = json.dumps({"username": "admin", "password": PASSWORD})
    size = len(body)
    head = [f"POST {parts.path}/login HTTP/1.1", f"Host: {parts.netloc}", *lines]
    text = "\r\n".join([*head, "", ""]).format(size=size)
    text += f"{size:x}\r\n{body}\r\n0\r\n\r\n" if "chunked" in text else body
    before = jupyter.log_file.read_text().count("Traceback")
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as client:
        client.sendall(text.encode("latin-1"))
        answer = HTTPResponse(client)
        answer.begin()
        assert answer.status == status
        assert ("message" in json.load(answer)) is (status != 200)
    assert jupyter.log_file.read_text().count("Traceback") == before
