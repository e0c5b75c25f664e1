"""Labels of service versions in metrics, of which there may be only so many.

A monitor keeps a series for each label that it ever saw. The first versions get labels of their
own, all others share one. Counters of that one never go down, though versions come and go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from jupyter_mlsvc_server.scoring.statistics import Latency, State, VersionCounters

OTHER: Final = "other"
"""Name and version of the label that the other versions share."""

_COUNTED: Final = (
    "calls", "errors", "rejected", "unanswered", "retired", "lost_workers", "lost_templates",
)  # fmt: skip


class ServiceLabels:
    """Gives labels to versions, in the order in which they come.

    Parameters
    ----------
    limit
        How many versions have a label of their own.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._own: set[tuple[str, str]] = set()
        self._known: dict[tuple[str, str], VersionCounters] = {}
        """Last counters of those that share a label."""
        self._shared = VersionCounters(name=OTHER, version=OTHER)

    def bounded(self, versions: Sequence[VersionCounters]) -> list[VersionCounters]:
        """Return the versions with a label of their own, and one row for all others."""
        own: list[VersionCounters] = []
        others: list[VersionCounters] = []
        for each in versions:
            (own if self._has_own((each.name, each.version)) else others).append(each)
        if not others and not self._shared.calls:
            return own
        return [*own, self._with_others(others)]

    def _has_own(self, key: tuple[str, str]) -> bool:
        # One that is deleted keeps its label: its series is in the monitor's memory all the same.
        if key not in self._own and len(self._own) < self._limit:
            self._own.add(key)
        return key in self._own

    def _with_others(self, others: Sequence[VersionCounters]) -> VersionCounters:
        shared = self._shared
        for each in others:
            shared = _with_progress(shared, self._known.get((each.name, each.version)), each)
        self._known = {(each.name, each.version): each for each in others}
        self._shared = replace(
            shared,
            state=State.READY,
            workers=sum(each.workers for each in others),
            waiting=sum(each.waiting for each in others),
        )
        return self._shared


def _with_progress(
    total: VersionCounters, before: VersionCounters | None, now: VersionCounters
) -> VersionCounters:
    """Add to a total what a version did since it was last looked at."""
    if before is None or before.calls > now.calls:  # it was published anew
        before = VersionCounters(name=now.name, version=now.version)
    counts = {
        name: getattr(total, name) + getattr(now, name) - getattr(before, name) for name in _COUNTED
    }
    rows = zip(total.latency.counts, before.latency.counts, now.latency.counts, strict=True)
    latency = Latency(
        tuple(sum_ + new - old for sum_, old, new in rows),
        total.latency.seconds + now.latency.seconds - before.latency.seconds,
    )
    return replace(total, latency=latency, **counts)
