"""Write scores and explanations as the service's JSON, every number to its last bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import Response

from eigenserve.app.problems import Location, invalid
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.requests import Asked
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray


def finite(served: ServedModel, scores: FloatArray, loc: Location = ("instances",)) -> FloatArray:
    """Check that scores (N, O) give numbers: JSON has none beyond float64, and null would not be an answer.

    Raises:
        ProblemError: 422 for the first row beyond float64, at ``loc``.
    """
    model = served.model
    values = scores if model.classes else model.values(scores)[:, None]
    for found, what in ((scores, "score"), (values, "prediction")):
        if not np.isfinite(found).all():
            row = int(np.argwhere(~np.isfinite(found))[0, 0])
            message = f"has values so far from the training data that its {what} is not a finite number"
            raise invalid((*loc, row), message)
    return scores


def predictions(served: ServedModel, scores: FloatArray) -> Any:
    """Turn finite scores (N, O) into the contract's P of every row, ready for ``to_json``."""
    model = served.model
    if not model.classes:
        return model.values(scores)
    probabilities = model.probabilities(scores)
    chosen = probabilities.argmax(axis=1).tolist()
    return [
        {"label": model.classes[c], "probabilities": dict(zip(served.class_keys, row, strict=True))}
        for c, row in zip(chosen, probabilities.tolist(), strict=True)
    ]


def predict_answer(asked: Asked, scores: FloatArray) -> bytes:
    """Write the answer of /predict."""
    served = asked.served
    document = {
        "model": served.name,
        "version": str(served.version),
        "predictions": predictions(served, scores),
    }
    if asked.interval is not None:
        document["intervals"] = served.model.intervals(scores, asked.interval)
    return to_json(document)


def explanations(served: ServedModel, explanation: Explanation) -> list[dict[str, Any]]:
    """Turn an explanation into the contract's entry for every row."""
    predicted = predictions(served, explanation.scores)
    terms, features = explanation.terms, explanation.features
    found: list[dict[str, Any]] = [
        {
            "prediction": prediction,
            "score": score,
            "baseline": baseline,
            "contributions": dict(zip(terms, contributions, strict=True)),
            "sensitivities": dict(zip(features, sensitivities, strict=True)),
            "gap": gap,
        }
        for prediction, score, baseline, contributions, sensitivities, gap in zip(
            predicted if isinstance(predicted, list) else predicted.tolist(),
            explanation.score.tolist(),
            explanation.baseline.tolist(),
            explanation.contributions.tolist(),
            explanation.sensitivities.tolist(),
            explanation.gap.tolist(),
            strict=True,
        )
    ]
    if explanation.standard_error is not None:
        for entry, errors in zip(found, explanation.standard_error.tolist(), strict=True):
            entry["standard_error"] = dict(zip(terms, errors, strict=True))
    return found


def explain_answer(served: ServedModel, explanation: Explanation, more: Sequence[dict[str, Any]] = ()) -> bytes:
    """Write the answer of /explain, with further keys for every row."""
    found = explanations(served, explanation)
    for entry, keys in zip(found if more else (), more, strict=True):
        entry.update(keys)
    return to_json(
        {
            "model": served.name,
            "version": str(served.version),
            "method": explanation.method,
            "explanations": found,
        }
    )


def to_json(document: Any) -> bytes:
    """Write JSON: floats in the shortest form that reads back the same, NaN and infinity as null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def json_response(document: Any) -> Response:
    """Send a document as the response of an endpoint."""
    return Response(to_json(document), media_type="application/json")
