"""What more of everything costs: versions, blobs, files, sessions, connections, bodies."""

from __future__ import annotations

from tests.benchmarks.growth import Growth, growth_table
from tests.benchmarks.peers import FAILURES
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
    rows: list[Growth] = []
    faults = []
    for grow in _ROWS:
        try:
            rows += grow(plan)
        except FAILURES as error:
            what = f"{grow.__module__.rpartition('.')[2]} ({grow.__name__})"
            faults.append(f"The growth of {what} could not be measured: {error}")
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
        faults=faults,
    )
