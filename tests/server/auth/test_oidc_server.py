"""A server that takes access tokens of a real OpenID provider, over real connections."""

from __future__ import annotations

from collections.abc import Iterator

import msal
import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.identity_provider import NOTEBOOKS, IdentityProvider

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with IdentityProvider(tmp_path_factory.mktemp("provider")) as serving:
        yield serving


@pytest.fixture(scope="module")
def server(
    provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with ServerProcess(
        data_dir=tmp_path_factory.mktemp("mlsvc"),
        admin_password="correct horse",
        options=[
            "--WarmKernels.warm_kernels=0",
            "--LocalEngine.preload=[]",
            *provider.settings(),
        ],
    ) as running:
        yield running


def ask(server: ServerProcess, path: str, token: str | None = None) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(server.public_url + path, headers=headers, timeout=60)


def test_the_server_says_where_tokens_come_from(
    server: ServerProcess, provider: IdentityProvider
) -> None:
    described = ask(server, "/.well-known/oauth-protected-resource").json()
    assert described["authorization_servers"] == [provider.issuer]
    assert described["client_id"] == NOTEBOOKS
    assert described["resource"] == server.public_url


def test_the_script_of_the_article_gets_in_with_msal(
    server: ServerProcess, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(provider.ca_file))
    context = msal.PublicClientApplication(NOTEBOOKS, oidc_authority=provider.issuer)
    code = context.initiate_device_flow(scopes=["use"])
    assert code["user_code"]
    assert f"{provider.issuer}/activate" in code["verification_uri"]
    provider.decide(code["user_code"], "ann")
    token = context.acquire_token_by_device_flow(code)
    # The rest of the article is between the client and the server.
    who = ask(server, "/user", token["access_token"]).json()
    assert (who["name"], who["role"]) == ("oidc:ann", "contributor")


@pytest.mark.parametrize(
    ("person", "changes", "status", "code"),
    [
        ("olga", {}, 200, None),
        ("eve", {}, 403, "NoRole"),
        ("ann", {"aud": "api://other"}, 401, "InvalidAccessToken"),
        ("ann", {"exp": 1_700_000_000}, 401, "ExpiredAccessToken"),
    ],
)
def test_what_is_answered_to_a_token(
    server: ServerProcess,
    provider: IdentityProvider,
    person: str,
    changes: dict[str, object],
    status: int,
    code: str | None,
) -> None:
    answer = ask(server, "/user", provider.token(person, **changes))
    assert answer.status_code == status, answer.text
    assert answer.json().get("errorCode") == code
    if status == 401:
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_while_the_provider_is_down_who_is_known_goes_on(
    server: ServerProcess, provider: IdentityProvider
) -> None:
    good = provider.token("ann")
    assert ask(server, "/user", good).status_code == 200
    provider.stop()
    try:
        assert ask(server, "/user", good).status_code == 200
        login = {"username": "admin", "password": server.admin_password}
        local = requests.post(f"{server.public_url}/login", json=login, timeout=60)
        assert local.status_code == 200
    finally:
        provider.start()
