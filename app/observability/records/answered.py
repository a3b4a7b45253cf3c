"""Answered: rows of one request on their way to where they are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from eigenserve.app.registry import ServedModel
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.reasons import RowReasons
from eigenserve.model.rows.warnings import RowWarnings

#: Of a warning: three integers and a float. Of a Python object: a short text.
WARNING_BYTES, OBJECT_BYTES = 32, 64


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Hold rows of one request that were answered, or are about to be.

    Attributes:
        at: when, in seconds since 1970.
        request_id, route, key: of the request; ``key`` is the name of its owner's, "" for none.
        served: the model.
        first: the place of the first of these rows in the request.
        columns: (N, F), as they were read.
        scores: (N, O).
        warnings: of the rows.
        ids: what the rows are called, by whoever asked; None for nothing.
        interval: the level of the intervals that were given.
        explanation: of the rows, if they were explained.
        options: how they were explained, as JSON; "" for the defaults.
        reasons: of each row, as JSON, if they were given.
    """

    at: float
    request_id: str
    route: str
    key: str
    served: ServedModel
    first: int
    columns: FloatArray
    scores: FloatArray
    warnings: RowWarnings
    ids: Sequence[Any] | NDArray[Any] | None = None
    interval: float | None = None
    explanation: Explanation | None = None
    options: str = ""
    reasons: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def size(self) -> int:
        """Count about how many bytes it holds."""
        parts = [self.columns, self.scores, *([] if self.explanation is None else vars(self.explanation).values())]
        size = sum(part.nbytes for part in parts if isinstance(part, np.ndarray)) + WARNING_BYTES * len(self.warnings)
        for texts in (self.ids, self.reasons):
            if isinstance(texts, np.ndarray):
                size += texts.nbytes
            elif texts is not None:
                size += OBJECT_BYTES * len(texts) + sum(len(text) for text in texts if isinstance(text, str))
        return size + len(self.options)

    def id_texts(self) -> Iterable[str | None]:
        """Return the ids as texts, one for each row."""
        if self.ids is None:
            return repeat(None, len(self))
        values = self.ids.tolist() if isinstance(self.ids, np.ndarray) else self.ids
        kinds = {*map(type, values)}
        return values if kinds == {str} else map(str if kinds <= {str, int} else _text, values)

    @property
    def kind(self) -> Kind:
        """What rows of one table have in common."""
        return Kind(self.served, () if self.explanation is None else self.explanation.terms)


def _text(value: Any) -> str | None:
    if isinstance(value, float):  # a table that has gaps holds whole numbers as floats: 7.0 and 7 are one
        return str(int(value)) if value.is_integer() else None if value != value else str(value)
    return None if value is None else str(value)


def reasons_text(reasons: RowReasons) -> str:
    """Write the reasons of a row as JSON."""
    return orjson.dumps(asdict(reasons), default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode()


class Kind(NamedTuple):
    """Identify the columns of a table: those of a model, and the terms that contributions are named after."""

    served: ServedModel
    terms: tuple[str, ...]
