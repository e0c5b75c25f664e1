"""Access and refresh tokens."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import jwt
from traitlets import Float, Integer, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire.models import AccessTokenResponse
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticators import Authenticators
from jupyter_mlsvc_server.auth.errors import (
    ExpiredAccessToken,
    InvalidAccessToken,
    InvalidRefreshToken,
    InvalidServiceKey,
    WrongCredentials,
)
from jupyter_mlsvc_server.auth.key_verifier import KeyVerifier
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.auth.service_keys import KEY_PREFIX
from jupyter_mlsvc_server.auth.signing_keys import SigningKeys
from jupyter_mlsvc_server.auth.store import JUPYTER, NO_HASH, RefreshKey, RefreshOutcome, TokenStore
from jupyter_mlsvc_server.errors import MachineFault
from jupyter_mlsvc_server.formats.host import AUDIENCE, ISSUER, LOCAL_PREFIX
from jupyter_mlsvc_server.storage.clock import Clock
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.machine_faults import DatabaseUnavailable

Verify = Callable[[str], Awaitable[tuple[Principal, float]]]
"""Says whose an access token is, and when it expires."""

_ALGORITHM: Final = "HS512"
_CLAIMS: Final = ["iss", "sub", "jti", "iat", "exp"]
_MAX_CLOCK_STEP: Final = 60
"""Seconds by which a clock may have been set back since a token was issued."""
_MAX_LENGTH: Final = 4096  # characters; ours have some 330
_REMEMBERED: Final = 10_000
_PATIENCE: Final = 3.0
"""Seconds that somebody waits for the database to say whether a token which was good still is."""
_ASK_AGAIN_SECONDS: Final = 1.0
"""Seconds between two questions while the database does not answer."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A token that was verified a moment ago; names of times say of which clock."""

    principal: Principal
    is_from_provider: bool
    """Whether the token itself says what its person may do, maybe otherwise than another one."""
    expires_on: float
    """By the wall clock."""
    fresh_until: float
    """Until when it may be trusted without a look at the database, by the monotonic clock."""
    look_again_at: float
    """From when on it is looked up again where it is in use, by the monotonic clock."""
    trusted_until: float
    """Until when it may be trusted while the database does not answer, by the monotonic clock."""

    def is_so_in(self, living: Mapping[str, Principal]) -> bool:
        """Whether the account is as it was when the token was verified."""
        found = living.get(self.principal.id)
        if found is None or self.is_from_provider:
            return found is not None
        # What a key is for does not change; accounts know nothing of it.
        return found == replace(self.principal, services=None)


class TokenManager(LoggingConfigurable):
    """Issues, renews, revokes and verifies tokens.

    An access token is signed and short-lived; its refresh token, of which only a digest is kept,
    is traded for the next pair. Who has neither gets no further than ``/login``.

    While the database does not answer, an access token that was good is taken for good, for
    ``outage_seconds`` at most.

    Parameters
    ----------
    database
        Where pairs of tokens are kept.
    accounts
        Who can log in.
    data_dir
        Folder of the first signing key, ``secret.key``.
    keys
        Verifies service keys.
    authenticators
        Providers whose access tokens are taken as well.
    wall_clock
        The clock by which tokens are issued and expire.
    monotonic_clock
        The clock by which verified tokens are trusted.
    """

    access_token_lifetime = Integer(
        3600,
        min=1,
        help="Seconds that an access token is valid. A smaller number counts for those that were "
        "issued before, too.",
    ).tag(config=True)
    refresh_token_lifetime = Integer(
        14 * 86400,
        min=1,
        help="Seconds that a refresh token is valid while it is not used. A smaller number counts "
        "for those that were issued before, too.",
    ).tag(config=True)
    renewal_limit = Integer(
        90 * 86400, min=1, help="Seconds after a login until which its tokens can be renewed."
    ).tag(config=True)
    directory_renewal_limit = Integer(
        12 * 3600,
        min=1,
        help="The same for who logs in with a password of a directory, which can't be asked later "
        "whether the person is still there.",
    ).tag(config=True)
    cache_seconds = Float(
        min=0,
        help="Seconds that a verified access token is trusted without a look at the database, "
        "where other processes revoke tokens and remove users. 0 looks each time. Default: 0.5, "
        "and 2 with SQLite, which one server has for itself.",
    ).tag(config=True)

    outage_seconds = Float(
        60.0,
        min=0,
        help="Seconds that a verified access token is trusted while the database does not answer, "
        "so that calls go on. 0 trusts none.",
    ).tag(config=True)

    def __init__(
        self,
        *,
        database: Database,
        accounts: AccountManager,
        data_dir: Path,
        keys: KeyVerifier | None = None,
        authenticators: Authenticators | None = None,
        wall_clock: Clock = time.time,
        monotonic_clock: Clock = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._database = database
        self._store = TokenStore(database=database)
        self._keys = keys or KeyVerifier(database=database, wall_clock=wall_clock, parent=self)
        self._accounts = accounts
        self._authenticators = authenticators
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._signing = SigningKeys(
            database=database,
            path=data_dir / "secret.key",
            wall_clock=wall_clock,
            monotonic_clock=monotonic_clock,
        )
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Principal]] = {}
        """Tokens in use that are looked up again; those who use them do not wait."""
        self._awaited: dict[tuple[str, int], asyncio.Task[Principal]] = {}
        """Tokens that requests wait for, with the number of revocations before the look."""
        self._revocations = 0
        self._is_outage = False
        self._look_again_after = 0.0
        self._local: dict[bytes, Principal] = {}
        self._listeners: list[Callable[[], None]] = []
        accounts.on_revoked(self._forget)

    def on_revoked(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever tokens or service keys became invalid here."""
        self._listeners.append(listener)

    @default("cache_seconds")
    def _default_cache_seconds(self) -> float:
        return 2.0 if self._database.kind == "sqlite" else 0.5

    async def start(self) -> None:
        """Read the signing keys; the first start makes one.

        Raises
        ------
        UnusableSecretFile
            The file of the data folder's key is damaged.
        """
        await self._signing.start()

    async def stop(self) -> None:
        """Forget all that is in memory; local tokens end here."""
        for task in (*self._looking.values(), *self._awaited.values()):
            task.cancel()
        self.look_up_all()
        self._local.clear()

    # --- pairs -------------------------------------------------------------------------------

    async def login(self, username: str, password: str, address: str = "") -> AccessTokenResponse:
        """Trade a user's name and password for a pair (contract: login).

        Parameters
        ----------
        address
            Where the login comes from; empty for this machine.

        Raises
        ------
        WrongCredentials
            No such user, or another password.
        TooManyRequests
            Too many logins failed from there, or are waiting.
        """
        principal, password_hash = await self._accounts.log_in(username, password, address)
        token_id, key, refresh_token = _new_refresh_token()
        now = self._now()
        limit = self.renewal_limit
        if password_hash == NO_HASH:
            limit = min(limit, self.directory_renewal_limit)
        family_expires_at = now + timedelta(seconds=limit)
        is_added = await self._store.add(
            key,
            principal.id,
            password_hash=password_hash,
            expires_at=min(self._refresh_expiry(now), family_expires_at),
            family_expires_at=family_expires_at,
            forget_before=now - timedelta(seconds=self.access_token_lifetime),
        )
        if not is_added:
            raise WrongCredentials(username, address)
        origin = address or "local"
        self.log.info("login user=%s token=%s from=%s", principal.name, key.shown, origin)
        return await self._pair(principal.id, token_id, refresh_token)

    async def renew(self, refresh_token: str) -> AccessTokenResponse:
        """Trade a refresh token for the next pair (contract: renewToken); the old pair ends.

        Raises
        ------
        InvalidRefreshToken
            It is unknown, expired or revoked. One that was used before ends the pair that came
            of it, too, because somebody has a copy.
        """
        used = _refresh_key(refresh_token)
        token_id, key, successor = _new_refresh_token()
        now = self._now()
        lifetime = timedelta(seconds=self.refresh_token_lifetime)
        outcome, owner = await self._store.rotate(used, key, now=now, lifetime=lifetime)
        await self._settle(outcome, used)
        self.log.info("renewed user=%s token=%s", owner.name, key.shown)
        return await self._pair(owner.id, token_id, successor)

    async def revoke(self, refresh_token: str) -> AccessTokenResponse:
        """End a pair at once (contract: revokeRefreshToken).

        Returns
        -------
        AccessTokenResponse
            The shape that the contract asks for, with no token in it.

        Raises
        ------
        InvalidRefreshToken
            It is unknown, expired or revoked already.
        """
        key = _refresh_key(refresh_token)
        await self._settle(await self._store.revoke(key, now=self._now()), key)
        self.log.info("revoked token=%s", key.shown)
        return AccessTokenResponse(
            token_type="Bearer",  # noqa: S106
            access_token="",
            expires_in=0,
            expires_on=int(self._wall_clock()),
            refresh_token="",
        )

    async def owner_of(self, refresh_token: str) -> Owner | None:
        """Return whose refresh token it is or was; None where nobody knows."""
        return await self._store.find_owner(_refresh_key(refresh_token))

    # --- who is it ---------------------------------------------------------------------------

    async def principal_of(self, access_token: str) -> Principal:
        """Return the principal of an access token or local token.

        Raises
        ------
        ExpiredAccessToken
            It was valid once.
        InvalidAccessToken
            It is forged, of another server, revoked, or its user was removed.
        """
        if access_token.startswith(LOCAL_PREFIX):
            return self._local_principal(access_token)
        return self.recall(access_token) or await self._look_up_or_trust(access_token)

    async def _look_up_or_trust(self, access_token: str) -> Principal:
        """Look a token up; one that was good stays so while the database does not answer."""
        known = self._known.get(access_token)
        if known is None or not self._may_be_trusted(known):
            return await self._look_up_once(access_token)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._look_up_once(access_token)
        except (TimeoutError, MachineFault) as error:
            # Somebody may have revoked it meanwhile.
            if self._known.get(access_token) is not known:
                raise DatabaseUnavailable from error
            self._note_outage()
            return known.principal

    def _may_be_trusted(self, known: _Known) -> bool:
        is_expired = known.expires_on <= self._wall_clock()
        return not is_expired and self._monotonic_clock() < known.trusted_until

    async def _look_up_once(self, access_token: str) -> Principal:
        """Look a token up, together with all who ask for it at this time.

        A client that comes back after a pause opens many connections at once. Who asks after a
        revocation does not join those who asked before it.
        """
        asked = (access_token, self._revocations)

        def looked(task: asyncio.Task[Principal]) -> None:
            del self._awaited[asked]
            if not task.cancelled():
                task.exception()  # maybe nobody waits for it any more

        task = self._awaited.get(asked)
        if task is None:
            task = self._awaited[asked] = asyncio.create_task(self._look_up(access_token))
            task.add_done_callback(looked)
        # One of them may leave; the others wait on.
        return await asyncio.shield(task)

    async def _look_up(self, access_token: str) -> Principal:
        revocations = self._revocations
        provider = self._provider_of(access_token)
        if provider is None:
            principal, expires_on = await self._verified(access_token)
        else:
            principal, expires_on = await provider(access_token)
        self._note_answer()
        # What was read before a revocation must not be remembered after it.
        if revocations == self._revocations:
            self._remember(access_token, principal, expires_on, provider is not None)
        return principal

    def _provider_of(self, access_token: str) -> Verify | None:
        """Return what verifies a token that is a provider's; None for our own."""
        if self._authenticators is None or access_token.startswith(KEY_PREFIX):
            return None
        issuer = self._authenticators.issuer_of(access_token)
        return None if issuer is None else partial(self._authenticators.principal_of, issuer)

    async def _verified(self, access_token: str) -> tuple[Principal, float]:
        """Return whose token of ours it is and when it expires, by the database."""
        if access_token.startswith(KEY_PREFIX):
            found = await self._keys.find(access_token)
            if found is None:
                raise InvalidServiceKey
            return found
        claims = await self._claims(access_token)
        account = await self._store.find_account(_digest(str(claims["jti"])).hex(), claims["sub"])
        if account is None:
            raise InvalidAccessToken
        return self._accounts.principal_of(account), claims["exp"]

    async def of_host(self, name: str, role: Role) -> Principal:
        """Return the principal of a person for whom a Jupyter server asks."""
        return await self._accounts.known_elsewhere(JUPYTER, name, name, role)

    def recall(self, access_token: str) -> Principal | None:
        """Return the principal of a token, where that is known without a look at the database.

        A token that became invalid is not known any more. One that is asked for all the time is
        looked up again before it is forgotten, so that nobody waits for that.
        """
        known = self._known.get(access_token)
        if known is None:
            is_local = access_token.startswith(LOCAL_PREFIX)
            return self._local.get(_digest(access_token)) if is_local else None
        now = self._monotonic_clock()
        if known.expires_on <= self._wall_clock():
            return None
        if known.fresh_until <= now and not self._is_trusted_meanwhile(access_token, known, now):
            return None
        if known.look_again_at <= now and self._look_again_after <= now:
            self._look_again(access_token)
        return known.principal

    def _is_trusted_meanwhile(self, access_token: str, known: _Known, now: float) -> bool:
        """Whether the database is yet to say that a token is still good."""
        is_asked = self._is_outage or access_token in self._looking
        return is_asked and now < known.trusted_until

    def _look_again(self, access_token: str) -> None:
        if access_token in self._looking:
            return

        def looked(task: asyncio.Task[Principal]) -> None:
            del self._looking[access_token]
            error = None if task.cancelled() else task.exception()
            if isinstance(error, InvalidAccessToken):
                self._known.pop(access_token, None)
            elif isinstance(error, MachineFault):
                self._note_outage()

        task = asyncio.create_task(self._look_up(access_token))
        self._looking[access_token] = task
        task.add_done_callback(looked)

    def _note_outage(self) -> None:
        self._look_again_after = self._monotonic_clock() + _ASK_AGAIN_SECONDS
        if not self._is_outage:
            self._is_outage = True
            self.log.warning(
                "the database does not answer: access tokens that were good are trusted for %g s",
                self.outage_seconds,
            )

    def _note_answer(self) -> None:
        if self._is_outage:
            self._is_outage = False
            self._look_again_after = 0.0
            self.log.info("the database answers again: access tokens are looked up there")

    def seconds_left(self, access_token: str) -> float | None:
        """Tell for how long a token that was verified is good still; None where nothing ends it."""
        known = self._known.get(access_token)
        if known is None or known.expires_on == float("inf"):
            return None
        return max(known.expires_on - self._wall_clock(), 0.0)

    def known_accounts(self) -> set[str]:
        """Return the ids of accounts whose tokens are taken for good at this moment."""
        known = {each.principal.id for each in self._known.values()}
        return known | {each.id for each in self._local.values()}

    def compare(self, living: Mapping[str, Principal]) -> None:
        """Forget what is known of accounts that are not so any more.

        Parameters
        ----------
        living
            Accounts of :meth:`known_accounts` that are neither removed nor shut out.
        """
        self._drop(token for token, each in self._known.items() if not each.is_so_in(living))
        self._local = {
            # The role is that of notebooks, maybe less than the person's.
            token: replace(principal, groups=living[principal.id].groups)
            for token, principal in self._local.items()
            if principal.id in living
        }

    async def compare_keys(self) -> None:
        """Forget service keys that were revoked, or whose makers have lost what they were for.

        Raises
        ------
        MlsvcServerError
            The database does not answer.
        """
        ids = {each.principal.id for each in self._known.values() if each.principal.key}
        if not ids:
            return
        scopes = await self._keys.scopes(ids)
        self._drop(
            token
            for token, each in self._known.items()
            if each.principal.id in ids
            and scopes.get(each.principal.id, frozenset()) != each.principal.services
        )

    async def compare_signing_keys(self) -> None:
        """Learn of new signing keys, and forget tokens where one was deleted.

        Raises
        ------
        MlsvcServerError
            The database does not answer.
        """
        if await self._signing.refresh():
            self.look_up_all()

    def forget_key(self, key_id: str) -> None:
        """Forget a service key that was revoked, so that the very next call is refused."""
        self._revocations += 1
        self._drop(token for token, each in self._known.items() if each.principal.id == key_id)
        self._tell()

    def _drop(self, tokens: Iterable[str]) -> None:
        """Forget tokens, and what is being found out about any."""
        dropped = list(tokens)
        if dropped:
            self._revocations += 1
        for token in dropped:
            del self._known[token]

    def local_token(self, principal: Principal) -> str:
        """Make a token that is valid until the server stops, for kernels that Jupyter starts."""
        token = LOCAL_PREFIX + secrets.token_urlsafe(32)
        self._local[_digest(token)] = principal
        return token

    # --- inside ------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_clock(), UTC)

    def _refresh_expiry(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.refresh_token_lifetime)

    async def _pair(
        self, account_id: str, token_id: str, refresh_token: str
    ) -> AccessTokenResponse:
        now = int(self._wall_clock())
        expires_on = now + self.access_token_lifetime
        # Another server may have made one since.
        await self._signing.refresh()
        key = self._signing.newest
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": account_id,
            "jti": token_id,
            "iat": now,
            "exp": expires_on,
        }
        return AccessTokenResponse(
            token_type="Bearer",  # noqa: S106
            access_token=jwt.encode(
                claims, key.secret, algorithm=_ALGORITHM, headers={"kid": key.id}
            ),
            expires_in=self.access_token_lifetime,
            expires_on=expires_on,
            refresh_token=refresh_token,
        )

    async def _settle(self, outcome: RefreshOutcome, key: RefreshKey) -> None:
        self.look_up_all()
        if outcome in {RefreshOutcome.DONE, RefreshOutcome.REUSED}:
            self._tell()
        if outcome is RefreshOutcome.REUSED:
            self.log.warning("refresh token=%s was used twice: its family is revoked", key.shown)
        if outcome is not RefreshOutcome.DONE:
            raise InvalidRefreshToken

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _MAX_LENGTH:
            raise InvalidAccessToken
        try:
            named = jwt.get_unverified_header(token).get("kid")
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise InvalidAccessToken from None
        key = await self._signing.find(named, self.access_token_lifetime)
        if key is None:
            raise InvalidAccessToken
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.secret,
                algorithms=[_ALGORITHM],
                issuer=ISSUER,
                # Both times are compared below, each with its own leeway and by our clock.
                options={
                    "require": _CLAIMS,
                    "verify_iat": False,
                    "verify_exp": False,
                    "verify_aud": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise InvalidAccessToken from None
        # Those of earlier versions have no audience; we signed them for nobody else.
        if claims.get("aud", AUDIENCE) != AUDIENCE:
            raise InvalidAccessToken
        begin, end, now = claims["iat"], claims["exp"], self._wall_clock()
        if not isinstance(begin, int) or not isinstance(end, int):
            raise InvalidAccessToken
        # Whoever makes the setting shorter means tokens that are out already.
        end = claims["exp"] = min(end, begin + self.access_token_lifetime)
        if end <= now:
            raise ExpiredAccessToken
        if begin > now + _MAX_CLOCK_STEP:
            raise InvalidAccessToken
        return claims

    def _local_principal(self, token: str) -> Principal:
        principal = self._local.get(_digest(token))
        if principal is None:
            raise InvalidAccessToken
        return principal

    def _remember(
        self, token: str, principal: Principal, expires_on: float, is_from_provider: bool
    ) -> None:
        now, seconds = self._monotonic_clock(), self.cache_seconds
        self._known[token] = _Known(
            principal,
            is_from_provider,
            expires_on,
            fresh_until=now + seconds,
            look_again_at=now + seconds * 3 / 4,
            trusted_until=now + self.outage_seconds,
        )
        self._known.move_to_end(token)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _forget(self) -> None:
        self.look_up_all()
        self._tell()

    def look_up_all(self) -> None:
        """Forget which tokens were good; each is looked up when it is used next."""
        self._revocations += 1
        self._known.clear()


def _new_refresh_token() -> tuple[str, RefreshKey, str]:
    """Make the id of a pair, the key that the database gets, and the token."""
    token_id, secret = str(uuid.uuid4()), secrets.token_urlsafe(32)
    return token_id, _key(token_id, secret), f"{token_id}.{secret}"


def _refresh_key(refresh_token: str) -> RefreshKey:
    token_id, _, secret = refresh_token.partition(".")
    if not secret or len(refresh_token) > _MAX_LENGTH:
        raise InvalidRefreshToken
    return _key(token_id, secret)


def _key(token_id: str, secret: str) -> RefreshKey:
    return RefreshKey(_digest(token_id).hex(), _digest(secret).hex())


def _digest(secret: str) -> bytes:
    # A fast hash does: nobody guesses 256 random bits.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
