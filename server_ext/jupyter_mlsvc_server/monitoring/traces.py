"""Traces of requests, sent to a collector by OpenTelemetry where the operator wants them.

Only :func:`start_traces` imports OpenTelemetry, which the extra ``traces`` installs. A call has a
span, and in it one each for its wait in the queue, for its time with a worker, and in that for the
code. The times of these are taken where they pass and become spans when the answer is there, so
that a server without traces does nothing for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest
from jupyter_mlsvc_server.monitoring.logs import trace_scope
from jupyter_mlsvc_server.scoring.engine import CallTimes, ScoringAnswer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

NAMED_BY_ENVIRONMENT: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables of OpenTelemetry that say where a collector listens."""

_CARRIED: Final = frozenset({b"traceparent", b"tracestate"})
_STOP_SECONDS: Final = 3.0
"""For the last spans to be sent when the server ends."""

_SERVER_ERROR: Final = 500

Carrier = dict[str, str]
"""Headers that say which trace a request belongs to."""


class TracesNotInstalled(Exception):
    """OpenTelemetry is not installed; the message says how to mend that."""

    def __init__(self) -> None:
        super().__init__(
            "Traces need OpenTelemetry, which is not installed: pip install 'jupyter-mlsvc[traces]'"
        )


def carrier_of(headers: Sequence[tuple[bytes, bytes]]) -> Carrier:
    """Take what names a trace out of the headers of a request."""
    return {
        name.decode("ascii"): value.decode("latin-1") for name, value in headers if name in _CARRIED
    }


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """Span of a request that is being answered.

    Attributes
    ----------
    span : Span
        Of OpenTelemetry.
    trace_id : str
        Its trace, in 32 hexadecimal digits.
    """

    span: Span
    trace_id: str


class Traces:
    """Makes spans of requests.

    Parameters
    ----------
    exporter
        Where they are sent.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "jupyter-mlsvc"}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("jupyter_mlsvc_server")
        self._propagator = TraceContextTextMapPropagator()
        self._trace = trace
        self._context = Context
        # Spans have times since 1970, and calls are timed by the monotonic clock.
        self._offset = time.time_ns() - time.monotonic_ns()

    @contextlib.contextmanager
    def request(self, carrier: Carrier, began: float | None = None) -> Iterator[RequestSpan]:
        """Have a span for a request in the block, which is the current one there.

        Parameters
        ----------
        carrier
            Headers that name the caller's span.
        began
            When the request came, by the monotonic clock; now, where nothing is given.
        """
        began = time.monotonic() if began is None else began
        span = self._tracer.start_span(
            "request",
            # Not the current one: a connection may begin its next request within the last one.
            context=self._propagator.extract(carrier, context=self._context()),
            kind=self._trace.SpanKind.SERVER,
            start_time=self._moment(began),
        )
        trace_id = self._trace.format_trace_id(span.get_span_context().trace_id)
        try:
            with self._trace.use_span(span), trace_scope(trace_id):
                yield RequestSpan(span, trace_id)
        finally:
            span.end(self._moment(time.monotonic()))

    def note(self, request: AnsweredRequest) -> None:
        """Describe the current span by a request that was answered."""
        span = self._trace.get_current_span()
        span.update_name(f"{request.method} {request.route}".rstrip())
        span.set_attributes(
            {
                "http.request.method": request.method,
                "http.route": request.route,
                "http.response.status_code": request.status,
                "url.path": request.path,
                "mlsvc.request_id": request.id,
            }
        )
        if request.status >= _SERVER_ERROR:
            span.set_status(self._trace.StatusCode.ERROR)

    def note_call(self, times: CallTimes, *, has_failed: bool) -> None:
        """Add the spans of a call to the current one."""
        outcome = {"mlsvc.success": not has_failed}
        self._trace.get_current_span().set_attributes(outcome)
        self._add("queue", times.arrived, times.started)
        with self._trace.use_span(self._add("worker", times.started, times.answered)):
            self._add("code", times.code_began, times.code_ended, outcome)

    def note_record(self, request_id: str, answer: ScoringAnswer) -> str:
        """Make the spans of a record of a batch, a trace of its own; returns the id of that."""
        times = answer.times
        if times is None:
            return ""
        span = self._tracer.start_span(
            "record of a batch",
            context=self._context(),
            start_time=self._moment(times.arrived),
            attributes={"mlsvc.request_id": request_id},
        )
        with self._trace.use_span(span):
            self.note_call(times, has_failed=not answer.success)
        span.end(self._moment(max(times.arrived, times.answered)))
        return self._trace.format_trace_id(span.get_span_context().trace_id)

    def _add(
        self, name: str, began: float, ended: float, attributes: dict[str, bool] | None = None
    ) -> Span:
        start = self._moment(began)
        span = self._tracer.start_span(name, start_time=start, attributes=attributes)
        span.end(self._moment(max(began, ended)))
        return span

    def _moment(self, seconds: float) -> int:
        """Nanoseconds since 1970 of a time by the monotonic clock."""
        return int(seconds * 1e9) + self._offset

    async def stop(self) -> None:
        """Send the last spans, as long as that does not take too long."""
        # A thread that nobody joins: a collector that does not answer is no reason to stay.
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        await asyncio.to_thread(stopping.join, _STOP_SECONDS)


def start_traces(endpoint: str) -> Traces:
    """Send traces to a collector by OTLP over HTTP.

    Parameters
    ----------
    endpoint
        Where its traces go, such as ``http://localhost:4318/v1/traces``. Empty for what the
        variables of OpenTelemetry say.

    Raises
    ------
    TracesNotInstalled
        OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise TracesNotInstalled from None
    exporter: Any = OTLPSpanExporter(endpoint=endpoint or None)
    return Traces(exporter)
