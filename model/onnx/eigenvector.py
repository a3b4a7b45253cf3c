"""Find the eigenvector of each matrix by twisted factorisation in a graph (see model/eigensolvers/tiles/twisted.py).

Pivots from the first row down (q) and from the last up (p) meet in the row k where the residual
|gamma_k| / ||z|| is least; from there the vector runs outwards, z_{i-1} = -(e_i / q_{i-1}) z_i upwards and in
the same way downwards. Both runs are one `Scan` over pairs of rows: row i of the first, row n-1-i of the
second.
"""

from __future__ import annotations

import numpy as np

from eigenserve.model.onnx.sturm import FORMATS, ones_like
from eigenserve.model.onnx.tensor import Tensor

States = list[Tensor]


def eigenvector(diag: Tensor, off_diag: Tensor, shift: Tensor, dim: int) -> Tensor:
    """Find unit vectors (n, L) of matrices of norm one, n >= 2, for eigenvalues at ``shift`` (1, L)."""
    graph, limits = diag.graph, FORMATS[diag.dtype]
    both = graph.gather(diag, [[j, dim - 1 - j] for j in range(dim)]) - shift
    couplings = graph.gather(off_diag, [[j, dim - 2 - j] for j in range(dim - 1)])

    def eliminate(states: States, rows: States) -> tuple[States, States]:
        # In: the pivot of row j, the diagonal of row j + 1, the coupling of both.
        pivot, norm = states
        ratio = rows[1] / pivot
        drop = rows[1] * ratio
        norm = ratio * ratio * norm + 1.0
        return [(rows[0] - drop) + limits.pivot, norm], [ratio, drop, norm]

    first = graph.gather(both, 0) + limits.pivot
    one = ones_like(shift, 2)
    one = graph.apply("Squeeze", one, graph.constant([1], np.int64), dtype=one.dtype)
    _, (ratios, drops, norms) = graph.scan(eliminate, [first, one], [graph.rows(both, 1, dim), couplings], rank=2)
    nothing = graph.unsqueeze(one - one, 0)
    drops = graph.concat([nothing, drops], 0)
    # ||z||^2 is what both runs add to the one of the row where they meet.
    norms = graph.concat([graph.unsqueeze(one, 0), norms], 0)
    gamma = _side(both, 0) - _side(drops, 0) - _reversed(_side(drops, 1), dim)
    norm = _side(norms, 0) + _reversed(_side(norms, 1), dim) - 1.0
    residual = graph.elementwise("Abs", gamma) / graph.elementwise("Sqrt", norm)
    # A norm that overflowed (also to NaN) would pass for a residual of zero.
    residual = graph.where((norm < limits.norm) & (residual < limits.outside), residual, limits.outside)
    twist = graph.arg("ArgMin", residual, 0)
    rows = graph.constant([[[dim - 1 - j], [j]] for j in range(dim)], np.int64)
    start = graph.cast(graph.apply("Equal", graph.unsqueeze(twist, 0), rows, dtype=np.bool_), diag.dtype)

    def run(states: States, rows: States) -> tuple[States, States]:
        # Zero until the twist, where `start` is one.
        z = rows[1] - rows[0] * states[0]
        return [z], [z]

    begin = graph.gather(start, 0)
    _, (further,) = graph.scan(run, [begin], [_reversed(ratios, dim - 1), graph.rows(start, 1, dim)], rank=2)
    z = graph.concat([graph.unsqueeze(begin, 0), further], 0)
    # The row of the twist is in both runs.
    z = _reversed(_side(z, 0), dim) + _side(z, 1) - _side(start, 1)
    length = graph.elementwise("Sqrt", graph.reduce("ReduceSum", z * z, [0]))
    return z / length


def _side(pairs: Tensor, side: int) -> Tensor:
    return pairs.graph.gather(pairs, side, axis=1)


def _reversed(rows: Tensor, count: int) -> Tensor:
    return rows.graph.gather(rows, list(range(count - 1, -1, -1)))
