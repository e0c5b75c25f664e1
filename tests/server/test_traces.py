"""A server that sends traces to a collector, over a real connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from traitlets.config import Config

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.monitoring import traces
from jupyter_mlsvc_server.server import CannotStart, MlsvcApp, _traces
from tests.contract.doors import sign_in
from tests.waiting import wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
CODE = {
    "code": "print('printed')\ny = 1",
    "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
}


class Collector(ThreadingHTTPServer):
    """Takes traces by OTLP over HTTP, and keeps their spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []

    def of_trace(self, trace_id: str) -> dict[str, Span]:
        """Return the spans of a trace by their names."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


@pytest.mark.kernel
def test_calls_are_traced_as_far_as_their_code(tmp_path: Path, collector: Collector) -> None:
    address = f"http://127.0.0.1:{collector.server_port}"
    with ServerProcess(
        data_dir=tmp_path,
        admin_password="correct horse",
        options=["--LocalEngine.preload=[]"],
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"},
    ) as server:
        door = sign_in(server.public_url, "admin", "correct horse")
        published = door.post("/services/Iris/1.0", json=CODE)
        assert published.status_code == 201
        answer = door.post("/api/Iris/1.0", json={}, headers=CALLER)
        assert answer.json()["outputParameters"] == {"y": 1}
        assert answer.headers["X-Trace-Id"] == TRACE
        (entry,) = door.get("/services/Iris/1.0/logs").json()
        assert (entry["text"], entry["traceId"]) == ("printed\n", TRACE)
        batch = door.post("/api/Iris/1.0/batch", json=[{}]).json()["batchExecutionId"]
        traced: dict[str, str] = {}

        def is_record_traced() -> bool:
            entries = door.get("/services/Iris/1.0/logs").json()
            traced.update({entry.get("requestId"): entry.get("traceId") for entry in entries})
            return bool(traced.get(f"{batch}/0"))

        wait_until(is_record_traced)
        wait_until(lambda: len(collector.of_trace(traced[f"{batch}/0"])) == 4)
        wait_until(lambda: len(collector.of_trace(TRACE)) == 4)
        wait_until(lambda: bool(collector.of_trace(published.headers["X-Trace-Id"])))
    assert set(collector.of_trace(traced[f"{batch}/0"])) == {
        "record of a batch", "queue", "worker", "code",
    }  # fmt: skip
    spans = collector.of_trace(TRACE)
    request, worker = spans["POST /api/{name}/{version}"], spans["worker"]
    assert request.parent_span_id.hex() == PARENT
    assert spans["queue"].parent_span_id == worker.parent_span_id == request.span_id
    code = spans["code"]
    assert code.parent_span_id == worker.span_id
    times = [worker.start_time_unix_nano, code.start_time_unix_nano]
    times += [code.end_time_unix_nano, worker.end_time_unix_nano]
    assert times == sorted(times)
    assert set(collector.of_trace(published.headers["X-Trace-Id"])) == {
        "POST /services/{name}/{version}"
    }


def test_traces_without_their_packages_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(_endpoint: str) -> traces.Traces:
        raise traces.TracesNotInstalled

    for name in traces.NAMED_BY_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("jupyter_mlsvc_server.server.start_traces", missing)
    assert _traces(MlsvcApp()) is None
    wanted = MlsvcApp(
        config=Config(MlsvcApp={"traces_endpoint": "http://localhost:4318/v1/traces"})
    )
    with pytest.raises(CannotStart, match=r"pip install 'jupyter-mlsvc\[traces\]'"):
        _traces(wanted)
    # The variable may be meant for other programs.
    monkeypatch.setenv(traces.NAMED_BY_ENVIRONMENT[1], "http://localhost:4318")
    assert _traces(MlsvcApp()) is None
