"""Keys of applications: each lets its bearer call services, all or some, and nothing else."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa

from jupyter_mlsvc_server.auth.errors import KeyExists, KeyNotFound, UserNotFound
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.store import KEY, LOCAL
from jupyter_mlsvc_server.storage.clock import from_text, now_text, to_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import accounts, service_keys

KEY_PREFIX: Final = "mlsvckey_"
"""What every key begins with, so that a leaked one is found."""


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """What is known of a key; the secret is not part of it.

    Attributes
    ----------
    name
        What it is called.
    maker
        Name of the user with whom it ends; empty where it is nobody's.
    services
        Names of the services that it is for; None where it is for all.
    created_at, expires_at
        When it was made, and until when it is good; None where that is until it is revoked.
    disabled
        Whether its maker is shut out.
    """

    name: str
    maker: str
    services: tuple[str, ...] | None
    created_at: str
    expires_at: str | None
    disabled: bool


class ServiceKeyStore:
    """Makes, lists, revokes and verifies keys."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def add(
        self,
        name: str,
        *,
        maker: str = "",
        services: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """Make a key; only its digest is kept.

        Raises
        ------
        KeyExists
            There is one of that name.
        UserNotFound
            There is no such maker.
        """
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        account = {
            "id": str(uuid.uuid4()),
            "kind": KEY,
            "subject": _digest(secret),
            "name": name,
            "role": Role.CALLER.value,
            "created_at": now_text(),
        }
        row = {
            "account_id": account["id"],
            "services": None if services is None else msgspec.json.encode(services).decode(),
            "expires_at": None if expires_at is None else to_text(expires_at),
        }

        def write(connection: sa.Connection) -> None:
            if connection.execute(_living(KEY, name)).first() is not None:
                raise KeyExists(name)
            maker_id = connection.scalar(_living(LOCAL, maker)) if maker else None
            if maker and maker_id is None:
                raise UserNotFound(maker)
            connection.execute(accounts.insert().values(account))
            connection.execute(service_keys.insert().values(row | {"maker_id": maker_id}))

        await self._database.run(write)
        return secret

    async def list(self) -> list[ServiceKey]:
        """Read all keys that were not revoked, by name."""
        makers = accounts.alias("makers")
        query = (
            sa.select(accounts, service_keys, makers.c.name.label("maker"))
            .join(service_keys, service_keys.c.account_id == accounts.c.id)
            .outerjoin(makers, makers.c.id == service_keys.c.maker_id)
            .where(accounts.c.removed_at.is_(None))
            .order_by(accounts.c.name)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [
            ServiceKey(
                name=row.name,
                maker=row.maker or "",
                services=_services(row.services),
                created_at=row.created_at,
                expires_at=row.expires_at,
                disabled=row.disabled,
            )
            for row in rows
        ]

    async def revoke(self, name: str) -> None:
        """Make a key invalid for good.

        Raises
        ------
        KeyNotFound
            There is none of that name.
        """

        def write(connection: sa.Connection) -> None:
            account_id = connection.scalar(_living(KEY, name))
            if account_id is None:
                raise KeyNotFound(name)
            change = accounts.update().where(accounts.c.id == account_id)
            connection.execute(change.values(subject=None, removed_at=now_text()))

        await self._database.run(write)

    async def find(self, secret: str) -> tuple[Principal, float] | None:
        """Read who has a key, and until when it is good in seconds since 1970."""
        query = (
            sa.select(accounts, service_keys)
            .join(service_keys, service_keys.c.account_id == accounts.c.id)
            .where(
                accounts.c.kind == KEY,
                accounts.c.subject == _digest(secret),
                accounts.c.disabled.is_(False),
            )
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            return None
        names = _services(row.services)
        scope = None if names is None else frozenset(names)
        expires = float("inf") if row.expires_at is None else from_text(row.expires_at).timestamp()
        return Principal(row.id, row.name, Role(row.role), services=scope), expires


def _living(kind: str, name: str) -> sa.Select[tuple[str]]:
    return sa.select(accounts.c.id).where(
        accounts.c.kind == kind, accounts.c.name == name, accounts.c.removed_at.is_(None)
    )


def _services(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else msgspec.json.decode(text, type=tuple[str, ...])


def _digest(secret: str) -> str:
    # A fast hash does: nobody guesses 256 random bits.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
