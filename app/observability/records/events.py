"""EventsSink: send records as CloudEvents over HTTP, as the logger of KServe sends them.

An answered request becomes two events, ``org.kubeflow.serving.inference.request`` and ``...response``, with the id of
the request, in the binary mode of CloudEvents: attributes are headers, data the body of KServe's first protocol.
(KServe: pkg/logger/worker.go; CloudEvents: HTTP Protocol Binding 1.0.)
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections import deque
from datetime import UTC, datetime
from typing import Any

import numpy as np

from eigenserve.app.observability.records.answered import Answered
from eigenserve.app.observability.records.recorder import Lose
from eigenserve.app.wire.answers import predictions, to_json
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.rows.cells import iso_time
from eigenserve.model.rows.features import Feature

REQUEST, RESPONSE = (f"org.kubeflow.serving.inference.{part}" for part in ("request", "response"))
TIMEOUT_S = 10.0
#: Statuses by which a receiver refuses an event for good: it is malformed, too large or unknown to it.
REFUSED = frozenset({400, 413, 414, 415, 422, 431})


class EventsSink:
    """Send what is answered to a receiver of events (a ``Sink``).

    Attributes:
        name, kind: the receiver's URL, and what this is for the metrics.
        source: who sends.
    """

    kind = "events"

    def __init__(self, url: str, source: str) -> None:
        self.name, self.source = url, source
        self._pending: deque[urllib.request.Request] = deque()
        self._taken = 0

    def open(self) -> None:
        """Have nothing to do."""

    def take(self, batches: list[Answered], lose: Lose) -> None:
        """Send events; where it failed, it goes on with the one that it failed at."""
        while self._taken < len(batches):
            batch = batches[self._taken]
            try:
                self._send(batch)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in REFUSED:
                    raise
                lose(len(batch), error)
            except (OSError, http.client.HTTPException):
                raise
            except Exception as error:  # it cannot be written, whenever it is tried
                lose(len(batch), error)
            self._pending.clear()
            self._taken += 1
        self._taken = 0

    def _send(self, batch: Answered) -> None:
        if not self._pending:
            self._pending.append(self._event(batch, REQUEST, {"instances": _instances(batch)}))
            self._pending.append(self._event(batch, RESPONSE, _answers(batch)))
        while self._pending:
            with urllib.request.urlopen(self._pending[0], timeout=TIMEOUT_S) as answer:  # an error raises
                answer.read()
            self._pending.popleft()

    def waiting(self, rows: int) -> None:
        """Have nothing to do."""

    def close(self, dropped: int) -> None:
        """Have nothing to do."""

    def _event(self, batch: Answered, kind: str, document: dict[str, Any]) -> urllib.request.Request:
        headers = {
            "Content-Type": "application/json",
            "Ce-Specversion": "1.0",
            "Ce-Id": batch.request_id,
            "Ce-Type": kind,
            "Ce-Source": self.source,
            "Ce-Time": datetime.fromtimestamp(batch.at, UTC).isoformat(),
            "Ce-Inferenceservicename": batch.served.name,
            "Ce-Component": "predictor",
            "Ce-Endpoint": "default",
            "Ce-Modelversion": str(batch.served.version),
        }
        return urllib.request.Request(self.name, to_json(document), headers, method="POST")


def _instances(batch: Answered) -> list[dict[str, Any]]:
    """Return rows as they were read: a category that training did not have is null."""
    features = batch.served.model.features.features
    rows = [
        {feature.name: _value(feature, value) for feature, value in zip(features, row, strict=True)}
        for row in batch.columns.tolist()
    ]
    if batch.ids is not None:
        ids = batch.ids.tolist() if isinstance(batch.ids, np.ndarray) else batch.ids
        for row, each in zip(rows, ids, strict=True):
            row["id"] = each
    return rows


def _value(feature: Feature, value: float) -> Any:
    if np.isnan(value):
        return None
    if feature.kind == "categorical":
        return feature.categories[int(value)] if value < len(feature.categories) else None
    if feature.kind == "boolean":
        return bool(value)
    return iso_time(value) if feature.kind == "datetime" else value


def _answers(batch: Answered) -> dict[str, Any]:
    predicted = predictions(batch.served, batch.scores)
    document: dict[str, Any] = {
        "model_name": batch.served.name,
        "model_version": str(batch.served.version),
        "predictions": predicted,
        "warnings": batch.warnings.lists(),
    }
    if (explanation := batch.explanation) is not None:
        document["explanations"] = [
            {"method": explanation.method, "baseline": baseline, "contributions": shares}
            for baseline, shares in zip(explanation.baseline.tolist(), _shares(explanation), strict=True)
        ]
    return document


def _shares(explanation: Explanation) -> list[dict[str, float]]:
    return [dict(zip(explanation.terms, row, strict=True)) for row in explanation.contributions.tolist()]
