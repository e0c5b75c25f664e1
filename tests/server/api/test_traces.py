"""Traces of requests: which spans they have, whose trace they belong to, and who is told of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jupyter_mlsvc_server.api.body_memory import BodyMemory
from jupyter_mlsvc_server.api.http_server import HttpServer
from jupyter_mlsvc_server.api.protocol import Limits
from jupyter_mlsvc_server.api.traced_protocol import TracedProtocol, TracedScoreEntry
from jupyter_mlsvc_server.errors import Busy
from jupyter_mlsvc_server.formats.pieces import Body
from jupyter_mlsvc_server.monitoring.logs import TextLines
from jupyter_mlsvc_server.monitoring.traces import Traces
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import CallTimes, ScoringAnswer
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.service_log import LogEntry
from tests.server.api.stub import MAX_BODY_BYTES, App, Client, Engine, Tokens

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"traceparent: 00-{TRACE}-{PARENT}-01\r\n"


class TimedEngine(Engine):
    """Answers with the times of a call; keeps the last entry of a log."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = LogEntry(1, 0.0, "info", "printed", "")

    def submit(
        self, key: DefinitionKey, body: Body, ended: Any, *_others: object
    ) -> PendingRequest:
        call = PendingRequest(key, body, ended)
        if key.version == "full":
            call.end(Busy("All workers are busy.", retry_after=1))
        else:
            call.end(self._answer(key.version))
        return call

    def _answer(self, version: str) -> ScoringAnswer:
        times = CallTimes(1.0, 2.0, 5.0, 3.0, 4.0)
        return ScoringAnswer(200, b"{}", version != "raises", True, self.entry, times)

    async def consume(self, name: str, version: str, body: Body, *_others: object) -> ScoringAnswer:
        return self._answer(version)


class Server:
    """A server that makes traces, and what it has exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.traces = Traces(self.exporter)
        self.engine = TimedEngine()
        self.lines: list[str] = []
        log = logging.getLogger("tests.traced")
        log.handlers = [handler := _Lines(self.lines)]
        handler.setFormatter(TextLines("%(message)s"))
        score = TracedScoreEntry(
            traces=self.traces,
            tokens=Tokens(),
            engine=self.engine,
            max_body_bytes=MAX_BODY_BYTES,
            memory=BodyMemory(2**20),
        )
        self.server = HttpServer(
            app=App(),
            score=score,
            limits=Limits(),
            log=log,
            traces=self.traces,
            observers=[self.traces.note],
        )
        self.server.look()

    async def ask(self, *requests: str) -> str:
        """Send requests on one connection, and return what is answered."""
        client, connection = Client(), TracedProtocol(self.server)
        connection.connection_made(client)
        for request in requests:
            connection.data_received(request.encode())
            while connection.is_busy:  # noqa: ASYNC110 - the application tells nobody
                await asyncio.sleep(0)
        return client.answers.decode()

    def spans(self) -> list[ReadableSpan]:
        """Return the spans that have ended, those that ended first before others."""
        self.traces._provider.force_flush()
        return [*self.exporter.get_finished_spans()]


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@pytest.fixture
async def server() -> Server:
    return Server()


def call(version: str = "1.0", headers: str = "") -> str:
    return (
        f"POST /api/Iris/{version} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer known\r\n"
        f"{headers}Content-Length: 2\r\n\r\n{{}}"
    )


def _parent(span: ReadableSpan) -> str:
    return "" if span.parent is None else f"{span.parent.span_id:016x}"


def _id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def _trace(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def _seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return round((span.end_time - span.start_time) / 1e9, 6)


async def test_call_has_spans_for_queue_worker_and_code(server: Server) -> None:
    answer = await server.ask(call(headers=TRACEPARENT))
    queue, code, worker, request = sorted(
        server.spans(),
        key=lambda span: (
            ["queue", "code", "worker"].index(span.name)
            if span.name in {"queue", "code", "worker"}
            else 3
        ),
    )
    assert [_trace(span) for span in (queue, code, worker, request)] == [TRACE] * 4
    assert _parent(request) == PARENT
    assert [_parent(queue), _parent(worker), _parent(code)] == [
        _id(request), _id(request), _id(worker),
    ]  # fmt: skip
    assert [_seconds(span) for span in (queue, worker, code)] == [1.0, 3.0, 1.0]
    assert request.name == "POST /api/{name}/{version}"
    attributes = dict(request.attributes or {})
    assert attributes["http.response.status_code"] == 200
    assert f"X-Trace-Id: {TRACE}\r\n" in answer
    assert f"X-Request-Id: {attributes['mlsvc.request_id']}\r\n" in answer
    entry = server.engine.entry
    assert (entry.trace_id, entry.request_id) == (TRACE, attributes["mlsvc.request_id"])


async def test_known_head_keeps_its_trace_and_calls_without_one_get_their_own(
    server: Server,
) -> None:
    await server.ask(call(headers=TRACEPARENT), call(headers=TRACEPARENT), call(), call())
    requests = [span for span in server.spans() if span.name.startswith("POST")]
    assert len(server.server.heads._known) == 2
    first, second, third, fourth = (_trace(span) for span in requests)
    assert (first, second) == (TRACE, TRACE)
    assert len({TRACE, third, fourth}) == 3


async def test_failed_code_is_told_from_a_failed_request(server: Server) -> None:
    await server.ask(call("raises"), call("full"))
    spans = {span.name: span for span in server.spans()}
    assert dict(spans["code"].attributes or {}) == {"mlsvc.success": False}
    raised, refused = (span for span in server.spans() if span.name.startswith("POST"))
    assert raised.status.is_unset
    assert not refused.status.is_ok
    assert not refused.status.is_unset
    assert dict(refused.attributes or {})["http.response.status_code"] == 503
    (line,) = server.lines
    assert line.endswith(f", trace {_trace(refused)})")


async def test_request_of_the_application_has_a_span_and_its_id(server: Server) -> None:
    answer = await server.ask(f"GET /status HTTP/1.1\r\nHost: x\r\n{TRACEPARENT}\r\n")
    (span,) = server.spans()
    assert (_trace(span), _parent(span)) == (TRACE, PARENT)
    assert f"x-trace-id: {TRACE}\r\n" in answer


async def test_broken_traceparent_begins_a_trace(server: Server) -> None:
    answer = await server.ask(call(headers="traceparent: 00-nonsense-01\r\n"))
    (request,) = (span for span in server.spans() if span.name.startswith("POST"))
    assert _parent(request) == ""
    assert f"X-Trace-Id: {_trace(request)}\r\n" in answer


async def test_call_through_the_application_has_the_same_spans(server: Server) -> None:
    with server.traces.request({}):
        answer = await server.engine.consume("Iris", "1.0", b"{}")
        assert server.server.score.identified(answer, "an id") == b"{}"
    assert {span.name for span in server.spans()} == {"queue", "worker", "code", "request"}
    assert server.engine.entry.trace_id
