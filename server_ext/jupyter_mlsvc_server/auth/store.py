"""Rows of accounts and tokens."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from jupyter_mlsvc_server.auth.errors import NameOwnsThings, UserExists, UserNotFound
from jupyter_mlsvc_server.auth.principal import Owner, Role
from jupyter_mlsvc_server.storage.clock import from_text, now_text, to_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import (
    accounts,
    batches,
    service_keys,
    service_versions,
    services,
    snapshots,
    tokens,
)

LOCAL: Final = "local"
"""Kind of the accounts that have a password here."""
JUPYTER: Final = "jupyter"
"""Kind of the accounts of people whom a Jupyter server knows, by the names that it has for them."""
KEY: Final = "key"
"""Kind of the accounts of applications that have a service key."""

NO_HASH: Final = ""
"""In place of the hash of a password that was verified elsewhere."""

_SHOWN: Final = 12
"""Characters of a digest by which a line of the log names a pair of tokens."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody this server knows; the password's hash is not part of it."""

    id: str
    kind: str
    name: str
    role: Role
    created_at: str
    disabled: bool
    groups: frozenset[str] = frozenset()


class Owned(NamedTuple):
    """How many things somebody owns, apart from what ends with an account."""

    service_versions: int
    snapshots: int

    def __bool__(self) -> bool:
        return any(tuple(self))

    def __str__(self) -> str:
        return f"{_count(self.service_versions, 'service version')} and " + _count(
            self.snapshots, "snapshot"
        )


_ARE_LOCAL: Final = sa.and_(accounts.c.kind == LOCAL, accounts.c.removed_at.is_(None))


class AccountStore:
    """Reads and writes accounts; those with a password here are found by their name."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def add(
        self, name: str, password_hash: str, role: Role, *, take_over: bool = False
    ) -> Owned:
        """Add an account with a password.

        Parameters
        ----------
        take_over
            Whether it gets what removed accounts of that name own.

        Returns
        -------
        Owned
            What it took over.

        Raises
        ------
        UserExists
            There is one whose name differs in upper and lower case at most.
        NameOwnsThings
            A removed account of that name owns something, and nobody said who is to have it.
        """
        row = _new_row(LOCAL, name.lower(), name, role) | {"password_hash": password_hash}

        def write(connection: sa.Connection) -> Owned:
            connection.execute(accounts.insert().values(row))
            before = _removed(connection, name)
            owned = _owned(connection, before)
            if owned and not take_over:
                raise NameOwnsThings(name, str(owned))
            _give(connection, before, str(row["id"]))
            return owned

        try:
            return await self._database.run(write)
        except IntegrityError:
            raise UserExists(name) from None

    async def find_or_add(
        self,
        kind: str,
        subject: str,
        name: str,
        role: Role,
        groups: frozenset[str] = frozenset(),
    ) -> Account:
        """Read the account of somebody who is known elsewhere; add it the first time.

        Parameters
        ----------
        kind
            Who knows them.
        subject
            What they are known by there, which stays the same.
        name
            What to call them.
        role
            What they may do.
        groups
            Groups that they are in there; those of this server they keep.
        """
        query = sa.select(accounts).where(accounts.c.kind == kind, accounts.c.subject == subject)

        def is_so(row: sa.Row[tuple[object, ...]]) -> bool:
            theirs = groups_of(row) - own_groups(groups_of(row))
            return (row.name, row.role, theirs) == (name, role.value, groups)

        def read(connection: sa.Connection) -> sa.Row[tuple[object, ...]] | None:
            return connection.execute(query).first()

        def write(connection: sa.Connection) -> sa.Row[tuple[object, ...]] | None:
            row = read(connection)
            if row is None:
                added = _new_row(kind, subject, name, role) | {"group_names": _groups_text(groups)}
                connection.execute(accounts.insert().values(added))
            elif not is_so(row):
                kept = _groups_text(groups | own_groups(groups_of(row)))
                change = accounts.update().where(accounts.c.id == row.id)
                connection.execute(change.values(name=name, role=role.value, group_names=kept))
            return read(connection)

        row = await self._database.read(read)
        if row is None or not is_so(row):
            try:
                row = await self._database.run(write)
            except IntegrityError:
                # Another server of this database added it at the same moment.
                row = await self._database.run(write)
        if row is None:
            raise UserNotFound(name)
        return _account(row)

    async def find(self, name: str) -> tuple[Account, str] | None:
        """Read a user with a password, and its hash."""
        query = sa.select(accounts).where(_ARE_LOCAL, accounts.c.name == name)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else (_account(row), row.password_hash)

    async def list(self) -> list[Account]:
        """Read all accounts of people, by name."""
        query = sa.select(accounts).where(accounts.c.removed_at.is_(None), accounts.c.kind != KEY)
        query = query.order_by(accounts.c.name, accounts.c.kind)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_account(row) for row in rows]

    async def set_password(self, name: str, password_hash: str) -> None:
        """Change a password and end everything that began with the old one.

        Raises
        ------
        UserNotFound
            No such user.
        """
        await self._change(LOCAL, name, {"password_hash": password_hash})

    async def set_role(self, name: str, role: Role) -> None:
        """Give a user another role; those of other kinds get theirs from who knows them.

        Raises
        ------
        UserNotFound
            No such user.
        """
        await self._change(LOCAL, name, {"role": role.value}, ends_tokens=False)

    async def set_member(self, kind: str, name: str, group: str, *, is_member: bool) -> None:
        """Put somebody into a group, or take them out of it.

        Raises
        ------
        UserNotFound
            No such account.
        """
        account = sa.select(accounts).where(
            accounts.c.kind == kind, accounts.c.name == name, accounts.c.removed_at.is_(None)
        )

        def write(connection: sa.Connection) -> None:
            row = connection.execute(account.with_for_update()).first()
            if row is None:
                raise UserNotFound(name)
            groups = groups_of(row) | {group} if is_member else groups_of(row) - {group}
            change = accounts.update().where(accounts.c.id == row.id)
            connection.execute(change.values(group_names=_groups_text(groups)))

        await self._database.run(write)

    async def set_disabled(self, kind: str, name: str, *, disabled: bool) -> None:
        """Shut somebody out and end their tokens, or let them in again.

        Raises
        ------
        UserNotFound
            No such account.
        """
        await self._change(kind, name, {"disabled": disabled}, ends_tokens=disabled)

    async def rename(self, name: str, new: str) -> None:
        """Call a user otherwise; what they own and their tokens stay theirs.

        Raises
        ------
        UserNotFound
            No such user.
        UserExists, NameOwnsThings
            The new name is not free.
        """

        def check(connection: sa.Connection) -> None:
            if owned := _owned(connection, _removed(connection, new)):
                raise NameOwnsThings(new, str(owned))

        values = {"name": new, "subject": new.lower()}
        try:
            await self._change(LOCAL, name, values, ends_tokens=False, check=check)
        except IntegrityError:
            raise UserExists(new) from None

    async def remove(self, kind: str, name: str) -> Owned:
        """Remove an account with its tokens and service keys; what it owns stays.

        Returns
        -------
        Owned
            What stays.

        Raises
        ------
        UserNotFound
            No such account.
        """
        ended = {"subject": None, "password_hash": None, "group_names": _groups_text(frozenset())}
        values = ended | {"removed_at": now_text()}
        account_id = await self._change(kind, name, values)
        return await self._database.read(lambda connection: _owned(connection, [account_id]))

    async def living(self, ids: Collection[str]) -> dict[str, Account]:
        """Read those of some accounts that are neither removed nor shut out, by their ids."""
        query = sa.select(accounts).where(
            accounts.c.id.in_(ids), accounts.c.removed_at.is_(None), accounts.c.disabled.is_(False)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {row.id: _account(row) for row in rows}

    async def replace_hash(self, name: str, old: str, new: str) -> bool:
        """Store the same password under another hash, unless it was changed meanwhile.

        Returns
        -------
        bool
            Whether it was stored.
        """
        is_old = sa.and_(_ARE_LOCAL, accounts.c.name == name, accounts.c.password_hash == old)
        change = accounts.update().where(is_old).values(password_hash=new)
        return await self._database.run(lambda c: c.execute(change).rowcount) > 0

    async def _change(
        self,
        kind: str,
        name: str,
        values: Mapping[str, object],
        *,
        ends_tokens: bool = True,
        check: Callable[[sa.Connection], None] = lambda _: None,
    ) -> str:
        """Change an account and, most often, end its tokens; returns its id."""
        account = sa.select(accounts.c.id).where(
            accounts.c.kind == kind, accounts.c.name == name, accounts.c.removed_at.is_(None)
        )

        def write(connection: sa.Connection) -> str:
            account_id = connection.scalar(account.with_for_update())
            if account_id is None:
                raise UserNotFound(name)
            check(connection)
            connection.execute(
                accounts.update().where(accounts.c.id == account_id).values(dict(values))
            )
            if shared := _of_keys(values):
                made = sa.select(service_keys.c.account_id).where(
                    service_keys.c.maker_id == account_id
                )
                are_living = sa.and_(accounts.c.id.in_(made), accounts.c.removed_at.is_(None))
                connection.execute(accounts.update().where(are_living).values(shared))
            if ends_tokens:
                connection.execute(tokens.delete().where(tokens.c.account_id == account_id))
            return str(account_id)

        return await self._database.run(write)


def _of_keys(values: Mapping[str, object]) -> dict[str, object]:
    """Give what becomes of service keys, too, when it becomes of who made them."""
    if "removed_at" in values:
        return {"removed_at": values["removed_at"], "subject": None}
    return {"disabled": values["disabled"]} if "disabled" in values else {}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _removed(connection: sa.Connection, name: str) -> Sequence[str]:
    """Read the ids of removed users of a name."""
    query = sa.select(accounts.c.id).where(
        accounts.c.kind == LOCAL,
        accounts.c.removed_at.is_not(None),
        sa.func.lower(accounts.c.name) == name.lower(),
    )
    return connection.scalars(query).all()


def _owned(connection: sa.Connection, ids: Sequence[str]) -> Owned:
    def count(table: sa.Table) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.owner_id.in_(ids))
        return int(connection.scalar(query) or 0)

    return Owned(service_versions=count(service_versions), snapshots=count(snapshots))


def _give(connection: sa.Connection, ids: Sequence[str], account_id: str) -> None:
    for table in (services, service_versions, snapshots, batches):
        change = table.update().where(table.c.owner_id.in_(ids))
        connection.execute(change.values(owner_id=account_id))


def _new_row(kind: str, subject: str, name: str, role: Role) -> dict[str, object]:
    return {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "subject": subject,
        "name": name,
        "role": role.value,
        "created_at": now_text(),
    }


def _account(row: sa.Row[tuple[object, ...]]) -> Account:
    return Account(
        id=row.id,
        kind=row.kind,
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        disabled=row.disabled,
        groups=groups_of(row),
    )


def groups_of(row: sa.Row[tuple[object, ...]]) -> frozenset[str]:
    """Read the names of an account's groups."""
    return frozenset(msgspec.json.decode(row.group_names, type=list[str]))


def own_groups(groups: frozenset[str]) -> frozenset[str]:
    """Return those of some groups that are this server's; others have a prefix."""
    return frozenset(group for group in groups if ":" not in group)


def _groups_text(groups: frozenset[str]) -> str:
    return msgspec.json.encode(sorted(groups)).decode()


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
        account_id: str,
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
            "account_id": account_id,
            "refresh_digest": key.digest,
            "created_at": now_text(),
            "expires_at": to_text(expires_at),
            "family_expires_at": to_text(family_expires_at),
        }

        user = sa.select(accounts.c.id).where(
            accounts.c.id == account_id,
            accounts.c.password_hash == (None if password_hash == NO_HASH else password_hash),
            accounts.c.disabled.is_(False),
        )

        def write(connection: sa.Connection) -> bool:
            # A lock of the row, where the database has such: who removes the user comes after.
            if connection.execute(user.with_for_update()).first() is None:
                return False
            connection.execute(tokens.delete().where(tokens.c.expires_at < to_text(forget_before)))
            connection.execute(tokens.insert().values(row))
            return True

        return await self._database.run(write)

    async def find_account(self, token_id: str, subject: str) -> Account | None:
        """Read whose living pair it is, by the digest of its id, with the role of now.

        Parameters
        ----------
        subject
            Id of the account; its name in tokens that an earlier release issued.
        """
        query = (
            sa.select(accounts)
            .join(tokens, tokens.c.account_id == accounts.c.id)
            .where(
                tokens.c.id == token_id,
                tokens.c.revoked_at.is_(None),
                sa.or_(accounts.c.id == subject, accounts.c.name == subject),
                accounts.c.disabled.is_(False),
            )
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _account(row)

    async def find_owner(self, key: RefreshKey) -> Owner | None:
        """Read whose pair it is or was; None where it is unknown."""
        query = (
            sa.select(accounts.c.id, accounts.c.name, tokens.c.refresh_digest)
            .join(tokens, tokens.c.account_id == accounts.c.id)
            .where(tokens.c.id == key.id)
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None or not hmac.compare_digest(row.refresh_digest, key.digest):
            return None
        return Owner(row.id, row.name)

    async def rotate(
        self, key: RefreshKey, successor: RefreshKey, *, now: datetime, lifetime: timedelta
    ) -> tuple[RefreshOutcome, Owner]:
        """Let another pair take the place of one; returns whose it is where that was done.

        Parameters
        ----------
        lifetime
            For how long pairs are good, the old one as well.
        """

        def write(connection: sa.Connection) -> tuple[RefreshOutcome, Owner]:
            outcome, row = _use(connection, key, now, lifetime)
            if row is None:
                return outcome, Owner("", "")
            last = min(now + lifetime, from_text(row.family_expires_at))
            connection.execute(
                tokens.insert().values(
                    id=successor.id,
                    family_id=row.family_id,
                    account_id=row.account_id,
                    refresh_digest=successor.digest,
                    created_at=to_text(now),
                    expires_at=to_text(last),
                    family_expires_at=row.family_expires_at,
                )
            )
            return outcome, Owner(row.account_id, row.account_name)

        return await self._database.run(write)

    async def revoke(self, key: RefreshKey, *, now: datetime) -> RefreshOutcome:
        """End a pair."""
        return await self._database.run(lambda connection: _use(connection, key, now)[0])


def _use(
    connection: sa.Connection, key: RefreshKey, at: datetime, lifetime: timedelta = timedelta.max
) -> tuple[RefreshOutcome, sa.Row[tuple[object, ...]] | None]:
    """Make a refresh token used; returns its row where that worked."""
    row = connection.execute(_living_user(key)).first()
    # In constant time: the id is no secret, the other half must not leak by timing.
    if row is None or not hmac.compare_digest(row.refresh_digest, key.digest):
        return RefreshOutcome.UNKNOWN, None
    now = to_text(at)
    # Whoever makes the setting shorter means tokens that are out already.
    is_too_old = at - from_text(row.created_at) >= lifetime
    if row.revoked_at is None and (row.expires_at <= now or is_too_old):
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
        sa.select(tokens, accounts.c.name.label("account_name"))
        .join(accounts, tokens.c.account_id == accounts.c.id)
        .where(tokens.c.id == key.id, accounts.c.disabled.is_(False))
    )
