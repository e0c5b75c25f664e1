"""Calls at the Jupyter door that go the short way: what a caller sees is what it was before."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from urllib.parse import urlsplit

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.server.front.conftest import Answer, RawConnection, front_of, y_of

pytestmark = pytest.mark.kernel

MODES = {"front": [], "in-process": ["--MlsvcApp.public_process=False"]}


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server that runs services in a front, and one that runs them itself."""
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("short"),
        admin_password="correct horse",
        base_url="/hub/user%20name/",
        options=[
            *MODES[request.param],
            "--MlsvcApp.max_body_bytes=100000",
            "--LocalEngine.preload=[]",
            "--LocalEngine.workers_max=1",
            "--LocalEngine.queue_limit=1",
            "--LocalEngine.deadline_seconds=2",
            "--WarmKernels.warm_kernels=0",
            # However slow the machine is, the short way stays open.
            "--TokenManager.cache_seconds=60",
        ],
    ) as running:
        yield running


@pytest.fixture(scope="module")
def door(server: ServerProcess) -> Door:
    """The Jupyter door for ``admin``."""
    return sign_in(server.notebook_url, "admin", server.admin_password)


@pytest.fixture
def connection(server: ServerProcess, door: Door) -> Iterator[RawConnection]:
    with connect(server, door) as opened:
        yield opened


def connect(server: ServerProcess, door: Door) -> RawConnection:
    return RawConnection(server.jupyter_port, str(door.token))


@pytest.fixture(scope="module")
def publish(door: Door) -> Callable[[str], str]:
    """A function that publishes code with an input ``n`` and an output ``y``; gives the path."""

    def make(code: str) -> str:
        name = f"svc-{uuid.uuid4().hex[:8]}"
        answer = door.post(f"/services/{name}/1.0", json=definition(code))
        assert answer.status_code == 201, answer.text
        return f"{urlsplit(door.url).path}/api/{name}/1.0"

    return make


def definition(code: str) -> dict[str, object]:
    return {
        "code": code,
        "inputParameterDefinitions": [{"name": "n", "type": "integer"}],
        "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
    }


@pytest.fixture(scope="module")
def echo(publish: Callable[[str], str]) -> str:
    """Path of a service that answers what it is given."""
    return publish("y = n")


@pytest.fixture(scope="module")
def sleeper(publish: Callable[[str], str]) -> str:
    """Path of a service that takes ``n`` tenths of a second."""
    return publish("import time; time.sleep(n / 10); y = n")


def body(n: int) -> bytes:
    """A body that has the same length for all but large numbers, and so the request's head."""
    return b'{"n": %6d}' % n


def call(connection: RawConnection, path: str, data: bytes, *headers: str) -> Answer:
    connection.send(connection.request(path, data, *headers))
    return connection.receive()


def show_the_way(connection: RawConnection, path: str) -> Answer:
    """Call so often that the next call goes the shortest way; gives what a handler answered."""
    answer = call(connection, path, body(0))
    for _ in range(2):
        assert answer.status == 200, answer
        assert call(connection, path, body(0)).status == 200
    return answer


def are_short(*answers: Answer) -> bool:
    """Whether answers came the short way: their ids begin alike, as no others do."""
    return len({answer.headers["x-request-id"][:24] for answer in answers}) == 1


def shown(answer: Answer) -> str:
    """The head without what differs between any two answers."""
    return re.sub(r"(?m)^(Date|X-Request-Id): .*$", r"\1", answer.head)


def test_answers_look_as_those_of_the_handlers(connection: RawConnection, echo: str) -> None:
    long_way = show_the_way(connection, echo)
    first, second = (call(connection, echo, body(n)) for n in (1, 2))
    assert are_short(first, second)
    assert not are_short(long_way, first)
    assert (y_of(first), y_of(second)) == (1, 2)
    assert shown(first) == shown(second) == shown(long_way)
    for answer in (long_way, first):
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["date"])


BAD = {
    "misfit": b'{"n": "two"}',
    "no-json": b"{",
    "empty": b"",
    "of-known-length": b" " * len(body(0)),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_goes_wrong_is_told_as_by_the_handlers(
    connection: RawConnection, echo: str, data: bytes
) -> None:
    show_the_way(connection, echo)
    length = () if data else ("Content-Length: 0",)
    long_way = call(connection, f"{echo}?unknown={uuid.uuid4().hex}", data, *length)
    for _ in range(3):  # by then its head is known as well
        short = call(connection, echo, data, *length)
        assert shown(short) == shown(long_way)
        assert (short.status, short.body) == (long_way.status, long_way.body)
        assert y_of(call(connection, echo, body(1))) == 1


def test_a_service_that_is_changed_or_deleted_is_so_at_once(
    connection: RawConnection, door: Door, publish: Callable[[str], str]
) -> None:
    path = publish("y = n")
    show_the_way(connection, path)
    assert y_of(call(connection, path, body(3))) == 3
    _, _, name, version = path.rsplit("/", 3)
    service = f"/services/{name}/{version}"
    assert door.patch(service, json={"code": "y = -n"}).status_code == 200
    assert y_of(call(connection, path, body(3))) == -3
    assert door.delete(service).status_code == 200
    gone = call(connection, path, body(3))
    assert gone.status == 404
    assert set(gone.json()) == {"message", "link", "exceptionType"}
    assert door.post(service, json=definition("y = n + 1")).status_code == 201
    again = call(connection, path, body(3))
    assert y_of(again) == 4
    assert are_short(again, call(connection, path, body(3)))


def test_a_revoked_token_is_refused_at_once(server: ServerProcess, echo: str) -> None:
    credentials = {"username": "admin", "password": server.admin_password}
    pair = requests.post(f"{server.public_url}/login", json=credentials, timeout=30).json()
    other = Door(server.notebook_url, pair["access_token"])
    with connect(server, other) as connection:
        show_the_way(connection, echo)
        assert are_short(*(call(connection, echo, body(1)) for _ in range(2)))
        revoked = requests.delete(
            f"{server.public_url}/login/refreshToken",
            params={"refreshToken": pair["refresh_token"]},
            headers={"Authorization": f"Bearer {pair['access_token']}"},
            timeout=30,
        )
        assert revoked.status_code == 200, revoked.text
        refused = call(connection, echo, body(1))
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_tokens_that_are_not_ours_or_none_are_refused(server: ServerProcess, echo: str) -> None:
    for token in ("", "noise", "mlsvc-" + "A" * 43):
        with connect(server, Door(server.notebook_url, token)) as connection:
            refused = call(connection, echo, body(1))
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")


def test_a_body_over_the_limit_is_refused_and_one_up_to_it_taken(
    server: ServerProcess, door: Door, connection: RawConnection, echo: str
) -> None:
    show_the_way(connection, echo)
    largest = b" " * (100_000 - len(body(7))) + body(7)
    taken = call(connection, echo, largest)
    assert y_of(taken) == 7
    assert are_short(taken, call(connection, echo, body(7)))
    assert call(connection, echo, largest + b" ").status == 413
    for length in ("+7", "7,7", "9" * 5000):
        with connect(server, door) as other:
            other.send(other.request(echo, b"", f"Content-Length: {length}"), body(7))
            assert other.socket.recv(100).startswith(b"HTTP/1.1 4")


def test_requests_sent_at_once_are_answered_in_their_order(
    connection: RawConnection, echo: str, sleeper: str
) -> None:
    show_the_way(connection, echo)
    show_the_way(connection, sleeper)
    connection.send(
        connection.request(sleeper, body(2)),
        *(connection.request(echo, body(n)) for n in range(20)),
    )
    answers = [connection.receive() for _ in range(21)]
    assert [y_of(answer) for answer in answers] == [2, *range(20)]
    assert are_short(*answers)


def test_a_request_may_come_byte_by_byte(connection: RawConnection, echo: str) -> None:
    show_the_way(connection, echo)
    for byte in connection.request(echo, body(5)):
        connection.send(bytes([byte]))
    assert y_of(connection.receive()) == 5


UNUSUAL = {
    "chunked": ("Transfer-Encoding: chunked", b"d\r\n" + body(1) + b"\r\n0\r\n\r\n"),
    "asks-first": ("Expect: 100-continue", body(1)),
    "of-a-page": ("Origin: http://localhost", body(1)),
    "last": ("Connection: close", body(1)),
}


@pytest.mark.parametrize(("header", "data"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_out_of_the_ordinary_is_left_to_the_handlers(
    connection: RawConnection, echo: str, header: str, data: bytes
) -> None:
    show_the_way(connection, echo)
    short = call(connection, echo, body(1))
    connection.send(connection.request(echo, data, header))
    answer = connection.receive()
    if answer.status == 100:
        answer = connection.receive()
    assert y_of(answer) == 1
    assert not are_short(short, answer)
    assert ("connection" in answer.headers) == (header == "Connection: close")
    if header.startswith("Origin"):
        assert answer.headers["access-control-allow-origin"] == "http://localhost"


def test_a_head_whose_lines_end_otherwise_ends_where_tornado_says(
    connection: RawConnection, echo: str
) -> None:
    show_the_way(connection, echo)
    head, _, data = connection.request(echo, body(3)).partition(b"\r\n\r\n")
    for _ in range(4):
        # For who looks for the other kind of blank line, all but the last body is one head.
        connection.send(
            head.replace(b"\r\n", b"\n"), b"\n\n", data, connection.request(echo, body(4))
        )
        assert y_of(connection.receive()) == 3
        assert y_of(connection.receive()) == 4


def test_other_methods_are_left_to_the_handlers(connection: RawConnection, echo: str) -> None:
    show_the_way(connection, echo)
    for method, status in {"GET": 405, "PUT": 405, "OPTIONS": 200}.items():
        connection.send(connection.request(echo, method=method))
        assert connection.receive().status == status


def test_a_host_that_is_none_of_the_servers_is_refused(
    connection: RawConnection, echo: str
) -> None:
    show_the_way(connection, echo)
    request = connection.request(echo, body(1)).replace(b"Host: localhost", b"Host: evil.example")
    connection.send(request)
    assert connection.receive().status == 403


def test_a_person_at_the_keyboard_goes_the_long_way_with_its_checks(
    server: ServerProcess, door: Door, connection: RawConnection, echo: str
) -> None:
    show_the_way(connection, echo)
    short = call(connection, echo, body(1))
    url = door.url + echo.removeprefix(urlsplit(door.url).path)
    with requests.Session() as browser:
        # The page sets both cookies: who it is, and what has to be repeated as a header.
        page = f"{server.jupyter_url}/tree"
        browser.get(page, params={"token": server.jupyter_token}, timeout=30)
        browser.get(f"{server.jupyter_url}/login", timeout=30)
        refused = browser.post(url, json={"n": 1}, timeout=30)
        assert refused.status_code == 403, refused.text
        headers = {"X-XSRFToken": str(browser.cookies.get("_xsrf"))}
        answers = [browser.post(url, json={"n": n}, headers=headers, timeout=30) for n in (1, 2)]
    assert [y_of(answer) for answer in answers] == [1, 2]
    begins = {answer.headers["X-Request-Id"][:24] for answer in answers}
    assert len(begins) == 2
    assert short.headers["x-request-id"][:24] not in begins


def test_who_leaves_in_the_middle_holds_up_nobody(
    server: ServerProcess, door: Door, connection: RawConnection, sleeper: str
) -> None:
    show_the_way(connection, sleeper)
    for _ in range(6):  # more than run at a time
        with connect(server, door) as leaving:
            leaving.send(leaving.request(sleeper, body(1)))
            time.sleep(0.02)
    deadline = time.monotonic() + 30
    while (answer := call(connection, sleeper, body(0))).status == 503:
        assert time.monotonic() < deadline
    assert y_of(answer) == 0
    assert are_short(answer, call(connection, sleeper, body(0)))


def test_a_full_queue_and_a_passed_deadline_are_told(
    server: ServerProcess, door: Door, connection: RawConnection, sleeper: str
) -> None:
    show_the_way(connection, sleeper)
    statuses: list[int] = []

    def one() -> None:
        with connect(server, door) as other:
            answer = call(other, sleeper, body(30))
            statuses.append(answer.status)
            assert ("retry-after" in answer.headers) == (answer.status == 503)

    callers = [threading.Thread(target=one) for _ in range(12)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert set(statuses) == {503, 504}


def test_calls_count_as_use_of_the_server_and_in_its_metrics(
    server: ServerProcess, connection: RawConnection, echo: str
) -> None:
    show_the_way(connection, echo)
    jupyter = {"Authorization": f"token {server.jupyter_token}"}

    def counted() -> float:
        text = requests.get(f"{server.jupyter_url}/metrics", headers=jupyter, timeout=30).text
        found = re.search(
            r'^http_request_duration_seconds_count\{handler="jupyter_mlsvc_server\.web\.Consume",'
            r'method="POST",status_code="200"\} (\S+)$',
            text,
            re.MULTILINE,
        )
        assert found is not None
        return float(found[1])

    before, began = counted(), time.time()
    answers = [call(connection, echo, body(n)) for n in range(5)]
    assert are_short(*answers)
    assert counted() - before == 5

    def last_use() -> float:
        url = f"{server.jupyter_url}/api/status"
        told = requests.get(
            url, params={"no_track_activity": 1}, headers=jupyter, timeout=30
        ).json()
        return datetime.fromisoformat(told["last_activity"]).timestamp()

    deadline = time.monotonic() + 30
    while last_use() < began - 0.01:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("server", ["front"], indirect=True)
def test_a_front_that_ends_fails_those_who_wait_and_the_next_waits_for_another(
    server: ServerProcess, connection: RawConnection, sleeper: str
) -> None:
    first = show_the_way(connection, sleeper)
    connection.send(connection.request(sleeper, body(15)))
    time.sleep(0.3)
    front_of(server).kill()
    ended = connection.receive()
    assert ended.status == 500
    assert "ended unexpectedly" in ended.json()["message"]
    answer = call(connection, sleeper, body(0))
    assert y_of(answer) == 0
    assert shown(answer) == shown(first)
