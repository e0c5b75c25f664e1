"""Metrics of the server, in the format of Prometheus.

Nothing is counted here for a call of a service: what managers and the engine have counted is read
when a monitor asks. Requests of other operations are counted as they are answered.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import prometheus_client
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from traitlets import Integer
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.monitoring.service_labels import ServiceLabels
from jupyter_mlsvc_server.scoring.statistics import LATENCY_BOUNDS, State

if TYPE_CHECKING:
    from jupyter_mlsvc_server.auth.accounts import AccountManager
    from jupyter_mlsvc_server.batches.manager import BatchManager
    from jupyter_mlsvc_server.events.hub import EventHub
    from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
    from jupyter_mlsvc_server.scoring.engine import ScoringEngine
    from jupyter_mlsvc_server.scoring.statistics import EngineCounters, VersionCounters
    from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager, SessionCounts
    from jupyter_mlsvc_server.storage.blobs import BlobStore, BlobUsage
    from jupyter_mlsvc_server.storage.clock import Clock

_BLOB_SECONDS: Final = 60.0
"""How long the measure of the blobs counts; measuring looks at each file."""

_NO_ROUTE: Final = "none"
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_SERVICE: Final = ("service", "version")

_BOUNDS: Final = [*map(str, LATENCY_BOUNDS), "+Inf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Managers that are asked, and the number of open connections."""

    accounts: AccountManager
    batches: BatchManager
    blobs: BlobStore
    connections: Callable[[], int]
    data_dir: Path
    events: EventHub
    scoring: ScoringEngine
    sessions: MlsvcSessionManager


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Figures of one moment, from which the metrics are written in a thread."""

    batches: int
    batches_ended: Mapping[str, int]
    blobs: BlobUsage
    connections: int
    disk_bytes: int
    disk_free_bytes: int
    engine: EngineCounters
    executions: Mapping[str, int]
    logins: Mapping[str, int]
    services: Sequence[VersionCounters]
    sessions: SessionCounts
    waiting_for_events: int


class MetricsReporter(LoggingConfigurable):
    """Collects the metrics of the server.

    Parameters
    ----------
    sources
        Managers that are asked.
    clock
        Clock by which the measure of the blobs gets old.
    """

    max_services = Integer(
        100,
        min=0,
        help="Service versions that have labels of their own in the metrics; all others share "
        "the label 'other'.",
    ).tag(config=True)

    def __init__(self, *, sources: Sources, clock: Clock = monotonic, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sources = sources
        self._labels = ServiceLabels(self.max_services)
        self._clock = clock
        self._blobs: tuple[float, BlobUsage] | None = None
        # A monitor knows itself when it first saw a series.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = prometheus_client.CollectorRegistry()
        for kind in (
            prometheus_client.ProcessCollector,
            prometheus_client.PlatformCollector,
            prometheus_client.GCCollector,
        ):
            kind(registry=self._registry)
        self._requests = prometheus_client.Counter(
            "mlsvc_http_requests",
            "Requests by the status of their answer. Calls of services that are answered at once "
            "are in mlsvc_calls only.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._request_seconds = prometheus_client.Histogram(
            "mlsvc_http_request_seconds",
            "Seconds from the head of a request to the end of its answer, as mlsvc_http_requests.",
            ("method", "route"),
            buckets=LATENCY_BOUNDS,
            registry=self._registry,
        )

    def note(self, request: AnsweredRequest) -> None:
        """Count a request."""
        method = request.method if request.method in _METHODS else "other"
        route = request.route or _NO_ROUTE
        self._requests.labels(method, route, str(request.status)).inc()
        self._request_seconds.labels(method, route).observe(request.seconds)

    async def report(self, accept: str = "") -> tuple[bytes, str]:
        """Write all metrics.

        Parameters
        ----------
        accept
            Formats that the monitor reads, as in the header of that name.

        Returns
        -------
        bytes, str
            The text, and its media type.
        """
        families = _Families(await self._snapshot(), self._registry)
        encode, media_type = choose_encoder(accept)
        # Many services make many lines.
        return await asyncio.to_thread(encode, families), media_type

    async def _snapshot(self) -> Snapshot:
        sources = self._sources
        disk = await asyncio.to_thread(shutil.disk_usage, sources.data_dir)
        blobs = await self._blob_usage()
        engine = await sources.scoring.counters()
        return Snapshot(
            batches=sources.batches.running,
            batches_ended=Counter(sources.batches.ended),
            blobs=blobs,
            connections=sources.connections(),
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            engine=engine,
            executions=Counter(sources.sessions.executions),
            logins=Counter(sources.accounts.logins),
            services=self._labels.bounded(engine.versions),
            sessions=sources.sessions.counts(),
            waiting_for_events=sources.events.waiting,
        )

    async def _blob_usage(self) -> BlobUsage:
        now = self._clock()
        if self._blobs is None or now - self._blobs[0] >= _BLOB_SECONDS:
            self._blobs = (now, await self._sources.blobs.usage())
        return self._blobs[1]


class _Families:
    """Metrics of a snapshot, and those that were counted as it happened."""

    def __init__(self, snapshot: Snapshot, counted: prometheus_client.CollectorRegistry) -> None:
        self._snapshot = snapshot
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("mlsvc_server", "The server.", {"version": __version__})
        yield from _of_services(self._snapshot.services)
        yield from _of_engine(self._snapshot.engine)
        yield from _of_sessions(self._snapshot)
        yield from _of_storage(self._snapshot)
        yield from _of_callers(self._snapshot)
        yield from self._counted.collect()


Rows = Iterable[tuple[Sequence[str], float]]
"""Values of labels, and the figure."""


def _of_services(services: Sequence[VersionCounters]) -> Iterator[Metric]:
    keys = [((each.name, each.version), each) for each in services]
    yield _counter(
        "mlsvc_calls",
        "Calls of services by outcome: success, error (the code failed), rejected (it did not "
        "fit), unanswered (deadline, full queue, lost worker).",
        (*_SERVICE, "outcome"),
        [((*key, outcome), count) for key, each in keys for outcome, count in _outcomes(each)],
    )
    latency = HistogramMetricFamily(
        "mlsvc_call_seconds",
        "Seconds from the arrival of a call at the queue to its answer.",
        labels=_SERVICE,
    )
    for key, each in keys:
        buckets = list(zip(_BOUNDS, map(float, each.latency.counts), strict=True))
        latency.add_metric(key, buckets, each.latency.seconds)
    yield latency
    yield _gauge(
        "mlsvc_calls_waiting",
        "Calls that wait for a worker.",
        _SERVICE,
        [(key, each.waiting) for key, each in keys],
    )
    yield _gauge(
        "mlsvc_workers", "Worker processes.", _SERVICE, [(key, each.workers) for key, each in keys]
    )
    yield _counter(
        "mlsvc_workers_retired",
        "Workers that were replaced because a call changed what can't be put back.",
        _SERVICE,
        [(key, each.retired) for key, each in keys],
    )
    yield _counter(
        "mlsvc_workers_lost",
        "Workers that ended unexpectedly.",
        _SERVICE,
        [(key, each.lost_workers) for key, each in keys],
    )
    yield _counter(
        "mlsvc_templates_lost",
        "Templates that ended unexpectedly; all workers of the version start again.",
        _SERVICE,
        [(key, each.lost_templates) for key, each in keys],
    )


def _outcomes(version: VersionCounters) -> Iterator[tuple[str, int]]:
    yield "success", version.calls - version.errors - version.rejected
    yield "error", version.errors - version.unanswered
    yield "rejected", version.rejected
    yield "unanswered", version.unanswered


def _of_engine(engine: EngineCounters) -> Iterator[Metric]:
    states = Counter(each.state for each in engine.versions)
    yield _gauge(
        "mlsvc_services",
        "Service versions that are loaded or were called.",
        ("state",),
        [((state.value,), states[state]) for state in State],
    )
    yield _counter(
        "mlsvc_services_unloaded",
        "Service versions that were unloaded because nobody called them.",
        rows=[((), engine.unloaded)],
    )
    yield _counter(
        "mlsvc_forkserver_restarts",
        "Forkservers that were started because the one before had ended.",
        rows=[((), engine.forkserver_restarts)],
    )


def _of_sessions(snapshot: Snapshot) -> Iterator[Metric]:
    counts = snapshot.sessions
    yield _gauge("mlsvc_sessions", "Sessions.", ("runtime", "state"), counts.sessions.items())
    yield _gauge(
        "mlsvc_executions_waiting",
        "Executions of sessions that wait for their turn.",
        rows=[((), counts.queued)],
    )
    yield _counter(
        "mlsvc_executions",
        "Executions of sessions that ended.",
        ("outcome",),
        [((state,), snapshot.executions[state]) for state in ("succeeded", "failed", "cancelled")],
    )
    yield _gauge(
        "mlsvc_batches", "Batches that run or wait for their turn.", rows=[((), snapshot.batches)]
    )
    yield _counter(
        "mlsvc_batches_ended",
        "Batches that ended.",
        ("state",),
        [((each,), snapshot.batches_ended[each]) for each in ("Complete", "Failed", "Cancelled")],
    )


def _of_storage(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("mlsvc_blobs", "Blobs of snapshots and models.", rows=[((), snapshot.blobs.blobs)])
    yield _gauge("mlsvc_blob_bytes", "Bytes of all blobs.", rows=[((), snapshot.blobs.size)])
    yield _gauge(
        "mlsvc_disk_bytes",
        "Size of the file system with the data folder.",
        rows=[((), snapshot.disk_bytes)],
    )
    yield _gauge(
        "mlsvc_disk_free_bytes",
        "Bytes of that file system that are free.",
        rows=[((), snapshot.disk_free_bytes)],
    )


def _of_callers(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter(
        "mlsvc_logins",
        "Logins by outcome: success, wrong (name or password), limited (too many).",
        ("outcome",),
        [((each,), snapshot.logins[each]) for each in ("success", "wrong", "limited")],
    )
    yield _gauge(
        "mlsvc_event_waiters",
        "Callers who wait for an event.",
        rows=[((), snapshot.waiting_for_events)],
    )
    yield _gauge("mlsvc_http_connections", "Open connections.", rows=[((), snapshot.connections)])


def _gauge(name: str, text: str, labels: Sequence[str] = (), rows: Rows = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _counter(name: str, text: str, labels: Sequence[str] = (), rows: Rows = ()) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family
