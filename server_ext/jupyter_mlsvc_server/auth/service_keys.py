"""Rows of service keys: each lets its bearer call services, all or some, and nothing else."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from jupyter_mlsvc.wire.models import ServiceKeyState
from jupyter_mlsvc_server.auth.errors import (
    KeyExists,
    KeyNotFound,
    TooManyKeys,
    UnknownService,
    UserNotFound,
)
from jupyter_mlsvc_server.auth.key_use import Usage
from jupyter_mlsvc_server.auth.policy import Action, may, require
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.auth.store import KEY, LOCAL
from jupyter_mlsvc_server.storage.clock import now_text, to_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.postgresql import take_lock_of
from jupyter_mlsvc_server.storage.schema import accounts, service_keys, service_versions, services

KEY_PREFIX: Final = "mlsvckey_"
"""What every key begins with, so that a leaked one is found."""

_MAKERS: Final = accounts.alias("makers")
_KEYS: Final = (
    sa.select(
        accounts,
        *(column for column in service_keys.c if column.name != "account_id"),
        _MAKERS.c.name.label("maker"),
        _MAKERS.c.role.label("maker_role"),
        _MAKERS.c.group_names.label("maker_groups"),
    )
    .join(service_keys, service_keys.c.account_id == accounts.c.id)
    .outerjoin(_MAKERS, _MAKERS.c.id == service_keys.c.maker_id)
    .where(accounts.c.kind == KEY, accounts.c.removed_at.is_(None))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a key is to be.

    Attributes
    ----------
    name
        What it is called.
    services
        Names of services, or NAME/VERSION for one version, that it is for; None for all.
    note
        What it is for, in words.
    expires_at
        Until when it is good; None until it is revoked.
    rate
        How many calls it may make; empty sets no limit.
    origins
        Whose pages may call with it.
    """

    name: str
    services: Sequence[str] | None = None
    note: str = ""
    expires_at: datetime | None = None
    rate: str = ""
    origins: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """What is known of a key; the secret is not part of it.

    Attributes
    ----------
    id
        Of its account.
    maker, maker_id
        The user with whom it ends; empty where it is nobody's.
    services
        Names, and names with versions, of the services that it is for; None where it is for all.
    usable
        Those of them that its maker may change still, where it needs that.
    expires_at
        Until when it is good; None where that is until it is revoked.
    disabled
        Whether its maker is shut out.
    calls, last_used_at
        How often it was used, and when last.
    """

    id: str
    name: str
    maker: str
    maker_id: str
    services: tuple[str, ...] | None
    usable: tuple[str, ...] | None
    note: str
    rate: str
    origins: tuple[str, ...]
    created_at: str
    expires_at: str | None
    disabled: bool
    calls: int
    last_used_at: str | None

    @property
    def scope(self) -> frozenset[str] | None:
        """What it may call; None for all services, empty for none any more."""
        return None if self.usable is None else frozenset(self.usable)

    def state(self, now: str) -> ServiceKeyState:
        """Return whether it is good at a moment; one that is suspended may be so again."""
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "suspended" if self.disabled or self.scope == frozenset() else "active"


class ServiceKeyStore:
    """Makes, lists, revokes and finds keys."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def add(self, key: NewKey, *, maker: str = "") -> str:
        """Make a key for whoever runs the server; only its digest is kept.

        Parameters
        ----------
        maker
            Local user with whom it ends.

        Raises
        ------
        KeyExists
            There is one of that name.
        UserNotFound
            There is no such user.
        """

        def find_maker(connection: sa.Connection) -> str | None:
            if not maker:
                return None
            found = connection.execute(_living(LOCAL, maker)).first()
            if found is None:
                raise UserNotFound(maker)
            return str(found.id)

        secret = _new_secret()

        def write(connection: sa.Connection) -> None:
            _insert(connection, key, secret, maker_id=find_maker(connection), needs_right=False)

        await self._database.run(write)
        return secret

    async def add_for(
        self, principal: Principal, key: NewKey, *, most: int
    ) -> tuple[ServiceKey, str]:
        """Make a key that is good while its maker may change the services that it is for.

        Parameters
        ----------
        most
            How many keys the maker may have; 0 sets no limit.

        Returns
        -------
        ServiceKey
            What is known of it.
        str
            The key itself, of which only a digest is kept.

        Raises
        ------
        KeyExists, TooManyKeys
            There is one of that name, or the maker has as many as one may have.
        UnknownService, Forbidden
            There is no such service, or it is not the maker's to change.
        """
        secret = _new_secret()

        def write(connection: sa.Connection) -> ServiceKey:
            _require_right(connection, principal, key.services)
            take_lock_of(connection, f"service keys of {principal.id}")
            own = sa.select(sa.func.count()).select_from(
                service_keys.join(accounts, accounts.c.id == service_keys.c.account_id)
            )
            own = own.where(
                service_keys.c.maker_id == principal.id, accounts.c.removed_at.is_(None)
            )
            if most and (connection.scalar(own) or 0) >= most:
                raise TooManyKeys(most)
            added = _insert(connection, key, secret, maker_id=principal.id, needs_right=True)
            return _read(connection, accounts.c.id == added)[0]

        return await self._database.run(write), secret

    async def list(self, maker_id: str | None = None) -> list[ServiceKey]:
        """Read the keys of a maker, or all, that were not revoked, by name."""
        whose = sa.true() if maker_id is None else service_keys.c.maker_id == maker_id
        return await self._database.read(lambda connection: _read(connection, whose))

    async def revoke(self, name: str, maker_id: str | None = None) -> ServiceKey:
        """Make a key of a maker, or anybody's, invalid for good; return what it was.

        Raises
        ------
        KeyNotFound
            There is none of that name.
        """
        whose = sa.true() if maker_id is None else service_keys.c.maker_id == maker_id

        def write(connection: sa.Connection) -> ServiceKey:
            found = _read(connection, sa.and_(accounts.c.name == name, whose))
            if not found:
                raise KeyNotFound(name)
            change = accounts.update().where(accounts.c.id == found[0].id)
            connection.execute(change.values(subject=None, removed_at=now_text()))
            return found[0]

        return await self._database.run(write)

    async def find(self, secret: str) -> ServiceKey | None:
        """Read the key of a secret."""
        is_it = accounts.c.subject == _digest(secret)
        found = await self._database.read(lambda connection: _read(connection, is_it))
        return found[0] if found else None

    async def read(self, ids: Collection[str]) -> dict[str, ServiceKey]:
        """Read those of some keys that were not revoked, by their ids."""
        are_they = accounts.c.id.in_(ids)
        found = await self._database.read(lambda connection: _read(connection, are_they))
        return {key.id: key for key in found}

    async def origins(self, now: datetime) -> frozenset[str]:
        """Read the origins of all keys that are good at a moment."""
        query = (
            sa.select(service_keys.c.origins)
            .join(accounts, accounts.c.id == service_keys.c.account_id)
            .where(
                service_keys.c.origins != "[]",
                accounts.c.removed_at.is_(None),
                accounts.c.disabled.is_(False),
                sa.or_(
                    service_keys.c.expires_at.is_(None), service_keys.c.expires_at > to_text(now)
                ),
            )
            .distinct()
        )
        texts = await self._database.read(lambda connection: connection.scalars(query).all())
        return frozenset(origin for text in texts for origin in _texts(text))

    async def note_use(self, usages: Sequence[Usage], at: str) -> None:
        """Add calls to those that keys have made."""

        def write(connection: sa.Connection) -> None:
            for usage in usages:
                change = service_keys.update().where(service_keys.c.account_id == usage.key_id)
                calls = service_keys.c.calls + usage.calls
                connection.execute(change.values(calls=calls, last_used_at=at))

        await self._database.run(write)


def _insert(
    connection: sa.Connection, key: NewKey, secret: str, *, maker_id: str | None, needs_right: bool
) -> str:
    if connection.execute(_living(KEY, key.name)).first() is not None:
        raise KeyExists(key.name)
    account = {
        "id": str(uuid.uuid4()),
        "kind": KEY,
        "subject": _digest(secret),
        "name": key.name,
        "role": Role.CALLER.value,
        "created_at": now_text(),
    }
    row = {
        "account_id": account["id"],
        "maker_id": maker_id,
        "services": None if key.services is None else _json(key.services),
        "expires_at": None if key.expires_at is None else to_text(key.expires_at),
        "note": key.note,
        "rate": key.rate,
        "origins": _json(key.origins),
        "needs_right": needs_right,
    }
    connection.execute(accounts.insert().values(account))
    connection.execute(service_keys.insert().values(row))
    return account["id"]


def _read(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[ServiceKey]:
    rows = connection.execute(_KEYS.where(which).order_by(accounts.c.name)).all()
    texts = {row.services for row in rows if row.needs_right and row.services}
    owners = _owners(connection, {service for text in texts for service in _texts(text)})
    return [_key(row, owners) for row in rows]


def _key(row: sa.Row[Any], owners: Mapping[str, Owner]) -> ServiceKey:
    named = None if row.services is None else _texts(row.services)
    return ServiceKey(
        id=row.id,
        name=row.name,
        maker=row.maker or "",
        maker_id=row.maker_id or "",
        services=named,
        usable=_usable(row, named, owners) if row.needs_right else named,
        note=row.note,
        rate=row.rate,
        origins=_texts(row.origins),
        created_at=row.created_at,
        expires_at=row.expires_at,
        disabled=row.disabled,
        calls=row.calls,
        last_used_at=row.last_used_at,
    )


def _usable(
    row: sa.Row[Any], named: tuple[str, ...] | None, owners: Mapping[str, Owner]
) -> tuple[str, ...] | None:
    """Return those of the services of a key that its maker may change."""
    if row.maker_role is None:
        return ()
    maker = Principal(
        row.maker_id, row.maker, Role(row.maker_role), groups=_groups(row.maker_groups)
    )
    if may(maker, Action.CHANGE_SERVICE, None):
        return named
    return tuple(
        service
        for service in named or ()
        if service in owners and may(maker, Action.CHANGE_SERVICE, owners[service])
    )


def _owners(connection: sa.Connection, named: Collection[str]) -> dict[str, Owner]:
    """Read whose services are, by NAME and NAME/VERSION as they are given."""
    names = {each.partition("/")[0] for each in named}
    if not names:
        return {}
    rows = connection.execute(sa.select(services).where(services.c.name.in_(names))).all()
    groups = {row.name: row.group_name for row in rows}
    owners = {row.name: Owner(row.owner_id, "", row.group_name) for row in rows}
    if any("/" in each for each in named):
        versions = connection.execute(
            sa.select(service_versions).where(service_versions.c.name.in_(names))
        )
        owners |= {
            f"{row.name}/{row.version}": Owner(row.owner_id, "", groups[row.name])
            for row in versions
        }
    return owners


def _require_right(
    connection: sa.Connection, principal: Principal, named: Sequence[str] | None
) -> None:
    if named is None:
        require(principal, Action.CHANGE_SERVICE, None, "make a key for all services")
        return
    owners = _owners(connection, named)
    for service in named:
        if service not in owners:
            raise UnknownService(service)
        what = f"make a key for service {service!r}"
        require(principal, Action.CHANGE_SERVICE, owners[service], what)


def _living(kind: str, name: str) -> sa.Select[tuple[str]]:
    return sa.select(accounts.c.id).where(
        accounts.c.kind == kind, accounts.c.name == name, accounts.c.removed_at.is_(None)
    )


def _groups(text: str) -> frozenset[str]:
    return frozenset(_texts(text))


def _texts(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _json(texts: Sequence[str]) -> str:
    return msgspec.json.encode(list(texts)).decode()


def _new_secret() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(32)


def _digest(secret: str) -> str:
    # A fast hash does: nobody guesses 256 random bits.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
