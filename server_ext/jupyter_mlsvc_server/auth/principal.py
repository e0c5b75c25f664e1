"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a person may do, in the words of the contract."""

    OWNER = "owner"
    CONTRIBUTOR = "contributor"
    READER = "reader"


class Owner(NamedTuple):
    """The account that a thing belongs to: its id, which decides, and its name, to be shown."""

    id: str
    name: str


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
    """

    id: str
    name: str
    role: Role

    @property
    def owner(self) -> Owner:
        """The principal as the owner of a thing."""
        return Owner(self.id, self.name)
