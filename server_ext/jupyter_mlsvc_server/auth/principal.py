"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person may do, in the words of the contract."""

    OWNER = "owner"
    CONTRIBUTOR = "contributor"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class Principal:
    """A known person or program; the name is what owns sessions, snapshots and services."""

    name: str
    role: Role
