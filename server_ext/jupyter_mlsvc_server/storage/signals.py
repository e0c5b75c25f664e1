"""Signals: short messages between the servers of one database.

PostgreSQL carries them, by NOTIFY. A signal that does not arrive is lost: what must not be missed
is looked for in the database as well, and whoever may have missed one is told of the gap. SQLite
has one server, so there is nobody to tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import installations

Take = Callable[[Any], None]
"""Takes the body of a signal that another server sent; called in the event loop, and quick."""

_MAX_BYTES: Final = 7_900
"""PostgreSQL takes no more than 8,000."""
_MAX_PENDING: Final = 1_000
"""Signals that wait to be sent; when there are more, the others are told of a gap instead."""
_AT_ONCE: Final = 100
_AGAIN_SECONDS: Final = 0.5
_HEARTBEAT_SECONDS: Final = 10.0
"""Silence after which the connection is asked whether it is still there."""
_GAP: Final = "gap"


class _Signal(msgspec.Struct, frozen=True, array_like=True):
    server: str
    kind: str
    body: Any = None


class Signals(LoggingConfigurable):
    """Sends signals to the other servers of a database, and passes theirs on."""

    def __init__(self, *, database: Database, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._database = database
        self._server = secrets.token_hex(8)
        self._takers: dict[str, Take] = {}
        self._pending: deque[_Signal] = deque()
        self._is_pending = asyncio.Event()
        self._channel = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._is_lost = False

    def on(self, kind: str, take: Take) -> None:
        """Have the bodies of signals of a kind passed on."""
        self._takers[kind] = take

    def on_gap(self, take: Callable[[], None]) -> None:
        """Have a function called when signals of others may have been missed."""
        self._takers[_GAP] = lambda _body: take()

    def send(self, kind: str, body: object = None) -> None:
        """Send a signal to the other servers, where there can be any; returns at once.

        Parameters
        ----------
        kind
            What it is.
        body
            What JSON can say.
        """
        if not self._tasks:
            return
        signal = _Signal(self._server, kind, body)
        if len(msgspec.json.encode(signal)) > _MAX_BYTES:
            signal = _Signal(self._server, _GAP)
        if len(self._pending) >= _MAX_PENDING:
            self._pending.clear()
            signal = _Signal(self._server, _GAP)
        self._pending.append(signal)
        self._is_pending.set()

    async def start(self) -> None:
        """Begin to send and to listen, where the database has several servers.

        Raises
        ------
        MlsvcServerError
            The database does not answer.
        """
        if self._database.kind != "postgresql" or self._tasks:
            return
        if importlib.util.find_spec("psycopg") is None:
            self.log.warning("without psycopg 3 servers of one database hear nothing of each other")
            return
        # Others may use the same database for other things, or for an installation of their own.
        query = sa.select(installations.c.id)
        installation = await self._database.read(lambda connection: connection.scalar(query))
        self._channel = f"mlsvc_{str(installation).replace('-', '')}"
        listening = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._listen(listening)),
            asyncio.create_task(self._send()),
        ]
        # What happens from now on is heard of, or there is a gap.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEARTBEAT_SECONDS):
                await listening.wait()

    async def stop(self) -> None:
        """Send and listen no more; may be called twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- inside ------------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            await self._is_pending.wait()
            signals = [self._pending.popleft() for _ in range(min(len(self._pending), _AT_ONCE))]
            if not signals:
                self._is_pending.clear()
                continue
            payloads = [msgspec.json.encode(signal).decode() for signal in signals]
            try:
                await self._database.run(partial(self._notify, payloads))
            except MlsvcServerError:
                self._pending.extendleft(reversed(signals))
                await asyncio.sleep(_AGAIN_SECONDS)

    def _notify(self, payloads: list[str], connection: sa.Connection) -> None:
        for payload in payloads:
            connection.execute(sa.select(sa.func.pg_notify(self._channel, payload)))

    async def _listen(self, listening: asyncio.Event) -> None:
        import psycopg  # only the extra of PostgreSQL brings it

        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute(f'LISTEN "{self._channel}"')
                    if listening.is_set():
                        self.log.info("signals of other servers arrive again")
                        self._take(_Signal("", _GAP))
                    listening.set()
                    self._is_lost = False
                    while True:
                        async for notice in connection.notifies(timeout=_HEARTBEAT_SECONDS):
                            self._receive(notice.payload)
                        async with asyncio.timeout(_HEARTBEAT_SECONDS):
                            await connection.execute("SELECT 1")
            except (psycopg.Error, OSError, TimeoutError) as error:
                if not self._is_lost:
                    self._is_lost = True
                    self.log.warning("signals of other servers do not arrive: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _connect(self) -> Any:
        import psycopg

        url = self._database.parsed_url.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url)
        _, options = engine.dialect.create_connect_args(engine.url)
        return await psycopg.AsyncConnection.connect(
            **options, autocommit=True, connect_timeout=10, client_encoding="utf8"
        )

    def _receive(self, payload: str) -> None:
        try:
            signal = msgspec.json.decode(payload, type=_Signal)
        except msgspec.DecodeError:
            return
        if signal.server != self._server:
            self._take(signal)

    def _take(self, signal: _Signal) -> None:
        if (take := self._takers.get(signal.kind)) is None:
            return  # of a newer version
        try:
            take(signal.body)
        except Exception:
            self.log.exception("a signal of another server could not be taken: %s", signal.kind)
