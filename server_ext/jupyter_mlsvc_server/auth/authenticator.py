"""Identities of others: who somebody is by the word of a provider that the server trusts.

A provider names a person by itself, the issuer, and by a subject that stays the same for ever.
Names that people see come with a prefix, so that they are never those of a local account.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from traitlets import Dict, Enum, List, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.auth.errors import NoRole
from jupyter_mlsvc_server.auth.principal import Role

NOBODY: Final = "none"
"""In place of a role."""
_ODD: Final = re.compile(r"[^\w.@+-]+")
_PREFIX: Final = re.compile(r"[a-z][a-z0-9-]{0,15}")
_LONGEST: Final = 64
_LONGEST_GROUP: Final = 256
_MOST_GROUPS: Final = 500
"""Groups of a person that are kept; a token of Entra ID has 200."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person or program, as a provider knows it.

    Parameters
    ----------
    issuer
        Who says so.
    subject
        What the issuer calls the person; it never becomes that of another one.
    user_name
        Name that people see; another person may have it later.
    role
        What the person may do here.
    groups
        Groups that the provider has the person in, by the names that they have here.
    """

    issuer: str
    subject: str
    user_name: str
    role: Role
    groups: frozenset[str] = frozenset()


class Authenticator(LoggingConfigurable):
    """What all providers of identities share: a prefix, and roles by groups."""

    default_prefix: ClassVar[str] = ""

    prefix = Unicode(
        help="What names of accounts start with, before a colon: no local account has such a name. "
        "Default: the name by which MlsvcApp.authenticators has it."
    ).tag(config=True)
    role_groups = Dict(
        key_trait=Enum([role.value for role in Role]),
        value_trait=List(Unicode()),
        help="Groups whose members have a role, such as {'owner': ['ml-admins'], 'contributor': "
        "['data-science']}. Who is in several has the highest of their roles. Upper and lower "
        "case count as the same.",
    ).tag(config=True)
    default_role = Enum(
        [NOBODY, *(role.value for role in Role)],
        NOBODY,
        help="Role of those who are in none of the groups; none lets them in nowhere.",
    ).tag(config=True)

    def _prefix_default(self) -> str:
        return self.default_prefix

    @validate("prefix")
    def _check_prefix(self, proposal: dict[str, Any]) -> str:
        prefix: str = proposal["value"]
        if not _PREFIX.fullmatch(prefix):
            raise TraitError(
                f"{type(self).__name__}.prefix is {prefix!r}; it has to be 1 to 16 lower-case "
                "letters, digits or hyphens, starting with a letter."
            )
        return prefix

    def account_name(self, name: str) -> str:
        """Return the name of an account here: with the prefix, and without odd characters."""
        plain = _ODD.sub("_", unicodedata.normalize("NFKC", name))
        return f"{self.prefix}:{plain[:_LONGEST]}"

    def group_names(self, groups: Iterable[str]) -> frozenset[str]:
        """Return the names of a provider's groups here: with the prefix, in lower case."""
        named = {group.casefold() for group in groups if group.isprintable()}
        kept = sorted(group for group in named if len(group) <= _LONGEST_GROUP)
        return frozenset(f"{self.prefix}:{group}" for group in kept[:_MOST_GROUPS])

    def role_of(self, groups: Iterable[str], user_name: str) -> Role:
        """Return the highest role of somebody's groups.

        Raises
        ------
        NoRole
            None of the groups has one, and there is none for others.
        """
        own = {group.casefold() for group in groups}
        mapped: Mapping[str, list[str]] = self.role_groups
        for role in Role:
            if own & {group.casefold() for group in mapped.get(role.value, [])}:
                return role
        if self.default_role == NOBODY:
            raise NoRole(user_name)
        return Role(self.default_role)


class TokenAuthenticator(Authenticator):
    """A provider that knows whose an access token is."""

    def issued(self, token: str, claims: Mapping[str, Any]) -> bool:
        """Return whether a token says that it is the provider's.

        Parameters
        ----------
        claims
            What it claims, unverified; nothing where it is no JWT.
        """
        raise NotImplementedError

    async def verify(self, token: str) -> tuple[Identity, float]:
        """Return whose token it is, and when it expires; infinity where nothing ends it.

        Raises
        ------
        Unauthorized
            It is not valid.
        Forbidden
            Its owner may not use this server.
        IdentityProviderUnavailable
            Nobody can say whether it is valid.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Ask the provider no more."""
