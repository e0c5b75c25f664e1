"""What more of everything costs: versions, blobs, files, sessions, connections, bodies."""

from __future__ import annotations

from tests.benchmarks.growth import growth_table
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Section

from . import blobs, bodies, connections, files, lists, models, sessions, snapshots, versions

_ROWS = (
    versions.published,
    versions.called,
    lists.grow,
    blobs.grow,
    files.grow,
    snapshots.grow,
    sessions.grow,
    connections.grow,
    bodies.grow,
    models.grow,
)


def measure(plan: Plan) -> Section:
    """Measure all, each with a server of its own."""
    rows = [row for grow in _ROWS for row in grow(plan)]
    return Section(
        title="Growth",
        tables=[growth_table(rows)],
        data={
            f"{row.of}: {row.cost}": {str(size): row.costs[size] for size in row.costs}
            for row in rows
        },
        notes=[
            (
                "Memory is the proportional set size of all processes of the server on top of "
                "what they took before. Processor time is that of all of them together."
            ),
            "each: what each further one costs, the slope of the line that fits best.",
        ],
        bars=[row.bar for row in rows],
    )
