"""A service version as the server keeps it."""

from __future__ import annotations

import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from jupyter_mlsvc.wire.models import PublishCheck
from jupyter_mlsvc.wire.names import ServiceName, Version, is_made_up
from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.events.record import Change, EventAction, Kind
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import PoolSize


class ServiceKey(NamedTuple):
    """What names a service version."""

    name: ServiceName
    version: Version


@dataclass(frozen=True, slots=True)
class GivenGroup:
    """A group that somebody gives a name to; an empty one takes it back.

    Parameters
    ----------
    name
        Name of the group.
    may_give
        Whether they may give away what belongs to an owner.
    """

    name: str
    may_give: Callable[[Owner], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A service version: what was published, by whom, when, what its check found, and its pool.

    ``answered_at`` is when a call first succeeded, None while none has.
    """

    spec: ServiceSpec
    owner: Owner
    created_at: str
    publish_check: PublishCheck | None = None
    pool: PoolSize | None = None
    answered_at: str | None = None

    def in_group(self, group: str) -> ServiceRecord:
        """Return the same version of a name that belongs to a group."""
        return replace(self, owner=Owner(self.owner.id, self.owner.name, group))

    @property
    def key(self) -> ServiceKey:
        """Name and version."""
        return ServiceKey(self.spec.name, self.spec.version)

    def change(self, action: EventAction) -> Change:
        """Describe what became of it."""
        return Change(
            kind=Kind.SERVICE,
            action=action,
            owner=self.owner,
            name=self.spec.name,
            version=self.spec.version,
        )


def new_revision_id() -> str:
    """Name another revision."""
    return str(uuid.uuid4())


def made_up_first(records: Sequence[ServiceRecord]) -> list[ServiceRecord]:
    """Put versions that are GUIDs before the others of their name, each kind in its order."""
    ordered = sorted(records, key=lambda record: not is_made_up(record.spec.version))
    by_name: defaultdict[str, deque[ServiceRecord]] = defaultdict(deque)
    for record in ordered:
        by_name[record.spec.name].append(record)
    return [by_name[record.spec.name].popleft() for record in records]
