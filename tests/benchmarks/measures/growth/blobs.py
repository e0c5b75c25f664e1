"""What is done to one thing among many blobs."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.peers import OurServer, publish, run_in_session
from tests.benchmarks.plan import Plan

_TIMES: Final = 40
"""Things that are changed or deleted to see what one costs, in hundredths of a second together."""


def grow(plan: Plan) -> list[Growth]:
    """Delete small snapshots and change the description of a version."""
    sizes = [plan.scaled(size) for size in (1000, 5000, 20_000)]
    with OurServer(plan.work / "blobs") as server, server.connect() as connection:
        publish(connection, "One", "y = 1", snapshot=None, inputs={}, outputs={})
        session = run_in_session(connection, "step = 0")
        snapshot = f"/sessions/{session}/snapshot"
        kept = connection.call("POST", snapshot, {})["snapshotId"]

        def do(size: int) -> Mapping[str, float]:
            _fill(server.database, kept, size)
            taken = []
            for _ in range(_TIMES):
                run_in_session(connection, "step += 1", session)
                taken.append(connection.call("POST", snapshot, {})["snapshotId"])
            return {
                "processor ms of a deletion": _cost(
                    server, lambda turn: connection.call("DELETE", f"/snapshots/{taken[turn]}")
                ),
                "processor ms of a new description": _cost(
                    server,
                    lambda turn: connection.call(
                        "PATCH", "/services/One/1.0", {"description": f"Turn {turn}"}
                    ),
                ),
            }

        limits = {
            "processor ms of a deletion": Limit.of_times(2),
            "processor ms of a new description": Limit.of_times(2),
        }
        return grown("blobs", sizes, do, limits)


def _cost(server: OurServer, do: Callable[[int], object]) -> float:
    server.wait_until_quiet()
    begun = server.processor_seconds()
    for turn in range(_TIMES):
        do(turn)
    return 1000 * (server.processor_seconds() - begun) / _TIMES


def _fill(database: Path, snapshot: str, size: int) -> None:
    """Put as many blobs there as are told, as parts of a snapshot."""
    digests = []
    for number in range(size):
        data = f"Blob {number}".encode()
        digests.append(hashlib.sha256(data).hexdigest())
        home = database.parent / "blobs" / digests[-1][:2]
        home.mkdir(exist_ok=True)
        (home / digests[-1]).write_bytes(data)
    insert = """INSERT OR IGNORE INTO content_blobs (content_id, digest)
        SELECT content_id, ? FROM snapshots WHERE id = ?"""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.executemany(insert, ((digest, snapshot) for digest in digests))
