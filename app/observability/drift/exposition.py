"""Write drift as gauges for Prometheus when it asks: measured then, over all workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from eigenserve.app.observability.drift.monitor import DriftMonitor, WindowReport
from eigenserve.app.registry import ServedModel
from eigenserve.model.monitoring import AccuracySums, ChannelDrift

#: Series of a version and window: of a model of thousands of features those that differ most.
MAX_CHANNELS = 100
_CHANNEL = ("model", "version", "window", "kind", "name")
_METRIC = ("model", "version", "metric")
_VALUES: dict[str, tuple[str, Callable[[ChannelDrift], float | None]]] = {
    "psi": ("Population stability index against training", lambda drift: drift.psi),
    "psi_limit": ("What the index exceeds by chance at the level", lambda drift: drift.psi_limit),
    "ks": ("Kolmogorov distance from training", lambda drift: drift.ks),
    "ks_limit": ("What the distance exceeds by chance at the level", lambda drift: drift.ks_limit),
    "missing_share": ("Share of missing values", lambda drift: drift.missing),
    "outside_share": ("Share beyond the training range, or of unseen categories", lambda drift: drift.outside),
    "alarm": ("1 where a difference is beyond chance", lambda drift: float(drift.alarm)),
}


class DriftCollector(Collector):
    """Measure drift of the versions that have answered, when their gauges are collected."""

    def __init__(self, monitor: DriftMonitor, served: Callable[[], Iterable[ServedModel]]) -> None:
        self._monitor, self._served = monitor, served

    def describe(self) -> Iterable[Metric]:
        """Name nothing: what there is shows when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Measure and return the gauges."""
        gauges = {
            name: GaugeMetricFamily(f"eigenserve_drift_{name}", what, labels=_CHANNEL)
            for name, (what, _) in _VALUES.items()
        }
        rows = GaugeMetricFamily("eigenserve_drift_rows", "Rows of the window", labels=_CHANNEL[:3])
        alarms = GaugeMetricFamily(
            "eigenserve_drift_alarms", "Features, scores and contributions beyond chance", labels=_CHANNEL[:3]
        )
        for served in self._served() if self._monitor.enabled else ():
            for report in self._monitor.reports(served) or ():
                if not report.rows:
                    continue
                labels = (served.name, str(served.version), report.window)
                rows.add_metric(labels, report.rows)
                alarms.add_metric(labels, sum(drift.alarm for drift in report.channels))
                for drift in _most(report):
                    for name, (_, value) in _VALUES.items():
                        if (number := value(drift)) is not None:
                            gauges[name].add_metric((*labels, drift.kind, drift.name), number)
        yield from (*gauges.values(), rows, alarms, *self._outcomes())

    def _outcomes(self) -> Iterator[Metric]:
        values = GaugeMetricFamily("eigenserve_outcomes_metric", "Of rows with an outcome", labels=_METRIC)
        beyond = GaugeMetricFamily("eigenserve_outcomes_beyond", "1 where it differs from training", labels=_METRIC)
        for served in self._served() if self._monitor.enabled else ():
            metrics = AccuracySums(served.model).metrics(self._monitor.accuracy(served))
            for name, metric in metrics.items():
                labels = (served.name, str(served.version), name)
                values.add_metric(labels, metric.value)
                beyond.add_metric(labels, float(metric.beyond))
        yield from (values, beyond)


def _most(report: WindowReport) -> list[ChannelDrift]:
    """Return the channels that differ most, as a multiple of what chance does."""
    return sorted(report.channels, key=_excess, reverse=True)[:MAX_CHANNELS]


def _excess(drift: ChannelDrift) -> tuple[bool, float]:
    return drift.alarm, (drift.psi or 0.0) / (drift.psi_limit or 1.0)
