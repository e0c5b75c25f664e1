"""Metrics: what is exported, by which names, and who may read them."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from traitlets.config import Config

from jupyter_mlsvc_server.api.authentication import Authentication
from jupyter_mlsvc_server.api.metrics import (
    MetricsAccess,
    MetricsRoutes,
    read_metrics_key,
)
from jupyter_mlsvc_server.auth.errors import UnusableSecretFile
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
from jupyter_mlsvc_server.monitoring.metrics import MetricsReporter, Sources
from jupyter_mlsvc_server.scoring.statistics import (
    EngineCounters,
    Latency,
    State,
    VersionCounters,
)
from jupyter_mlsvc_server.sessions.manager import SessionCounts
from jupyter_mlsvc_server.storage.blobs import BlobUsage
from tests.clocks import ManualClock
from tests.docs.tables import DOCS, between
from tests.serving import served, tokens_of

KEY = "of-a-monitor-0123456789abcdef"
IRIS = VersionCounters(
    name="Iris",
    version="V1.0",
    state=State.BUSY,
    workers=2,
    waiting=3,
    calls=10,
    errors=4,
    rejected=1,
    unanswered=1,
    retired=5,
    lost_workers=6,
    lost_templates=7,
    latency=Latency().with_sample([0.002, 0.02, 20.0], 9),
)


class Blobs:
    """Counts how often it was measured."""

    measured = 0

    async def usage(self) -> BlobUsage:
        self.measured += 1
        return BlobUsage(2, 300)


def reporter_of(
    *versions: VersionCounters,
    folder: Path,
    blobs: Any = None,
    clock: Callable[[], float] = monotonic,
    **settings: Any,
) -> MetricsReporter:
    """A reporter of managers that did all there is."""

    async def counters() -> EngineCounters:
        return EngineCounters(versions=versions, unloaded=8, forkserver_restarts=9)

    counts = SessionCounts(sessions={("R", "busy"): 1}, queued=2)
    parts: dict[str, Any] = {
        "accounts": SimpleNamespace(logins=Counter(success=4, wrong=5)),
        "batches": SimpleNamespace(running=6, ended=Counter(Complete=7)),
        "blobs": blobs or Blobs(),
        "connections": lambda: 8,
        "events": SimpleNamespace(waiting=9),
        "scoring": SimpleNamespace(counters=counters),
        "sessions": SimpleNamespace(counts=lambda: counts, executions=Counter(failed=1)),
    }
    sources = Sources(data_dir=folder, **parts)
    config = Config(MetricsReporter=settings)
    reporter = MetricsReporter(sources=sources, clock=clock, config=config)
    reporter.note(AnsweredRequest("r1", "GET", "/services/a", "/services/{name}", 200, 0.03))
    return reporter


async def figures(reporter: MetricsReporter) -> dict[str, float]:
    """Values by names with their labels, as a monitor reads them."""
    text, media_type = await reporter.report()
    assert media_type.startswith("text/plain; version=")
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_figures_of_a_service_version(tmp_path: Path) -> None:
    found = await figures(reporter_of(IRIS, folder=tmp_path))
    outcomes = {"success": 5, "error": 3, "rejected": 1, "unanswered": 1}
    for outcome, count in outcomes.items():
        label = sorted(["Iris", "V1.0", outcome])
        assert found[f"mlsvc_calls_total{label}"] == count
    key = ["Iris", "V1.0"]
    assert found[f"mlsvc_calls_waiting{key}"] == 3
    assert found[f"mlsvc_workers{key}"] == 2
    assert found[f"mlsvc_workers_retired_total{key}"] == 5
    assert found[f"mlsvc_workers_lost_total{key}"] == 6
    assert found[f"mlsvc_templates_lost_total{key}"] == 7
    assert found[f"mlsvc_call_seconds_bucket{['0.0025', *key]}"] == 3
    assert found[f"mlsvc_call_seconds_bucket{['0.025', *key]}"] == 6
    assert found[f"mlsvc_call_seconds_bucket{['10.0', *key]}"] == 6
    assert found[f"mlsvc_call_seconds_count{key}"] == 9
    assert found[f"mlsvc_call_seconds_sum{key}"] == pytest.approx(3 * 20.022)


async def test_figures_of_the_other_parts(tmp_path: Path) -> None:
    found = await figures(reporter_of(IRIS, folder=tmp_path))
    expected = {
        "mlsvc_services['busy']": 1,
        "mlsvc_services['failing']": 0,
        "mlsvc_services_unloaded_total[]": 8,
        "mlsvc_forkserver_restarts_total[]": 9,
        "mlsvc_sessions['R', 'busy']": 1,
        "mlsvc_executions_waiting[]": 2,
        "mlsvc_executions_total['failed']": 1,
        "mlsvc_executions_total['succeeded']": 0,
        "mlsvc_batches[]": 6,
        "mlsvc_batches_ended_total['Complete']": 7,
        "mlsvc_logins_total['success']": 4,
        "mlsvc_logins_total['wrong']": 5,
        "mlsvc_blobs[]": 2,
        "mlsvc_blob_bytes[]": 300,
        "mlsvc_event_waiters[]": 9,
        "mlsvc_http_connections[]": 8,
        "mlsvc_http_requests_total['/services/{name}', '200', 'GET']": 1,
        "mlsvc_http_request_seconds_bucket['/services/{name}', '0.05', 'GET']": 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert 0 < found["mlsvc_disk_free_bytes[]"] <= found["mlsvc_disk_bytes[]"]
    assert found["process_open_fds[]"] > 0


async def test_labels_of_requests_are_bounded(tmp_path: Path) -> None:
    reporter = reporter_of(folder=tmp_path)
    for number in range(50):
        reporter.note(AnsweredRequest("r", f"M{number}", f"/{number}", "", 404, 0.001))
    found = await figures(reporter)
    assert found["mlsvc_http_requests_total['404', 'none', 'other']"] == 50


async def test_max_services_bounds_the_labels(tmp_path: Path) -> None:
    versions = [VersionCounters(name=f"S{n}", version="1", calls=n) for n in range(5)]
    found = await figures(reporter_of(*versions, folder=tmp_path, max_services=2))
    calls = {key: value for key, value in found.items() if key.startswith("mlsvc_calls_total")}
    assert calls.pop("mlsvc_calls_total['other', 'other', 'success']") == 2 + 3 + 4
    assert sum(calls.values()) == 1


async def test_blobs_are_measured_once_a_minute(tmp_path: Path) -> None:
    clock, blobs = ManualClock(), Blobs()
    reporter = reporter_of(folder=tmp_path, blobs=blobs, clock=clock)
    for _ in range(3):
        await reporter.report()
    assert blobs.measured == 1
    clock.advance(60)
    await reporter.report()
    assert blobs.measured == 2


# --- names -----------------------------------------------------------------------------------


async def exported(folder: Path) -> dict[str, tuple[str, set[str], str]]:
    """Kind, labels and meaning of each of our metrics."""
    text, _ = await reporter_of(IRIS, folder=folder).report()
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        if family.name.startswith("mlsvc"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, labels, family.documentation)
    return found


async def test_the_page_lists_every_metric(tmp_path: Path) -> None:
    table = between((DOCS / "reference/metrics.md").read_text(), "metrics")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    described = {
        name.strip("`"): (kind, set(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in rows
    }
    assert described == await exported(tmp_path)


async def test_the_dashboard_names_only_what_is_exported(tmp_path: Path) -> None:
    dashboard = json.loads((DOCS / "how-to/grafana-dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += [each["query"]["query"] for each in dashboard["templating"]["list"][1:]]
    named = {name for each in asked for name in re.findall(r"\b(?:mlsvc|process)_\w+", each)}
    names = {key.partition("[")[0] for key in await figures(reporter_of(IRIS, folder=tmp_path))}
    assert len(named) > 25
    assert named - names == set()
    labels = set().union(*(labels for _, labels, _ in (await exported(tmp_path)).values()))
    grouped = re.findall(r"\bby \(([^)]*)\)", " ".join(asked))
    used = {label.strip() for each in grouped for label in each.split(",")}
    used |= set(re.findall(r"(\w+)=~?\"", " ".join(asked)))
    assert used - labels - {"job", "instance", "le"} == set()


async def test_the_rules_name_only_what_is_exported(tmp_path: Path) -> None:
    page = (DOCS / "how-to/monitoring.md").read_text()
    rules = page.partition("# mlsvc-rules.yml")[2]
    named = set(re.findall(r"\bmlsvc_\w+", rules))
    assert named
    assert named - set(await exported(tmp_path)) == set()


# --- access ----------------------------------------------------------------------------------


async def status_for(token: str | None, *, role: Role, folder: Path) -> int:
    tokens = tokens_of("ann", role)
    access = MetricsAccess(Authentication(tokens), KEY)
    routes = MetricsRoutes(metrics=reporter_of(folder=folder), access=access)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with served(routes.table(), tokens=tokens) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        answer = await asyncio.to_thread(requests.get, url, headers=headers, timeout=60)
    return answer.status_code


@pytest.mark.parametrize(
    ("token", "role", "status"),
    [
        (None, Role.OWNER, 401),
        ("of-ann", Role.OWNER, 200),
        ("of-ann", Role.CONTRIBUTOR, 403),
        (KEY, Role.READER, 200),
        (KEY + "x", Role.READER, 403),
    ],
)
async def test_owners_and_monitors_read_the_metrics(
    tmp_path: Path, token: str | None, role: Role, status: int
) -> None:
    assert await status_for(token, role=role, folder=tmp_path) == status


@pytest.mark.parametrize("content", ["", "short", "\n" + KEY])
def test_a_key_that_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(UnusableSecretFile):
        read_metrics_key(file)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o644)
    with pytest.raises(UnusableSecretFile, match="chmod 600"):
        read_metrics_key(file)
    file.chmod(0o600)
    assert read_metrics_key(file) == KEY
