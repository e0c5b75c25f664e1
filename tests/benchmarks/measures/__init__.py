"""What is measured, one module a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section

from . import batch, memory, sessions, snapshots, throughput

MEASURES: Mapping[str, Callable[[Plan], Section]] = {
    "throughput": throughput.measure,
    "batch": batch.measure,
    "sessions": sessions.measure,
    "snapshots": snapshots.measure,
    "memory": memory.measure,
}
