"""What is known of a batch, apart from its records and results."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.events.record import Change, EventAction, Kind


class BatchState(StrEnum):
    """How far a batch is, in the words of the contract's samples."""

    PENDING = "Pending"
    """Accepted; others run first."""
    IN_PROGRESS = "InProgress"
    COMPLETE = "Complete"
    """Every record has a result, be it a failure."""
    FAILED = "Failed"
    """It could not go on; the results until then are kept."""
    CANCELLED = "Cancelled"
    """Its owner stopped it; the results until then are kept."""


ACTIVE: Final = (BatchState.PENDING, BatchState.IN_PROGRESS)
"""States that a restarted server goes on from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A row of the table.

    Attributes
    ----------
    parallel_count
        How many records may run at a time.
    total, completed, failed
        How many records there are, have a result, and have one that is a failure. The last
        two are those of the end; while a batch runs, its files know better.
    reason
        Why it failed, or empty.
    """

    id: str
    name: str
    version: str
    owner: Owner
    state: BatchState
    parallel_count: int
    total: int
    completed: int
    failed: int
    reason: str
    created_at: str
    finished_at: str | None

    def change(self, action: EventAction) -> Change:
        """Describe what became of it; the name and version are those of the service."""
        return Change(
            kind=Kind.BATCH,
            action=action,
            owner=self.owner,
            id=self.id,
            name=self.name,
            version=self.version,
        )

    @property
    def is_active(self) -> bool:
        """Whether it has yet to end."""
        return self.state in ACTIVE


@dataclass(frozen=True, slots=True)
class Progress:
    """How many records have a result, how many of these are failures, and the last of them.

    ``reach`` is the number of the last record with a result, plus one.
    """

    completed: int = 0
    failed: int = 0
    reach: int = 0
