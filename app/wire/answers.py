"""Write scores and explanations as the service's JSON, every number to its last bit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from eigenserve.app.problems import Location, invalid
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.kept import Kept, kept_objects, kept_slices
from eigenserve.app.wire.requests import Asked
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.warnings import RowWarnings

#: Rows whose objects are there at a time. Measured: fewer make JSON slower, more make it no faster.
PIECE_ROWS = 512
#: Handed to the connection at a time, which takes no more while it has as many that its client does not take (uvicorn's
#: high-water mark). Longer answers are sent in pieces, and what is not sent yet is accounted for.
SENT_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Scored:
    """Hold what was computed of a request's N rows.

    Attributes:
        columns: (N, F), the rows as they were read.
        scores: (N, O), all finite.
        warnings: of the rows.
    """

    columns: FloatArray
    scores: FloatArray
    warnings: RowWarnings


class Part(NamedTuple):
    """Hold the explanations of some rows of a request.

    Attributes:
        explanation: of these rows.
        more: further keys for each of them; empty where nothing is included.
        warnings: of these rows.
        rows: which they are.
    """

    explanation: Explanation
    more: list[dict[str, Any]]
    warnings: RowWarnings
    rows: slice


def finite(served: ServedModel, scores: FloatArray, loc: Location = ("instances",), start: int = 0) -> FloatArray:
    """Check that scores (N, O) give numbers: JSON has none beyond float64, and null would not be an answer.

    Raises:
        ProblemError: 422 for the first row beyond float64, at ``loc``, counted from ``start``.
    """
    model = served.model
    values = scores if model.classes else model.values(scores)[:, None]
    for numbers, what in ((scores, "score"), (values, "prediction")):
        if not np.isfinite(numbers).all():
            row = int(np.argwhere(~np.isfinite(numbers))[0, 0])
            message = f"has values so far from the training data that its {what} is not a finite number"
            raise invalid((*loc, start + row), message)
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


def predict_answer(asked: Asked, scored: Scored) -> Iterator[bytes]:
    """Write the answer of /predict."""
    served, scores = asked.served, scored.scores
    if len(scores) <= PIECE_ROWS and not asked.kept:
        document = {"model": served.name, "version": str(served.version), "predictions": predictions(served, scores)}
        if asked.interval is not None:
            document["intervals"] = served.model.intervals(scores, asked.interval)
        document["warnings"] = scored.warnings.lists()
        yield to_json(document)
        return
    yield head_of(served)
    yield from listed("predictions", prediction_pieces(served, scores), b",")
    if asked.interval is not None:
        yield b',"intervals":' + to_json(served.model.intervals(scores, asked.interval))
    yield from listed("warnings", warning_pieces(scored.warnings), b",")
    if asked.kept:
        yield from listed("kept", kept_pieces(asked.kept, len(scores)), b",")
    yield b"}"


def head_of(served: ServedModel, **more: Any) -> bytes:
    """Write the first members of an answer: which model gave it."""
    return to_json({"model": served.name, "version": str(served.version), **more})[:-1]


def warnings_and_kept(asked: Asked, warnings: RowWarnings) -> Iterator[bytes]:
    """Write the members that other protocols' answers get where there is something to say."""
    if len(warnings):
        yield from listed("warnings", warning_pieces(warnings), b",")
    if asked.kept:
        yield from listed("kept", kept_pieces(asked.kept, warnings.count), b",")


def warning_pieces(warnings: RowWarnings) -> Iterator[bytes]:
    """Write the warnings of every row, as lists of some rows."""
    if not len(warnings):
        yield b"[" + b",".join([b"[]"] * warnings.count) + b"]"
        return
    for start in range(0, warnings.count, PIECE_ROWS):
        yield to_json(warnings[start : start + PIECE_ROWS].lists())


def kept_pieces(kept: Kept, count: int) -> Iterator[bytes]:
    """Write what is handed through of every row, as lists of some rows."""
    for rows in kept_slices(kept, count, PIECE_ROWS):
        yield to_json(kept_objects(kept, rows))


def prediction_pieces(served: ServedModel, scores: FloatArray) -> Iterator[bytes]:
    """Write the P of every row, as lists of some rows: of thousands of rows at once the objects would fill memory."""
    step = len(scores) if not served.model.classes else PIECE_ROWS
    for start in range(0, len(scores), max(1, step)):
        yield to_json(predictions(served, scores[start : start + step]))


def explanation_pieces(asked: Asked, parts: Iterable[Part]) -> Iterator[bytes]:
    """Write the entry of every row, as lists of some rows."""
    for part in parts:
        first = part.rows.start
        for of_all in kept_slices(asked.kept, len(part.explanation), PIECE_ROWS, first):
            rows = slice(of_all.start - first, of_all.stop - first)
            entries = explanations(asked.served, part.explanation, rows)
            for entry, warnings in zip(entries, part.warnings[rows].lists(), strict=True):
                entry["warnings"] = warnings
            kept = kept_objects(asked.kept, of_all)
            for entry, values in zip(entries if kept else (), kept, strict=True):
                entry["kept"] = values
            for entry, keys in zip(entries if part.more else (), part.more[rows], strict=True):
                entry.update(keys)
            yield to_json(entries)


def explanations(served: ServedModel, explanation: Explanation, rows: slice) -> list[dict[str, Any]]:
    """Turn rows of an explanation into the contract's entries."""
    predicted = predictions(served, explanation.scores[rows])
    terms, features = explanation.terms, explanation.features
    entries: list[dict[str, Any]] = [
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
            explanation.score[rows].tolist(),
            explanation.baseline[rows].tolist(),
            explanation.contributions[rows].tolist(),
            explanation.sensitivities[rows].tolist(),
            explanation.gap[rows].tolist(),
            strict=True,
        )
    ]
    if explanation.remainder is not None:
        for entry, remainder in zip(entries, explanation.remainder[rows].tolist(), strict=True):
            entry["remainder"] = remainder
    if explanation.standard_error is not None:
        for entry, errors in zip(entries, explanation.standard_error[rows].tolist(), strict=True):
            entry["standard_error"] = dict(zip(terms, errors, strict=True))
    return entries


def explain_answer(asked: Asked, parts: Iterator[Part]) -> Iterator[bytes]:
    """Write the answer of /explain."""
    first = next(parts)
    reference = first.explanation.reference
    yield head_of(asked.served, method=asked.method, **({} if reference is None else {"reference": reference}))
    yield from listed("explanations", explanation_pieces(asked, chain([first], parts)), b",")
    yield b"}"


def listed(key: str, lists: Iterable[bytes], before: bytes = b"") -> Iterator[bytes]:
    """Join JSON lists into one, under a key."""
    start = b'%b"%b":[' % (before, key.encode())
    for text in lists:
        yield start + text[1:-1]
        start = b","
    yield b"]" if start == b"," else start + b"]"


class Answer(Response):
    """An answer that is sent in pieces, as its client takes them.

    Attributes:
        size: bytes of it.
        source: what has to be there until then.
        release: called when it is sent, or cannot be.
    """

    def __init__(self, pieces: list[bytes], media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.size = sum(map(len, pieces))
        super().__init__(media_type=media_type, headers={**(headers or {}), "content-length": str(self.size)})
        self.pieces = pieces
        self.source: object = None
        self.release: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in self.pieces:
                view = memoryview(piece)
                for start in range(0, len(view), SENT_BYTES):
                    await send(
                        {"type": "http.response.body", "body": view[start : start + SENT_BYTES], "more_body": True}
                    )
                    # Others are served between pieces that the connection takes at once.
                    await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.pieces = []
            self.release()


def answer_of(pieces: list[bytes], media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return pieces as an answer."""
    if sum(map(len, pieces)) <= SENT_BYTES:
        return Response(b"".join(pieces), media_type=media_type, headers=dict(headers or {}))
    return Answer(pieces, media_type, headers)


def to_json(document: Any) -> bytes:
    """Write JSON: floats in the shortest form that reads back the same, NaN and infinity as null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def json_response(document: Any) -> Response:
    """Send a document as the response of an endpoint."""
    return answer_of([to_json(document)], "application/json")
