"""OpenID Connect: access tokens of a company's identity provider."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import jwt
from jwt.algorithms import has_crypto
from traitlets import Dict, Float, TraitError, Unicode

from jupyter_mlsvc_server.auth.authenticator import Identity, TokenAuthenticator
from jupyter_mlsvc_server.auth.errors import (
    ExpiredAccessToken,
    IdentityProviderUnavailable,
    InvalidAccessToken,
)
from jupyter_mlsvc_server.auth.provider_http import get_json, require_safe
from jupyter_mlsvc_server.auth.provider_keys import Keys, ProviderKeys
from jupyter_mlsvc_server.storage.clock import Clock
from jupyter_mlsvc_server.storage.traits import TextList

_ASYMMETRIC: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = ("ES256", "ES384", "ES512", "EdDSA")
ALGORITHMS: Final = (*_ASYMMETRIC, *_CURVES)
"""Algorithms whose signatures only the provider can make: no setting adds to them."""
_KEY_TYPES: Final = {"RSA", "EC", "OKP"}
_LONGEST: Final = 16_384  # characters


class OidcAuthenticator(TokenAuthenticator):
    """Takes access tokens (JWT) of one issuer: Entra ID, Keycloak, Okta, and others.

    Parameters
    ----------
    wall_clock
        The clock by which tokens expire.
    monotonic_clock
        The clock by which keys grow old.
    """

    default_prefix = "oidc"

    issuer = Unicode(
        help="Address of the identity provider, exactly as its tokens have it in 'iss', such as "
        "https://login.microsoftonline.com/TENANT/v2.0 or https://keycloak.example.org/realms/ml."
    ).tag(config=True)
    audience = TextList(
        help="What 'aud' of a token has one of: the name by which the provider knows this server, "
        "such as api://CLIENT-ID."
    ).tag(config=True)
    discovery_url = Unicode(
        help="Address of the provider's metadata. Default: the issuer with "
        "/.well-known/openid-configuration after it."
    ).tag(config=True)
    client_id = Unicode(
        help="Public client by which people log in with a code ('%mlsvc login URL --oidc'). Empty "
        "tells clients none."
    ).tag(config=True)
    scope = Unicode(
        "openid offline_access",
        help="What that client asks for, such as 'openid offline_access api://CLIENT-ID/use'.",
    ).tag(config=True)
    username_claim = Unicode(
        "preferred_username",
        help="Claim with the name that people see; 'sub' where a token has none.",
    ).tag(config=True)
    groups_claim = Unicode(
        "groups",
        help="Claim with the list of groups; a dot goes into an object, such as "
        "realm_access.roles.",
    ).tag(config=True)
    required_claims = Dict(
        help="Claims that a token must have with these values, such as {'tid': 'TENANT'}; in a "
        "list, or a text of words such as 'scope', it has to be one of them."
    ).tag(config=True)
    leeway = Float(
        30.0, min=0, max=300, help="Seconds by which the provider's clock may differ."
    ).tag(config=True)
    ca_file = Unicode(
        help="File (PEM) with the authorities that the provider's certificate is checked by. Empty "
        "takes those that requests trusts."
    ).tag(config=True)
    timeout = Float(5.0, min=0.1, help="Seconds that the provider may take to answer.").tag(
        config=True
    )
    key_refresh_seconds = Float(
        300.0, min=10, help="Seconds after which the provider is asked for its keys again."
    ).tag(config=True)
    key_outage_seconds = Float(
        86_400.0,
        min=0,
        help="Seconds that keys count while the provider does not answer.",
    ).tag(config=True)

    def __init__(
        self,
        *,
        wall_clock: Clock = time.time,
        monotonic_clock: Clock = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not has_crypto:
            raise TraitError(
                "OidcAuthenticator needs a package to verify signatures with: "
                "pip install 'jupyter-mlsvc[server,oidc]'"
            )
        if not self.issuer or not self.audience:
            raise TraitError("OidcAuthenticator needs settings of both issuer and audience.")
        require_safe(self.issuer, "OidcAuthenticator.issuer")
        self._wall_clock = wall_clock
        self._keys = ProviderKeys(
            self._fetch_keys,
            refresh_seconds=self.key_refresh_seconds,
            outage_seconds=self.key_outage_seconds,
            clock=monotonic_clock,
        )

    async def close(self) -> None:
        """Ask the provider no more."""
        await self._keys.close()

    def issued(self, token: str, claims: Mapping[str, Any]) -> bool:
        """Return whether unverified claims say that a token is the provider's."""
        return claims.get("iss") == self.issuer

    async def verify(self, token: str) -> tuple[Identity, float]:
        """Return whose token it is, and when it expires.

        Raises
        ------
        InvalidAccessToken
            It is forged, for somebody else, or not valid yet.
        ExpiredAccessToken
            It was valid once.
        NoRole
            Its groups may not use this server.
        IdentityProviderUnavailable
            The key is not known, and the provider does not answer.
        """
        claims = await self._claims(token)
        for claim, value in self.required_claims.items():
            if not _has(claims.get(claim), value):
                raise InvalidAccessToken
        subject = claims["sub"]
        shown = claims.get(self.username_claim)
        name = self.account_name(shown if isinstance(shown, str) and shown.strip() else subject)
        groups = self._groups(claims)
        role = self.role_of(groups, name)
        known = Identity(self.issuer, subject, name, role, self.group_names(groups))
        return known, claims["exp"]

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _LONGEST:
            raise InvalidAccessToken
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise InvalidAccessToken from None
        # Before a key is looked for: what nobody can have signed asks the provider nothing.
        if header.get("alg") not in ALGORITHMS or header.get("crit"):
            raise InvalidAccessToken
        key = await self._keys.find(header.get("kid"))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self.issuer,
                audience=list(self.audience),
                # Times are compared below, by our clock.
                options={
                    "require": ["iss", "sub", "aud", "exp"],
                    "verify_iat": False,
                    "verify_exp": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise InvalidAccessToken from None
        self._require_in_time(claims)
        if not claims["sub"] or not isinstance(claims["sub"], str):
            raise InvalidAccessToken
        return claims

    def _require_in_time(self, claims: Mapping[str, Any]) -> None:
        now, exp, nbf = self._wall_clock(), claims["exp"], claims.get("nbf", 0)
        if not _is_time(exp) or not _is_time(nbf) or nbf > now + self.leeway:
            raise InvalidAccessToken
        if exp <= now - self.leeway:
            raise ExpiredAccessToken

    def _groups(self, claims: Mapping[str, Any]) -> list[str]:
        value: Any = claims
        for part in [self.groups_claim] if self.groups_claim in claims else self._groups_path:
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list):
            if "groups" in claims.get("_claim_names", ()):
                self.log.warning(
                    "a token has too many groups to name them: let the provider send those only "
                    "that are assigned to the application"
                )
            return []
        return [group for group in value if isinstance(group, str)]

    @property
    def _groups_path(self) -> list[str]:
        return self.groups_claim.split(".")

    async def _fetch_keys(self) -> Keys:
        try:
            return await asyncio.to_thread(self._fetch)
        except IdentityProviderUnavailable as error:
            self.log.warning("the identity provider does not answer: %s", error.logged)
            raise

    def _fetch(self) -> Keys:
        url = self.discovery_url or f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = self._get(url)
        if metadata.get("issuer") != self.issuer:
            raise IdentityProviderUnavailable(f"{url} names another issuer")
        try:
            address = require_safe(str(metadata.get("jwks_uri", "")), "jwks_uri")
        except TraitError as error:
            raise IdentityProviderUnavailable(str(error)) from error
        keys = usable_keys(self._get(address).get("keys"))
        if not keys:
            raise IdentityProviderUnavailable(f"{address} has no key of use")
        return keys

    def _get(self, url: str) -> dict[str, Any]:
        status, answer = get_json(url, timeout=self.timeout, verify=self.ca_file or True)
        if status != 200:
            raise IdentityProviderUnavailable(f"{url}: status {status}")
        return answer


def usable_keys(keys: object) -> dict[str, jwt.PyJWK]:
    """Return the public keys of a set that verify signatures, by their ids; others are left out."""
    usable: dict[str, jwt.PyJWK] = {}
    for each in keys if isinstance(keys, list) else []:
        if not isinstance(each, dict) or each.get("kty") not in _KEY_TYPES:
            continue
        if each.get("use") not in {None, "sig"}:
            continue
        try:
            usable[str(each.get("kid", ""))] = jwt.PyJWK(each)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    return usable


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124


def _has(found: object, wanted: object) -> bool:
    if found == wanted:
        return True
    words = found.split() if isinstance(found, str) else found
    return isinstance(words, list) and wanted in words
