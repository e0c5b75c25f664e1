"""Rows of batches."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import RowMapping

from jupyter_mlsvc_server.auth.principal import Owner
from jupyter_mlsvc_server.batches.errors import TooManyBatches
from jupyter_mlsvc_server.batches.record import ACTIVE, BatchRecord, BatchState, Progress
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.postgresql import take_lock_of
from jupyter_mlsvc_server.storage.schema import batches, owner_name, owner_of


class BatchStore:
    """Reads and writes batches, each write in one transaction."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def insert(self, record: BatchRecord, *, most: int = 0) -> None:
        """Add a batch, whose records are stored already.

        Parameters
        ----------
        most
            How many its owner may have with it; 0 for any number.

        Raises
        ------
        TooManyBatches
            There are as many.
        """
        row = {field: getattr(record, field) for field in BatchRecord.__slots__}
        row["owner_id"] = row.pop("owner").id

        def write(connection: sa.Connection) -> None:
            take_lock_of(connection, f"batches of {record.owner.id}")
            own = sa.select(sa.func.count()).where(batches.c.owner_id == record.owner.id)
            if most and (connection.scalar(own) or 0) >= most:
                raise TooManyBatches(most)
            connection.execute(batches.insert().values(row))

        await self._database.run(write)

    async def ids_of(self, owner_id: str) -> list[str]:
        """Read the ids of all batches of a person."""
        query = sa.select(batches.c.id).where(batches.c.owner_id == owner_id)
        return await self._database.read(lambda connection: [*connection.scalars(query)])

    async def find(self, batch_id: str) -> BatchRecord | None:
        """Read one batch, whoever owns it."""
        return next(iter(await self._select(batches.c.id == batch_id)), None)

    async def owned(self, owner_id: str, name: str, version: str) -> list[BatchRecord]:
        """Read a person's batches of a service version, oldest first."""
        return await self._select(
            batches.c.owner_id == owner_id, batches.c.name == name, batches.c.version == version
        )

    async def active(self) -> list[BatchRecord]:
        """Read the batches that have yet to end, oldest first."""
        return await self._select(batches.c.state.in_(ACTIVE))

    async def finished_before(self, moment: str) -> list[BatchRecord]:
        """Read the batches that ended before a moment."""
        return await self._select(batches.c.finished_at < moment)

    async def begin(self, batch_id: str) -> None:
        """Store that a batch runs."""
        change = (
            batches.update()
            .where(batches.c.id == batch_id, batches.c.state == BatchState.PENDING)
            .values(state=BatchState.IN_PROGRESS)
        )
        await self._database.run(lambda connection: connection.execute(change))

    async def finish(
        self, batch_id: str, state: BatchState, progress: Progress, moment: str, reason: str = ""
    ) -> bool:
        """Store how a batch ended; returns whether it had not ended before."""
        change = (
            batches.update()
            .where(batches.c.id == batch_id, batches.c.state.in_(ACTIVE))
            .values(
                state=state,
                completed=progress.completed,
                failed=progress.failed,
                reason=reason,
                finished_at=moment,
            )
        )
        count = await self._database.run(lambda connection: connection.execute(change).rowcount)
        return count > 0

    async def delete(self, batch_id: str) -> None:
        """Remove a batch; its files go after it."""
        query = batches.delete().where(batches.c.id == batch_id)
        await self._database.run(lambda connection: connection.execute(query))

    async def _select(self, *conditions: sa.ColumnElement[bool]) -> list[BatchRecord]:
        query = (
            sa.select(batches, owner_name(batches))
            .select_from(owner_of(batches))
            .where(*conditions)
            .order_by(batches.c.created_at, batches.c.id)
        )
        rows = await self._database.read(
            lambda connection: connection.execute(query).mappings().all()
        )
        return [_from_row(row) for row in rows]


def _from_row(row: RowMapping) -> BatchRecord:
    values = dict(row) | {"state": BatchState(row["state"])}
    owner = Owner(values.pop("owner_id"), values.pop("owner_name"))
    return BatchRecord(**values, owner=owner)
