"""The list of all versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.measures.large_bodies import WatchedServer
from tests.benchmarks.peers import OurServer, PeerFailed, publish
from tests.benchmarks.plan import Plan

_LEAST: Final = 5_000
"""Versions that are listed at each size, over and over where there are fewer."""
_TABLES: Final = ("services", "service_versions", "service_revisions")


def grow(plan: Plan) -> list[Growth]:
    """Ask for it; the loop is watched in another server, as it is never idle then."""
    sizes = [plan.scaled(size) for size in (100, 1000, 10_000)]
    watched = WatchedServer(plan.work / "listed-turns")
    with OurServer(plan.work / "listed") as server, watched.watched(), watched:
        for one in (server, watched):
            with one.connect() as connection:
                publish(connection, "One", "y = 1", snapshot=None, inputs={}, outputs={})

        there = 1

        def do(size: int) -> Mapping[str, float]:
            nonlocal there
            for one in (server, watched):
                _copy(one.database, range(there, size))
            there = size
            lists = max(3, _LEAST // size)
            server.wait_until_quiet()
            begun = server.processor_seconds()
            for _ in range(lists):
                _list(server, size)
            spent = server.processor_seconds() - begun
            watched.longest_turn()
            _list(watched, size)
            return {
                "processor µs a version": 1e6 * spent / lists / size,
                "ms, longest turn of the loop": watched.longest_turn(),
            }

        limits = {
            "processor µs a version": Limit.of_times(1.5),
            "ms, longest turn of the loop": Limit.at_the_largest(50),
        }
        return grown("versions in their list", sizes, do, limits)


def _list(server: OurServer, size: int) -> None:
    with server.connect() as connection:
        found = len(connection.call("GET", "/services"))
    if found != size:
        raise PeerFailed(f"{found} versions were listed, not {size}.")


def _copy(database: Path, numbers: range) -> None:
    """Put copies of the only version into the database, as publishing so many takes too long."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table in _TABLES:
            rows = connection.execute(f"SELECT * FROM {table} WHERE name = 'One'")
            columns = [column[0] for column in rows.description]
            row = dict(zip(columns, rows.fetchone(), strict=True))
            marks = ", ".join(f":{column}" for column in columns)
            insert = f"INSERT INTO {table} VALUES ({marks})"
            connection.executemany(insert, (_numbered(row, number) for number in numbers))


def _numbered(row: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    names = ("name", "id", "revision_id")
    new = {column: f"{row[column]}{number}" for column in names if column in row}
    return {**row, **new} | ({"seq": row["seq"] + number} if "seq" in row else {})
