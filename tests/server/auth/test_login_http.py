"""Login, renewal and revocation over real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from starlette.responses import Response
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from jupyter_mlsvc.wire.models import AccessTokenResponse, LoginRequest, RenewTokenRequest
from jupyter_mlsvc_server.api.lifecycle import Lifecycle, Stage
from jupyter_mlsvc_server.api.login import LoginRoutes
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import json_response
from jupyter_mlsvc_server.api.routing import route
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.tokens import TokenManager
from tests.serving import served

PASSWORD = "correct horse"
ANN = {"username": "ann", "password": PASSWORD}
PAIR = {"token_type", "access_token", "expires_in", "expires_on", "refresh_token"}

Call = Callable[..., Awaitable[HTTPResponse]]


async def who_am_i(request: ApiRequest) -> Response:
    """Need a token and tell whose it is."""
    return json_response({"name": request.principal.name, "role": request.principal.role})


@pytest.fixture
async def call(tokens: TokenManager) -> AsyncIterator[Call]:
    routes = LoginRoutes(
        tokens=tokens, lifecycle=Lifecycle(Stage.SERVING), confinement="basic"
    ).table()
    async with served(routes, [route("/whoami", get=who_am_i)], tokens=tokens) as port:
        client = AsyncHTTPClient(force_instance=True)

        async def fetch(
            method: str, path: str, body: object = None, token: str | None = None
        ) -> HTTPResponse:
            sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            return await client.fetch(
                f"http://127.0.0.1:{port}{path}",
                method=method,
                body=sent,
                headers={} if token is None else {"Authorization": f"Bearer {token}"},
                allow_nonstandard_methods=True,
                raise_error=False,
            )

        yield fetch
        client.close()


def value(response: HTTPResponse) -> Any:
    return json.loads(response.body)


async def log_in(call: Call) -> dict[str, Any]:
    return dict(value(await call("POST", "/login", ANN)))


@pytest.mark.parametrize("path", ["/login", "/login/"])
async def test_login_answers_a_pair_in_compact_json(call: Call, path: str) -> None:
    response = await call("POST", path, ANN)
    pair = value(response)
    assert response.code == 200
    assert response.headers["Content-Type"].startswith("application/json")
    assert set(pair) == PAIR
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 3600)
    assert isinstance(pair["expires_on"], int)
    assert b'"access_token":"' in response.body
    who = await call("GET", "/whoami", token=pair["access_token"])
    assert value(who) == {"name": "ann", "role": "contributor"}


async def test_members_that_are_unknown_are_ignored(call: Call) -> None:
    assert (await call("POST", "/login", ANN | {"resource": None})).code == 200


@pytest.mark.parametrize(
    "credentials",
    [ANN | {"password": "incorrect horse"}, ANN | {"username": "bob"}],
    ids=["password", "user"],
)
async def test_wrong_credentials_are_401_with_one_body(call: Call, credentials: object) -> None:
    response = await call("POST", "/login", credentials)
    assert response.code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert value(response) == {
        "message": "The user name or the password is wrong.",
        "link": "",
        "exceptionType": "UnauthorizedException",
        "requestId": response.headers["X-Request-Id"],
    }


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "username"),
        (b"null", "username"),
        (b"{}", "username"),
        (b'{"username":"ann"}', "password"),
        (b'{"username":"ann","password":null}', "password"),
        (b'{"username":1,"password":"x"}', "username"),
        (b"[]", "object"),
        (b"not json", "JSON"),
        (b'{"username":"ann","password":"\xff"}', "body"),
    ],
)
async def test_a_body_that_does_not_fit_is_400_and_names_the_member(
    call: Call, body: bytes, names: str
) -> None:
    response = await call("POST", "/login", body)
    assert response.code == 400
    assert value(response)["exceptionType"] == "BadRequestException"
    assert names in value(response)["message"]


async def test_too_many_failed_logins_are_429_and_say_how_long_to_wait(
    call: Call, accounts: AccountManager
) -> None:
    wrong = ANN | {"password": "incorrect horse"}
    for _ in range(accounts.failed_logins):
        assert (await call("POST", "/login", wrong)).code == 401
    response = await call("POST", "/login", ANN)
    assert response.code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert value(response)["exceptionType"] == "TooManyRequestsException"


async def test_renewal_answers_the_next_pair_and_ends_the_old(call: Call) -> None:
    old = await log_in(call)
    response = await call("POST", "/login/refreshToken", {"refreshToken": old["refresh_token"]})
    new = value(response)
    assert response.code == 200
    assert set(new) == PAIR
    assert (await call("GET", "/whoami", token=new["access_token"])).code == 200
    refused = await call("GET", "/whoami", token=old["access_token"])
    assert refused.code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"refreshToken":null}'])
async def test_renewal_without_a_token_is_400(call: Call, body: bytes) -> None:
    response = await call("POST", "/login/refreshToken", body)
    assert response.code == 400
    assert "refreshToken" in value(response)["message"]


async def test_renewal_with_a_made_up_token_is_401(call: Call) -> None:
    response = await call("POST", "/login/refreshToken", {"refreshToken": "made.up"})
    assert response.code == 401
    assert value(response)["exceptionType"] == "UnauthorizedException"


async def test_revocation_answers_the_shape_of_a_pair_and_ends_both_tokens(call: Call) -> None:
    pair = await log_in(call)
    path = "/login/refreshToken?refreshToken=" + quote(pair["refresh_token"])
    response = await call("DELETE", path)
    assert response.code == 200
    assert set(value(response)) == PAIR
    assert (await call("GET", "/whoami", token=pair["access_token"])).code == 401
    body = {"refreshToken": pair["refresh_token"]}
    assert (await call("POST", "/login/refreshToken", body)).code == 401
    assert (await call("DELETE", path)).code == 401


async def test_revocation_without_a_token_is_400(call: Call) -> None:
    response = await call("DELETE", "/login/refreshToken")
    assert response.code == 400
    assert "refreshToken" in value(response)["message"]


async def test_without_a_token_the_challenge_is_plain(call: Call) -> None:
    response = await call("GET", "/whoami")
    assert response.code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_no_request_leaves_a_secret_in_the_log(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pair = await log_in(call)
    await call("POST", "/login", ANN | {"password": "incorrect horse"})
    await call("GET", "/whoami", token=pair["access_token"] + "x")
    await call("DELETE", "/login/refreshToken?refreshToken=" + pair["refresh_token"] + "x")
    await asyncio.sleep(0)
    assert "horse" not in caplog.text
    assert pair["access_token"] not in caplog.text
    assert pair["refresh_token"] not in caplog.text


async def test_refused_login_is_one_line_of_the_log(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = await call("POST", "/login", ANN | {"password": "incorrect horse"})
    (line,) = [record.getMessage() for record in caplog.records if "/login" in record.getMessage()]
    assert line.endswith("wrong. user='ann' from=127.0.0.1")
    assert not [record for record in caplog.records if "refused" in record.getMessage()]
    assert b"user='ann'" not in response.body


async def test_bodies_with_secrets_show_none_in_their_reprs(call: Call) -> None:
    pair = msgspec.json.decode((await call("POST", "/login", ANN)).body, type=AccessTokenResponse)
    shown = repr(
        [
            pair,
            LoginRequest(username="ann", password=PASSWORD),
            RenewTokenRequest(refresh_token=pair.refresh_token),
        ]
    )
    for secret in (pair.access_token, pair.refresh_token, PASSWORD):
        assert secret not in shown
