"""Verifying service keys, and counting what they are used for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from traitlets import Float
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.auth.key_use import KeyUse, Rate, calls_by_key
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.service_keys import ServiceKeyStore
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.storage.clock import Clock, from_text, to_text
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.repeated import Repeated

_ORIGINS_SECONDS: Final = 1.0
"""For which the origins of keys are not read again: anybody may ask for them."""


class KeyVerifier(LoggingConfigurable):
    """Says whose a service key is, and keeps how keys are used.

    Calls are counted in memory, and written to the database now and then.

    Parameters
    ----------
    database
        Where keys are kept.
    wall_clock
        The clock by which keys expire.
    clock
        The clock by which calls are counted for rates.
    """

    write_seconds = Float(
        5.0,
        min=0.1,
        help="Seconds after which calls with service keys are written to the database, which "
        "shows how often and when each was used.",
    ).tag(config=True)

    def __init__(
        self,
        *,
        database: Database,
        wall_clock: Clock = time.time,
        clock: Clock = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._store = ServiceKeyStore(database=database)
        self._wall_clock = wall_clock
        self._clock = clock
        self._uses: dict[str, KeyUse] = {}
        self._origins: frozenset[str] = frozenset()
        self._origins_until = float("-inf")
        self._lock = asyncio.Lock()
        self._writing = Repeated(
            self.write,
            seconds=self.write_seconds,
            failure="calls with service keys could not be written down",
            log=self.log,
        )

    async def start(self) -> None:
        """Begin to write down how keys are used."""
        self._writing.start()

    async def stop(self) -> None:
        """Write down the rest; may be called twice."""
        await self._writing.stop()
        try:
            await self.write()
        except MlsvcServerError as error:
            self.log.warning("calls with service keys could not be written down: %s", error)

    async def find(self, secret: str) -> tuple[Principal, float] | None:
        """Return who has a key, and until when it is good in seconds since 1970."""
        key = await self._store.find(secret)
        if key is None or key.disabled:
            return None
        scope = key.scope
        expires = float("inf") if key.expires_at is None else from_text(key.expires_at).timestamp()
        if expires <= self._wall_clock() or (scope is not None and not scope):
            return None
        use = self._uses.get(key.id)
        if use is None:
            use = self._uses[key.id] = KeyUse(
                key.id,
                key.name,
                rate=Rate.parse(key.rate) if key.rate else None,
                origins=key.origins,
                clock=self._clock,
            )
        return Principal(key.id, key.name, Role.CALLER, services=scope, key=use), expires

    async def scopes(self, ids: Collection[str]) -> dict[str, frozenset[str] | None]:
        """Return what some keys are for now, by their ids; those that are not good are left out."""
        found = await self._store.read(ids)
        scopes = {key.id: key.scope for key in found.values() if not key.disabled}
        return {key_id: scope for key_id, scope in scopes.items() if scope is None or scope}

    async def allows_origin(self, origin: str) -> bool:
        """Whether pages of an origin may call with some key."""
        now = self._clock()
        if now >= self._origins_until:
            self._origins_until = now + _ORIGINS_SECONDS
            moment = datetime.fromtimestamp(self._wall_clock(), UTC)
            self._origins = await self._store.origins(moment)
        return origin in self._origins

    def forget_origins(self) -> None:
        """Have the origins of keys read anew: there is another key."""
        self._origins_until = float("-inf")

    def forget(self, key_id: str) -> None:
        """Forget a key that was revoked."""
        self._uses.pop(key_id, None)
        self.forget_origins()

    def calls_of(self, name: str, version: str) -> dict[str, int]:
        """Return how often each key called a version since the server started, by its name."""
        return calls_by_key(self._uses, (name, version))

    async def write(self) -> None:
        """Write down how keys were used since the last time.

        Raises
        ------
        MlsvcServerError
            The database does not answer; then it is written the next time.
        """
        async with self._lock:
            pending = [use.pending for use in self._uses.values()]
            pending = [usage for usage in pending if usage.calls]
            if not pending:
                return
            now = to_text(datetime.fromtimestamp(self._wall_clock(), UTC))
            await self._store.note_use(pending, now)
            for usage in pending:
                if (use := self._uses.get(usage.key_id)) is not None:
                    use.stored(usage)
