"""Find one eigenvalue of each matrix by Sturm counts: float32 finds it, float64 Newton steps sharpen it.

Bisection in float32 costs half of what it costs in float64, and Newton's quadratic convergence makes 52 bits
of 20 in two or three steps. Newton promises nothing where eigenvalues crowd, hence the proof by two float64
counts, and an `If` that bisects in float64 the few lanes for which it fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from eigenserve.model.onnx.graph import Graph
from eigenserve.model.onnx.sturm import FORMATS, Chains, chains_of, count_below, newton_step
from eigenserve.model.onnx.tensor import Tensor

#: Bits by which bisection narrows Gershgorin's interval (of length two at most, for norm one) when alone:
#: what the format can resolve.
BITS = {np.dtype(np.float64): 53, np.dtype(np.float32): 24}
#: Bits of float32 bisection before Newton takes over: about what float32 counts can resolve. Measured: 16 to 22
#: cost the same, and the more bits the fewer lanes need the slow way.
FLOAT32_BITS = 20
#: How far a float32 count may be off, in norms: a few roundings of 2^-24 per pivot.
FLOAT32_SLACK = 8 * 2.0**-23
#: 20 bits become 40 and then 80 where eigenvalues stand apart; the third step is for those that stand closer.
NEWTON_STEPS = 3
#: The proof demands the eigenvalue within so many norms of the shift: 5.7e-14, above what rounding does to the
#: counts themselves (they are exact for a matrix a few roundings away) and far below the 1e-9 promised. Lanes
#: that reach it are mostly right to 1e-15.
PROVEN_WITHIN = 2.0**-44
#: Small batches are bound by the operators' latency: they take several shifts per pass, large ones a single
#: one. Measured: the best is about this many shifts in all, within 1 ... 31 per lane.
SHIFTS_PER_PASS = 448.0
MOST_BITS_PER_PASS = 5.0


@dataclass(frozen=True)
class ScaledMatrices:
    """Hold matrices of L lanes divided by their norms.

    Attributes:
        diag, off_diag: (n, L) and (n - 1, L).
        norm: (1, L), Gershgorin's bound; NaN for matrices that hold NaN or infinity.
        low, width: (1, L), the interval that holds all eigenvalues.
    """

    diag: Tensor
    off_diag: Tensor
    norm: Tensor
    low: Tensor
    width: Tensor

    def repeated(self, times: int) -> ScaledMatrices:
        """Repeat the lanes, so many times one after the other."""
        graph = self.diag.graph
        if times == 1:
            return self
        return ScaledMatrices(*(graph.concat([getattr(self, f.name)] * times, 1) for f in fields(self)))


def scaled(diag: Tensor, off_diag: Tensor) -> ScaledMatrices:
    """Scale diag (n, L) and off_diag (n - 1, L), n >= 2, by Gershgorin's circles."""
    graph, limits = diag.graph, FORMATS[diag.dtype]
    size = graph.elementwise("Abs", off_diag)
    radius = graph.pad_rows(size, 1, 0, 0.0) + graph.pad_rows(size, 0, 1, 0.0)
    low = graph.reduce("ReduceMin", diag - radius, [0])
    high = graph.reduce("ReduceMax", diag + radius, [0])
    norm = graph.elementwise("Max", graph.elementwise("Abs", low), graph.elementwise("Abs", high), limits.scale)
    # Minima and maxima may drop a NaN; a sum keeps it, and an infinity minus itself makes one.
    total = graph.reduce("ReduceSum", graph.elementwise("Abs", diag) + radius, [0])
    norm = norm + (total - total)
    diag = diag / norm
    # -0 becomes +0, for else a pivot could be -0 and its reciprocal -inf, with the wrong sign. A difference
    # rather than a sum, because onnxruntime deletes additions of zero.
    diag = 0.0 - (0.0 - diag)
    low = low / norm - 8 * limits.eps
    return ScaledMatrices(diag, off_diag / norm, norm, low, high / norm + 8 * limits.eps - low)


def eigenvalue(matrices: ScaledMatrices, eig_idx: Tensor, dim: int) -> Tensor:
    """Find eigenvalue ``eig_idx`` of the scaled matrices, (1, L); eig_idx: float32 (1, L)."""
    chains = chains_of(matrices.diag, matrices.off_diag, dim)
    bits = BITS[matrices.diag.dtype]
    if matrices.diag.dtype == np.float32:
        low, width = narrowed(chains, matrices.low, matrices.width, eig_idx, bits)
        return low + width * 0.5
    graph = matrices.diag.graph
    shift = _sharpened(chains, *_bracket(matrices, eig_idx, dim))
    failed = ~_proven(chains, shift, eig_idx)
    any_failed = graph.reduce("ReduceSum", graph.cast(failed, np.float32), [0, 1], keep=False) > 0.5

    def bisected() -> Tensor:
        lanes = graph.gather(graph.apply("NonZero", failed, dtype=np.int64), 1)
        low, width, idx = (graph.gather(x, lanes, 1) for x in (matrices.low, matrices.width, eig_idx))
        low, width = narrowed(chains.take(lanes), low, width, idx, bits)
        return graph.scatter_elements(shift, graph.unsqueeze(lanes, 0), low + width * 0.5, axis=1)

    return graph.branch(any_failed, bisected, lambda: shift, rank=2)


def narrowed(chains: Chains, low: Tensor, width: Tensor, eig_idx: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Narrow the interval [low, low + width] of each lane by ``bits`` bits around its eigenvalue."""
    graph = low.graph
    shifts, share, passes = _shifts_per_pass(graph, chains.middle, bits)

    def body(states: list[Tensor]) -> list[Tensor]:
        low, step = states[0], states[1] * share
        counts = count_below(chains, low + step * shifts)
        before = graph.reduce("ReduceSum", graph.cast(counts <= eig_idx, low.dtype), [0])
        return [low + step * before, step]

    found = graph.loop(passes, body, [low, width], rank=2)
    return found[0], found[1]


def _shifts_per_pass(graph: Graph, lanes: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return inner shifts 1 ... m (m, 1), the share 1 / (m + 1) of an interval between two, and how many passes."""
    count = graph.cast(graph.reshape(graph.shape_of(lanes, 1)), np.float32)
    # The little more than one keeps the logarithm of a power of two from falling just short of an integer.
    room = graph.elementwise("Log", SHIFTS_PER_PASS / count + 1.0001) / math.log(2.0)
    room = graph.elementwise("Floor", room)
    per_pass = graph.elementwise("Min", graph.elementwise("Max", room, 1.0), MOST_BITS_PER_PASS)
    passes = graph.cast(graph.elementwise("Ceil", float(bits) / per_pass), np.int64)
    parts = graph.elementwise("Round", graph.elementwise("Exp", per_pass * math.log(2.0)))
    one = graph.constant(1.0, np.float32)
    shifts = graph.apply("Range", one, parts, one, dtype=np.float32)
    shifts = graph.cast(graph.unsqueeze(shifts, 1), lanes.dtype)
    return shifts, 1.0 / graph.cast(parts, lanes.dtype), passes


def _bracket(matrices: ScaledMatrices, eig_idx: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return low and high ends of a float64 interval that float32 counts give, (1, L) each."""
    graph = matrices.diag.graph
    narrow = [graph.cast(x, np.float32) for x in (matrices.diag, matrices.off_diag, matrices.low, matrices.width)]
    low32, width32 = narrowed(chains_of(narrow[0], narrow[1], dim), narrow[2], narrow[3], eig_idx, FLOAT32_BITS)
    low = graph.cast(low32, np.float64) - FLOAT32_SLACK
    return low, low + (graph.cast(width32, np.float64) + 2 * FLOAT32_SLACK)


def _sharpened(chains: Chains, low: Tensor, high: Tensor) -> Tensor:
    """Take Newton steps from the middle of [low, high], held inside."""
    graph = low.graph
    shift = (low + high) * 0.5
    for _ in range(NEWTON_STEPS):
        shift = newton_step(chains, shift)
        # A NaN becomes `low`, on which the proof then gives its verdict.
        shift = graph.where(shift >= low, shift, low)
        shift = graph.where(shift <= high, shift, high)
    return shift


def _proven(chains: Chains, shift: Tensor, eig_idx: Tensor) -> Tensor:
    """Prove that the eigenvalue lies within ``PROVEN_WITHIN`` of the shift, (1, L)."""
    graph = shift.graph
    ends = shift + graph.constant([[-PROVEN_WITHIN], [PROVEN_WITHIN]], np.float64)
    counts = count_below(chains, ends)
    return (graph.gather(counts, [0]) <= eig_idx) & (graph.gather(counts, [1]) > eig_idx)
