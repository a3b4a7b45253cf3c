"""Count in a graph how many eigenvalues of each matrix lie below each shift (Sturm counts).

The pivots of T - s I, q_i = (d_i - s) - e_i^2 / q_{i-1}, have as many negative signs as T has eigenvalues
below s. Two sequences, from the first row down and from the last row up, meet in a middle row: half the
steps, each on twice the numbers.

Lanes (matrices) are the last axis everywhere, so that each operator works on long rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from eigenserve.model.onnx.tensor import Tensor


@dataclass(frozen=True)
class Format:
    """Hold constants of a floating-point format, for matrices scaled to norm one.

    Attributes:
        eps: distance of one from the next number.
        coupling: least e^2. Not zero, so that 0/0 never occurs: a pivot of +0 then gives the next one -inf,
            which counts as negative, as the pair of rows must. Far below eps^2, and far above the least
            normal number even when divided by the largest pivot.
        pivot: added to pivots whose inverse is needed. Lost in rounding unless the pivot all but vanishes.
            For float64 it could be smaller, but onnxruntime tests constants as float32 when it deletes
            additions of zero: 1e-40 survives (as a subnormal), 1e-50 does not.
        outside: a diagonal beyond every shift, of rows that only fill up.
        norm: ||z||^2 beyond this says that a row is not a place to twist at; far from overflow.
        scale: least norm to divide by; smaller matrices count as zero.
    """

    eps: float
    coupling: float
    pivot: float
    outside: float
    norm: float
    scale: float


FORMATS = {
    np.dtype(np.float64): Format(2.0**-52, 1e-290, 1e-40, 1e100, 2.0**400, 1e-280),
    np.dtype(np.float32): Format(2.0**-23, 1e-36, 1e-12, 1e18, 2.0**80, 1e-30),
}


@dataclass(frozen=True)
class Chains:
    """Hold matrices of L lanes as two sequences of rows that meet in the middle, h = n // 2 rows each.

    Attributes:
        diag: (h, 2, 1, L), rows from the first down and from the last up; the second sequence starts with a
            row to fill up if n is even.
        couplings: (h, 2, 1, L), e^2 between each row and the one before it.
        middle: (1, L), the diagonal of the middle row.
        links: (2, 1, L), e^2 between the middle row and the last rows of both sequences.
    """

    diag: Tensor
    couplings: Tensor
    middle: Tensor
    links: Tensor

    def take(self, lanes: Tensor) -> Chains:
        """Take only some lanes, (K,) positions."""
        graph = self.diag.graph
        axes = {"diag": 3, "couplings": 3, "middle": 1, "links": 2}
        return Chains(**{f.name: graph.gather(getattr(self, f.name), lanes, axes[f.name]) for f in fields(self)})


def chains_of(diag: Tensor, off_diag: Tensor, dim: int) -> Chains:
    """Split diag (n, L) and off_diag (n - 1, L), n >= 2, of norm one, into two sequences of rows."""
    graph, limits = diag.graph, FORMATS[diag.dtype]
    half = dim // 2
    fill = half - (dim - 1 - half)  # 1 for an even dim, else 0
    squares = graph.elementwise("Max", off_diag * off_diag, limits.coupling)
    diag = graph.pad_rows(diag, 0, 1, limits.outside)
    squares = graph.pad_rows(squares, 0, 1, limits.coupling)
    no_row, no_coupling = dim, dim - 1
    up = [no_row if j < fill else dim - 1 - (j - fill) for j in range(half)]
    down_to = [no_coupling if j == 0 else j - 1 for j in range(half)]
    up_to = [no_coupling if j <= fill else dim - 1 - (j - fill) for j in range(half)]
    last_up = half if fill < half else no_coupling
    return Chains(
        diag=graph.unsqueeze(graph.gather(diag, [[j, up[j]] for j in range(half)]), 2),
        couplings=graph.unsqueeze(graph.gather(squares, np.transpose([down_to, up_to])), 2),
        middle=graph.gather(diag, [half]),
        links=graph.unsqueeze(graph.gather(squares, [half - 1, last_up]), 1),
    )


def count_below(chains: Chains, shifts: Tensor) -> Tensor:
    """Count eigenvalues below each of the shifts (m, L): (m, L) float32."""
    graph = shifts.graph

    def body(states: list[Tensor], rows: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        pivot = (rows[0] - shifts) - rows[1] / states[0]
        return [pivot], [pivot < 0.0]

    pivots = ones_like(shifts, 2)
    (pivots,), (negative,) = graph.scan(body, [pivots], [chains.diag, chains.couplings], rank=3)
    middle = (chains.middle - shifts) - graph.reduce("ReduceSum", chains.links / pivots, [0], keep=False)
    outer = graph.reduce("ReduceSum", graph.cast(negative, np.float32), [0, 1], keep=False)
    return outer + graph.cast(middle < 0.0, np.float32)


def newton_step(chains: Chains, shift: Tensor) -> Tensor:
    """Take one step on log |det(T - s I)|, the sum of the logarithms of all pivots: (1, L) -> (1, L).

    With y = q'/q, the derivative of the sum is the sum of all y, and s - 1 / that sum lies nearer to the
    eigenvalue next to s, quadratically so. Lanes that meet a pivot of zero may come out as NaN.
    """
    graph = shift.graph

    def body(states: list[Tensor], rows: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        pivot, rate = states
        ratio = rows[1] / pivot
        pivot = (rows[0] - shift) - ratio
        rate = (ratio * rate - 1.0) / pivot
        return [pivot, rate], [rate]

    one = ones_like(shift, 2)
    (pivots, rates), (all_rates,) = graph.scan(body, [one, one - one], [chains.diag, chains.couplings], rank=3)
    ratios = chains.links / pivots
    middle = (chains.middle - shift) - graph.reduce("ReduceSum", ratios, [0], keep=False)
    middle_rate = (graph.reduce("ReduceSum", ratios * rates, [0], keep=False) - 1.0) / middle
    total = graph.reduce("ReduceSum", all_rates, [0, 1], keep=False) + middle_rate
    return shift - 1.0 / total


def ones_like(shifts: Tensor, sequences: int) -> Tensor:
    """Return (sequences, *shape of shifts) of ones: what stands for pivots above the first rows."""
    graph = shifts.graph
    one = graph.constant(1.0, shifts.dtype)
    return graph.expand(one, graph.shape(sequences, graph.shape_of(shifts, 0)))
