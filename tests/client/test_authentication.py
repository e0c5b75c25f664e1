from __future__ import annotations

import json
import logging
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.plain_http import warn_of_plain_http
from jupyter_mlsvc.client.transport import ApiRequest, ApiResponse
from jupyter_mlsvc.errors import (
    ConnectionFailed,
    InsecureLogin,
    MlsvcError,
    NotLoggedIn,
    Unauthorized,
)

from .fake import FakeTransport, answer, problem, tokens

EXPIRED = {"WWW_Authenticate": 'Bearer error="invalid_token"'}


def authorizations(transport: FakeTransport) -> list[str | None]:
    return [request.headers.get("Authorization") for request in transport.requests]


def logged_in(transport: FakeTransport, expires_in: int = 3600) -> Client:
    transport.answers.insert(0, tokens(1, expires_in))
    return Client("https://fake:1", username="maria", password="open sesame", transport=transport)


def test_a_given_token_is_sent(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([])]
    client.sessions.list()
    assert authorizations(transport) == ["Bearer given-token"]


def test_the_environment_says_where_and_who(
    monkeypatch: pytest.MonkeyPatch, transport: FakeTransport
) -> None:
    monkeypatch.setenv("MLSVC_URL", "http://lab:8888/lab/mlsvc/")
    monkeypatch.setenv("MLSVC_TOKEN", "from-the-environment")
    transport.answers = [answer([])]
    client = Client(transport=transport)
    client.sessions.list()
    assert client.url == "http://lab:8888/lab/mlsvc"
    assert authorizations(transport) == ["Bearer from-the-environment"]


def test_the_token_of_the_environment_goes_to_no_other_server(
    monkeypatch: pytest.MonkeyPatch, transport: FakeTransport
) -> None:
    monkeypatch.setenv("MLSVC_URL", "http://lab:8888/mlsvc")
    monkeypatch.setenv("MLSVC_TOKEN", "from-the-environment")
    client = Client("http://elsewhere:12800", transport=transport)
    with pytest.raises(NotLoggedIn):
        client.sessions.list()
    assert transport.requests == []


@pytest.fixture
def connection_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("jupyter_mlsvc.client.auth._RENEWAL_SECONDS", 0)
    path = tmp_path / "connection.json"
    monkeypatch.setenv("MLSVC_CONNECTION_FILE", str(path))
    write_connection(path, "first")
    return path


def write_connection(path: Path, token: str, url: str = "http://lab:1/mlsvc") -> None:
    connection = {"url": url, "token": token, "publicUrl": "http://lab:2"}
    path.write_text(json.dumps(connection))


def test_connection_file_says_where_and_who(
    connection_file: Path, transport: FakeTransport
) -> None:
    transport.answers = [answer([])]
    client = Client(transport=transport)
    client.sessions.list()
    assert client.url == "http://lab:1/mlsvc"
    assert authorizations(transport) == ["Bearer first"]


def test_connection_file_is_read_again_when_its_token_is_refused(
    connection_file: Path, transport: FakeTransport
) -> None:
    client = Client(transport=transport)
    write_connection(connection_file, "second")
    transport.answers = [problem(401, "The token is not valid here.", **EXPIRED), answer([])]
    client.sessions.list()
    assert authorizations(transport) == ["Bearer first", "Bearer second"]
    transport.answers = [problem(401, "The token is not valid here.", **EXPIRED)]
    with pytest.raises(Unauthorized):
        client.sessions.list()


@pytest.mark.parametrize("is_refused", [True, False])
def test_server_that_is_started_again_is_waited_for(
    connection_file: Path,
    transport: FakeTransport,
    monkeypatch: pytest.MonkeyPatch,
    is_refused: bool,
) -> None:
    def fail(request: ApiRequest) -> ApiResponse:
        raise ConnectionFailed("http://lab:1/mlsvc", "connection refused")

    # A token that is not known yet, as the server serves before the file is written.
    expired = problem(401, "The token is not valid here.", **EXPIRED)
    monkeypatch.setattr("jupyter_mlsvc.client.auth._RENEWAL_SECONDS", 30)
    client = Client(transport=transport)
    transport.answers = [*([fail] if is_refused else []), expired, answer([])]
    later = threading.Timer(0.3, write_connection, (connection_file, "second"))
    later.start()
    client.sessions.list()
    later.join()
    assert authorizations(transport)[-1] == "Bearer second"


def test_server_is_not_waited_for_where_its_jupyter_has_ended(
    connection_file: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: ApiRequest) -> ApiResponse:
        raise ConnectionFailed("http://lab:1/mlsvc", "connection refused")

    monkeypatch.setattr("jupyter_mlsvc.client.auth.time.sleep", pytest.fail)
    monkeypatch.setattr("jupyter_mlsvc.client.auth._RENEWAL_SECONDS", 30)
    client = Client(transport=transport)
    connection_file.unlink()
    transport.answers = [fail]
    with pytest.raises(ConnectionFailed):
        client.sessions.list()


@pytest.mark.parametrize("reason", ["connection refused", "the connection broke"])
def test_server_that_came_back_elsewhere_is_found_by_the_connection_file(
    connection_file: Path, transport: FakeTransport, reason: str
) -> None:
    def fail(request: ApiRequest) -> ApiResponse:
        raise ConnectionFailed("http://lab:1/mlsvc", reason)

    client = Client(transport=transport)
    transport.answers = [fail]
    with pytest.raises(ConnectionFailed):
        client.sessions.list()
    write_connection(connection_file, "second", "http://lab:3")
    transport.answers = [fail, answer([])]
    if reason == "connection refused":
        client.sessions.list()
    else:
        # It may have been received.
        with pytest.raises(ConnectionFailed):
            client.sessions.list()
    assert client.url == "http://lab:3"


def test_address_of_the_connection_file_is_for_its_token_only(
    connection_file: Path, transport: FakeTransport
) -> None:
    def fail(request: ApiRequest) -> ApiResponse:
        raise ConnectionFailed("http://lab:1/mlsvc", "connection refused")

    client = Client(token="own", transport=transport)
    write_connection(connection_file, "second", "http://lab:3")
    transport.answers = [fail]
    with pytest.raises(ConnectionFailed):
        client.sessions.list()
    assert client.url == "http://lab:1/mlsvc"


def test_address_in_the_environment_counts_for_more_than_the_connection_file(
    connection_file: Path, monkeypatch: pytest.MonkeyPatch, transport: FakeTransport
) -> None:
    monkeypatch.setenv("MLSVC_URL", "http://elsewhere:12800")
    client = Client(transport=transport)
    assert client.url == "http://elsewhere:12800"
    assert not client.is_logged_in


def test_client_waits_for_the_connection_file(
    connection_file: Path, transport: FakeTransport
) -> None:
    connection_file.unlink()
    later = threading.Timer(0.3, write_connection, (connection_file, "late"))
    later.start()
    assert Client(transport=transport).url == "http://lab:1/mlsvc"
    later.join()


def test_without_a_server_the_error_says_where_to_look(
    connection_file: Path, monkeypatch: pytest.MonkeyPatch, transport: FakeTransport
) -> None:
    connection_file.unlink()
    monkeypatch.setattr("jupyter_mlsvc.client.client._START_SECONDS", 0)
    with pytest.raises(MlsvcError, match="The side panel and Jupyter's log say why"):
        Client(transport=transport)
    assert not Client("http://elsewhere:12800", transport=transport).is_logged_in


def test_problem_of_the_server_is_raised_at_once(
    connection_file: Path, monkeypatch: pytest.MonkeyPatch, transport: FakeTransport
) -> None:
    monkeypatch.setattr("jupyter_mlsvc.client.client.time.sleep", pytest.fail)
    connection_file.write_text('{"url":"","token":"","publicUrl":"","problem":"Port 1 is taken."}')
    with pytest.raises(MlsvcError, match=r"does not run\. Port 1 is taken\. Use another one"):
        Client(transport=transport)


def test_without_a_token_nothing_is_sent_and_the_error_says_what_to_do(
    transport: FakeTransport,
) -> None:
    with pytest.raises(NotLoggedIn, match=r"Not logged in at https://fake:1\. Use %mlsvc login"):
        Client("https://fake:1", transport=transport).status()
    assert transport.requests == []


@pytest.mark.parametrize(
    ("url", "is_told"),
    [
        ("http://10.0.0.7:12800", True),
        ("http://ml.example.org", True),
        ("http://localhost.example.org", True),
        ("https://ml.example.org", False),
        ("http://127.0.0.1:12800", False),
        ("http://LOCALHOST:12800", False),
        ("http://[::1]:12800", False),
    ],
)
def test_a_password_that_others_can_read_on_its_way_is_warned_of(url: str, is_told: bool) -> None:
    told = pytest.warns(InsecureLogin, match="over plain HTTP")
    with told if is_told else nullcontext():
        warn_of_plain_http(url)


def test_a_login_warns_before_it_sends_the_password(transport: FakeTransport) -> None:
    client = Client("http://fake:1", transport=transport)
    with pytest.raises(InsecureLogin):
        client.login("maria", "secret")
    assert transport.requests == []


def test_a_login_sends_the_access_token(transport: FakeTransport) -> None:
    client = logged_in(transport)
    transport.answers = [answer([])]
    client.sessions.list()
    assert authorizations(transport) == [None, "Bearer access-1"]
    assert client.user == "maria"


def test_a_refused_login_raises_what_the_server_says(transport: FakeTransport) -> None:
    transport.answers = [problem(401, "Wrong user name or password.")]
    with pytest.raises(Unauthorized, match="Wrong user name or password"):
        Client("https://fake:1", username="maria", password="wrong", transport=transport)


def test_a_login_is_renewed_before_it_expires(transport: FakeTransport) -> None:
    client = logged_in(transport, expires_in=0)
    transport.answers = [tokens(2), answer([])]
    client.sessions.list()
    assert transport.requests[1].path == "/login/refreshToken"
    assert transport.requests[1].body == b'{"refreshToken":"refresh-1"}'
    assert authorizations(transport)[-1] == "Bearer access-2"


def test_a_login_is_renewed_once_when_the_server_no_longer_takes_the_token(
    transport: FakeTransport,
) -> None:
    client = logged_in(transport)
    transport.answers = [problem(401, "expired", **EXPIRED), tokens(2), answer([])]
    client.sessions.list()
    assert authorizations(transport) == [None, "Bearer access-1", None, "Bearer access-2"]


def test_a_second_refusal_is_raised(transport: FakeTransport) -> None:
    client = logged_in(transport)
    transport.answers = [
        problem(401, "expired", **EXPIRED),
        tokens(2),
        problem(401, "still expired", **EXPIRED),
    ]
    with pytest.raises(Unauthorized, match="still expired"):
        client.sessions.list()


def test_a_login_that_has_ended_says_so(transport: FakeTransport) -> None:
    client = logged_in(transport)
    transport.answers = [problem(401, "expired", **EXPIRED), problem(401, "revoked")]
    with pytest.raises(NotLoggedIn, match="The login of 'maria' has ended"):
        client.sessions.list()


def test_a_login_that_has_ended_is_not_tried_again(transport: FakeTransport) -> None:
    client = logged_in(transport)
    transport.answers = [
        problem(401, "expired", **EXPIRED),
        problem(401, "revoked"),
        problem(401, "expired", **EXPIRED),
    ]
    for _ in range(2):
        with pytest.raises(NotLoggedIn, match="The login of 'maria' has ended"):
            client.sessions.list()
    assert [r.path for r in transport.requests].count("/login/refreshToken") == 1


def test_a_given_token_that_is_refused_is_not_renewed(
    client: Client, transport: FakeTransport
) -> None:
    transport.answers = [problem(401, "expired", **EXPIRED)]
    with pytest.raises(Unauthorized, match="expired"):
        client.sessions.list()
    assert len(transport.requests) == 1


def test_logout_revokes_and_forgets(transport: FakeTransport) -> None:
    client = logged_in(transport)
    transport.answers = [tokens(1)]
    client.logout()
    assert (transport.requests[-1].method, transport.requests[-1].path) == (
        "DELETE",
        "/login/refreshToken",
    )
    assert transport.requests[-1].query == {"refreshToken": "refresh-1"}
    assert not client.is_logged_in


def test_no_repr_and_no_log_has_a_secret(
    transport: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = logged_in(transport)
    transport.answers = [answer([]), tokens(1)]
    client.sessions.list()
    shown = [repr(client), repr(vars(client)), repr(transport.requests)]
    client.logout()
    shown += [caplog.text, repr(client), repr(transport.requests)]
    for secret in ("access-1", "refresh-1", "open sesame"):
        assert not any(secret in text for text in shown)


def test_the_repr_shows_where_and_who(transport: FakeTransport) -> None:
    assert repr(logged_in(transport)) == "<Client https://fake:1 user='maria'>"


@pytest.mark.parametrize("url", ["localhost:12800", "ftp://host", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(MlsvcError, match="no address of a server"):
        Client(url)


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(MlsvcError, match="Leave user and password out") as raised:
        Client("http://maria:sesame@host")
    assert "sesame" not in str(raised.value)
