"""What is measured, one module a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section

from . import (
    batch,
    bodies,
    cold,
    disturbances,
    growth,
    large_bodies,
    memory,
    models,
    restores,
    sessions,
    snapshots,
    streams,
    throughput,
    waiting,
)

MEASURES: Mapping[str, Callable[[Plan], Section]] = {
    "throughput": throughput.measure,
    "waiting": waiting.measure,
    "streams": streams.measure,
    "bodies": bodies.measure,
    "large-bodies": large_bodies.measure,
    "batch": batch.measure,
    "sessions": sessions.measure,
    "cold": cold.measure,
    "snapshots": snapshots.measure,
    "restores": restores.measure,
    "memory": memory.measure,
    "models": models.measure,
    "disturbances": disturbances.measure,
    "growth": growth.measure,
}
