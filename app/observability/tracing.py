"""Trace a request, its wait and its computation as OpenTelemetry spans, if the environment asks for them."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from starlette.types import Scope

from eigenserve import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = logging.getLogger("eigenserve.tracing")

#: At the end, how long spans that were not sent yet may take.
FLUSH_MS = 2000


class Trace:
    """Trace one request.

    Attributes:
        id: of the trace, in hexadecimal.
    """

    def __init__(self, tracing: Tracing, span: Span, method: str) -> None:
        self._tracing, self._span, self._method = tracing, span, method
        self.id = f"{span.get_span_context().trace_id:032x}"

    def part(self, name: str, started: float, ended: float) -> None:
        """Add a part that took from ``started`` to ``ended`` (``time.monotonic``). Any thread may."""
        tracing = self._tracing
        span = tracing.tracer.start_span(name, tracing.within(self._span), start_time=_epoch_ns(started))
        span.end(_epoch_ns(ended))

    def end(self, route: str, status: int) -> None:
        """End it, with what it came to."""
        span = self._span
        if span.is_recording():
            if route != "none":
                span.update_name(f"{self._method} {route}")
                span.set_attribute("http.route", route)
            if status:
                span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(self._tracing.error)
        span.end()


class Tracing:
    """Send traces where they go.

    Attributes:
        tracer: makes the spans.
        error: the status of a span that failed.
    """

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._propagator = TraceContextTextMapPropagator()
        self._server = SpanKind.SERVER
        self.within = set_span_in_context
        self.tracer = provider.get_tracer("eigenserve", __version__)
        self.error = StatusCode.ERROR

    def begin(self, scope: Scope, arrived: float) -> Trace:
        """Begin the trace of a request, or go on with its client's (W3C traceparent). The query stays out of it."""
        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        span = self.tracer.start_span(
            scope["method"],
            self._propagator.extract(carrier),
            self._server,
            {"http.request.method": scope["method"], "url.path": scope["path"]},
            start_time=_epoch_ns(arrived),
        )
        return Trace(self, span, scope["method"])

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.force_flush(FLUSH_MS)
        self._provider.shutdown()


def tracing_from_environment() -> Tracing | None:
    """Set up what the standard variables ``OTEL_*`` ask for: OTLP over HTTP to the endpoint they name, or nothing."""
    wanted = os.environ.get("OTEL_TRACES_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    named = any(os.environ.get(name) for name in endpoints)
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or not (wanted == "otlp" or (named and not wanted)):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning(
            "no traces: OTEL_* asks for them, but a package is missing; pip install 'eigenserve[otel]'",
            extra={"missing": error.name},
        )
        return None
    has_name = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if has_name else {"service.name": "eigenserve"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def _epoch_ns(moment: float) -> int:
    """Convert a time of ``time.monotonic`` to nanoseconds since 1970."""
    return time.time_ns() - round((time.monotonic() - moment) * 1e9)
