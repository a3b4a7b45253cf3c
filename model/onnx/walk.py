"""Find where rows stand on the curves, in a graph: the twin of ``model.matrices.curves.CurveSet.walk``.

Everything is (C, N): one row per curve, so that each operator works on the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from eigenserve.model.matrices.curves import CurveSet
from eigenserve.model.onnx.graph import Graph
from eigenserve.model.onnx.tensor import Tensor


@dataclass(frozen=True)
class Walk:
    """Hold M(x) = (1 - weights) * matrices[starts] + weights * matrices[ends], per curve and row.

    Attributes:
        starts, ends: (C, N) int64; equal where a path stays.
        weights: (C, N) float64.
        slopes: (C, N) float64, d(weights)/du; zero where a path stays.
    """

    starts: Tensor
    ends: Tensor
    weights: Tensor
    slopes: Tensor


def walk(coordinates: Tensor, curves: CurveSet) -> Walk:
    """Find where each row stands, from coordinates (F, N), NaN for missing."""
    graph = coordinates.graph
    place, code = _place(coordinates, curves), _code(coordinates, curves)
    lengths = np.array([len(curve.knots) for curve in curves.curves])
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    last = first + lengths - 1
    knots = np.concatenate([np.asarray(curve.knots) for curve in curves.curves])
    first_knot, last_knot = (_each(graph, knots[at], np.float64) for at in (first, last))
    extend = [curve.extend and len(curve.knots) > 1 for curve in curves.curves]
    at = _interval(place, knots, first, np.maximum(last - 1, first))
    inside = ((place >= first_knot) & (place < last_knot)) | _each(graph, extend, np.bool_)
    missing = graph.is_nan(place) | graph.is_nan(code)
    inside = inside & ~missing
    # The same order of operations as the twin's, so that the same bits come out.
    distances = np.diff(knots, append=np.inf)
    distances[last] = np.inf  # from one curve to the next
    inverse = 1.0 / distances
    slopes = graph.where(inside, graph.gather(graph.constant(inverse), at), 0.0)
    weights = graph.where(inside, (place - graph.gather(graph.constant(knots), at)) * slopes, 0.0)
    at = graph.where(~inside & (place >= last_knot), _each(graph, last), at)
    path = graph.cast(graph.where(missing, 0.0, code), np.int64)
    starts = at + path * _each(graph, lengths) + _each(graph, curves.offsets[:-1] - first)
    starts = graph.where(missing, _each(graph, curves.offsets[1:] - 1), starts)
    return Walk(starts, graph.where(inside, starts + 1, starts), weights, slopes)


def hats(walk: Walk, num_matrices: int, dtype: DTypeLike) -> Tensor:
    """Return how much of each matrix is in each row's sum, (R, N)."""
    graph = walk.starts.graph
    shape = graph.shape(num_matrices, graph.shape_of(walk.starts, 1, 2))
    # Where a path stays both positions are one: the second of the two writings counts, and is one whole.
    ends = graph.scatter_elements(graph.zeros(dtype, shape), walk.ends, graph.cast(walk.weights, dtype))
    return graph.scatter_elements(ends, walk.starts, graph.cast(1.0 - walk.weights, dtype))


def _place(coordinates: Tensor, curves: CurveSet) -> Tensor:
    """Compute u (C, N) = sum(direction * z[numeric]), 0 for curves without numbers."""
    graph = coordinates.graph
    padded = graph.pad_rows(coordinates, 0, 1, 0.0)  # position -1: the row of zeros
    place = graph.gather(padded, curves.numeric[:, 0]) * curves.direction[:, :1]
    if (curves.numeric[:, 1] >= 0).any():
        place = place + graph.gather(padded, curves.numeric[:, 1]) * curves.direction[:, 1:]
    return place


def _code(coordinates: Tensor, curves: CurveSet) -> Tensor:
    """Return which path each row takes, (C, N) float64."""
    graph = coordinates.graph
    padded = graph.pad_rows(coordinates, 0, 1, 0.0)
    categorical = np.array([(*curve.categorical, -1, -1)[:2] for curve in curves.curves])
    code = graph.gather(padded, categorical[:, 0])
    if (categorical[:, 1] >= 0).any():
        second_codes = [(*curve.num_codes, 1, 1)[1] for curve in curves.curves]
        code = code * _each(graph, second_codes, np.float64) + graph.gather(padded, categorical[:, 1])
    return code


def _interval(place: Tensor, knots: NDArray[np.float64], low: NDArray[Any], high: NDArray[Any]) -> Tensor:
    """Find the last position in [low, high] whose knot is at most ``place``, else ``low``: bisection by halves."""
    graph = place.graph
    shape = graph.apply("Shape", place, dtype=np.int64)
    at, table = graph.expand(_each(graph, low), shape), graph.constant(knots)
    step = 1 << int((high - low).max()).bit_length()
    while step > 1:
        step //= 2
        further = graph.elementwise("Min", at + step, _each(graph, high))
        at = graph.where(graph.gather(table, further) <= place, further, at)
    return at


def _each(graph: Graph, values: Sequence[Any] | NDArray[Any], dtype: type = np.int64) -> Tensor:
    """Write one number per curve, as a column."""
    return graph.constant(np.asarray(values, dtype)[:, None])
