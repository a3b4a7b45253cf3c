"""Least-squares sums over rows that stand on curves: two matrices each, so no design matrix is ever made.

A row's design vector holds, for every curve, 1 - w at one matrix and w at the next, and a one for the constant. Its
outer product has 4 C^2 entries whatever the number of matrices, which makes a Gram matrix of hundreds of columns as
cheap as reading the rows a few times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse import block_diag, csr_array, eye_array

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import kernel
from eigenserve.training.curves.basis import CurveBasis, curve_set

#: Rows whose places are counted at a time.
SUMMED_ROWS = 16_384
#: Ridge penalties that are tried, in multiples of the rows, and the least of all. A weak one alone hides what noise
#: outweighs: 64 parameters of a plane promise nothing of a product that 12 would show.
STRENGTHS = (0.2, 0.02, 0.002)
LEAST_STRENGTH = 3.0


def basis_matrix(bases: Sequence[CurveBasis]) -> csr_array:
    """Build the matrix (R + 1, P + 1) from parameters to matrices of all curves, and the constant."""
    blocks = [eye_array(basis.num_params) if basis.matrix is None else basis.matrix for basis in bases]
    return block_diag([*blocks, np.ones((1, 1))], format="csr")


def gather(starts: NDArray[np.int32], weights: NDArray[np.float32], table: FloatArray) -> FloatArray:
    """Design times ``table`` (R + 1, O), the constant last: (N, O)."""
    out = np.empty((len(starts), table.shape[1]))
    _gather(starts, weights, np.ascontiguousarray(table), out)
    return out


def matrix_shares(starts: NDArray[np.int32], weights: NDArray[np.float32], num_matrices: int) -> FloatArray:
    """Return the mean weight that rows give each matrix, (R,)."""
    shares = np.zeros(num_matrices + 1)
    # In parts: 32 bytes for each place would be four times the places themselves.
    for at in range(0, len(starts), SUMMED_ROWS):
        first = starts[at : at + SUMMED_ROWS].ravel().astype(np.int64)
        weight = weights[at : at + SUMMED_ROWS].ravel().astype(np.float64)
        shares += np.bincount(first, 1.0 - weight, minlength=num_matrices + 1)
        shares += np.bincount(first + 1, weight, minlength=num_matrices + 1)
    return shares[:num_matrices] / len(starts)


def gram(
    starts: NDArray[np.int32],
    weights: NDArray[np.float32],
    rows: NDArray[np.int64],
    row_weight: FloatArray,
    pull: FloatArray,
    num_matrices: int,
) -> tuple[FloatArray, FloatArray]:
    """Weighted design' design (R + 1, R + 1) and design' pull (R + 1, O) over the rows in ``rows``.

    Args:
        starts, weights: (N, C), where each row stands.
        rows: positions of the rows to sum over.
        row_weight: (N,).
        pull: (N, O).
        num_matrices: R.
    """
    total = np.zeros((num_matrices + 1, num_matrices + 1))
    moment = np.zeros((num_matrices + 1, pull.shape[1]))
    _gram(starts, weights, rows, row_weight, pull, total, moment)
    return total + np.tril(total, -1).T, moment


def cross_fitted(bases: Sequence[CurveBasis], z: FloatArray, target: FloatArray, fold: NDArray[np.int64]) -> FloatArray:
    """Predict the target by a ridge regression in these curves, each row by the fit that has not seen it: (N, O).

    The penalty is the weakest of ``STRENGTHS`` that predicts better than the one before.

    Args:
        bases: the curves.
        z: (N, F) coordinates.
        target: (N, O).
        fold: (N,).
    """
    walk = curve_set(bases).walk(z)
    starts, weights = walk.starts, walk.weights.astype(np.float32)
    basis = basis_matrix(bases)
    ones, size = np.ones(len(z)), basis.shape[0] - 1
    held = [np.flatnonzero(fold == f) for f in range(int(fold.max()) + 1)]
    sums = [gram(starts, weights, rows, ones, target, size) for rows in held]
    whole, moments = sum(s for s, _ in sums), sum(m for _, m in sums)
    outside = [(basis.T @ (whole - total) @ basis, basis.T @ (moments - moment)) for total, moment in sums]
    best, least = target, np.inf
    for strength in STRENGTHS:
        ridge = np.diag(np.append(np.full(basis.shape[1] - 1, max(LEAST_STRENGTH, strength * len(z))), 1e-6))
        predicted = np.empty_like(target)
        for rows, (product, moment) in zip(held, outside, strict=True):
            beta = solve(product + ridge, moment, assume_a="pos", check_finite=False)
            predicted[rows] = gather(starts[rows], weights[rows], basis @ beta)
        error = float(((target - predicted) ** 2).sum())
        if error >= least:
            break
        best, least = predicted, error
    return best


@kernel
def _gather(starts: Any, weights: Any, table: Any, out: Any) -> None:
    constant = len(table) - 1
    for j in range(len(starts)):
        for o in range(table.shape[1]):
            total = table[constant, o]
            for c in range(starts.shape[1]):
                r, w = starts[j, c], weights[j, c]
                total += table[r, o]
                if w != 0.0:
                    total += w * (table[r + 1, o] - table[r, o])
            out[j, o] = total


@kernel
def _gram(starts: Any, weights: Any, rows: Any, row_weight: Any, pull: Any, total: Any, moment: Any) -> None:
    constant, curves = len(total) - 1, starts.shape[1]
    at = np.empty(2 * curves + 1, np.int64)
    value = np.empty(2 * curves + 1)
    for j in rows:
        count = 0
        for c in range(curves):
            w = weights[j, c]
            at[count], value[count] = starts[j, c], 1.0 - w
            count += 1
            if w != 0.0:
                at[count], value[count] = starts[j, c] + 1, w
                count += 1
        at[count], value[count] = constant, 1.0
        count += 1
        # Matrices ascend with curves, so this fills the lower triangle.
        for a in range(count):
            scaled = value[a] * row_weight[j]
            for b in range(a + 1):
                total[at[a], at[b]] += scaled * value[b]
            for o in range(pull.shape[1]):
                moment[at[a], o] += value[a] * pull[j, o]
