"""Limit the workers that the services of one person have together.

Schedulers of one person share a quota and say how many workers they have. One that wants another
worker where there is no room asks for it, and the engine lets workers of other versions go::

    for the first worker of a version   the least recently used idle ones
    for any further one                 of these only what has been idle for long

So a version that is called has a worker before another one has its second. Where all are at work,
calls wait in their queue, as they do for a busy worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, TypeVar


class WorkerQuota:
    """Counts the workers of one person's services.

    Parameters
    ----------
    limit
        How many there may be; 0 sets no limit.
    """

    __slots__ = ("__weakref__", "held", "limit", "reported_at")

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.held = 0
        """Workers that have started or are being started, and do not end."""
        self.reported_at = -math.inf
        """When the operator was told last that there was no room."""

    @property
    def is_full(self) -> bool:
        """Whether no more may be started."""
        return 0 < self.limit <= self.held


class Releasable(Protocol):
    """A pool that may have idle workers."""

    @property
    def used_at(self) -> float:
        """When the last request came."""

    @property
    def has_idle_worker(self) -> bool:
        """Whether a worker of it has nothing to do."""


PoolT = TypeVar("PoolT", bound=Releasable)


def least_recently_used(pools: Iterable[PoolT], *, unused_since: float) -> PoolT | None:
    """Choose the pool whose idle workers go, if any.

    Parameters
    ----------
    pools
        Those that may have to give something up.
    unused_since
        Pools that had a request later than this keep what they have.
    """
    idle = (each for each in pools if each.used_at <= unused_since and each.has_idle_worker)
    return min(idle, key=lambda each: each.used_at, default=None)
