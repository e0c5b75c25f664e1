"""Logins with a company's identity provider: by a code for people, by a secret for programs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests

from jupyter_mlsvc.client.token_vault import TokenVault
from jupyter_mlsvc.errors import ConnectionFailed, MlsvcError, NotLoggedIn

Clock = Callable[[], float]
T = TypeVar("T")

_DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_TIMEOUT: Final = (5.0, 30.0)
_INTERVAL: Final = 5.0
_SLOWER: Final = 5.0
_CODE_SECONDS: Final = 900.0
_EARLY_SECONDS: Final = 60.0
_EARLY_SHARE: Final = 0.1
_LIFETIME: Final = 300.0
"""Seconds for which a token is taken to be valid whose provider does not say."""
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}


class Tokens(msgspec.Struct):
    """Answer of a token endpoint; nothing of it is shown."""

    access_token: str
    refresh_token: str | None = None
    expires_in: float | None = None

    def __repr__(self) -> str:
        return "<Tokens>"


class DeviceCode(msgspec.Struct):
    """Answer of a device authorization endpoint (RFC 8628)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float = _CODE_SECONDS
    interval: float = _INTERVAL

    def __repr__(self) -> str:
        return f"<DeviceCode {self.user_code}>"


class Refused(MlsvcError):
    """The identity provider refuses; ``code`` is its word for why."""

    def __init__(self, issuer: str, code: str, description: str = "") -> None:
        self.code = code
        detail = f": {description}" if description else ""
        super().__init__(f"The identity provider {issuer} refuses ({code}){detail}.")


class Provider:
    """An identity provider, as its metadata describes it.

    Parameters
    ----------
    issuer : str
        Its address.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = _safe(issuer)
        self._metadata: dict[str, Any] | None = None

    def ask(self, endpoint: str, form: Mapping[str, str], secret: tuple[str, str] | None) -> bytes:
        """Send a form to one of its endpoints.

        Raises
        ------
        Refused
            It refuses.
        ConnectionFailed
            It does not answer.
        """
        address = self.endpoint(endpoint)
        if address is None:
            raise MlsvcError(
                f"The identity provider {self.issuer} has no {endpoint.replace('_', ' ')}."
            )
        response = self._send("POST", address, secret, form)
        if response.status_code < 400:
            return response.content
        try:
            problem = msgspec.json.decode(response.content, type=dict[str, Any])
        except msgspec.DecodeError:
            problem = {}
        code = str(problem.get("error", f"status {response.status_code}"))
        raise Refused(self.issuer, code, str(problem.get("error_description", ""))[:300])

    def endpoint(self, name: str) -> str | None:
        """Return the address of an endpoint, where it has one."""
        if self._metadata is None:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            response = self._send("GET", url)
            try:
                metadata = msgspec.json.decode(response.content, type=dict[str, Any])
            except msgspec.DecodeError:
                metadata = {}
            if metadata.get("issuer") != self.issuer:
                raise MlsvcError(f"{url} does not describe the identity provider {self.issuer}.")
            self._metadata = metadata
        address = self._metadata.get(name)
        return _safe(address) if isinstance(address, str) else None

    def _send(
        self,
        method: str,
        url: str,
        secret: tuple[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> requests.Response:
        try:
            with requests.Session() as session:
                return session.request(
                    method,
                    url,
                    data=form,
                    auth=secret or _as_is,
                    timeout=_TIMEOUT,
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            # The library's message may have more in it than is for everybody.
            raise ConnectionFailed(self.issuer, type(error).__name__) from None


class Grant(Protocol):
    """How the next tokens are had."""

    def tokens(self) -> Tokens:
        """Get tokens, or raise ``Refused`` where that is over."""
        ...

    def forget(self) -> None:
        """Make useless what they were had by."""
        ...


class Refresh:
    """By a refresh token, which is kept for other notebooks and may change each time."""

    def __init__(self, provider: Provider, client_id: str, vault: TokenVault, key: str) -> None:
        self._provider = provider
        self._client_id = client_id
        self._vault = vault
        self._key = key
        self._token: str | None = None

    def keep(self, tokens: Tokens) -> None:
        """Keep the refresh token that came along, if one did."""
        if tokens.refresh_token:
            self._token = tokens.refresh_token
            self._vault.write(self._key, tokens.refresh_token)

    def tokens(self) -> Tokens:
        """Trade the refresh token; that of another notebook where it was newer."""
        tried = None
        for token in (self._token, self._vault.read(self._key)):
            if token is None or token == tried:
                continue
            tried = token
            form = {"grant_type": "refresh_token", "refresh_token": token}
            with suppress(Refused):
                answer = self._provider.ask(
                    "token_endpoint", form | {"client_id": self._client_id}, None
                )
                found = _tokens(self._provider, answer)
                self.keep(found)
                return found
        raise Refused(self._provider.issuer, "invalid_grant")

    def forget(self) -> None:
        """Revoke the refresh token, where the provider knows how, and keep it no longer."""
        token, self._token = self._token or self._vault.read(self._key), None
        self._vault.forget(self._key)
        with suppress(MlsvcError):
            if token is not None and self._provider.endpoint("revocation_endpoint"):
                form = {"token": token, "client_id": self._client_id}
                self._provider.ask("revocation_endpoint", form, None)


class ClientCredentials:
    """By the id and the secret of a program."""

    def __init__(self, provider: Provider, client_id: str, secret: str, scope: str) -> None:
        self._provider = provider
        self._secret = (client_id, secret)
        self._scope = scope

    def tokens(self) -> Tokens:
        """Ask for a token."""
        form = {"grant_type": "client_credentials"} | (
            {"scope": self._scope} if self._scope else {}
        )
        return _tokens(self._provider, self._provider.ask("token_endpoint", form, self._secret))

    def forget(self) -> None:
        """Nothing to do: the secret is the program's."""


class OidcLogin:
    """Access tokens of an identity provider, renewed before they expire.

    Parameters
    ----------
    grant : Grant
        How the next ones are had.
    tokens : Tokens, optional
        Those that are there already.
    clock : callable
        Seconds, only ever compared with each other.
    """

    user: str | None = None

    def __init__(
        self, grant: Grant, tokens: Tokens | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._grant = grant
        self._clock = clock
        self._lock = threading.Lock()
        self._keep(grant.tokens() if tokens is None else tokens)

    def token(self) -> str | None:
        """Return the access token, a new one where the old is about to expire."""
        with self._lock:
            if self._clock() >= self._renew_at:
                self._renew()
            return self._token

    def renew(self, refused: str) -> bool:
        """Get another token, unless another thread did so meanwhile."""
        with self._lock:
            if self._token == refused:
                self._renew()
            return True

    def end(self) -> None:
        """Make the login useless, for other notebooks too."""
        self._grant.forget()

    def _renew(self) -> None:
        try:
            self._keep(self._grant.tokens())
        except Refused as error:
            raise NotLoggedIn(
                f"The login with the identity provider has ended ({error.code}). Log in again with "
                "%mlsvc login --oidc or Client.login_oidc."
            ) from None

    def _keep(self, tokens: Tokens) -> None:
        lifetime = _LIFETIME if tokens.expires_in is None else tokens.expires_in
        self._token = tokens.access_token
        self._renew_at = self._clock() + lifetime - min(_EARLY_SECONDS, lifetime * _EARLY_SHARE)


def wait_for_person(
    provider: Provider,
    client_id: str,
    scope: str,
    show: Callable[[str], object],
    *,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Tokens:
    """Show an address and a code, and wait until the person has typed it in there.

    Raises
    ------
    Refused
        The person, or the provider, says no.
    MlsvcError
        Nobody did in time.
    """
    form = {"client_id": client_id, "scope": scope}
    answer = provider.ask("device_authorization_endpoint", form, None)
    code = _decoded(provider, answer, DeviceCode)
    show(
        f"To log in, open {_safe(code.verification_uri)} and enter the code {code.user_code}. "
        "Interrupt to stop waiting."
    )
    deadline = clock() + code.expires_in
    interval = max(code.interval, 1.0)
    poll = {"grant_type": _DEVICE_CODE, "device_code": code.device_code, "client_id": client_id}
    while clock() < deadline:
        sleep(interval)
        try:
            return _tokens(provider, provider.ask("token_endpoint", poll, None))
        except ConnectionFailed:
            interval += _SLOWER
        except Refused as error:
            if error.code == "slow_down":
                interval += _SLOWER
            elif error.code == "expired_token":
                break
            elif error.code != "authorization_pending":
                raise
    raise MlsvcError("The code was not entered in time. Log in again for a new one.")


def _tokens(provider: Provider, answer: bytes) -> Tokens:
    return _decoded(provider, answer, Tokens)


def _decoded(provider: Provider, answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.DecodeError:
        raise MlsvcError(
            f"The identity provider {provider.issuer} answers something else than it should."
        ) from None


def is_same_place(one: str, other: str) -> bool:
    """Whether two addresses are those of one server, however this machine is written in them."""
    return _place(one) == _place(other)


def _place(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, "localhost" if host in _LOOPBACK else host, port, parts.path.rstrip("/")


def _safe(url: str) -> str:
    """Return an address to which secrets may go."""
    parts = urlsplit(url)
    is_here = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or is_here):
        raise MlsvcError(f"The identity provider's address {url!r} is no https address.")
    return url


def _as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Without an auth of its own requests would send what .netrc says.
    return request
