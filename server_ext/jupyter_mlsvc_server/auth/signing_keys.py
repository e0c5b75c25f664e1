"""Keys that sign access tokens: rows of the database, which all of its servers have.

The newest one signs. An earlier one verifies tokens until those that it signed have expired. A
token names its key, so a server that does not know a key looks for it before it refuses the token.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from jupyter_mlsvc_server.auth.keys import KEY_BYTES, signing_key
from jupyter_mlsvc_server.storage.clock import Clock, from_text, to_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.postgresql import Lock, take_lock
from jupyter_mlsvc_server.storage.schema import signing_keys

_COOL_DOWN: Final = 0.2
"""Seconds between two looks for keys that tokens name: forged ones must not cause more."""
_GRACE_SECONDS: Final = 10.0
"""Seconds that a server may go on to sign with a key after another one has made the next."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs access tokens.

    Attributes
    ----------
    id : str
        What tokens name it by.
    secret : bytes
        The key.
    created_at : float
        When it was made, in seconds since 1970.
    """

    id: str
    secret: bytes = field(repr=False)
    created_at: float


class SigningKeyStore:
    """Reads and writes signing keys, oldest first."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def read(self) -> list[SigningKey]:
        """Read all of them."""
        return await self._database.read(_read)

    async def ensure(self, secret: bytes, now: float) -> list[SigningKey]:
        """Add a first key where there is none yet; returns all."""

        def write(connection: sa.Connection) -> list[SigningKey]:
            take_lock(connection, Lock.SIGNING_KEYS)
            if not (found := _read(connection)):
                _insert(connection, secret, now)
                found = _read(connection)
            return found

        return await self._database.run(write)

    async def rotate(self, now: float, keep_since: float) -> SigningKey:
        """Add a key, which signs from now on, and return it.

        Parameters
        ----------
        keep_since
            Earlier keys that another one followed before this time are deleted.
        """

        def write(connection: sa.Connection) -> SigningKey:
            take_lock(connection, Lock.SIGNING_KEYS)
            before = _read(connection)
            # A clock that was set back must not leave the earlier one the newest.
            at = max([now, *(key.created_at + 1e-6 for key in before)])
            _insert(connection, secrets.token_bytes(KEY_BYTES), at)
            after = _read(connection)
            for key, following in pairwise(after):
                if following.created_at < keep_since:
                    connection.execute(signing_keys.delete().where(signing_keys.c.id == key.id))
            return after[-1]

        return await self._database.run(write)


class SigningKeys:
    """The keys that a server knows.

    Parameters
    ----------
    database
        Where they are kept.
    path
        File with the key of the data folder, which is the first one of a new database.
    wall_clock
        The clock by which tokens are issued.
    monotonic_clock
        The clock between two looks.
    """

    def __init__(
        self,
        *,
        database: Database,
        path: Path,
        wall_clock: Clock = time.time,
        monotonic_clock: Clock = time.monotonic,
    ) -> None:
        self._store = SigningKeyStore(database=database)
        self._path = path
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._keys: list[SigningKey] = []
        self._looked_at = float("-inf")

    async def start(self) -> None:
        """Read the keys; the first start of a database makes one.

        Raises
        ------
        UnusableSecretFile
            The file of the data folder's key is damaged.
        """
        first = await asyncio.to_thread(signing_key, self._path)
        self._keys = await self._store.ensure(first, self._wall_clock())

    async def refresh(self) -> bool:
        """Read the keys again; returns whether one is there no more.

        Raises
        ------
        MlsvcServerError
            The database does not answer.
        """
        before, self._keys = self._keys, await self._store.read()
        return not {key.id for key in before} <= {key.id for key in self._keys}

    @property
    def newest(self) -> SigningKey:
        """The one that signs."""
        return self._keys[-1]

    async def find(self, key_id: object, lifetime: float) -> SigningKey | None:
        """Return the key that a token names; None where it counts no more, or never did.

        Parameters
        ----------
        key_id
            Its id; None in tokens of earlier versions, which are of the first key.
        lifetime
            Seconds that a token is valid.

        Raises
        ------
        MlsvcServerError
            The database would have to be asked, and does not answer.
        """
        found = self._known(key_id, lifetime)
        now = self._monotonic_clock()
        if found is None and now - self._looked_at >= _COOL_DOWN:
            self._looked_at = now
            await self.refresh()
            found = self._known(key_id, lifetime)
        return found

    def _known(self, key_id: object, lifetime: float) -> SigningKey | None:
        for key, following in zip(self._keys, [*self._keys[1:], None], strict=True):
            if key_id is None or key.id == key_id:
                until = None if following is None else following.created_at + lifetime
                is_over = until is not None and until + _GRACE_SECONDS < self._wall_clock()
                return None if is_over else key
        return None


def _read(connection: sa.Connection) -> list[SigningKey]:
    order = (signing_keys.c.created_at, signing_keys.c.id)
    return [
        SigningKey(row.id, bytes.fromhex(row.secret), from_text(row.created_at).timestamp())
        for row in connection.execute(sa.select(signing_keys).order_by(*order))
    ]


def _insert(connection: sa.Connection, secret: bytes, now: float) -> None:
    connection.execute(
        signing_keys.insert().values(
            id=hashlib.sha256(secret).hexdigest()[:16],
            secret=secret.hex(),
            created_at=to_text(datetime.fromtimestamp(now, UTC)),
        )
    )
