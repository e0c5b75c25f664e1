"""Rows of users and tokens."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from jupyter_mlsvc_server.auth.errors import UserExists, UserNotFound
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.storage.clock import from_text, now_text, to_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import tokens, users

_SHOWN: Final = 12
"""Characters of a digest by which a line of the log names a pair of tokens."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this server; the password's hash is not part of it."""

    name: str
    role: Role
    created_at: str
    disabled: bool

    @property
    def principal(self) -> Principal:
        """The account as somebody who asks."""
        return Principal(name=self.name, role=self.role)


class AccountStore:
    """Reads and writes users."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def add(self, name: str, password_hash: str, role: Role) -> None:
        """Add a user.

        Raises
        ------
        UserExists
            There is one whose name differs in upper and lower case at most.
        """

        def write(connection: sa.Connection) -> None:
            alike = sa.select(users.c.name).where(sa.func.lower(users.c.name) == name.lower())
            if connection.execute(alike).first() is not None:
                raise UserExists(name)
            connection.execute(
                users.insert().values(
                    name=name, password_hash=password_hash, role=role.value, created_at=now_text()
                )
            )

        try:
            await self._database.run(write)
        except IntegrityError:
            raise UserExists(name) from None

    async def find(self, name: str) -> tuple[Account, str] | None:
        """Read a user and the hash of their password."""
        query = sa.select(users).where(users.c.name == name)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else (_account(row), row.password_hash)

    async def list(self) -> list[Account]:
        """Read all users, by name."""
        query = sa.select(users).order_by(users.c.name)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_account(row) for row in rows]

    async def set_password(self, name: str, password_hash: str) -> None:
        """Change a password and end everything that began with the old one.

        Raises
        ------
        UserNotFound
            No such user.
        """
        change = users.update().where(users.c.name == name).values(password_hash=password_hash)
        await self._change(name, change)

    async def remove(self, name: str) -> None:
        """Remove a user and their tokens.

        Raises
        ------
        UserNotFound
            No such user.
        """
        await self._change(name, users.delete().where(users.c.name == name))

    async def replace_hash(self, name: str, old: str, new: str) -> bool:
        """Store the same password under another hash, unless it was changed meanwhile.

        Returns
        -------
        bool
            Whether it was stored.
        """
        change = users.update().where(users.c.name == name, users.c.password_hash == old)
        change = change.values(password_hash=new)
        return await self._database.run(lambda c: c.execute(change).rowcount) > 0

    async def _change(self, name: str, change: sa.Update | sa.Delete) -> None:
        def write(connection: sa.Connection) -> None:
            if connection.execute(change).rowcount == 0:
                raise UserNotFound(name)
            connection.execute(tokens.delete().where(tokens.c.user_name == name))

        await self._database.run(write)


def _account(row: sa.Row[tuple[object, ...]]) -> Account:
    return Account(
        name=row.name, role=Role(row.role), created_at=row.created_at, disabled=row.disabled
    )


class RefreshOutcome(Enum):
    """What came of using a refresh token."""

    DONE = "done"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class RefreshKey:
    """A refresh token as the store sees it: digests of the id and of the secret half.

    Who reads the database finds no id that an access token could be made of.
    """

    id: str
    digest: str

    @property
    def shown(self) -> str:
        """A name of the pair for logs."""
        return self.id[:_SHOWN]


class TokenStore:
    """Reads and writes pairs of tokens.

    A pair's row is alive until ``revoked_at`` is set or it is deleted. Pairs that were renewed
    from one login are a family.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def add(
        self,
        key: RefreshKey,
        user_name: str,
        *,
        password_hash: str,
        expires_at: datetime,
        family_expires_at: datetime,
        forget_before: datetime,
    ) -> bool:
        """Add the first pair of a family, and forget pairs that expired before a time.

        Parameters
        ----------
        password_hash
            The hash by which the user was let in.

        Returns
        -------
        bool
            Whether it was added: not where the user was removed, shut out or given another
            password since.
        """
        row = {
            "id": key.id,
            "family_id": key.id,
            "user_name": user_name,
            "refresh_digest": key.digest,
            "created_at": now_text(),
            "expires_at": to_text(expires_at),
            "family_expires_at": to_text(family_expires_at),
        }

        user = sa.select(users.c.name).where(
            users.c.name == user_name,
            users.c.password_hash == password_hash,
            users.c.disabled.is_(False),
        )

        def write(connection: sa.Connection) -> bool:
            # A lock of the row, where the database has such: who removes the user comes after.
            if connection.execute(user.with_for_update()).first() is None:
                return False
            connection.execute(tokens.delete().where(tokens.c.expires_at < to_text(forget_before)))
            connection.execute(tokens.insert().values(row))
            return True

        return await self._database.run(write)

    async def find_principal(self, token_id: str, user_name: str) -> Principal | None:
        """Read whose living pair it is, by the digest of its id, with the role of now."""
        query = (
            sa.select(users.c.name, users.c.role)
            .join(tokens, tokens.c.user_name == users.c.name)
            .where(
                tokens.c.id == token_id,
                tokens.c.revoked_at.is_(None),
                users.c.name == user_name,
                users.c.disabled.is_(False),
            )
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Principal(name=row.name, role=Role(row.role))

    async def rotate(
        self, key: RefreshKey, successor: RefreshKey, *, now: datetime, expires_at: datetime
    ) -> tuple[RefreshOutcome, str]:
        """Let another pair take the place of one; returns the user's name where that was done."""

        def write(connection: sa.Connection) -> tuple[RefreshOutcome, str]:
            outcome, row = _use(connection, key, now)
            if row is None:
                return outcome, ""
            last = min(expires_at, from_text(row.family_expires_at))
            connection.execute(
                tokens.insert().values(
                    id=successor.id,
                    family_id=row.family_id,
                    user_name=row.user_name,
                    refresh_digest=successor.digest,
                    created_at=to_text(now),
                    expires_at=to_text(last),
                    family_expires_at=row.family_expires_at,
                )
            )
            return outcome, row.user_name

        return await self._database.run(write)

    async def revoke(self, key: RefreshKey, *, now: datetime) -> RefreshOutcome:
        """End a pair."""
        return await self._database.run(lambda connection: _use(connection, key, now)[0])


def _use(
    connection: sa.Connection, key: RefreshKey, at: datetime
) -> tuple[RefreshOutcome, sa.Row[tuple[object, ...]] | None]:
    """Make a refresh token used; returns its row where that worked."""
    row = connection.execute(_living_user(key)).first()
    # In constant time: the id is no secret, the other half must not leak by timing.
    if row is None or not hmac.compare_digest(row.refresh_digest, key.digest):
        return RefreshOutcome.UNKNOWN, None
    now = to_text(at)
    if row.revoked_at is None and row.expires_at <= now:
        # It stays unused: a client that tries it again is no sign of a stolen copy.
        return RefreshOutcome.EXPIRED, None
    family = tokens.update().where(
        tokens.c.family_id == row.family_id, tokens.c.revoked_at.is_(None)
    )
    ended = connection.execute(family.where(tokens.c.id == key.id).values(revoked_at=now))
    if ended.rowcount == 0:
        # Somebody has a copy: its lawful owner or a thief used it before. Neither may go on.
        connection.execute(family.values(revoked_at=now))
        return RefreshOutcome.REUSED, None
    return RefreshOutcome.DONE, row


def _living_user(key: RefreshKey) -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(tokens)
        .join(users, tokens.c.user_name == users.c.name)
        .where(tokens.c.id == key.id, users.c.disabled.is_(False))
    )
