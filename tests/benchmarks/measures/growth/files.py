"""A snapshot of many small files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.peers import Connection, OurServer, run_in_session
from tests.benchmarks.plan import Plan

_FILES: Final = """\
from pathlib import Path
for i in range({count}):
    Path(f"{{i}}.txt").write_text(f"{{i}} of {count}")
"""


def grow(plan: Plan) -> list[Growth]:
    """Take two of more and more files, none of which was there before the first."""
    sizes = [plan.scaled(size) for size in (1000, 5000, 20_000)]
    with OurServer(plan.work / "files") as server, server.connect() as connection:

        def do(size: int) -> Mapping[str, float]:
            session = run_in_session(connection, _FILES.format(count=size))
            server.wait_until_quiet()
            begun = server.processor_seconds()
            first = _seconds_of_snapshot(connection, session)
            spent = server.processor_seconds() - begun
            second = _seconds_of_snapshot(connection, session)
            connection.call("DELETE", f"/sessions/{session}")
            return {
                "s, a snapshot": first,
                "processor s of it": spent,
                "s, the same again": second,
            }

        limits = {
            "s, a snapshot": Limit.at_the_largest(3),
            # Where other programs write too, it waits until theirs is on the disk as well.
            "processor s of it": Limit.at_the_largest(3),
            "s, the same again": Limit.at_the_largest(1),
        }
        return grown("small files", sizes, do, limits)


def _seconds_of_snapshot(connection: Connection, session: str) -> float:
    begun = time.perf_counter()
    connection.call("POST", f"/sessions/{session}/snapshot", {})
    return time.perf_counter() - begun
