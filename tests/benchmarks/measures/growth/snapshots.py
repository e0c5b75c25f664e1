"""Snapshots of many files: their list, and the room that they take in the database."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.peers import OurServer, run_in_session
from tests.benchmarks.plan import Plan

_FILES: Final = 200
_MAKE: Final = f"""\
from pathlib import Path
for i in range({_FILES}):
    Path(f"{{i}}.txt").write_text(str(i))
"""
_LISTS: Final = 20


def grow(plan: Plan) -> list[Growth]:
    """Take more and more: as they are, and with a file changed before each."""
    return [
        *_grow(plan, "unchanged", "step = 1", Limit.of_each(2)),
        *_grow(*(plan, "one changed", "Path('0.txt').write_text(str({turn}))"), Limit.of_each(100)),
    ]


def _grow(plan: Plan, name: str, code: str, kilobytes: Limit) -> list[Growth]:
    sizes = [plan.scaled(size) for size in (25, 75, 150)]
    folder = plan.work / f"snapshots-{name.replace(' ', '-')}"
    taken = 0
    with OurServer(folder) as server, server.connect() as connection:
        session = run_in_session(connection, _MAKE)

        def do(size: int) -> Mapping[str, float]:
            nonlocal taken
            for turn in range(taken, size):
                run_in_session(connection, code.format(turn=turn), session)
                connection.call("POST", f"/sessions/{session}/snapshot", {})
            taken = size
            server.wait_until_quiet()
            begun = server.processor_seconds()
            for _ in range(_LISTS):
                connection.call("GET", "/snapshots")
            spent = server.processor_seconds() - begun
            return {
                "processor ms of their list": 1000 * spent / _LISTS,
                "kB of the database": _database_bytes(folder / "mlsvc.db") / 1e3,
            }

        limits = {"processor ms of their list": Limit.of_each(0.1), "kB of the database": kilobytes}
        return grown(f"snapshots of {_FILES} files, {name}", sizes, do, limits)


def _database_bytes(file: Path) -> int:
    """Count the pages in use, with those that only the journal has so far."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        pages: int = database.execute("PRAGMA page_count").fetchone()[0]
        free: int = database.execute("PRAGMA freelist_count").fetchone()[0]
        size: int = database.execute("PRAGMA page_size").fetchone()[0]
    return (pages - free) * size
