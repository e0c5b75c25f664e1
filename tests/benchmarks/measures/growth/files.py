"""Small files: a snapshot of many, and what is done to one thing among so many blobs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.peers import Connection, OurServer, publish, run_in_session
from tests.benchmarks.plan import Plan

_FILES: Final = """\
from pathlib import Path
for i in range({count}):
    Path(f"{{i}}.txt").write_text(f"{{i}} of {count}")
"""

_DELETIONS: Final = 20
_CHANGES: Final = 60
"""How many are counted together: the system counts processor time in hundredths of a second."""


def grow(plan: Plan) -> list[Growth]:
    """Take snapshots of more and more files, none of which was there before."""
    sizes = [plan.scaled(size) for size in (1000, 5000, 20_000)]
    with OurServer(plan.work / "files") as server, server.connect() as connection:
        path = publish(
            connection, "One", "y = 1", snapshot=None, inputs={}, outputs={"y": "integer"}
        )
        path = path.replace("/api/", "/services/")
        small = run_in_session(connection, "step = 0")

        def do(size: int) -> Mapping[str, float]:
            session = run_in_session(connection, _FILES.format(count=size))
            server.wait_until_quiet()
            first, second = (_seconds_of_snapshot(connection, session) for _ in range(2))
            connection.call("DELETE", f"/sessions/{session}")
            server.wait_until_quiet()
            return {
                "s, a snapshot": first,
                "s, the same again": second,
                "processor ms of a deletion": _deletion(server, connection, small),
                "processor ms of a new description": _description(server, connection, path),
            }

        limits = {
            "s, a snapshot": Limit.at_the_largest(3),
            "s, the same again": Limit.at_the_largest(1),
            "processor ms of a deletion": Limit.of_times(2),
            "processor ms of a new description": Limit.of_times(2),
        }
        return grown("small files", sizes, do, limits)


def _seconds_of_snapshot(connection: Connection, session: str) -> float:
    begun = time.perf_counter()
    connection.call("POST", f"/sessions/{session}/snapshot", {})
    return time.perf_counter() - begun


def _deletion(server: OurServer, connection: Connection, session: str) -> float:
    """Delete snapshots with a content of their own."""
    snapshots = []
    for _ in range(_DELETIONS):
        run_in_session(connection, "step += 1", session)
        answer = connection.call("POST", f"/sessions/{session}/snapshot", {})
        snapshots.append(answer["snapshotId"])
    server.wait_until_quiet()
    begun = server.processor_seconds()
    for snapshot in snapshots:
        connection.call("DELETE", f"/snapshots/{snapshot}")
    return 1000 * (server.processor_seconds() - begun) / _DELETIONS


def _description(server: OurServer, connection: Connection, path: str) -> float:
    server.wait_until_quiet()
    begun = server.processor_seconds()
    for turn in range(_CHANGES):
        connection.call("PATCH", path, {"description": f"Turn {turn}"})
    return 1000 * (server.processor_seconds() - begun) / _CHANGES
