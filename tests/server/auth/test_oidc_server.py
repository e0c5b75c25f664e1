"""A server that takes access tokens of a real OpenID provider, over real connections."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import keyring.backends.fail
import keyring.core
import msal
import pytest
import requests

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.token_vault import TokenVault
from jupyter_mlsvc.errors import Forbidden, MlsvcError
from jupyter_mlsvc_server.launch import ServerProcess
from tests.identity_provider import (
    AUDIENCE,
    NOTEBOOKS,
    PAGE,
    ROBOT,
    ROBOTS_SECRET,
    IdentityProvider,
)

pytestmark = pytest.mark.kernel

ORIGIN = PAGE.removesuffix("/callback")


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
            "--KernelFactory.preload_at_start=false",
            "--LocalEngine.preload=[]",
            f"--MlsvcApp.cors_origins={ORIGIN}",
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


# A page takes the code from its address.
@pytest.mark.filterwarnings("ignore:response_mode='form_post' is recommended")
def test_a_page_gets_in_with_a_code_and_pkce(
    server: ServerProcess, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(provider.ca_file))
    page = msal.PublicClientApplication(NOTEBOOKS, oidc_authority=provider.issuer)
    flow = page.initiate_auth_code_flow(["use"], redirect_uri=PAGE, login_hint="ann")
    assert "code_challenge_method=S256" in flow["auth_uri"]
    # What a browser does, in which the person is logged in already.
    back = requests.get(flow["auth_uri"], allow_redirects=False, timeout=60).headers["Location"]
    assert back.startswith(f"{PAGE}?")
    got = dict(parse_qsl(urlsplit(back).query))
    stolen = page.initiate_auth_code_flow(["use"], redirect_uri=PAGE, state=flow["state"])
    assert page.acquire_token_by_auth_code_flow(stolen, got)["error"] == "invalid_grant"
    token = page.acquire_token_by_auth_code_flow(flow, got)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Origin": ORIGIN}
    who = requests.get(f"{server.public_url}/user", headers=headers, timeout=60)
    assert who.json()["name"] == "oidc:ann"
    assert who.headers["Access-Control-Allow-Origin"] == ORIGIN


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
    status = ask(server, "/status", token["access_token"]).json()
    shown = status["components"]["authentication"]["components"]["azureActiveDirectory"]
    assert shown["details"] == {"authority": provider.issuer, "audience": AUDIENCE}


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


# --- our client ------------------------------------------------------------------------------


@pytest.fixture
def vault(
    provider: IdentityProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TokenVault:
    """A place for tokens on a machine without a keyring; the provider's certificate is trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(provider.ca_file))
    no_keyring = keyring.backends.fail.Keyring()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(keyring.core, "_keyring_backend", no_keyring)
    return TokenVault(tmp_path / "made" / "logins.json")


def entering(provider: IdentityProvider, person: str, shown: list[str]) -> Callable[[str], None]:
    """Do what a person does who reads the sentence."""

    def show(text: str) -> None:
        shown.append(text)
        code = re.search(r"code (\w{4}-\w{4})", text)
        assert code is not None
        provider.decide(code[1], person)

    return show


def test_a_person_logs_in_by_a_code_and_the_next_notebook_needs_none(
    server: ServerProcess, provider: IdentityProvider, vault: TokenVault, tmp_path: Path
) -> None:
    shown: list[str] = []
    with Client(server.public_url) as client:
        client.login_oidc(entering(provider, "ann", shown), vault=vault)
        assert client.user == "oidc:ann"
        assert client.services.list() == []
        assert f"{provider.issuer}/activate" in shown[0]
    kept = tmp_path / "made" / "logins.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with Client(server.public_url) as another:
        another.login_oidc(shown.append, vault=vault)
        assert (another.user, len(shown)) == ("oidc:ann", 1)
        another.logout()
    assert kept.read_bytes() == b"{}"
    with Client(server.public_url) as third:
        third.login_oidc(entering(provider, "olga", shown), vault=vault)
        assert (third.whoami().role, len(shown)) == ("owner", 2)


def test_a_login_that_the_server_refuses_leaves_the_one_before(
    server: ServerProcess, provider: IdentityProvider, vault: TokenVault
) -> None:
    with Client(server.public_url, username="admin", password=server.admin_password) as client:
        with pytest.raises(Forbidden, match="groups"):
            client.login_oidc(entering(provider, "eve", []), vault=vault)
        assert client.whoami().name == "admin"


def test_a_program_logs_in_by_its_secret(
    server: ServerProcess, provider: IdentityProvider, vault: TokenVault
) -> None:
    with Client(server.public_url) as client:
        client.login_as_program(ROBOT, ROBOTS_SECRET)
        assert (client.whoami().name, client.whoami().role) == (f"oidc:{ROBOT}", "reader")
        with pytest.raises(MlsvcError, match="invalid_client"):
            client.login_as_program(ROBOT, "wrong")


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
