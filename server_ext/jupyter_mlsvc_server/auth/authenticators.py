"""The providers of identities that a server trusts, and the accounts of whom they know."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import msgspec
from traitlets import TraitError

from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticator import Authenticator, Identity, TokenAuthenticator
from jupyter_mlsvc_server.auth.errors import IdentityProviderUnavailable
from jupyter_mlsvc_server.auth.jupyterhub import HubAuthenticator
from jupyter_mlsvc_server.auth.ldap import LdapAuthenticator
from jupyter_mlsvc_server.auth.oidc import OidcAuthenticator
from jupyter_mlsvc_server.auth.principal import Principal

_KINDS: Final[Mapping[str, str]] = {
    "jupyterhub": f"{HubAuthenticator.__module__}.{HubAuthenticator.__name__}",
    "ldap": "jupyter_mlsvc_server.auth.ldap.LdapAuthenticator",
    "oidc": f"{OidcAuthenticator.__module__}.{OidcAuthenticator.__name__}",
}


def make_authenticators(names: Sequence[str], parent: Any) -> list[Authenticator]:
    """Make the authenticators of a setting, in its order.

    Parameters
    ----------
    names
        A short name, or module and class of one's own.

    Raises
    ------
    TraitError
        There is none of that name, or its settings do not do.
    """
    made: list[Authenticator] = []
    for name in names:
        module, _, kind = _KINDS.get(name, name).rpartition(".")
        try:
            cls = getattr(import_module(module), kind)
        except (ImportError, AttributeError, ValueError) as error:
            raise TraitError(
                f"MlsvcApp.authenticators has {name!r}; it may have {', '.join(_KINDS)}, or the "
                f"module and class of an authenticator of your own. ({error})"
            ) from None
        made.append(cls(parent=parent))
    prefixes = [each.prefix for each in made]
    if len(set(prefixes)) < len(prefixes):
        raise TraitError("Two of MlsvcApp.authenticators have the same prefix; set another one.")
    return made


class Authenticators:
    """Lets in whom a provider vouches for; the first time makes them an account.

    Parameters
    ----------
    accounts
        Where their accounts are.
    authenticators
        The providers, in the order in which they are asked.
    """

    def __init__(self, accounts: AccountManager, authenticators: Sequence[Authenticator]) -> None:
        self._accounts = accounts
        self._by_token = [each for each in authenticators if isinstance(each, TokenAuthenticator)]
        self._by_password = [each for each in authenticators if isinstance(each, LdapAuthenticator)]
        if self._by_password:
            accounts.elsewhere = self.match

    @property
    def oidc(self) -> OidcAuthenticator | None:
        """The first OpenID provider whose access tokens are taken."""
        return next((each for each in self._by_token if isinstance(each, OidcAuthenticator)), None)

    async def match(self, username: str, password: str) -> Identity | None:
        """Return who has a name and password, by the first directory that knows them.

        Parameters
        ----------
        username
            The name; the prefix of a directory before it names the only one that is asked.

        Raises
        ------
        IdentityProviderUnavailable
            No directory knows them, and one does not answer.
        """
        prefix, colon, rest = username.partition(":")
        named = [each for each in self._by_password if colon and each.prefix == prefix]
        problem = None
        for each in named or self._by_password:
            try:
                found = await each.authenticate(rest if named else username, password)
            except IdentityProviderUnavailable as error:
                problem = error
            else:
                if found is not None:
                    return found
        if problem is not None:
            raise problem
        return None

    async def close(self) -> None:
        """Ask no provider any more."""
        for each in self._by_token:
            await each.close()

    def issuer_of(self, token: str) -> TokenAuthenticator | None:
        """Return the provider that an access token says it is of."""
        claims = _unverified_claims(token) if self._by_token else {}
        return next((each for each in self._by_token if each.issued(token, claims)), None)

    async def principal_of(self, issuer: TokenAuthenticator, token: str) -> tuple[Principal, float]:
        """Return whose token of a provider it is, and when it expires.

        Raises
        ------
        Unauthorized
            The token is not valid.
        Forbidden
            Its owner may not use this server.
        IdentityProviderUnavailable
            Nobody can say whether it is valid.
        """
        who, expires_on = await issuer.verify(token)
        principal = await self._accounts.known_elsewhere(
            who.issuer, who.subject, who.user_name, who.role, who.groups
        )
        return principal, expires_on


def _unverified_claims(token: str) -> Mapping[str, Any]:
    _, _, rest = token.partition(".")
    payload, _, _ = rest.partition(".")
    try:
        raw = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        claims = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
