"""Calls, failures and times of service versions over an hour, a day and a week.

The engine counts from the start of the server. Once a minute :class:`CallRecorder` writes down what
came since, in intervals of three lengths. So a version's past is there after a restart, no call
costs a look at the database, and what is kept has bounds: at most 324 rows a version.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import sqlalchemy as sa
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.scoring.statistics import LATENCY_BOUNDS, Interval, VersionCounters
from jupyter_mlsvc_server.storage.clock import Clock
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import call_intervals, service_versions

_RECORD_SECONDS: Final = 60
_NO_LATENCY: Final = (0,) * (len(LATENCY_BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class Period:
    """A time that is looked at: so many intervals of so many seconds."""

    seconds: int
    intervals: int

    def start_of(self, moment: float) -> int:
        """Return when the interval of a moment began, in seconds since 1970."""
        return int(moment) // self.seconds * self.seconds


PERIODS: Final[Mapping[str, Period]] = {
    "hour": Period(60, 60),
    "day": Period(15 * 60, 96),
    "week": Period(60 * 60, 168),
}


@dataclass(frozen=True, slots=True)
class Tally:
    """Calls of some time; ``latency`` has the counts of ``scoring.statistics.Latency``."""

    calls: int = 0
    errors: int = 0
    rejected: int = 0
    latency: tuple[int, ...] = _NO_LATENCY

    @classmethod
    def of(cls, counters: VersionCounters) -> Self:
        """Take what a version's counters say."""
        return cls(counters.calls, counters.errors, counters.rejected, counters.latency.counts)

    def __add__(self, other: Tally) -> Tally:
        return self._with(other, 1)

    def __sub__(self, other: Tally) -> Tally:
        return self._with(other, -1)

    def _with(self, other: Tally, sign: int) -> Tally:
        return Tally(
            self.calls + sign * other.calls,
            self.errors + sign * other.errors,
            self.rejected + sign * other.rejected,
            tuple(a + sign * b for a, b in zip(self.latency, other.latency, strict=True)),
        )

    def interval(self, start: int) -> Interval:
        """Describe it as what happened from a time on."""
        return Interval(
            start=start,
            calls=self.calls,
            errors=self.errors,
            rejected=self.rejected,
            p50=self._percentile(0.5),
            p99=self._percentile(0.99),
        )

    def _percentile(self, share: float) -> float | None:
        """Estimate what such a share stayed within: evenly spread between two bounds."""
        answered = self.latency[-1]
        if answered <= 0:
            return None
        wanted = answered * share
        bucket = bisect_left(self.latency, wanted)
        if bucket >= len(LATENCY_BOUNDS):
            return LATENCY_BOUNDS[-1]
        below = self.latency[bucket - 1] if bucket else 0
        lower = LATENCY_BOUNDS[bucket - 1] if bucket else 0.0
        part = (wanted - below) / (self.latency[bucket] - below)
        return lower + part * (LATENCY_BOUNDS[bucket] - lower)


class CallRecorder(LoggingConfigurable):
    """Keeps what versions did, and tells it.

    Parameters
    ----------
    database
        Where it is kept.
    scoring
        Counts the calls.
    clock
        Tells the seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        scoring: ScoringEngine,
        clock: Clock = time.time,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._database = database
        self._scoring = scoring
        self._clock = clock
        # Servers that share a database write rows of their own, which are added up when read.
        self._id = uuid.uuid4().hex
        self._seen: dict[DefinitionKey, Tally] = {}
        self._is_over = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write down once a minute."""
        self._running = asyncio.create_task(self._record_for_ever())

    async def stop(self) -> None:
        """Write down what came since the last time; the engine still has to be there."""
        self._is_over.set()
        if self._running is not None:
            # What it writes at this moment has to be known as written, or it would count twice.
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        await self._try_to_record()

    async def history(self, key: DefinitionKey, period: Period) -> list[Interval]:
        """Give the intervals of a period, oldest first; the last one is not over."""
        last = period.start_of(self._clock())
        first = last - (period.intervals - 1) * period.seconds
        found = await self._database.read(lambda connection: _read(connection, key, period, first))
        new = self._new(await self._totals())
        found[last] = found.get(last, Tally()) + new.get(key, Tally())
        starts = range(first, last + 1, period.seconds)
        return [found.get(start, Tally()).interval(start) for start in starts]

    async def record(self) -> None:
        """Write down what came since the last time.

        Raises
        ------
        MlsvcServerError
            The database does not take it. It is written the next time.
        """
        # What is written when a minute is over happened in it.
        moment = self._clock() - 1
        totals = await self._totals()
        new = self._new(totals)
        if new:
            await self._database.run(lambda connection: self._write(connection, new, moment))
        self._seen = totals

    async def _totals(self) -> dict[DefinitionKey, Tally]:
        versions = (await self._scoring.counters()).versions
        return {DefinitionKey(each.name, each.version): Tally.of(each) for each in versions}

    def _new(self, totals: Mapping[DefinitionKey, Tally]) -> dict[DefinitionKey, Tally]:
        """Return what came since the last time, of versions that were called."""
        new = {}
        for key, total in totals.items():
            seen = self._seen.get(key, Tally())
            # One that was deleted and published again counts from zero.
            tally = total if total.calls < seen.calls else total - seen
            if tally.calls:
                new[key] = tally
        return new

    def _write(
        self, connection: sa.Connection, new: Mapping[DefinitionKey, Tally], moment: float
    ) -> None:
        for key, tally in new.items():
            # It may have been deleted since it was called.
            if connection.execute(_version(key)).first() is not None:
                for period in PERIODS.values():
                    self._add(connection, key, period, period.start_of(moment), tally)
        for period in PERIODS.values():
            oldest = period.start_of(moment) - period.intervals * period.seconds
            connection.execute(
                call_intervals.delete().where(_of(period), call_intervals.c.start < oldest)
            )

    def _add(
        self,
        connection: sa.Connection,
        key: DefinitionKey,
        period: Period,
        start: int,
        tally: Tally,
    ) -> None:
        row = sa.and_(
            _is(key),
            _of(period),
            call_intervals.c.start == start,
            call_intervals.c.recorder == self._id,
        )
        for _, before in _tallies(connection, row):
            tally += before
        connection.execute(call_intervals.delete().where(row))
        connection.execute(
            call_intervals.insert().values(
                name=key.name,
                version=key.version,
                seconds=period.seconds,
                start=start,
                recorder=self._id,
                calls=tally.calls,
                errors=tally.errors,
                rejected=tally.rejected,
                latency=msgspec.json.encode(tally.latency).decode(),
            )
        )

    async def _record_for_ever(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RECORD_SECONDS - self._clock() % _RECORD_SECONDS):
                    await self._is_over.wait()
                    return
            await self._try_to_record()

    async def _try_to_record(self) -> None:
        try:
            await self.record()
        except MlsvcServerError as error:
            self.log.warning("the history of calls could not be written: %s", error)


def _is(key: DefinitionKey) -> sa.ColumnElement[bool]:
    columns = call_intervals.c
    return sa.and_(columns.name == key.name, columns.version == key.version)


def _of(period: Period) -> sa.ColumnElement[bool]:
    return call_intervals.c.seconds == period.seconds


def _version(key: DefinitionKey) -> sa.Select[tuple[str]]:
    columns = service_versions.c
    return sa.select(columns.name).where(columns.name == key.name, columns.version == key.version)


def _tallies(
    connection: sa.Connection, where: sa.ColumnElement[bool]
) -> Iterator[tuple[int, Tally]]:
    columns = call_intervals.c
    rows = connection.execute(
        sa.select(
            columns.start, columns.calls, columns.errors, columns.rejected, columns.latency
        ).where(where)
    ).all()
    for start, calls, errors, rejected, latency in rows:
        counts = msgspec.json.decode(latency, type=tuple[int, ...])
        yield start, Tally(calls, errors, rejected, counts)


def _read(
    connection: sa.Connection, key: DefinitionKey, period: Period, first: int
) -> dict[int, Tally]:
    found: dict[int, Tally] = {}
    where = sa.and_(_is(key), _of(period), call_intervals.c.start >= first)
    for start, tally in _tallies(connection, where):
        found[start] = found.get(start, Tally()) + tally
    return found
