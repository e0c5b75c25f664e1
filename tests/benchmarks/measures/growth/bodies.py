"""Bodies of some megabytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.measures.large_bodies import longest_turns
from tests.benchmarks.peers import OurServer, PeerFailed, publish
from tests.benchmarks.plan import Plan

_SIZES: Final = (1, 10, 50)
_MEGABYTES: Final = 100
"""Megabytes that are sent at each size."""


def grow(plan: Plan) -> list[Growth]:
    """Send texts; the loop is watched by another server, as it is never idle then."""
    turns = longest_turns(plan, plan.work / "grown-turns", _SIZES)
    with OurServer(plan.work / "grown-bodies") as server, server.connect() as connection:
        path = publish(
            *(connection, "In", "n = len(t)"),
            snapshot=None,
            inputs={"t": "character"},
            outputs={"n": "integer"},
        )

        def do(size: int) -> Mapping[str, float]:
            text = b"x" * (size * 10**6)
            connection.call("POST", path, b'{"t":"%b"}' % text)  # what only the first one costs
            server.wait_until_quiet()
            begun = server.processor_seconds()
            for _ in range(_MEGABYTES // size):
                answer = connection.call("POST", path, b'{"t":"%b"}' % text)
                if answer["outputParameters"]["n"] != len(text):
                    raise PeerFailed("The body did not come whole.")
            return {
                "processor ms a MB": 1000 * (server.processor_seconds() - begun) / _MEGABYTES,
                "ms, longest turn of the loop": max(turns[size].values()),
            }

        limits = {
            # It grows twofold: the system clears the memory of a large body each time.
            "processor ms a MB": Limit.at_the_largest(8),
            "ms, longest turn of the loop": Limit.at_the_largest(5),
        }
        return grown("MB of a body", _SIZES, do, limits)
