"""Versions of services that are published and not called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.iris import CODE, FIT
from tests.benchmarks.peers import Connection, OurServer, publish, run_in_session
from tests.benchmarks.plan import Plan

_MOST: Final = 50
"""Versions whose publishing is timed at each size, the last ones."""


def published(plan: Plan) -> list[Growth]:
    """Publish more and more of one snapshot, that of the walkthrough."""
    sizes = [plan.scaled(size) for size in (50, 300, 1000)]
    options = ["--ServiceManager.max_versions_per_user=0"]
    folder = plan.work / "versions"
    with OurServer(folder, options=options) as server, server.connect() as connection:
        session = run_in_session(connection, FIT)
        snapshot = connection.call("POST", f"/sessions/{session}/snapshot", {})["snapshotId"]
        connection.call("DELETE", f"/sessions/{session}")
        _publish(connection, snapshot, range(1))  # starts the forkserver and the template
        server.wait_until_quiet()
        before, there = server.megabytes(), 1

        def do(size: int) -> Mapping[str, float]:
            nonlocal there
            count = min(_MOST, size - there)
            _publish(connection, snapshot, range(there, size - count))
            begun = server.processor_seconds()
            _publish(connection, snapshot, range(size - count, size))
            server.wait_until_quiet()
            there = size
            return {
                "MB": server.megabytes() - before,
                "processor ms of a publish": 1000 * (server.processor_seconds() - begun) / count,
            }

        limits = {
            "MB": Limit.at_the_largest(100),
            "processor ms of a publish": Limit.of_times(1.5),
        }
        return grown("published versions of one snapshot", sizes, do, limits)


def _publish(connection: Connection, snapshot: str, numbers: range) -> None:
    for number in numbers:
        publish(
            *(connection, f"Iris{number}", f"{CODE}\nnumber = {number}"),
            snapshot=snapshot,
            inputs={"flower_data": "vector"},
            outputs={"iris_species": "vector", "number": "integer"},
        )
