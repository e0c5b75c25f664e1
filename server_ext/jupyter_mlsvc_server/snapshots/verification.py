"""Verification of all stored contents: manifests in the database, and the blobs that they name.

It only reads, so it may run beside a server; what is deleted meanwhile may be told as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import sqlalchemy as sa

from jupyter_mlsvc_server.snapshots.errors import ContentDamaged
from jupyter_mlsvc_server.snapshots.store import decode_manifest
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


def verify(connection: sa.Connection, problem_of: Callable[[str], str]) -> Iterator[Checked]:
    """Check each content, and each blob once.

    Parameters
    ----------
    connection
        To the database.
    problem_of
        Returns what is wrong with the blob of a digest; an empty text where nothing is.

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
            yield Checked(f"blob {digest}, {part}", problem_of(digest))


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
