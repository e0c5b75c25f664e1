"""Events: the change of one thing, and what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jupyter_mlsvc_server.auth.policy import Action
from jupyter_mlsvc_server.auth.principal import Owner


class Kind(StrEnum):
    """What a change is about."""

    SERVICE = "service"
    SESSION = "session"
    SNAPSHOT = "snapshot"
    BATCH = "batch"
    KEY = "key"


class EventAction(StrEnum):
    """What happened to a thing (``action`` of an event on the wire)."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"


NEEDED: Final[Mapping[Kind, Action]] = MappingProxyType(
    {
        Kind.SERVICE: Action.READ_SERVICE,
        Kind.SESSION: Action.USE_SESSIONS,
        Kind.SNAPSHOT: Action.USE_SNAPSHOTS,
        Kind.BATCH: Action.USE_BATCHES,
        Kind.KEY: Action.USE_KEYS,
    }
)
"""Action that a caller has to be allowed, to see the events of a thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one thing.

    Attributes
    ----------
    kind, action
        What changed, and how.
    owner
        Whose thing it is; the policy decides who else may hear of it.
    id
        Of a session, snapshot, batch or service key.
    name, version
        Of a service, or of the service that a batch runs; the name of a session, snapshot or
        service key.
    """

    kind: Kind
    action: EventAction
    owner: Owner
    id: str = ""
    name: str = ""
    version: str = ""


PublishEvent = Callable[[Change], None]
"""Sends a change to the callers who wait for it; called in the event loop, and quick."""


def drop_event(_change: Change) -> None:
    """Ignore a change; the default where nobody listens."""
