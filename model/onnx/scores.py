"""Turn a walk into matrices, eigenvalues and scores, in a graph: the twin of the pencil and the ensemble.

A lane is one head of one row: lane h * N + j is head h of row j, and heads are ordered by output, then by
member.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.onnx.eigenvalue import ScaledMatrices, eigenvalue, scaled
from eigenserve.model.onnx.graph import Graph
from eigenserve.model.onnx.tensor import Tensor
from eigenserve.model.onnx.walk import Walk, hats


@dataclass(frozen=True)
class Tables:
    """Hold the model's matrices as constants, their numbers in the order (output, entry, member).

    The 2n - 1 entries of a matrix are its diagonal and then its off-diagonal.

    Attributes:
        curves: (R, O * (2n - 1) * G).
        constant: (O * (2n - 1) * G, 1).
        num_curves: R.
        shape: (O, 2n - 1, G).
    """

    curves: Tensor
    constant: Tensor
    num_curves: int
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Spectrum:
    """Hold the wanted eigenvalue of every lane.

    Attributes:
        value: (1, L).
        gap: (1, L), distance to the nearest neighbour; None unless asked for.
        matrices: scaled for the solver; None for dim 1.
        shift: (1, L), the eigenvalue of the scaled matrix.
    """

    value: Tensor
    gap: Tensor | None
    matrices: ScaledMatrices | None
    shift: Tensor


def tables_of(graph: Graph, ensemble: SpectralEnsemble, dtype: DTypeLike) -> Tables:
    """Return the constants of a model."""
    pencil, outputs = ensemble.pencil, ensemble.num_outputs
    shape = (outputs, 2 * pencil.dim - 1, pencil.num_heads // outputs)

    def ordered(diag: NDArray[np.float64], off_diag: NDArray[np.float64]) -> NDArray[np.float64]:
        entries = np.concatenate([diag, off_diag], axis=-1).reshape(-1, outputs, shape[2], shape[1])
        return entries.transpose(0, 1, 3, 2).reshape(len(entries), -1)

    curves = ordered(pencil.diag, pencil.off_diag)
    constant = ordered(pencil.constant_diag, pencil.constant_off_diag)
    return Tables(
        curves=graph.constant(curves, dtype),
        constant=graph.constant(constant.reshape(-1, 1), dtype),
        num_curves=len(curves),
        shape=shape,
    )


def entries_of(walk: Walk, tables: Tables) -> Tensor:
    """Return the matrices of all lanes, (2n - 1, L), the sums of all curves as one product."""
    graph, dtype, (outputs, entries, members) = walk.starts.graph, tables.curves.dtype, tables.shape
    share = hats(walk, tables.num_curves, dtype)
    sums = graph.apply("Gemm", tables.curves, share, tables.constant, dtype=dtype, transA=1)
    rows = graph.shape_of(walk.starts, 1)
    if outputs > 1:
        sums = graph.reshape_to(sums, graph.shape(outputs, entries, members, rows))
        sums = graph.transpose(sums, 1, 0, 2, 3)
    return graph.reshape_to(sums, graph.shape(entries, rows * (outputs * members)))


def spectrum(entries: Tensor, dim: int, eig_idx: int, with_gap: bool) -> Spectrum:
    """Find eigenvalue ``eig_idx`` of each of the matrices (2n - 1, L)."""
    graph = entries.graph
    if dim == 1:
        # An infinite gap, but for lanes that hold NaN.
        return Spectrum(entries, entries * 0.0 + np.inf if with_gap else None, None, entries)
    matrices = scaled(graph.rows(entries, 0, dim), graph.rows(entries, dim, 2 * dim - 1))
    neighbours = [i for i in (eig_idx - 1, eig_idx + 1) if 0 <= i < dim] if with_gap else []
    wanted = [eig_idx, *neighbours]
    # Neighbours are further lanes of the same solver: (1, len(wanted) * L).
    lanes = graph.shape_of(entries, 1)
    idx = graph.constant(np.array(wanted, np.float32)[:, None])
    idx = graph.expand(idx, graph.shape(len(wanted), lanes))
    idx = graph.reshape_to(idx, graph.shape(1, lanes * len(wanted)))
    found = eigenvalue(matrices.repeated(len(wanted)), idx, dim)
    found = graph.reshape_to(found, graph.shape(len(wanted), lanes))
    own = graph.rows(found, 0, 1)
    gap = None
    if with_gap:
        distances = graph.elementwise("Abs", graph.rows(found, 1, len(wanted)) - own)
        gap = graph.reduce("ReduceMin", distances, [0]) * matrices.norm
    return Spectrum(own * matrices.norm, gap, matrices, own)


def scores_of(values: Tensor, rows: Tensor, ensemble: SpectralEnsemble) -> Tensor:
    """Turn eigenvalues (1, L) of ``rows`` rows into scores (O, N)."""
    graph, outputs = values.graph, ensemble.num_outputs
    weights = graph.constant(ensemble.member_weights[None], values.dtype)
    by_member = graph.reshape_to(values, graph.shape(outputs, len(ensemble.member_weights), rows))
    mean = graph.reshape_to(graph.matmul(weights, by_member), graph.shape(outputs, rows))
    return mean + graph.constant(ensemble.offset[:, None], values.dtype)


def probabilities_of(scores: Tensor, link: str) -> Tensor:
    """Turn scores (O, N) into probabilities (classes, N)."""
    graph = scores.graph
    if link == "softmax":
        return graph.apply("Softmax", scores, dtype=scores.dtype, axis=0)
    # Not Sigmoid, whose float32 versions lose the digits of small probabilities, nor 1 - p.
    both = graph.concat([scores, -scores], 0)
    return 1.0 / (graph.elementwise("Exp", both) + 1.0)
