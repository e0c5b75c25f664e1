"""Which user of the operating system the code of an account runs as."""

from __future__ import annotations

import contextlib

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from jupyter_mlsvc_server.confinement import CannotConfine
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.id_range import IdRange
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import user_ids


class NoUserLeft(MlsvcServerError):
    """All users of the range belong to somebody."""

    status = 507

    def __init__(self, ids: IdRange) -> None:
        super().__init__(
            f"The server has no user of the operating system left for another person (of {ids}). "
            "Its operator has to widen Confinement.uids."
        )


class UserIds:
    """Gives accounts users of a range, for good.

    A user that somebody had is nobody else's afterwards, since files of theirs may be anywhere.

    Parameters
    ----------
    database
        Keeps who has which.
    ids
        The range.
    """

    def __init__(self, database: Database, ids: IdRange) -> None:
        self._database = database
        self._ids = ids
        self._known: dict[str, int] = {}

    async def require(self) -> None:
        """See to it that all users that were given are of the range.

        Raises
        ------
        CannotConfine
            One is not, so that it might be somebody else's by now.
        """
        lowest, highest = await self._database.run(
            lambda connection: connection.execute(
                sa.select(sa.func.min(user_ids.c.uid), sa.func.max(user_ids.c.uid))
            ).one()
        )
        users = self._ids.users
        if lowest is not None and not (lowest in users and highest in users):
            raise CannotConfine(
                f"People have the users {lowest} to {highest} of the operating system, for good, "
                f"and Confinement.uids is {self._ids}. Have it include them."
            )

    async def of(self, account_id: str) -> int:
        """Find the user of an account, which gets one where it has none.

        Raises
        ------
        NoUserLeft
            The range is used up.
        """
        while account_id not in self._known:
            # Another server of the database may give the same user to another account meanwhile, or
            # this account another one. One of them succeeds, so the range ends before this does.
            with contextlib.suppress(IntegrityError):
                self._known[account_id] = await self._database.run(
                    lambda connection: self._find(connection, account_id)
                )
        return self._known[account_id]

    def _find(self, connection: sa.Connection, account_id: str) -> int:
        found = connection.scalar(
            sa.select(user_ids.c.uid).where(user_ids.c.account_id == account_id)
        )
        if found is not None:
            return int(found)
        users = self._ids.users
        highest = connection.scalar(sa.select(sa.func.max(user_ids.c.uid)))
        uid = users.start if highest is None else int(highest) + 1
        if uid not in users:
            raise NoUserLeft(self._ids)
        connection.execute(user_ids.insert().values(account_id=account_id, uid=uid))
        return uid
