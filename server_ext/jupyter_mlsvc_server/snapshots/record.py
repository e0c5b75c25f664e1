"""Snapshots and their content, as the rest of the server sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.events.record import Change, EventAction, Kind
from jupyter_mlsvc_server.formats.blobs import Stamp
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
    blobs : pathlib.Path
        Folder of the blobs; that of digest ``abcd…`` is ``ab/abcd…`` in it.
    stamps : Mapping
        Of its blobs, which were found whole.
    """

    id: str
    manifest: Manifest
    blobs: Path
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    def path(self, digest: str) -> Path:
        """Name the file of a part of it."""
        return self.blobs / digest[:2] / digest


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
