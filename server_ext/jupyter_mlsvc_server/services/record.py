"""A service version as the server keeps it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jupyter_mlsvc.wire.models import Isolation, ParameterDefinition, PublishCheck
from jupyter_mlsvc.wire.names import ServiceName, Version, is_made_up
from jupyter_mlsvc_server.events.record import Change, EventAction, Kind
from jupyter_mlsvc_server.scoring.definition import PoolSize


class ServiceKey(NamedTuple):
    """What names a service version."""

    name: ServiceName
    version: Version


@dataclass(frozen=True, slots=True)
class Revision:
    """The content of a service version; a change makes another one."""

    runtime_type: str
    code: str
    init_code: str | None
    description: str
    operation_id: str | None
    inputs: tuple[ParameterDefinition, ...]
    outputs: tuple[ParameterDefinition, ...]
    output_files: tuple[str, ...]
    snapshot_id: str | None
    content_id: str | None
    setup_code: str | None = None
    isolation: Isolation = "worker"
    publish_check: PublishCheck | None = None


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service version: its key, who published it, when, its current revision, and its pool.

    ``answered_at`` is when a call first succeeded, None while none has.
    """

    key: ServiceKey
    owner: str
    created_at: str
    revision_id: str
    revision: Revision
    pool: PoolSize | None = None
    answered_at: str | None = None

    def change(self, action: EventAction) -> Change:
        """Describe what became of it."""
        return Change(
            kind=Kind.SERVICE,
            action=action,
            owner=self.owner,
            name=self.key.name,
            version=self.key.version,
        )


def made_up_first(records: Sequence[ServiceRecord]) -> list[ServiceRecord]:
    """Put versions that are GUIDs before the others of their name, each kind in its order."""
    ordered = sorted(records, key=lambda record: not is_made_up(record.key.version))
    by_name: defaultdict[str, deque[ServiceRecord]] = defaultdict(deque)
    for record in ordered:
        by_name[record.key.name].append(record)
    return [by_name[record.key.name].popleft() for record in records]
