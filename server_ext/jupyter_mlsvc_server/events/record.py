"""What is told of a change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jupyter_mlsvc_server.auth.policy import Action


class Kind(StrEnum):
    """What a change is about."""

    SERVICE = "service"
    SESSION = "session"
    SNAPSHOT = "snapshot"
    BATCH = "batch"


class Happening(StrEnum):
    """What became of it."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"


NEEDED: Final[Mapping[Kind, Action]] = MappingProxyType(
    {
        Kind.SERVICE: Action.READ_SERVICE,
        Kind.SESSION: Action.USE_SESSIONS,
        Kind.SNAPSHOT: Action.USE_SNAPSHOTS,
        Kind.BATCH: Action.USE_BATCHES,
    }
)
"""What somebody has to be allowed to do with a thing to hear of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one thing.

    Attributes
    ----------
    kind, happening
        What changed, and how.
    owner
        Name of the person whose thing it is; the policy decides who else may hear of it.
    id
        Of a session, snapshot or batch.
    name, version
        Of a service, or of the service that a batch runs; the name of a session or snapshot.
    """

    kind: Kind
    happening: Happening
    owner: str
    id: str = ""
    name: str = ""
    version: str = ""


Announce = Callable[[Change], None]
"""Tells a change to whoever waits for it; called in the event loop, and quick."""


def tell_nobody(_change: Change) -> None:
    """Stand in where nobody listens."""
