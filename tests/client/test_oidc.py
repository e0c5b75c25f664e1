"""Logins with an identity provider, against one that a test plays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keyring
import keyring.backends.fail
import keyring.core
import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.oidc import (
    OidcLogin,
    Provider,
    Refresh,
    Refused,
    Tokens,
    is_same_place,
    wait_for_person,
)
from jupyter_mlsvc.client.token_vault import TokenVault
from jupyter_mlsvc.errors import ConnectionFailed, MlsvcError, NotLoggedIn
from tests.client.fake import FakeTransport, answer
from tests.clocks import ManualClock

ISSUER = "https://id.example.org"
CODE = {
    "device_code": "d",
    "user_code": "ABCD-EFGH",
    "verification_uri": f"{ISSUER}/activate",
    "expires_in": 60,
    "interval": 2,
}
Answer = dict[str, Any] | Exception


class Played(Provider):
    """A provider that answers what a test wants, in order."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(ISSUER)
        self.answers = list(answers)
        self.forms: list[dict[str, str]] = []

    def ask(self, endpoint: str, form: Any, secret: Any) -> bytes:
        self.forms.append(dict(form))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer).encode()

    def endpoint(self, name: str) -> str | None:
        return None


def no(code: str) -> Refused:
    return Refused(ISSUER, code)


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenVault:
    no_keyring = keyring.backends.fail.Keyring()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(keyring.core, "_keyring_backend", no_keyring)
    return TokenVault(tmp_path / "logins.json")


def waiting(provider: Played) -> tuple[Callable[[], Tokens], list[float], list[str]]:
    """Return how to wait, which pauses were made, and what was shown."""
    clock = ManualClock(0)
    pauses: list[float] = []
    shown: list[str] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    def wait() -> Tokens:
        return wait_for_person(
            provider, "notebooks", "openid", shown.append, clock=clock, sleep=sleep
        )

    return wait, pauses, shown


def test_the_pauses_are_those_that_the_provider_wants() -> None:
    provider = Played(
        CODE,
        no("authorization_pending"),
        no("slow_down"),
        ConnectionFailed(ISSUER, "it is away"),
        {"access_token": "a"},
    )
    wait, pauses, shown = waiting(provider)
    assert wait().access_token == "a"
    assert pauses == [2, 2, 7, 12]
    assert f"{ISSUER}/activate" in shown[0]
    assert "ABCD-EFGH" in shown[0]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([no("access_denied")], "access_denied"),
        ([no("expired_token")], "not entered in time"),
        ([no("authorization_pending")] * 30, "not entered in time"),
        ([{"nonsense": 1}], "something else"),
    ],
)
def test_a_wait_ends_with_a_sentence(answers: list[Answer], words: str) -> None:
    wait, _, _ = waiting(Played(CODE, *answers))
    with pytest.raises(MlsvcError, match=words):
        wait()


def test_a_wait_can_be_interrupted() -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for_person(Played(CODE), "notebooks", "openid", print, sleep=interrupt)


def test_an_address_that_anybody_can_change_is_not_shown() -> None:
    wait, _, shown = waiting(Played(CODE | {"verification_uri": "http://id.example.org/activate"}))
    with pytest.raises(MlsvcError, match="https"):
        wait()
    assert shown == []


@pytest.mark.parametrize("issuer", ["http://id.example.org", "file:///x", "id.example.org"])
def test_a_provider_needs_https(issuer: str) -> None:
    with pytest.raises(MlsvcError, match="https"):
        Provider(issuer)


def test_a_login_renews_itself_before_its_end(vault: TokenVault) -> None:
    provider = Played({"access_token": "second", "refresh_token": "r2", "expires_in": 600})
    clock = ManualClock(0)
    grant = Refresh(provider, "notebooks", vault, "key")
    first = Tokens(access_token="first", refresh_token="r1", expires_in=600)
    grant.keep(first)
    login = OidcLogin(grant, first, clock)
    clock.advance(539)
    assert login.token() == "first"
    clock.advance(1)
    assert login.token() == "second"
    assert provider.forms[0]["refresh_token"] == "r1"
    assert vault.read("key") == "r2"


def test_a_refresh_token_that_another_notebook_used_is_replaced_by_its_newer_one(
    vault: TokenVault,
) -> None:
    provider = Played(no("invalid_grant"), {"access_token": "second", "refresh_token": "r3"})
    grant = Refresh(provider, "notebooks", vault, "key")
    grant.keep(Tokens(access_token="first", refresh_token="r1"))
    vault.write("key", "r2")
    assert OidcLogin(grant, Tokens(access_token="first")).renew("first")
    assert [form["refresh_token"] for form in provider.forms] == ["r1", "r2"]


def test_a_login_that_has_ended_says_so(vault: TokenVault) -> None:
    provider = Played(no("invalid_grant"))
    grant = Refresh(provider, "notebooks", vault, "key")
    grant.keep(Tokens(access_token="first", refresh_token="r1"))
    with pytest.raises(NotLoggedIn, match="--oidc"):
        OidcLogin(grant, Tokens(access_token="first")).renew("first")


def test_a_keyring_keeps_the_token_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ring(keyring.backend.KeyringBackend):
        priority = 1

        def __init__(self) -> None:
            self.kept: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    ring = Ring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", ring)
    vault = TokenVault(tmp_path / "logins.json")
    vault.write("key", "secret")
    assert (vault.read("key"), list(ring.kept.values())) == ("secret", ["secret"])
    assert not (tmp_path / "logins.json").exists()
    vault.forget("key")
    assert vault.read("key") is None


def test_no_secret_is_in_what_is_shown(vault: TokenVault) -> None:
    tokens = Tokens(access_token="secret-a", refresh_token="secret-b")
    assert "secret" not in repr(tokens)


@pytest.mark.parametrize(
    ("resource", "is_ours"),
    [
        ("https://ml.example.org/mlsvc", True),
        ("https://ML.example.org:443/mlsvc/", True),
        ("", True),
        ("https://ml.example.org", False),
        ("http://ml.example.org/mlsvc", False),
        ("https://ml.example.org:12800/mlsvc", False),
        ("https://ml.example.org.evil.example/mlsvc", False),
    ],
)
def test_what_another_server_says_of_itself_is_not_used(resource: str, is_ours: bool) -> None:
    described = {"resource": resource, "authorization_servers": [ISSUER]}
    client = Client("https://ml.example.org/mlsvc", transport=FakeTransport([answer(described)]))
    words = "names no client to log in by" if is_ours else "describes the server at"
    with pytest.raises(MlsvcError, match=words):
        client.login_oidc()


def test_this_machine_is_the_same_by_all_its_names() -> None:
    assert is_same_place("http://localhost:12800", "http://127.0.0.1:12800/")
    assert not is_same_place("http://localhost:12800", "http://127.0.0.1:12801")
