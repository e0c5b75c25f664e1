"""Access tokens of an OpenID provider: which are taken, and what becomes of the others."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from traitlets import TraitError
from traitlets.config import Config

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticators import Authenticators, make_authenticators
from jupyter_mlsvc_server.auth.errors import (
    AccountDisabled,
    ExpiredAccessToken,
    IdentityProviderUnavailable,
    InvalidAccessToken,
    NoRole,
)
from jupyter_mlsvc_server.auth.oidc import OidcAuthenticator, usable_keys
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import accounts as table
from tests.clocks import ManualClock
from tests.identity_provider import SigningKey

ISSUER = "https://id.example.org/contoso"
AUDIENCE = "api://mlsvc"
FIRST, SECOND = SigningKey("first"), SigningKey("second")
NOW = 1_800_000_000
PASSWORD = "correct horse"


class Provider:
    """The answers of a provider; ``None`` for its keys makes it unreachable."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] | None = [FIRST.public]
        self.asked = 0
        self.clock = ManualClock(NOW)

    def fetch(self) -> Any:
        self.asked += 1
        if self.keys is None:
            raise IdentityProviderUnavailable("it is away")
        return usable_keys(self.keys)

    def authenticator(self, **settings: Any) -> OidcAuthenticator:
        made = OidcAuthenticator(
            **{
                "issuer": ISSUER,
                "audience": [AUDIENCE],
                "role_groups": {"owner": ["ml-admins"], "contributor": ["Data-Science"]},
                **settings,
            },
            wall_clock=self.clock,
            monotonic_clock=self.clock,
        )
        made._fetch = self.fetch  # type: ignore[method-assign]
        return made


@pytest.fixture
def provider() -> Provider:
    return Provider()


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token; None takes one away."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "a-1",
        "iat": NOW,
        "exp": NOW + 600,
        "preferred_username": "ann",
        "groups": ["data-science"],
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def hmac_with_public_key() -> str:
    """Sign by HS256 with what the provider shows to everybody."""
    secret = FIRST.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "first", "typ": "JWT"}, claims())
    ]
    signed = b".".join(parts)
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(algorithm.sign(signed, secret)).rstrip(b"=")
    return (signed + b"." + signature).decode()


async def test_a_good_token_tells_who_it_is_and_when_it_expires(provider: Provider) -> None:
    identity, expires_on = await provider.authenticator().verify(FIRST.sign(claims()))
    assert (identity.issuer, identity.subject) == (ISSUER, "a-1")
    assert (identity.user_name, identity.role) == ("oidc:ann", Role.CONTRIBUTOR)
    assert expires_on == NOW + 600


BAD: dict[str, Callable[[], str]] = {
    "other issuer": lambda: FIRST.sign(claims(iss="https://id.example.org/other")),
    "issuer with a slash": lambda: FIRST.sign(claims(iss=ISSUER + "/")),
    "other audience": lambda: FIRST.sign(claims(aud="api://other")),
    "part of the audience": lambda: FIRST.sign(claims(aud="api://mlsvc2")),
    "no audience": lambda: FIRST.sign(claims(aud=None)),
    "no expiry": lambda: FIRST.sign(claims(exp=None)),
    "expiry that is no number": lambda: FIRST.sign(claims(exp="tomorrow")),
    "expiry that is never": lambda: FIRST.sign(claims(exp=float("nan"))),
    "not valid yet": lambda: FIRST.sign(claims(nbf=NOW + 100)),
    "no subject": lambda: FIRST.sign(claims(sub=None)),
    "empty subject": lambda: FIRST.sign(claims(sub="")),
    "another key by the same id": lambda: SECOND.sign(claims(), kid="first"),
    "unknown key": lambda: SECOND.sign(claims()),
    "key that the token brings": lambda: SECOND.sign(claims(), jwk=SECOND.public),
    "unsigned": lambda: jwt.encode(claims(), "", algorithm="none", headers={"kid": "first"}),
    "secret is the public key": hmac_with_public_key,
    "unknown rule that is critical": lambda: FIRST.sign(claims(), crit=["exp"]),
    "signature cut off": lambda: FIRST.sign(claims())[:-4],
    "too long": lambda: FIRST.sign(claims(padding="x" * 20_000)),
    "no token": lambda: "a.b.c",
}


@pytest.mark.parametrize("made", BAD.values(), ids=BAD)
async def test_a_token_that_is_not_for_us_is_invalid(
    provider: Provider, made: Callable[[], str]
) -> None:
    with pytest.raises(InvalidAccessToken):
        await provider.authenticator().verify(made())


async def test_a_token_is_taken_until_its_end_and_the_leeway(provider: Provider) -> None:
    authenticator, token = provider.authenticator(leeway=30), FIRST.sign(claims())
    provider.clock.advance(629)
    await authenticator.verify(token)
    provider.clock.advance(1)
    with pytest.raises(ExpiredAccessToken):
        await authenticator.verify(token)


async def test_a_new_key_is_asked_for_and_an_old_one_no_longer_counts(provider: Provider) -> None:
    authenticator = provider.authenticator(key_refresh_seconds=300)
    await authenticator.verify(FIRST.sign(claims()))
    provider.keys = [SECOND.public]
    provider.clock.advance(10)
    await authenticator.verify(SECOND.sign(claims()))
    with pytest.raises(InvalidAccessToken):
        await authenticator.verify(FIRST.sign(claims()))


async def test_tokens_with_keys_that_nobody_has_ask_the_provider_once(provider: Provider) -> None:
    authenticator = provider.authenticator()
    for number in range(20):
        with pytest.raises(InvalidAccessToken):
            await authenticator.verify(SECOND.sign(claims(), kid=f"made up {number}"))
    assert provider.asked == 1


async def test_nothing_is_asked_for_a_token_that_cannot_be_good(provider: Provider) -> None:
    with pytest.raises(InvalidAccessToken):
        await provider.authenticator().verify(hmac_with_public_key())
    assert provider.asked == 0


async def test_while_the_provider_is_away_known_keys_count_and_others_are_503(
    provider: Provider,
) -> None:
    authenticator = provider.authenticator(key_outage_seconds=1000)
    await authenticator.verify(FIRST.sign(claims(exp=NOW + 9999)))
    provider.keys = None
    provider.clock.advance(900)
    await authenticator.verify(FIRST.sign(claims(exp=NOW + 9999)))
    with pytest.raises(IdentityProviderUnavailable) as raised:
        await authenticator.verify(SECOND.sign(claims(exp=NOW + 9999)))
    assert raised.value.status == 503
    provider.clock.advance(100)
    with pytest.raises(IdentityProviderUnavailable):
        await authenticator.verify(FIRST.sign(claims(exp=NOW + 9999)))
    provider.keys = [FIRST.public]
    provider.clock.advance(10)
    await authenticator.verify(FIRST.sign(claims(exp=NOW + 9999)))


async def test_a_provider_that_was_never_there_is_503(provider: Provider) -> None:
    provider.keys = None
    with pytest.raises(IdentityProviderUnavailable):
        await provider.authenticator().verify(FIRST.sign(claims()))


@pytest.mark.parametrize(
    ("changes", "settings", "role"),
    [
        ({"groups": ["x", "ML-ADMINS", "data-science"]}, {}, Role.OWNER),
        ({"groups": "data-science"}, {}, Role.CONTRIBUTOR),
        ({"groups": None}, {"default_role": "reader"}, Role.READER),
        ({"groups": [1, None, {}]}, {"default_role": "reader"}, Role.READER),
        (
            {"groups": None, "realm_access": {"roles": ["ml-admins"]}},
            {"groups_claim": "realm_access.roles"},
            Role.OWNER,
        ),
        (
            {"https://example.org/groups": ["ml-admins"]},
            {"groups_claim": "https://example.org/groups"},
            Role.OWNER,
        ),
    ],
)
async def test_groups_give_the_highest_role(
    provider: Provider, changes: dict[str, Any], settings: dict[str, Any], role: Role
) -> None:
    authenticator = provider.authenticator(**settings)
    identity, _ = await authenticator.verify(FIRST.sign(claims(**changes)))
    assert identity.role is role


@pytest.mark.parametrize("groups", [None, [], ["others"], "ml-admins,x", {"ml-admins": 1}])
async def test_who_is_in_no_group_may_do_nothing(provider: Provider, groups: Any) -> None:
    with pytest.raises(NoRole) as raised:
        await provider.authenticator().verify(FIRST.sign(claims(groups=groups)))
    assert raised.value.status == 403


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "oidc:ann"),
        ({"preferred_username": None}, "oidc:a-1"),
        ({"preferred_username": " "}, "oidc:a-1"),
        ({"preferred_username": ["x"]}, "oidc:a-1"),
        ({"preferred_username": "admin\n\u202e<b>"}, "oidc:admin_b_"),
        ({"preferred_username": "x" * 100}, "oidc:" + "x" * 64),
    ],
)
async def test_a_name_is_harmless_and_never_a_local_one(
    provider: Provider, changes: dict[str, Any], name: str
) -> None:
    identity, _ = await provider.authenticator().verify(FIRST.sign(claims(**changes)))
    assert identity.user_name == name


async def test_the_name_can_be_another_claim_and_the_prefix_another_word(
    provider: Provider,
) -> None:
    authenticator = provider.authenticator(username_claim="upn", prefix="contoso")
    identity, _ = await authenticator.verify(FIRST.sign(claims(upn="ann@example.org")))
    assert identity.user_name == "contoso:ann@example.org"


@pytest.mark.parametrize(
    ("settings", "metadata"),
    [
        ({}, f"{ISSUER}/.well-known/openid-configuration"),
        ({"discovery_url": "https://id.example.org/metadata"}, "https://id.example.org/metadata"),
    ],
)
async def test_keys_are_found_by_the_metadata(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], metadata: str
) -> None:
    authenticator = OidcAuthenticator(
        issuer=ISSUER, audience=[AUDIENCE], default_role="reader", **settings
    )
    pages: dict[str, Any] = {
        metadata: {"issuer": ISSUER, "jwks_uri": "https://id.example.org/keys"},
        "https://id.example.org/keys": {"keys": [FIRST.public]},
    }
    monkeypatch.setattr(authenticator, "_get", pages.__getitem__)
    now = int(time.time())
    await authenticator.verify(FIRST.sign(claims(exp=now + 60)))


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://id.example.org/other", "jwks_uri": "https://id.example.org/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://id.example.org/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER},
    ],
)
async def test_keys_that_somebody_else_could_give_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, metadata: dict[str, Any]
) -> None:
    authenticator = OidcAuthenticator(issuer=ISSUER, audience=[AUDIENCE])
    asked = []

    def get(url: str) -> Any:
        asked.append(url)
        return metadata if url.endswith("openid-configuration") else {"keys": [FIRST.public]}

    monkeypatch.setattr(authenticator, "_get", get)
    with pytest.raises(IdentityProviderUnavailable):
        await authenticator.verify(FIRST.sign(claims()))
    assert len(asked) == 1


async def test_claims_can_be_required(provider: Provider) -> None:
    authenticator = provider.authenticator(required_claims={"tid": "contoso", "scp": "use"})
    await authenticator.verify(FIRST.sign(claims(tid="contoso", scp="read use")))
    for changes in ({}, {"tid": "other", "scp": "use"}, {"tid": "contoso", "scp": "user"}):
        with pytest.raises(InvalidAccessToken):
            await authenticator.verify(FIRST.sign(claims(**changes)))


def test_symmetric_and_private_keys_of_a_set_are_not_for_signatures() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "first", "alg": "HS256"}
    for_encryption = {**SECOND.public, "use": "enc"}
    assert usable_keys([secret, for_encryption, {"kty": "RSA"}, 1]) == {}
    assert list(usable_keys([secret, FIRST.public])) == ["first"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"OidcAuthenticator": {"issuer": ISSUER}}, "audience"),
        (
            {"OidcAuthenticator": {"issuer": "http://id.example.org", "audience": ["x"]}},
            "https",
        ),
        ({"MlsvcApp": {}}, "issuer"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TraitError, match=words):
        OidcAuthenticator(config=Config(settings))


def test_an_authenticator_that_does_not_exist_is_named() -> None:
    with pytest.raises(TraitError, match="'kerberos'"):
        make_authenticators(["kerberos"], None)


# --- accounts --------------------------------------------------------------------------------


def token_manager(
    database: Database, accounts: AccountManager, provider: Provider, **settings: Any
) -> TokenManager:
    return TokenManager(
        database=database,
        accounts=accounts,
        data_dir=database.data_dir,
        authenticators=Authenticators(accounts, [provider.authenticator(**settings)]),
        wall_clock=provider.clock,
        monotonic_clock=provider.clock,
    )


async def test_the_first_token_makes_an_account_and_later_ones_find_it(
    database: Database, accounts: AccountManager, provider: Provider
) -> None:
    tokens = token_manager(database, accounts, provider)
    ann = await tokens.principal_of(FIRST.sign(claims()))
    assert (ann.name, ann.role) == ("oidc:ann", Role.CONTRIBUTOR)
    renamed = claims(preferred_username="ann.smith", groups=["ml-admins"])
    again = await tokens.principal_of(FIRST.sign(renamed))
    assert (again.name, again.role) == ("oidc:ann.smith", Role.OWNER)
    assert again.id == ann.id


async def test_a_name_that_is_somebody_elses_already_gives_nothing_of_theirs(
    database: Database, accounts: AccountManager, provider: Provider
) -> None:
    tokens = token_manager(database, accounts, provider)
    found = [
        await tokens.principal_of(FIRST.sign(claims(sub=sub))) for sub in ("a-1", "b-2", "ann")
    ]
    local = await accounts.verify("ann", PASSWORD)
    assert len({each.id for each in (*found, local)}) == 4


async def test_an_account_that_is_shut_out_is_403(
    database: Database, accounts: AccountManager, provider: Provider
) -> None:
    tokens = token_manager(database, accounts, provider)
    await tokens.principal_of(FIRST.sign(claims()))
    shut_out = table.update().where(table.c.name == "oidc:ann").values(disabled=True)
    await database.run(lambda connection: connection.execute(shut_out))
    of_later = token_manager(database, AccountManager(database=database), provider)
    with pytest.raises(AccountDisabled):
        await of_later.principal_of(FIRST.sign(claims(jti="another")))


async def test_a_token_is_remembered_like_ours_and_not_beyond_its_end(
    database: Database, accounts: AccountManager, provider: Provider
) -> None:
    tokens = token_manager(database, accounts, provider, leeway=0)
    token = FIRST.sign(claims(exp=NOW + 3))
    ann = await tokens.principal_of(token)
    assert tokens.recall(token) == ann
    provider.clock.advance(1)
    assert tokens.recall(token) == ann
    provider.clock.advance(2)
    assert tokens.recall(token) is None
    with pytest.raises(ExpiredAccessToken):
        await tokens.principal_of(token)


async def test_tokens_of_one_person_may_give_different_roles_and_leave_others_known(
    database: Database, accounts: AccountManager, provider: Provider
) -> None:
    tokens = token_manager(database, accounts, provider)
    low, high = FIRST.sign(claims()), FIRST.sign(claims(groups=["ml-admins"]))
    other = FIRST.sign(claims(sub="b-2", preferred_username="bob"))
    for token in (low, high, other):
        await tokens.principal_of(token)

    async def look() -> None:
        tokens.compare(await accounts.living(tokens.known_accounts()))

    await look()
    roles = [found and found.role for found in map(tokens.recall, (low, high, other))]
    assert roles == [Role.CONTRIBUTOR, Role.OWNER, Role.CONTRIBUTOR]
    shut_out = table.update().where(table.c.name.in_(["oidc:ann"])).values(disabled=True)
    await database.run(lambda connection: connection.execute(shut_out))
    await look()
    assert [tokens.recall(token) is None for token in (low, high, other)] == [True, True, False]


async def test_no_password_fits_an_account_of_the_provider(
    database: Database, accounts: AccountManager, provider: Provider
) -> None:
    from jupyter_mlsvc_server.auth.errors import WrongCredentials

    tokens = token_manager(database, accounts, provider)
    await tokens.principal_of(FIRST.sign(claims()))
    for password in ("", "x"):
        with pytest.raises(WrongCredentials):
            await accounts.log_in("oidc:ann", password)
