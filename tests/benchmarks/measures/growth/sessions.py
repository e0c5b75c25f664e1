"""Sessions that are open at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from tests.benchmarks.growth import Growth, Limit, grown
from tests.benchmarks.peers import OurServer, run_in_session
from tests.benchmarks.plan import Plan


def grow(plan: Plan) -> list[Growth]:
    """Open more and more, each of which has executed something."""
    sizes = (5, 20, 50) if plan.scale == 1 else (5, 10, 20)
    sessions: list[str] = []
    options = ["--MlsvcSessionManager.max_sessions_per_user=0"]
    with OurServer(plan.work / "open", options=options) as server, server.connect() as connection:
        # The first session starts the forkserver of services too.
        connection.call("DELETE", f"/sessions/{run_in_session(connection, '1+1')}")
        server.wait_until_quiet()
        before = server.megabytes()

        def do(size: int) -> Mapping[str, float]:
            times = []
            spent_before, there = server.processor_seconds(), len(sessions)
            for _ in range(len(sessions), size):
                begun = time.perf_counter()
                answer = connection.call("POST", "/sessions", {"runtimeType": "Python"})
                times.append(time.perf_counter() - begun)
                sessions.append(run_in_session(connection, "1+1", answer["sessionId"]))
            server.wait_until_quiet()
            spent = server.processor_seconds() - spent_before
            return {
                "MB": server.megabytes() - before,
                "ms of the creation, median": 1000 * statistics.median(times),
                "processor ms until it has executed": 1000 * spent / (size - there),
            }

        limits = {
            "MB": Limit.of_each(25),
            "ms of the creation, median": Limit.at_the_largest(100),
            # Tells more on a busy machine. The processes that are kept ready cost too.
            "processor ms until it has executed": Limit.of_times(1.5),
        }
        return grown("sessions", sizes, do, limits)
