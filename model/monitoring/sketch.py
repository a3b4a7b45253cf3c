"""Sketch: how the training rows were distributed, by feature, score and contribution, as a checkpoint keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import METHODS, explain
from eigenserve.model.monitoring.channels import Channel, ChannelKind, Counter, Counts, feature_channel, number_channel
from eigenserve.model.predictor import Predictor

#: Under this key a checkpoint's card keeps its sketch.
CARD_KEY = "sketch"
#: Rows that are sketched, and of these the rows that are explained. The sampling error of a window of 2,000 rows is ten
#: times that of 200,000. Explaining a row takes 20 us.
SKETCHED_ROWS, EXPLAINED_ROWS = 200_000, 10_000
#: Matrices that are solved for either, as models of hundreds of classes have for each row: some seconds.
SKETCHED_MATRICES, EXPLAINED_MATRICES = 4_000_000, 1_000_000
#: Contributions are those of this method, the only one whose price is known beforehand: "integrated" took from 0.07 to
#: 2.3 ms a row (measured, demo model), most for rows that miss everything, which a client may send all day.
METHOD = "eigenvector"


@dataclass(frozen=True)
class Sketch:
    """Hold the channels of a model.

    Attributes:
        channels: features first, then the outputs' scores, then contributions.
        rows: how many training rows were sketched.
        method: of the contributions.
    """

    channels: tuple[Channel, ...]
    rows: int
    method: str = METHOD

    def of(self, kind: ChannelKind) -> tuple[Channel, ...]:
        """Return the channels of a kind."""
        return tuple(channel for channel in self.channels if channel.kind == kind)

    @cached_property
    def offsets(self) -> Counts:
        """Return (C + 1,): the counts of channel c are offsets[c]:offsets[c + 1]."""
        return np.concatenate([[0], np.cumsum([len(c.counts) for c in self.channels], dtype=np.int64)])


@dataclass(frozen=True)
class Counting:
    """Count rows in the bins of a model's sketch.

    Attributes:
        predictor: the model.
        sketch: its sketch.
    """

    predictor: Predictor
    sketch: Sketch

    def zeros(self) -> Counts:
        """Return counts of no rows."""
        return np.zeros(int(self.sketch.offsets[-1]), np.int64)

    def count(self, columns: FloatArray, scores: FloatArray, counts: Counts) -> None:
        """Add rows to ``counts``: their columns (N, F) and scores (N, O)."""
        features, outputs, _ = self._counters
        features.count(columns, counts[: self._ends[0]])
        outputs.count(scores, counts[self._ends[0] : self._ends[1]])

    def count_contributions(self, columns: FloatArray, counts: Counts) -> None:
        """Explain rows and add their contributions to ``counts``."""
        contributions = self._counters[2]
        if contributions.channels:
            contributions.count(
                explain(self.predictor, columns, self.sketch.method).contributions, counts[self._ends[1] :]
            )

    @cached_property
    def _ends(self) -> tuple[int, int]:
        features, scores = len(self.sketch.of("feature")), len(self.sketch.of("score"))
        return int(self.sketch.offsets[features]), int(self.sketch.offsets[features + scores])

    @cached_property
    def _counters(self) -> tuple[Counter, Counter, Counter]:
        names, terms = self.predictor.features.names, [term.name for term in self.predictor.ensemble.pencil.terms]
        features, scores, contributions = (self.sketch.of(kind) for kind in ("feature", "score", "contribution"))
        return (
            Counter(features, tuple(names.index(channel.name) for channel in features)),
            Counter(scores, tuple(range(len(scores)))),
            Counter(contributions, tuple(terms.index(channel.name) for channel in contributions)),
        )


def make_sketch(predictor: Predictor, columns: FloatArray) -> Sketch:
    """Sketch training rows: columns (N, F) as ``FeatureSpace.encode`` gives them. Cycles of dates are left out."""
    heads = predictor.ensemble.pencil.num_heads
    columns = spread(columns, min(SKETCHED_ROWS, SKETCHED_MATRICES // heads))
    space = predictor.features.features
    channels = [feature_channel(f, columns[:, i]) for i, f in enumerate(space) if not f.cycle]
    scores = predictor.scores(columns)
    channels += [number_channel("score", name, scores[:, i]) for i, name in enumerate(output_names(predictor))]
    explained = explain(predictor, spread(columns, min(EXPLAINED_ROWS, EXPLAINED_MATRICES // heads)), METHOD)
    channels += [
        number_channel("contribution", name, explained.contributions[:, i]) for i, name in enumerate(explained.terms)
    ]
    return Sketch(tuple(channels), len(columns))


def output_names(predictor: Predictor) -> tuple[str, ...]:
    """Name the outputs: the classes of several, or the target."""
    return tuple(map(str, predictor.classes)) if predictor.task == "multiclass" else (predictor.target,)


def sketch_document(sketch: Sketch) -> dict[str, Any]:
    """Return the JSON form of a sketch, for a checkpoint's card."""
    return {
        "rows": sketch.rows,
        "method": sketch.method,
        "channels": [{k: v for k, v in asdict(channel).items() if v != ()} for channel in sketch.channels],
    }


def read_sketch(predictor: Predictor, card: Mapping[str, Any]) -> Sketch | None:
    """Read the sketch that a checkpoint's card keeps; None where it has none, as one of before 0.2.

    Raises:
        ValueError: it is not a sketch of this model.
    """
    document = card.get(CARD_KEY)
    if document is None:
        return None
    try:
        sketch = Sketch(tuple(map(_channel, document["channels"])), int(document["rows"]), document["method"])
        _check(predictor, sketch)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the sketch of the training rows is damaged: {error!r}") from error
    return sketch


def _channel(document: Mapping[str, Any]) -> Channel:
    parts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
    return Channel(**parts)


def _check(predictor: Predictor, sketch: Sketch) -> None:
    kinds = [channel.kind for channel in sketch.channels]
    outputs = len(output_names(predictor))
    if sketch.method not in METHODS:
        raise ValueError(f"the sketch must have contributions of one of {', '.join(METHODS)}; got {sketch.method!r}")
    if kinds != sorted(kinds, key=("feature", "score", "contribution").index) or kinds.count("score") != outputs:
        raise ValueError(
            f"the sketch must have features, {outputs} scores and contributions, in this order; got {kinds}"
        )
    terms = {term.name for term in predictor.ensemble.pencil.terms}
    for channel in sketch.channels:
        if channel.kind == "contribution" and channel.name not in terms:
            raise ValueError(f"the sketch has a contribution of {channel.name!r}, which the model does not have")
        if channel.kind == "feature":
            feature = predictor.features.features[predictor.features.position(channel.name)]
            if len(channel.bins) != feature.num_codes:
                raise ValueError(f"the sketch of {channel.name!r} must have {feature.num_codes} codes")


def spread(columns: FloatArray, count: int) -> FloatArray:
    """Return at most so many rows (N, ...), evenly spread."""
    if len(columns) <= count:
        return columns
    return columns[np.linspace(0, len(columns) - 1, count).astype(np.int64)]
