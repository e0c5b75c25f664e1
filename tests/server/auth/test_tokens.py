"""Access and refresh tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import stat
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import sqlalchemy as sa

from jupyter_mlsvc.wire.models import AccessTokenResponse
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.errors import (
    ExpiredAccessToken,
    InvalidAccessToken,
    InvalidRefreshToken,
    UnusableSecretFile,
)
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.store import Account
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.formats.host import looks_like_ours
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.machine_faults import DatabaseUnavailable
from jupyter_mlsvc_server.storage.schema import accounts as account_table
from jupyter_mlsvc_server.storage.schema import tokens as token_table
from tests.clocks import ManualClock

PASSWORD = "correct horse"
ANN = Principal("ann", "ann", Role.CONTRIBUTOR)


async def another(tokens_of: Database, accounts: AccountManager, **settings: Any) -> TokenManager:
    """Make a manager of the same tokens with other settings or clocks."""
    manager = TokenManager(
        database=tokens_of, accounts=accounts, data_dir=tokens_of.data_dir, **settings
    )
    await manager.start()
    return manager


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def unsigned(claims: dict[str, Any], algorithm: str = "none") -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, ""])


def key_of(database: Database) -> bytes:
    return bytes.fromhex((database.data_dir / "secret.key").read_text())


async def ids(database: Database) -> list[str]:
    query = sa.select(token_table.c.id)
    return await database.read(lambda connection: list(connection.scalars(query)))


# --- login -----------------------------------------------------------------------------------


async def test_a_login_gives_a_pair_whose_access_token_tells_who_it_is(
    database: Database, accounts: AccountManager
) -> None:
    tokens = await another(database, accounts, wall_clock=ManualClock(1_000_000.5))
    pair = await tokens.login("ann", PASSWORD)
    assert (pair.token_type, pair.expires_in) == ("Bearer", 3600)
    assert pair.expires_on == 1_003_600
    assert await tokens.principal_of(pair.access_token) == ANN
    assert jwt.get_unverified_header(pair.access_token)["alg"] == "HS512"


async def test_the_role_is_the_one_that_the_user_has_now(
    tokens: TokenManager, database: Database
) -> None:
    pair = await tokens.login("ann", PASSWORD)
    await database.run(lambda c: c.execute(account_table.update().values(role="reader")))
    assert (await tokens.principal_of(pair.access_token)).role is Role.READER


async def test_tokens_outlive_a_restart(
    tokens: TokenManager, database: Database, accounts: AccountManager
) -> None:
    pair = await tokens.login("ann", PASSWORD)
    await tokens.stop()
    restarted = await another(database, accounts)
    assert await restarted.principal_of(pair.access_token) == ANN
    assert (await restarted.renew(pair.refresh_token)).access_token


async def test_refresh_tokens_and_keys_are_in_no_row_and_no_log_line(
    tokens: TokenManager, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first = await tokens.login("ann", PASSWORD)
    second = await tokens.renew(first.refresh_token)
    await tokens.principal_of(second.access_token)
    await tokens.revoke(second.refresh_token)
    files = b"".join(path.read_bytes() for path in database.data_dir.glob("mlsvc.db*"))
    for pair in (first, second):
        secret = pair.refresh_token.partition(".")[2]
        assert secret.encode() not in files
        assert secret not in caplog.text
        assert pair.access_token not in caplog.text
    assert key_of(database).hex() not in repr(tokens)


@pytest.mark.usefixtures("tokens")
async def test_the_key_file_is_private_and_long_enough(database: Database) -> None:
    file = database.data_dir / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(key_of(database)) == 64


@pytest.mark.usefixtures("tokens")
async def test_a_key_file_that_others_could_read_is_closed(
    database: Database, accounts: AccountManager
) -> None:
    (database.data_dir / "secret.key").chmod(0o644)
    await another(database, accounts)
    assert stat.S_IMODE((database.data_dir / "secret.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "zz", "abcd"])
async def test_a_damaged_key_stops_the_start_with_a_sentence(
    database: Database, accounts: AccountManager, content: str
) -> None:
    (database.data_dir / "secret.key").write_text(content)
    with pytest.raises(UnusableSecretFile, match="Restore it, or delete it"):
        await another(database, accounts)


# --- tokens that do not count ----------------------------------------------------------------


async def test_an_access_token_expires(database: Database, accounts: AccountManager) -> None:
    clock = ManualClock()
    brief = await another(database, accounts, access_token_lifetime=60, wall_clock=clock)
    pair = await brief.login("ann", PASSWORD)
    assert pair.expires_in == 60
    clock.now = pair.expires_on - 0.5
    # As one that has yet to look it up sees it, and therefore not kept by the first.
    fresh = await another(database, accounts, wall_clock=clock)
    assert await fresh.principal_of(pair.access_token) == ANN
    clock.now = pair.expires_on
    with pytest.raises(ExpiredAccessToken) as refusal:
        await brief.principal_of(pair.access_token)
    assert refusal.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}


async def test_a_verified_token_in_the_cache_expires_as_well(
    database: Database, accounts: AccountManager
) -> None:
    clock = ManualClock()
    brief = await another(database, accounts, access_token_lifetime=60, wall_clock=clock)
    pair = await brief.login("ann", PASSWORD)
    await brief.principal_of(pair.access_token)
    clock.advance(61)
    with pytest.raises(ExpiredAccessToken):
        await brief.principal_of(pair.access_token)


FORGERIES: dict[str, Callable[[dict[str, Any], bytes], str]] = {
    "empty": lambda _claims, _key: "",
    "noise": lambda _claims, _key: "noise",
    "dots": lambda _claims, _key: "..",
    "not-ascii": lambda _claims, _key: "é.é.é",
    "huge": lambda _claims, _key: "a." * 100_000 + "a",
    "deep": lambda _claims, _key: ".".join(
        [base64.urlsafe_b64encode(b"[" * 2900).decode().rstrip("="), "e30", "x"]
    ),
    "none": lambda claims, _key: unsigned(claims),
    "None": lambda claims, _key: unsigned(claims, "NoNe"),
    "claims-HS512-unsigned": lambda claims, _key: unsigned(claims, "HS512"),
    "other-key": lambda claims, _key: jwt.encode(claims, b"x" * 64, algorithm="HS512"),
    "empty-key": lambda claims, _key: jwt.encode(claims, b"\x00" * 64, algorithm="HS512"),
    "other-algorithm": lambda claims, key: jwt.encode(claims, key, algorithm="HS256"),
    "other-issuer": lambda claims, key: jwt.encode(
        claims | {"iss": "them"}, key, algorithm="HS512"
    ),
    "other-user": lambda claims, key: jwt.encode(claims | {"sub": "admin"}, key, algorithm="HS512"),
    "other-id": lambda claims, key: jwt.encode(
        claims | {"jti": "00000000-0000-0000-0000-000000000000"}, key, algorithm="HS512"
    ),
    "other-audience": lambda claims, key: jwt.encode(
        claims | {"aud": "somebody-else"}, key, algorithm="HS512"
    ),
    "issued-tomorrow": lambda claims, key: jwt.encode(
        claims | {"iat": claims["iat"] + 86400}, key, algorithm="HS512"
    ),
    "expiry-as-text": lambda claims, key: jwt.encode(
        claims | {"exp": "9" * 12}, key, algorithm="HS512"
    ),
    "no-expiry": lambda claims, key: jwt.encode(
        {k: v for k, v in claims.items() if k != "exp"}, key, algorithm="HS512"
    ),
    "no-id": lambda claims, key: jwt.encode(
        {k: v for k, v in claims.items() if k != "jti"}, key, algorithm="HS512"
    ),
    "list-as-id": lambda claims, key: jwt.encode(
        claims | {"sub": "ann", "jti": "'; DROP TABLE tokens; --"}, key, algorithm="HS512"
    ),
    "made-up-local": lambda _claims, _key: "mlsvc-" + "A" * 43,
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_refused(
    tokens: TokenManager, database: Database, forgery: str
) -> None:
    pair = await tokens.login("ann", PASSWORD)
    forged = FORGERIES[forgery](claims_of(pair.access_token), key_of(database))
    with pytest.raises(InvalidAccessToken) as refusal:
        await tokens.principal_of(forged)
    assert refusal.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    assert await tokens.principal_of(pair.access_token) == ANN


async def test_a_token_with_one_letter_changed_is_refused(tokens: TokenManager) -> None:
    token = (await tokens.login("ann", PASSWORD)).access_token
    head, body, signature = token.split(".")
    swapped = "B" if signature[0] == "A" else "A"
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(f"{head}.{body}.{swapped}{signature[1:]}")


async def test_a_refresh_token_is_no_access_token(tokens: TokenManager) -> None:
    pair = await tokens.login("ann", PASSWORD)
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(pair.refresh_token)


# --- renewal ---------------------------------------------------------------------------------


async def test_renewal_gives_a_new_pair_and_ends_the_old(tokens: TokenManager) -> None:
    old = await tokens.login("ann", PASSWORD)
    await tokens.principal_of(old.access_token)
    new = await tokens.renew(old.refresh_token)
    assert await tokens.principal_of(new.access_token) == ANN
    assert {old.access_token, old.refresh_token}.isdisjoint({new.access_token, new.refresh_token})
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(old.access_token)


async def test_using_an_old_refresh_token_again_ends_the_whole_family(
    tokens: TokenManager,
) -> None:
    old = await tokens.login("ann", PASSWORD)
    other_login = await tokens.login("ann", PASSWORD)
    new = await tokens.renew(old.refresh_token)
    await tokens.principal_of(new.access_token)
    with pytest.raises(InvalidRefreshToken):
        await tokens.renew(old.refresh_token)
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(new.access_token)
    with pytest.raises(InvalidRefreshToken):
        await tokens.renew(new.refresh_token)
    assert await tokens.principal_of(other_login.access_token) == ANN


async def test_of_two_renewals_at_once_one_succeeds_at_most(tokens: TokenManager) -> None:
    pair = await tokens.login("ann", PASSWORD)
    outcomes = await asyncio.gather(
        *(tokens.renew(pair.refresh_token) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(outcome, InvalidRefreshToken) for outcome in outcomes) == 3


async def test_a_refresh_token_expires_when_unused(
    database: Database, accounts: AccountManager
) -> None:
    clock = ManualClock()
    brief = await another(database, accounts, refresh_token_lifetime=60, wall_clock=clock)
    pair = await brief.login("ann", PASSWORD)
    clock.advance(50)
    renewed = await brief.renew(pair.refresh_token)
    clock.advance(61)
    with pytest.raises(InvalidRefreshToken):
        await brief.renew(renewed.refresh_token)


async def test_a_shorter_life_counts_for_tokens_that_are_out(
    database: Database, accounts: AccountManager
) -> None:
    clock = ManualClock()
    pair = await (await another(database, accounts, wall_clock=clock)).login("ann", PASSWORD)
    brief = await another(database, accounts, wall_clock=clock, access_token_lifetime=60)
    clock.advance(59)
    assert (await brief.principal_of(pair.access_token)).name == "ann"
    left = brief.seconds_left(pair.access_token)
    assert left is not None
    assert left <= 1
    clock.advance(2)
    with pytest.raises(ExpiredAccessToken):
        await brief.principal_of(pair.access_token)


async def test_a_refresh_token_of_a_longer_life_expires_with_the_shorter_one(
    database: Database, accounts: AccountManager
) -> None:
    clock = ManualClock()
    pair = await (await another(database, accounts, wall_clock=clock)).login("ann", PASSWORD)
    brief = await another(database, accounts, wall_clock=clock, refresh_token_lifetime=90)
    clock.advance(91)
    with pytest.raises(InvalidRefreshToken):
        await brief.renew(pair.refresh_token)
    usual = await another(database, accounts, wall_clock=clock)
    await usual.renew(pair.refresh_token)


async def test_renewal_ends_some_time_after_the_login(
    database: Database, accounts: AccountManager
) -> None:
    clock = ManualClock()
    brief = await another(database, accounts, renewal_limit=60, wall_clock=clock)
    pair = await brief.login("ann", PASSWORD)
    clock.advance(50)
    pair = await brief.renew(pair.refresh_token)
    clock.advance(11)
    with pytest.raises(InvalidRefreshToken):
        await brief.renew(pair.refresh_token)


@pytest.mark.parametrize(
    "change",
    [
        lambda _token: "",
        lambda _token: ".",
        lambda token: token.partition(".")[0],
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: "00000000-0000-0000-0000-000000000000." + token.partition(".")[2],
        lambda token: token + "x" * 10_000,
        lambda token: "a\x00b." + token,
        lambda token: "é." + token,
    ],
    ids=["empty", "dot", "no-secret", "one-letter", "other-id", "long", "nul", "not-ascii"],
)
async def test_a_wrong_refresh_token_is_refused_and_harms_nobody(
    tokens: TokenManager, change: Any
) -> None:
    pair = await tokens.login("ann", PASSWORD)
    with pytest.raises(InvalidRefreshToken):
        await tokens.renew(change(pair.refresh_token))
    with pytest.raises(InvalidRefreshToken):
        await tokens.revoke(change(pair.refresh_token))
    assert await tokens.principal_of(pair.access_token) == ANN
    await tokens.renew(pair.refresh_token)


async def test_an_access_token_is_no_refresh_token(tokens: TokenManager) -> None:
    pair = await tokens.login("ann", PASSWORD)
    with pytest.raises(InvalidRefreshToken):
        await tokens.renew(pair.access_token)


# --- revocation ------------------------------------------------------------------------------


async def test_revoking_ends_the_pair_at_once(database: Database, accounts: AccountManager) -> None:
    patient = await another(database, accounts, cache_seconds=600.0)
    pair = await patient.login("ann", PASSWORD)
    await patient.principal_of(pair.access_token)
    answer = await patient.revoke(pair.refresh_token)
    assert (answer.access_token, answer.refresh_token, answer.expires_in) == ("", "", 0)
    with pytest.raises(InvalidAccessToken):
        await patient.principal_of(pair.access_token)
    with pytest.raises(InvalidRefreshToken):
        await patient.renew(pair.refresh_token)
    with pytest.raises(InvalidRefreshToken):
        await patient.revoke(pair.refresh_token)


@pytest.mark.parametrize("change", ["password", "removal"])
async def test_a_changed_password_or_removal_ends_all_tokens_at_once(
    database: Database, accounts: AccountManager, change: str
) -> None:
    patient = await another(database, accounts, cache_seconds=600.0)
    pairs = [await patient.login("ann", PASSWORD) for _ in range(2)]
    for pair in pairs:
        await patient.principal_of(pair.access_token)
    if change == "password":
        await accounts.set_password("ann", "battery staple")
    else:
        await accounts.remove("ann")
    for pair in pairs:
        with pytest.raises(InvalidAccessToken):
            await patient.principal_of(pair.access_token)
        with pytest.raises(InvalidRefreshToken):
            await patient.renew(pair.refresh_token)


async def test_tokens_of_a_removed_user_do_not_serve_a_new_one_of_the_same_name(
    tokens: TokenManager, accounts: AccountManager
) -> None:
    pair = await tokens.login("ann", PASSWORD)
    await accounts.remove("ann")
    await accounts.add("ann", PASSWORD, Role.OWNER)
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(pair.access_token)


async def test_another_processs_revocation_counts_after_the_cache_time(
    tokens: TokenManager, database: Database
) -> None:
    clock = ManualClock()
    cached = await another(
        database, AccountManager(database=database), cache_seconds=2.0, monotonic_clock=clock
    )
    pair = await cached.login("ann", PASSWORD)
    await cached.principal_of(pair.access_token)
    await tokens.revoke(pair.refresh_token)
    assert await cached.principal_of(pair.access_token) == ANN
    clock.advance(2.0)
    with pytest.raises(InvalidAccessToken):
        await cached.principal_of(pair.access_token)


async def test_a_cached_token_needs_no_database(
    database: Database, accounts: AccountManager
) -> None:
    cached = await another(database, accounts, cache_seconds=600.0)
    pair = await cached.login("ann", PASSWORD)
    await cached.principal_of(pair.access_token)
    await database.stop()
    assert await cached.principal_of(pair.access_token) == ANN


async def test_requests_that_come_together_look_their_token_up_once(
    database: Database, accounts: AccountManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = await another(database, accounts, cache_seconds=600.0)
    token = (await cached.login("ann", PASSWORD)).access_token
    looks = []
    find_account = cached._store.find_account

    async def counted(token_id: str, account_id: str) -> Account | None:
        looks.append(token_id)
        return await find_account(token_id, account_id)

    monkeypatch.setattr(cached._store, "find_account", counted)
    waiting = [asyncio.create_task(cached.principal_of(token)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    assert await asyncio.gather(*waiting) == [ANN] * 4
    assert len(looks) == 1
    assert not cached._awaited


async def test_who_asks_after_a_revocation_does_not_join_those_before_it(
    database: Database, accounts: AccountManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = await another(database, accounts, cache_seconds=600.0)
    pair = await cached.login("ann", PASSWORD)
    find_account = cached._store.find_account
    has_read, may_answer = asyncio.Event(), asyncio.Event()

    async def late(token_id: str, account_id: str) -> Account | None:
        found = await find_account(token_id, account_id)
        has_read.set()
        await may_answer.wait()
        return found

    monkeypatch.setattr(cached._store, "find_account", late)
    before = asyncio.create_task(cached.principal_of(pair.access_token))
    await has_read.wait()
    await cached.revoke(pair.refresh_token)
    after = asyncio.create_task(cached.principal_of(pair.access_token))
    await asyncio.sleep(0)
    may_answer.set()
    assert await before == ANN
    with pytest.raises(InvalidAccessToken):
        await after


async def test_a_verified_token_is_recalled_until_it_is_revoked(
    database: Database, accounts: AccountManager
) -> None:
    cached = await another(database, accounts, cache_seconds=600.0)
    pair = await cached.login("ann", PASSWORD)
    assert cached.recall(pair.access_token) is None
    await cached.principal_of(pair.access_token)
    assert cached.recall(pair.access_token) == ANN
    await cached.revoke(pair.refresh_token)
    assert cached.recall(pair.access_token) is None
    local = cached.local_token(ANN)
    assert cached.recall(local) == ANN
    assert cached.recall(local + "x") is None
    await cached.stop()
    assert cached.recall(local) is None


async def test_a_token_in_use_is_looked_up_again_before_it_is_forgotten(
    database: Database, accounts: AccountManager
) -> None:
    clock = ManualClock()
    cached = await another(database, accounts, cache_seconds=100.0, monotonic_clock=clock)
    token = (await cached.login("ann", PASSWORD)).access_token
    await cached.principal_of(token)
    before = cached._known[token]
    clock.advance(80)
    async with asyncio.timeout(30):
        while cached._known[token] is before:
            assert cached.recall(token) == ANN
            await asyncio.sleep(0.01)


async def test_a_token_in_use_that_another_process_revoked_is_soon_unknown(
    tokens: TokenManager, database: Database
) -> None:
    clock = ManualClock()
    cached = await another(
        database, AccountManager(database=database), cache_seconds=100.0, monotonic_clock=clock
    )
    pair = await cached.login("ann", PASSWORD)
    await cached.principal_of(pair.access_token)
    await tokens.revoke(pair.refresh_token)
    clock.advance(80)
    async with asyncio.timeout(30):
        while cached.recall(pair.access_token) is not None:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
    with pytest.raises(InvalidAccessToken):
        await cached.principal_of(pair.access_token)


# --- while the database does not answer ------------------------------------------------------


class Outage:
    """Has the database answer no more, at once or not at all, until it is told to."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = database.read
        self.fails = self.hangs = False
        self.asked = 0
        monkeypatch.setattr(database, "read", self._answer)

    async def _answer(self, work: Callable[[sa.Connection], object]) -> object:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise DatabaseUnavailable
        return await self._read(work)


@pytest.fixture
def outage(database: Database, monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(database, monkeypatch)


async def test_a_good_token_stays_good_for_a_minute_while_the_database_does_not_answer(
    database: Database,
    accounts: AccountManager,
    outage: Outage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    cached = await another(database, accounts, cache_seconds=2.0, monotonic_clock=clock)
    token, other = [(await cached.login("ann", PASSWORD)).access_token for _ in range(2)]
    await cached.principal_of(token)
    outage.fails = True
    for _ in range(5):
        clock.advance(10)
        assert await cached.principal_of(token) == ANN
        assert cached.recall(token) == ANN
    said = [record for record in caplog.records if "does not answer" in record.getMessage()]
    assert len(said) == 1
    with pytest.raises(DatabaseUnavailable):  # it is not known to be good
        await cached.principal_of(other)
    clock.advance(10)
    assert cached.recall(token) is None
    with pytest.raises(DatabaseUnavailable):
        await cached.principal_of(token)
    outage.fails = False
    assert await cached.principal_of(token) == ANN
    assert "answers again" in caplog.text


async def test_no_token_is_trusted_unseen_where_the_settings_say_so(
    database: Database, accounts: AccountManager, outage: Outage
) -> None:
    clock = ManualClock()
    strict = await another(
        database, accounts, cache_seconds=2.0, outage_seconds=0.0, monotonic_clock=clock
    )
    token = (await strict.login("ann", PASSWORD)).access_token
    await strict.principal_of(token)
    outage.fails = True
    clock.advance(2)
    with pytest.raises(DatabaseUnavailable):
        await strict.principal_of(token)


async def test_nobody_waits_for_a_database_that_hangs_where_a_token_is_in_use(
    database: Database, accounts: AccountManager, outage: Outage
) -> None:
    clock = ManualClock()
    cached = await another(database, accounts, cache_seconds=2.0, monotonic_clock=clock)
    token = (await cached.login("ann", PASSWORD)).access_token
    await cached.principal_of(token)
    outage.hangs = True
    before = outage.asked
    clock.advance(1.6)
    for _ in range(58):
        assert cached.recall(token) == ANN
        await asyncio.sleep(0)
        clock.advance(1)
    assert outage.asked == before + 1
    clock.advance(1)
    assert cached.recall(token) is None
    await cached.stop()


async def test_a_token_that_is_revoked_here_is_not_trusted_while_the_database_does_not_answer(
    database: Database, accounts: AccountManager, outage: Outage
) -> None:
    clock = ManualClock()
    cached = await another(database, accounts, cache_seconds=2.0, monotonic_clock=clock)
    pair = await cached.login("ann", PASSWORD)
    await cached.principal_of(pair.access_token)
    outage.fails = True
    clock.advance(3)
    await cached.principal_of(pair.access_token)
    await cached.revoke(pair.refresh_token)
    assert cached.recall(pair.access_token) is None
    with pytest.raises(DatabaseUnavailable):
        await cached.principal_of(pair.access_token)


def row_of(pair: AccessTokenResponse) -> str:
    """Name the row of a pair: the database has the digest of its id."""
    return hashlib.sha256(pair.refresh_token.partition(".")[0].encode()).hexdigest()


async def test_no_token_can_be_made_of_what_the_database_has(
    tokens: TokenManager, database: Database
) -> None:
    first = await tokens.login("ann", PASSWORD)
    pair = await tokens.renew(first.refresh_token)
    query = sa.select(token_table)
    rows = await database.read(lambda connection: connection.execute(query).all())
    kept = "\n".join(str(value) for row in rows for value in row)
    for each in (first, pair):
        claims = jwt.decode(each.access_token, options={"verify_signature": False})
        for secret in (claims["jti"], *each.refresh_token.split(".")):
            assert secret not in kept
    # Its digest is no id: signed with the right key it is refused all the same.
    claims["jti"] = row_of(pair)
    assert (await tokens.principal_of(pair.access_token)).name == "ann"
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(jwt.encode(claims, key_of(database), algorithm="HS512"))


async def test_expired_pairs_are_forgotten_at_a_later_login(
    tokens: TokenManager, database: Database
) -> None:
    old, *recent = [row_of(await tokens.login("ann", PASSWORD)) for _ in range(3)]
    change = token_table.update().where(token_table.c.id == old)
    await database.run(lambda c: c.execute(change.values(expires_at="2017-10-05T22:49:33.0")))
    latest = await tokens.login("ann", PASSWORD)
    assert set(await ids(database)) == {*recent, row_of(latest)}


async def test_an_expired_refresh_token_that_is_tried_again_is_not_taken_for_stolen(
    database: Database, accounts: AccountManager, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    brief = await another(database, accounts, refresh_token_lifetime=60, wall_clock=clock)
    pair = await brief.login("ann", PASSWORD)
    clock.advance(61)
    for _ in range(2):
        with pytest.raises(InvalidRefreshToken):
            await brief.renew(pair.refresh_token)
    assert "used twice" not in caplog.text


# --- local tokens and whose is whose ---------------------------------------------------------


async def test_a_local_token_is_valid_until_the_server_stops(tokens: TokenManager) -> None:
    owner = Principal("jo", "jo", Role.OWNER)
    token = tokens.local_token(owner)
    assert await tokens.principal_of(token) == owner
    assert token not in repr(vars(tokens))
    await tokens.stop()
    with pytest.raises(InvalidAccessToken):
        await tokens.principal_of(token)


async def test_our_tokens_are_distinguished_from_jupyters(tokens: TokenManager) -> None:
    pair = await tokens.login("ann", PASSWORD)
    claims = claims_of(pair.access_token)
    ours = [
        pair.access_token,
        pair.access_token[:-2] + "AA",
        unsigned(claims),
        jwt.encode(claims | {"exp": 1}, b"x" * 64, algorithm="HS512"),
        tokens.local_token(ANN),
        "mlsvc-of-an-earlier-start",
    ]
    theirs = [
        "",
        "a3f1" * 12,
        "a.b.c",
        "..",
        "é.é.é",
        jwt.encode({"iss": "hub"}, b"x" * 64, algorithm="HS512"),
        jwt.encode({"sub": "ann"}, b"x" * 64, algorithm="HS512"),
        "a." * 100_000,
    ]
    assert [looks_like_ours(token) for token in ours] == [True] * len(ours)
    assert [looks_like_ours(token) for token in theirs] == [False] * len(theirs)
