"""Count what Prometheus reads at /metrics, added up over all worker processes."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from eigenserve.app.wire.requests import Asked
from eigenserve.model.rows.warnings import RowWarnings

#: Where worker processes share their numbers; set by the supervisor before a worker starts.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096, 16384, 65536)


class Metrics:
    """Hold the service's counters and histograms. Labels come from routes and models, never from a client."""

    def __init__(self, measured: Collector | None = None) -> None:
        """Make the counters. ``measured`` adds what one process knows of all, when the text is written."""
        registry = CollectorRegistry()
        self.requests = Counter(
            "eigenserve_requests", "Requests answered", ("route", "method", "status"), registry=registry
        )
        self.latency = Histogram(
            "eigenserve_request_seconds",
            "From the first byte of a request to the last of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.rows = Counter("eigenserve_rows", "Rows answered", ("model", "kind"), registry=registry)
        self.warnings = Counter(
            "eigenserve_warnings", "Rows answered with a warning", ("model", "kind"), registry=registry
        )
        self.outcomes = Counter(
            "eigenserve_outcomes", "Outcomes: counted, refused, or of unknown requests", ("result",), registry=registry
        )
        self.records_dropped = Counter(
            "eigenserve_records_dropped", "Rows answered and not recorded: no room, or not writable", registry=registry
        )
        self.records_written = Counter(
            "eigenserve_records_written", "Rows recorded, as parts or as events", ("sink",), registry=registry
        )
        self.records_waiting = Gauge(
            "eigenserve_records_waiting",
            "Rows answered that wait to be recorded",
            ("sink",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.batch_rows = Histogram(
            "eigenserve_batch_rows",
            "Rows solved together on the event loop",
            buckets=_ROWS,
            registry=registry,
        )
        self.solve = Histogram("eigenserve_solve_seconds", "Solving one batch", buckets=_SECONDS, registry=registry)
        self.queue_wait = Histogram(
            "eigenserve_queue_wait_seconds",
            "Large requests' wait for a thread",
            buckets=_SECONDS,
            registry=registry,
        )
        self.queued_rows = Gauge(
            "eigenserve_queued_rows",
            "Rows accepted and not answered yet",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.rejections = Counter("eigenserve_rejections", "Requests refused", ("reason",), registry=registry)
        self.key_requests = Counter(
            "eigenserve_key_requests", "Requests answered, by name of key", ("key", "status"), registry=registry
        )
        self.key_rows = Counter("eigenserve_key_rows", "Rows answered, by name of key", ("key",), registry=registry)
        self.loads = Counter(
            "eigenserve_model_loads",
            "Model versions loaded or refused",
            ("model", "outcome"),
            registry=registry,
        )
        self.models = Gauge(
            "eigenserve_model_version",
            "Newest version served",
            ("model",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._registry, self._measured = registry, measured
        if measured is not None:
            registry.register(measured)
        self._row_children: dict[tuple[str, str], Counter] = {}
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; ``status`` is 0 for a client that left before."""
        key = (route, method, status)
        children = self._children.get(key)
        if children is None:
            # Looking a child up by its labels costs more than counting.
            known = method if method in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH") else "other"
            children = (self.requests.labels(route, known, str(status)), self.latency.labels(route))
            if len(self._children) < 1000:
                self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)
        if status in _REASONS:
            self.rejections.labels(_REASONS[status]).inc()

    def of_key(self, name: str, status: int, rows: int) -> None:
        """Count one answered request of the owner of a key."""
        self.key_requests.labels(name, str(status)).inc()
        if rows:
            self.key_rows.labels(name).inc(rows)

    def batch(self, rows: int, requests: int, seconds: float) -> None:
        """Record what the engine solved together."""
        self.batch_rows.observe(rows)
        self.solve.observe(seconds)

    def predicted(self, asked: Asked, kind: str) -> None:
        """Count the rows of a request."""
        key = (asked.served.name, kind)
        child = self._row_children.get(key)
        if child is None:
            child = self._row_children[key] = self.rows.labels(*key)
        child.inc(asked.count)

    def warned(self, model: str, warnings: RowWarnings) -> None:
        """Count the rows that have a warning, by its kind."""
        for kind, rows in warnings.rows_by_kind().items():
            self.warnings.labels(model, kind).inc(rows)

    def settled(self, result: str, rows: int) -> None:
        """Count outcomes that were "counted", "refused" or of "unknown" requests."""
        if rows:
            self.outcomes.labels(result).inc(rows)

    def model_loaded(self, name: str, version: int | None) -> None:
        """Count a version that was loaded, or (None) that could not be."""
        self.loads.labels(name, "refused" if version is None else "loaded").inc()
        if version is not None:
            self.models.labels(name).set(version)

    def text(self) -> bytes:
        """Write the exposition, of all workers where there are several."""
        if SHARED_FOLDER in os.environ:
            together = CollectorRegistry()
            MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            if self._measured is not None:
                together.register(self._measured)
            return generate_latest(together)
        return generate_latest(self._registry)


_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
_REASONS = {
    400: "invalid",
    401: "key",
    403: "scope",
    406: "media type",
    408: "slow body",
    413: "too large",
    415: "media type",
    422: "invalid",
    429: "limit of a key",
    499: "client gone",
    503: "overloaded",
    504: "deadline",
}
