"""Verification of all stored contents: manifests in the database, and the blobs that they name.

It only reads, so it may run beside a server; what is deleted meanwhile may be told as missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from jupyter_mlsvc_server.formats.blobs import DamagedBlob, check_blob
from jupyter_mlsvc_server.snapshots.errors import ContentDamaged
from jupyter_mlsvc_server.snapshots.store import decode_manifest
from jupyter_mlsvc_server.storage.blobs import TRASH
from jupyter_mlsvc_server.storage.schema import (
    contents,
    owner_name,
    owner_of,
    service_revisions,
    snapshots,
)


class Checked(NamedTuple):
    """What was looked at, and what is wrong with it; empty where nothing is."""

    name: str
    problem: str = ""


def verify(connection: sa.Connection, blobs: Path) -> Iterator[Checked]:
    """Check each content, and each blob once.

    Parameters
    ----------
    connection
        To the database.
    blobs
        Folder of the blobs.

    Yields
    ------
    Checked
        One for each content and for each blob.
    """
    seen: set[str] = set()
    for row in connection.execute(sa.select(contents)).mappings().all():
        name = f"content {row['id']} of {_holders(connection, row['id'])}"
        try:
            manifest = decode_manifest(dict(row))
        except ContentDamaged as damage:
            yield Checked(name, damage.message)
            continue
        yield Checked(name)
        for digest in sorted(manifest.digests - seen):
            seen.add(digest)
            part = f"{manifest.part(digest)} of {_holders(connection, row['id'])}"
            yield Checked(f"blob {digest}, {part}", _problem_of(blobs, digest))


def _problem_of(blobs: Path, digest: str) -> str:
    path = blobs / digest[:2] / digest
    if not path.exists() and (blobs / TRASH / digest).exists():
        # Who uses it takes it back.
        path = blobs / TRASH / digest
    try:
        check_blob(path)
    except DamagedBlob as damage:
        return damage.reason
    return ""


def _holders(connection: sa.Connection, content_id: str) -> str:
    """Name the snapshots and services that have a content."""
    taken = connection.execute(
        sa.select(snapshots.c.name, owner_name(snapshots))
        .select_from(owner_of(snapshots))
        .where(snapshots.c.content_id == content_id)
    )
    published = connection.execute(
        sa.select(service_revisions.c.name, service_revisions.c.version)
        .where(service_revisions.c.content_id == content_id)
        .distinct()
    )
    names = [f"snapshot {name!r} of {owner}" for name, owner in taken]
    names += [f"service {name}/{version}" for name, version in published]
    return ", ".join(names) or "nothing any more"
