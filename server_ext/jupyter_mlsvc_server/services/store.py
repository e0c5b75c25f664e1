"""Rows of services, versions and revisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, get_origin

import msgspec
import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.exc import IntegrityError

from jupyter_mlsvc.wire.models import PublishCheck
from jupyter_mlsvc.wire.names import ServiceName
from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring.definition import PoolSize
from jupyter_mlsvc_server.services.errors import (
    NameIsTaken,
    ServiceExists,
    ServiceHasAnswered,
    ServiceNotFound,
    TooManyVersions,
)
from jupyter_mlsvc_server.services.record import GivenGroup, ServiceKey, ServiceRecord
from jupyter_mlsvc_server.snapshots.errors import ContentNotFound
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.postgresql import take_lock_of
from jupyter_mlsvc_server.storage.schema import (
    call_intervals,
    contents,
    owner_name,
    owner_of,
    services,
)
from jupyter_mlsvc_server.storage.schema import service_pools as pools
from jupyter_mlsvc_server.storage.schema import service_revisions as revisions
from jupyter_mlsvc_server.storage.schema import service_versions as versions

_CURRENT = (
    sa.select(
        versions.c.owner_id,
        owner_name(versions),
        services.c.group_name,
        versions.c.created_at.label("version_created_at"),
        versions.c.answered_at,
        revisions,
        pools.c.initial_size.label("pool_initial_size"),
        pools.c.max_size.label("pool_max_size"),
    )
    .select_from(owner_of(versions))
    .join(services, services.c.name == versions.c.name)
    .join(revisions, revisions.c.id == versions.c.revision_id)
    .outerjoin(pools, (pools.c.name == versions.c.name) & (pools.c.version == versions.c.version))
)

_FIELDS: Final = msgspec.structs.fields(ServiceSpec)

_IN_JSON: Final = {field.name: field.type for field in _FIELDS if get_origin(field.type) is tuple}
"""Members of a spec that are kept as JSON, with their types."""


class ServiceStore:
    """Reads and writes service versions, each write in one transaction."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def insert(
        self,
        record: ServiceRecord,
        *,
        may_use: Callable[[Owner], bool],
        group: GivenGroup | None = None,
        most: int = 0,
    ) -> ServiceRecord:
        """Add a version, and the name where it is new; returns it with the group of the name.

        Parameters
        ----------
        may_use
            Whether the name of an owner may be used.
        group
            What the name belongs to from now on; None leaves that as it is.
        most
            How many versions the owner may have with it; 0 for any number.

        Raises
        ------
        NameIsTaken
            Somebody else published under the name first, and the caller may not override that.
        TooManyVersions
            The owner has as many as one person may have.
        ServiceExists
            The version exists.
        ContentNotFound
            Its content was deleted meanwhile.
        """

        def write(connection: sa.Connection) -> str:
            take_lock_of(connection, f"service {record.key.name}")
            name = connection.execute(
                sa.select(services).where(services.c.name == record.key.name)
            ).first()
            if name is not None and not may_use(Owner(name.owner_id, "", name.group_name)):
                raise NameIsTaken(record.key.name, name.group_name)
            if connection.execute(_one(record.key)).first() is not None:
                raise ServiceExists(*record.key)
            take_lock_of(connection, f"services of {record.owner.id}")
            own = sa.select(sa.func.count()).where(versions.c.owner_id == record.owner.id)
            if most and (connection.scalar(own) or 0) >= most:
                raise TooManyVersions(most)
            _require_content(connection, record)
            if name is None:
                connection.execute(
                    services.insert().values(
                        name=record.key.name,
                        owner_id=record.owner.id,
                        created_at=record.created_at,
                    )
                )
            name_group = _set_group(connection, record.key, group)
            newest = connection.scalar(sa.select(sa.func.max(versions.c.seq)))
            connection.execute(
                versions.insert().values(
                    name=record.key.name,
                    version=record.key.version,
                    owner_id=record.owner.id,
                    created_at=record.created_at,
                    revision_id=record.spec.revision_id,
                    seq=(newest or 0) + 1,
                )
            )
            connection.execute(revisions.insert().values(_to_row(record, number=1)))
            return name_group

        try:
            found = await self._database.run(write)
        except IntegrityError:
            # Publishers at two servers of one database passed the checks together, of the version
            # or only of its name. The second one finds what the first one wrote.
            found = await self._database.run(write)
        return record.in_group(found)

    async def replace(self, record: ServiceRecord, *, group: GivenGroup | None = None) -> None:
        """Make a record's revision the current one of its version.

        Parameters
        ----------
        group
            What the name belongs to from now on; None leaves that as it is.

        Raises
        ------
        ServiceNotFound, ContentNotFound
            The version or its new content was deleted meanwhile.
        NameIsTaken
            The name is not theirs to give away.
        """

        def write(connection: sa.Connection) -> None:
            take_lock_of(connection, f"service {record.key.name}")
            _require_content(connection, record)
            number = connection.scalar(
                sa.select(sa.func.max(revisions.c.number)).where(_is(revisions, record.key))
            )
            if number is None:
                raise ServiceNotFound(*record.key)
            connection.execute(revisions.insert().values(_to_row(record, number=number + 1)))
            connection.execute(
                versions.update()
                .where(_is(versions, record.key))
                .values(revision_id=record.spec.revision_id)
            )
            connection.execute(
                revisions.delete().where(
                    _is(revisions, record.key), revisions.c.id != record.spec.revision_id
                )
            )
            _set_group(connection, record.key, group)

        await self._database.run(write)

    async def describe(self, record: ServiceRecord, *, group: GivenGroup | None = None) -> bool:
        """Write down what is said of a revision; False where it is not the current one any more.

        Parameters
        ----------
        group
            As for :meth:`replace`.

        Raises
        ------
        NameIsTaken
            The name is not theirs to give away.
        """

        def write(connection: sa.Connection) -> bool:
            row = _to_row(record, number=0)
            del row["number"], row["created_at"]
            is_current = _is(revisions, record.key) & (revisions.c.id == record.spec.revision_id)
            if not connection.execute(revisions.update().where(is_current).values(row)).rowcount:
                return False
            _set_group(connection, record.key, group)
            return True

        return await self._database.run(write)

    async def replace_unanswered(
        self,
        record: ServiceRecord,
        *,
        group: GivenGroup | None = None,
        has_answered: Callable[[], bool] = lambda: False,
    ) -> None:
        """Put a version in the place of one of the same key, as if it were published now.

        Parameters
        ----------
        group
            What the name belongs to from now on; None leaves that as it is.
        has_answered
            Whether the old one has answered, which the database may be yet to know.

        Raises
        ------
        ServiceHasAnswered, ServiceNotFound, ContentNotFound
            The old one has answered a call, or it or the new content was deleted, meanwhile.
        """

        def write(connection: sa.Connection) -> None:
            take_lock_of(connection, f"service {record.key.name}")
            old = connection.execute(_one(record.key)).first()
            if old is None:
                raise ServiceNotFound(*record.key)
            if old.answered_at is not None or has_answered():
                raise ServiceHasAnswered(*record.key)
            _require_content(connection, record)
            newest = connection.scalar(sa.select(sa.func.max(versions.c.seq)))
            connection.execute(revisions.insert().values(_to_row(record, number=-1)))
            connection.execute(
                versions.update()
                .where(_is(versions, record.key))
                .values(
                    revision_id=record.spec.revision_id,
                    created_at=record.created_at,
                    seq=(newest or 0) + 1,
                    answered_at=None,
                )
            )
            connection.execute(
                revisions.delete().where(
                    _is(revisions, record.key), revisions.c.id != record.spec.revision_id
                )
            )
            connection.execute(
                revisions.update().where(revisions.c.id == record.spec.revision_id).values(number=1)
            )
            _set_group(connection, record.key, group)

        await self._database.run(write)

    async def note_answered(self, key: ServiceKey, at: str) -> None:
        """Write down when a version gave its first answer, unless that is known."""

        def write(connection: sa.Connection) -> None:
            connection.execute(
                versions.update()
                .where(_is(versions, key), versions.c.answered_at.is_(None))
                .values(answered_at=at)
            )

        await self._database.run(write)

    async def delete(self, key: ServiceKey) -> None:
        """Remove a version, and the name with its last one."""

        def write(connection: sa.Connection) -> None:
            take_lock_of(connection, f"service {key.name}")
            connection.execute(revisions.delete().where(_is(revisions, key)))
            connection.execute(pools.delete().where(_is(pools, key)))
            connection.execute(call_intervals.delete().where(_is(call_intervals, key)))
            connection.execute(versions.delete().where(_is(versions, key)))
            left = connection.execute(
                sa.select(versions.c.version).where(versions.c.name == key.name)
            ).first()
            if left is None:
                connection.execute(services.delete().where(services.c.name == key.name))

        await self._database.run(write)

    async def set_pool(self, key: ServiceKey, size: PoolSize | None) -> None:
        """Write down the size of a version's dedicated pool, or that it has none.

        Raises
        ------
        ServiceNotFound
            The version was deleted meanwhile.
        """

        def write(connection: sa.Connection) -> None:
            if connection.execute(_one(key)).first() is None:
                raise ServiceNotFound(*key)
            connection.execute(pools.delete().where(_is(pools, key)))
            if size is not None:
                connection.execute(
                    pools.insert().values(
                        name=key.name,
                        version=key.version,
                        initial_size=size.initial,
                        max_size=size.most,
                    )
                )

        await self._database.run(write)

    async def find(self, key: ServiceKey) -> ServiceRecord | None:
        """Read one version."""
        row = await self._database.read(lambda connection: connection.execute(_one(key)).first())
        return None if row is None else _from_row(row._mapping)

    async def revision_ids(self) -> dict[tuple[str, str], str]:
        """Read the id of each version's current revision."""
        query = sa.select(versions.c.name, versions.c.version, versions.c.revision_id)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {(row.name, row.version): row.revision_id for row in rows}

    async def keys(self) -> Sequence[ServiceKey]:
        """Read names and versions, oldest first."""
        query = sa.select(versions.c.name, versions.c.version).order_by(versions.c.seq)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [ServiceKey(*row) for row in rows]

    async def versions(self, name: ServiceName) -> Sequence[str]:
        """Read the versions of a name."""
        query = sa.select(versions.c.version).where(versions.c.name == name)
        return await self._database.read(lambda connection: connection.scalars(query).all())

    async def names(self, most: int) -> Sequence[str]:
        """Read names of services, no more than so many."""
        query = sa.select(services.c.name).limit(most)
        return await self._database.read(lambda connection: connection.scalars(query).all())

    async def list(self, name: ServiceName | None = None) -> list[ServiceRecord]:
        """Read all versions, or those of a name, oldest first."""
        query = _CURRENT.order_by(versions.c.seq)
        if name is not None:
            query = query.where(versions.c.name == name)
        return await self._database.read(
            lambda connection: [_from_row(row._mapping) for row in connection.execute(query)]
        )


def _require_content(connection: sa.Connection, record: ServiceRecord) -> None:
    """Look in the transaction that writes: until then anybody may delete it."""
    content_id = record.spec.content_id
    if content_id is None:
        return
    found = sa.select(contents.c.id).where(contents.c.id == content_id)
    # On PostgreSQL a deletion that has begun is waited for, and a later one waits.
    if connection.scalar(found.with_for_update(read=True, key_share=True)) is None:
        raise ContentNotFound


def _set_group(connection: sa.Connection, key: ServiceKey, group: GivenGroup | None) -> str:
    """Give a name to a group where one is given; returns the name's group."""
    is_name = services.c.name == key.name
    found = connection.execute(sa.select(services).where(is_name)).one()
    if group is None or group.name == found.group_name:
        return str(found.group_name)
    # Whoever published one version may have no right to the others.
    if not group.may_give(Owner(found.owner_id, "", found.group_name)):
        raise NameIsTaken(key.name, found.group_name)
    connection.execute(services.update().where(is_name).values(group_name=group.name))
    return group.name


def _one(key: ServiceKey) -> sa.Select[Any]:
    return _CURRENT.where(_is(versions, key))


def _is(table: sa.Table, key: ServiceKey) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.name == key.name, table.c.version == key.version)


def _to_row(record: ServiceRecord, *, number: int) -> dict[str, object]:
    row: dict[str, object] = {
        _column(field.name): getattr(record.spec, field.name) for field in _FIELDS
    }
    row |= {name: msgspec.json.encode(row[name]).decode() for name in _IN_JSON}
    found = record.publish_check
    return row | {
        "number": number,
        "publish_check": None if found is None else msgspec.json.encode(found).decode(),
        "created_at": record.created_at,
    }


def _from_row(row: RowMapping) -> ServiceRecord:
    values = {field.name: row[_column(field.name)] for field in _FIELDS}
    values |= {
        name: msgspec.json.decode(values[name], type=kind) for name, kind in _IN_JSON.items()
    }
    return ServiceRecord(
        spec=ServiceSpec(**values),
        owner=Owner(row["owner_id"], row["owner_name"], row["group_name"]),
        created_at=row["version_created_at"],
        publish_check=_publish_check(row["publish_check"]),
        pool=_pool(row),
        answered_at=row["answered_at"],
    )


def _column(field: str) -> str:
    return "id" if field == "revision_id" else field


def _publish_check(text: str | None) -> PublishCheck | None:
    return None if text is None else msgspec.json.decode(text, type=PublishCheck)


def _pool(row: RowMapping) -> PoolSize | None:
    initial = row["pool_initial_size"]
    return None if initial is None else PoolSize(initial, row["pool_max_size"])
