"""Metrics of a server at work: each kind of work moves its figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.pytest_plugin import Api
from tests.server.extension.waiting import until

pytestmark = pytest.mark.kernel

DIVIDES = {
    "code": "import os\nif n == 7: os._exit(1)\ny = 1 / n",
    "inputParameterDefinitions": [{"name": "n", "type": "integer"}],
    "outputParameterDefinitions": [{"name": "y", "type": "numeric"}],
}

Figure = Callable[..., float]


@pytest.fixture
def figure(mlsvc_api: Api) -> Figure:
    """A function that gives the sum of a metric over all that has some values of labels."""

    def read(name: str, **labels: str) -> float:
        answer = mlsvc_api("GET", "/metrics")
        assert answer.status_code == 200, answer.text
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    return read


def test_metrics_count_calls_by_outcome(mlsvc_api: Api, figure: Figure, service_name: str) -> None:
    path = f"/services/{service_name}/1.0"
    assert mlsvc_api("POST", path, json=DIVIDES).status_code == 201
    for n in (1, 2, 0, "x", 7):
        mlsvc_api("POST", f"/api/{service_name}/1.0", json={"n": n})

    def count(outcome: str) -> float:
        return figure("mlsvc_calls_total", service=service_name, outcome=outcome)

    outcomes = ("success", "error", "rejected", "unanswered")
    assert [count(outcome) for outcome in outcomes] == [2, 1, 1, 1]
    assert figure("mlsvc_call_seconds_count", service=service_name) == 4
    until(lambda: figure("mlsvc_workers_lost_total", service=service_name) >= 1)
    assert mlsvc_api("DELETE", path).status_code == 200


def test_metrics_count_sessions_and_executions(mlsvc_api: Api, figure: Figure) -> None:
    def counts() -> list[float]:
        return [figure("mlsvc_executions_total", outcome=each) for each in ("succeeded", "failed")]

    succeeded, failed = counts()
    session = mlsvc_api("POST", "/sessions", json={}).json()["sessionId"]
    assert figure("mlsvc_sessions", runtime="Python") >= 1
    for code in ("1", "1 / 0"):
        mlsvc_api("POST", f"/sessions/{session}/execute", json={"code": code})
    until(lambda: counts() == [succeeded + 1, failed + 1])
    mlsvc_api("DELETE", f"/sessions/{session}")


def test_metrics_count_logins_and_requests(mlsvc_server: ServerProcess, figure: Figure) -> None:
    wrong = figure("mlsvc_logins_total", outcome="wrong")
    refused = {"method": "POST", "route": "/login", "status": "401"}
    requests_before = figure("mlsvc_http_requests_total", **refused)
    body = {"username": "nobody-of-metrics", "password": "wrong"}
    requests.post(f"{mlsvc_server.public_url}/login", json=body, timeout=60)
    assert figure("mlsvc_logins_total", outcome="wrong") == wrong + 1
    assert figure("mlsvc_http_requests_total", **refused) == requests_before + 1
