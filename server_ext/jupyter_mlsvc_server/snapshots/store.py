"""Rows of snapshots and of their content."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.formats.manifest import Manifest, ObjectEntry
from jupyter_mlsvc_server.snapshots.errors import ContentDamaged, QuotaExceeded, TooManySnapshots
from jupyter_mlsvc_server.snapshots.record import SnapshotRecord
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.postgresql import take_lock_of
from jupyter_mlsvc_server.storage.schema import (
    content_blobs,
    contents,
    owner_name,
    owner_of,
    service_revisions,
    snapshots,
)

_SNAPSHOTS = sa.select(snapshots, owner_name(snapshots)).select_from(owner_of(snapshots))


class SnapshotStore:
    """Reads and writes snapshots, each write in one transaction."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def insert(
        self, record: SnapshotRecord, manifest: Manifest, *, quota: int = 0, most: int = 0
    ) -> None:
        """Add a snapshot and its content, whose blobs are stored already.

        One whose content another snapshot has gets that one's.

        Parameters
        ----------
        quota
            Bytes that the owner's snapshots may take with it; 0 for any number.
        most
            How many the owner may have with it; 0 for any number.

        Raises
        ------
        QuotaExceeded
            They would take more.
        TooManySnapshots
            There are as many.
        """

        def write(connection: sa.Connection) -> None:
            take_lock_of(connection, f"snapshots of {record.owner.id}")
            own = sa.select(sa.func.count()).where(snapshots.c.owner_id == record.owner.id)
            if most and (connection.scalar(own) or 0) >= most:
                raise TooManySnapshots(most)
            if quota and _size(connection, record.owner.id) + manifest.size > quota:
                raise QuotaExceeded(quota)
            content_id = _content(connection, record.content_id, manifest, record.created_at)
            row = _to_row(record) | {"content_id": content_id}
            connection.execute(snapshots.insert().values(row))

        await self._database.run(write)

    async def insert_content(
        self, manifest: Manifest, created_at: str, hold: Callable[[str], None]
    ) -> str:
        """Add a content without a snapshot, whose blobs are stored already; returns its id.

        Parameters
        ----------
        hold
            Called in the transaction with the id, which may be that of an equal content.
        """

        def write(connection: sa.Connection) -> str:
            content_id = _content(connection, str(uuid.uuid4()), manifest, created_at)
            hold(content_id)
            return content_id

        return await self._database.run(write)

    async def find(self, snapshot_id: str) -> SnapshotRecord | None:
        """Read one snapshot, whoever owns it."""
        query = _SNAPSHOTS.where(snapshots.c.id == snapshot_id)
        row = await self._database.read(
            lambda connection: connection.execute(query).mappings().first()
        )
        return None if row is None else _from_row(dict(row))

    async def list(self, owner_id: str) -> list[tuple[SnapshotRecord, tuple[ObjectEntry, ...]]]:
        """Read the snapshots of a person, oldest first, each with what it could not keep."""
        query = (
            _SNAPSHOTS.add_columns(contents.c.skipped)
            .join(contents, contents.c.id == snapshots.c.content_id)
            .where(snapshots.c.owner_id == owner_id)
            .order_by(snapshots.c.created_at, snapshots.c.id)
        )
        rows = await self._database.read(
            lambda connection: connection.execute(query).mappings().all()
        )
        return [_with_skipped(dict(row)) for row in rows]

    async def size(self, owner_id: str) -> int:
        """Add up the bytes that a person's snapshots take here."""
        return await self._database.read(lambda connection: _size(connection, owner_id))

    async def delete(self, snapshot_id: str, owner_id: str) -> bool:
        """Remove a person's snapshot; return whether there was one."""
        query = snapshots.delete().where(
            snapshots.c.id == snapshot_id, snapshots.c.owner_id == owner_id
        )
        count = await self._database.run(lambda connection: connection.execute(query).rowcount)
        return count > 0

    async def manifest(self, content_id: str) -> Manifest | None:
        """Read what a content holds.

        Raises
        ------
        ContentDamaged
            The manifest is not what was written.
        """
        query = sa.select(contents).where(contents.c.id == content_id)
        row = await self._database.read(
            lambda connection: connection.execute(query).mappings().first()
        )
        return None if row is None else decode_manifest(dict(row))

    async def renew(self, content_id: str, looked_at: str) -> None:
        """Write down when a content was looked at, for the other servers of the database."""
        same = contents.update().where(contents.c.id == content_id)
        await self._database.run(
            lambda connection: connection.execute(same.values(created_at=looked_at))
        )

    async def services_with(self, content_id: str) -> Sequence[tuple[str, str]]:
        """Read the names and versions of the services that hold a content, in this order."""
        columns = (service_revisions.c.name, service_revisions.c.version)
        query = sa.select(*columns).where(service_revisions.c.content_id == content_id)
        rows = await self._database.read(
            lambda connection: connection.execute(query.order_by(*columns)).all()
        )
        return [(row.name, row.version) for row in rows]

    async def delete_unused(
        self, held: Callable[[], Collection[str]], created_before: str
    ) -> frozenset[str]:
        """Remove contents that no snapshot and no service has.

        Parameters
        ----------
        held
            Gives the contents that are kept all the same. It is called in the transaction: what
            is held, and then added, is either not there yet or among them.
        created_before
            Those that were made or renewed later are kept; another server may be about to use them.

        Returns
        -------
        frozenset of str
            Digests of the blobs that those left refer to.
        """
        used = sa.union(
            sa.select(snapshots.c.content_id),
            sa.select(service_revisions.c.content_id).where(
                service_revisions.c.content_id.is_not(None)
            ),
        )

        def write(connection: sa.Connection) -> frozenset[str]:
            unused = sa.and_(
                contents.c.id.not_in(used),
                contents.c.id.not_in(list(held())),
                contents.c.created_at < created_before,
            )
            # One statement: PostgreSQL looks again at the age of a row that is renewed meanwhile.
            connection.execute(contents.delete().where(unused))
            return frozenset(connection.scalars(sa.select(content_blobs.c.digest).distinct()))

        try:
            return await self._database.run(write)
        except IntegrityError:
            # At another server a service was made of one meanwhile; this time that is seen.
            return await self._database.run(write)


def _size(connection: sa.Connection, owner_id: str) -> int:
    query = (
        sa.select(sa.func.sum(contents.c.size))
        .join(snapshots, contents.c.id == snapshots.c.content_id)
        .where(snapshots.c.owner_id == owner_id)
    )
    return int(connection.scalar(query) or 0)


def _content(
    connection: sa.Connection, content_id: str, manifest: Manifest, created_at: str
) -> str:
    """Store a content and return its id, which is that of an equal one where there is any."""
    text = msgspec.json.encode(manifest).decode()
    digest = _digest(text)
    equal = contents.c.manifest_digest == digest
    for row in connection.execute(sa.select(contents.c.id, contents.c.manifest).where(equal)):
        # One that is damaged is none.
        if row.manifest == text:
            # Others may be about to remove it, as one that nothing has.
            same = contents.update().where(contents.c.id == row.id)
            connection.execute(same.values(created_at=created_at))
            return str(row.id)
    connection.execute(
        contents.insert().values(
            id=content_id,
            manifest=text,
            manifest_digest=digest,
            skipped=msgspec.json.encode(manifest.skipped).decode(),
            size=manifest.size,
            created_at=created_at,
        )
    )
    connection.execute(
        content_blobs.insert(),
        [{"content_id": content_id, "digest": digest} for digest in sorted(manifest.digests)],
    )
    return content_id


def _to_row(record: SnapshotRecord) -> dict[str, object]:
    columns = [column.name for column in snapshots.columns if column.name != "owner_id"]
    return {name: getattr(record, name) for name in columns} | {"owner_id": record.owner.id}


def _from_row(row: dict[str, Any]) -> SnapshotRecord:
    owner = Owner(row.pop("owner_id"), row.pop("owner_name"))
    return SnapshotRecord(**row, owner=owner)


def _with_skipped(row: dict[str, Any]) -> tuple[SnapshotRecord, tuple[ObjectEntry, ...]]:
    skipped = row.pop("skipped")
    return _from_row(row), msgspec.json.decode(skipped, type=tuple[ObjectEntry, ...])


def decode_manifest(row: Mapping[str, Any]) -> Manifest:
    """Read the manifest in a row of contents that is what was written.

    Raises
    ------
    ContentDamaged
        It is not.
    """
    where = f"its manifest (content {row['id']})"
    if _digest(row["manifest"]) != row["manifest_digest"]:
        raise ContentDamaged(where, "The database has another one than was written.")
    try:
        return msgspec.json.decode(row["manifest"], type=Manifest)
    except msgspec.DecodeError as error:
        raise ContentDamaged(where, "It cannot be read.") from error


def _digest(manifest: str) -> str:
    return hashlib.sha256(manifest.encode()).hexdigest()
