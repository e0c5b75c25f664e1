"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from jupyter_mlsvc_server.auth.key_use import KeyUse


class Role(StrEnum):
    """What a person may do, in the words of the contract, and ``caller``, who only calls."""

    OWNER = "owner"
    CONTRIBUTOR = "contributor"
    READER = "reader"
    CALLER = "caller"


_RUN_CODE: Final = frozenset({Role.OWNER, Role.CONTRIBUTOR})


class Owner(NamedTuple):
    """The account that a thing belongs to: its id, which decides, and its name, to be shown.

    What has a group belongs to the members of the group as well.
    """

    id: str
    name: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Principal:
    """A known person or program.

    Attributes
    ----------
    id
        Of the account. It owns sessions, snapshots and services, and never comes back.
    name
        What the account is called now.
    role
        What the account may do.
    readers_use_sessions
        Whether this server lets readers run code.
    services
        Names of the services, or NAME/VERSION for one version, that there are for a service key;
        None where there are all.
    groups
        Names of the groups that the account is a member of.
    key
        Use of the service key; None for people.
    """

    id: str
    name: str
    role: Role
    readers_use_sessions: bool = False
    services: frozenset[str] | None = None
    groups: frozenset[str] = frozenset()
    key: KeyUse | None = field(default=None, compare=False, repr=False)

    @property
    def kind(self) -> Literal["person", "key"]:
        """What it is, for lists of what was done."""
        return "person" if self.key is None else "key"

    @property
    def may_run_code(self) -> bool:
        """Whether sessions are for this principal: to run code is more than a role."""
        is_trusted = self.role in _RUN_CODE
        return is_trusted or (self.role is Role.READER and self.readers_use_sessions)

    def knows_of(self, service: str, version: str = "") -> bool:
        """Whether a service, or one version of it, is there for this principal."""
        services = self.services
        if services is None or service in services:
            return True
        if version:
            return f"{service}/{version}" in services
        return any(each.startswith(f"{service}/") for each in services)

    def owns(self, owner: Owner) -> bool:
        """Whether what belongs to an account, and maybe to a group, is this principal's."""
        return owner.id == self.id or (bool(owner.group) and owner.group in self.groups)

    @property
    def owner(self) -> Owner:
        """The principal as the owner of a thing."""
        return Owner(self.id, self.name)


ANYBODY: Final = Principal("", "", Role.CALLER)
"""Who reads what is open to all, without a token."""
