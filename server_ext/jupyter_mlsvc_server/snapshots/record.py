"""Snapshots and their content, as the rest of the server sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.events.record import Change, EventAction, Kind
from jupyter_mlsvc_server.formats.blobs import LocalBlobs
from jupyter_mlsvc_server.formats.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Content:
    """What a snapshot holds; services keep it when the snapshot is deleted.

    Attributes
    ----------
    id : str
        Of the content, not of a snapshot.
    manifest : Manifest
        What it holds.
    blobs : LocalBlobs
        Its parts, which were found whole.
    """

    id: str
    manifest: Manifest
    blobs: LocalBlobs

    def path(self, digest: str) -> Path:
        """Return the file of a part of it."""
        return self.blobs.path(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A snapshot of a person; ``content_size`` is that of its archive, in bytes."""

    id: str
    name: str
    owner: Owner
    runtime_type: str
    content_id: str
    content_size: int
    created_at: str

    def change(self, action: EventAction) -> Change:
        """Describe what became of it."""
        return Change(
            kind=Kind.SNAPSHOT,
            action=action,
            owner=self.owner,
            id=self.id,
            name=self.name,
        )
