"""TridiagonalPencil: terms and their curves -> (diag, off_diag) of every head, and back to contributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from model.curves import CurveSet, Term, Walk
from model.features import FloatArray

# Sums may be reordered so that they run in vector registers; NaN and infinity keep their meaning.
_SUM_FLAGS = {"reassoc", "contract", "nsz"}


@dataclass(frozen=True)
class TridiagonalPencil:
    """T_h(x) = A_h + sum over terms of M_ht(x_t), symmetric tridiagonal, for every head h.

    A head is one eigenvalue of one member for one output; heads are ordered by output, then by member.

    Attributes:
        terms: the terms, T of them.
        curves: their curves, R matrices for each head in all.
        constant_diag, constant_off_diag: A, (H, n) and (H, n-1).
        diag, off_diag: the curves' matrices, (R, H, n) and (R, H, n-1).
    """

    terms: tuple[Term, ...]
    curves: CurveSet
    constant_diag: FloatArray
    constant_off_diag: FloatArray
    diag: FloatArray
    off_diag: FloatArray

    def __post_init__(self) -> None:
        (heads, dim), matrices = self.constant_diag.shape, self.curves.num_matrices
        expected = {
            "constant_off_diag": (heads, dim - 1),
            "diag": (matrices, heads, dim),
            "off_diag": (matrices, heads, dim - 1),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}; got {array.shape}")
        for name in ("constant_diag", *expected):
            array = np.ascontiguousarray(getattr(self, name), np.float64).view()
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite; got NaN or infinity")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def num_heads(self) -> int:
        """Heads H: members times outputs."""
        return self.constant_diag.shape[0]

    @property
    def dim(self) -> int:
        """Size n of every matrix."""
        return self.constant_diag.shape[1]

    def matrices(self, walk: Walk) -> tuple[FloatArray, FloatArray]:
        """Where rows stand -> their matrices: diag (N, H, n) and off_diag (N, H, n-1)."""
        count = len(walk.starts)
        diag = np.empty((count, self.num_heads, self.dim))
        off_diag = np.empty((count, self.num_heads, self.dim - 1))
        for constant, table, out in (
            (self.constant_diag, self.diag, diag),
            (self.constant_off_diag, self.off_diag, off_diag),
        ):
            _gather(
                walk.starts,
                walk.weights,
                constant.reshape(-1),
                table.reshape(len(table), -1),
                out.reshape(count, -1),
            )
        return diag, off_diag

    def decompose(self, walk: Walk, eigenvectors: FloatArray, weights: FloatArray) -> Decomposition:
        """Weighted sums of v'Tv over members, taken apart: v'T(x)v = v'Av + sum over terms of v'M_t(x_t)v.

        Args:
            walk: where N rows stand.
            eigenvectors: (N, H, n), of unit norm.
            weights: (O, G), of each member G in each output O; H = O G.
        """
        count, outputs = len(walk.starts), len(weights)
        features = 1 + max((i for term in self.terms for i in term.features), default=-1)
        parts = Decomposition(
            np.empty((count, outputs)),
            np.zeros((count, len(self.terms), outputs)),
            np.zeros((count, features, outputs)),
        )
        _decompose(
            *walk,
            self.curves.term,
            self.curves.numeric,
            self.curves.direction,
            self.constant_diag.reshape(-1),
            self.constant_off_diag.reshape(-1),
            self.diag.reshape(len(self.diag), -1),
            self.off_diag.reshape(len(self.off_diag), -1),
            eigenvectors,
            weights,
            *parts,
        )
        return parts


class Decomposition(NamedTuple):
    """Scores taken apart, for N rows and O outputs.

    Attributes:
        constant: (N, O), the part of the constant matrices.
        terms: (N, T, O), the part of each term.
        slopes: (N, F, O), derivatives by the coordinates of numeric features.
    """

    constant: FloatArray
    terms: FloatArray
    slopes: FloatArray


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_SUM_FLAGS)
def _gather(starts: Any, weights: Any, constant: Any, table: Any, out: Any) -> None:
    for j in range(len(starts)):
        row = out[j]
        row[:] = constant
        for c in range(starts.shape[1]):
            first = table[starts[j, c]]
            w = weights[j, c]
            if w == 0.0:
                for i in range(len(row)):
                    row[i] += first[i]
            else:
                second = table[starts[j, c] + 1]
                for i in range(len(row)):
                    row[i] += first[i] + w * (second[i] - first[i])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_SUM_FLAGS)
def _dot(a: Any, b: Any) -> Any:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_SUM_FLAGS)
def _decompose(
    starts: Any,
    weights: Any,
    steps: Any,
    term: Any,
    numeric: Any,
    direction: Any,
    constant_diag: Any,
    constant_off_diag: Any,
    diag: Any,
    off_diag: Any,
    vectors: Any,
    member_weights: Any,
    constant: Any,
    terms: Any,
    slopes: Any,
) -> None:
    dim = vectors.shape[2]
    outputs, members = member_weights.shape
    squares = np.empty(members * dim)
    products = np.empty(members * (dim - 1))
    for j in range(len(vectors)):
        for o in range(outputs):
            # d(score)/dT of all members of the output side by side, so that each form is one dot product.
            for g in range(members):
                v = vectors[j, o * members + g]
                w = member_weights[o, g]
                for i in range(dim):
                    squares[g * dim + i] = w * v[i] * v[i]
                for i in range(dim - 1):
                    products[g * (dim - 1) + i] = 2.0 * w * v[i] * v[i + 1]
            d = slice(o * len(squares), (o + 1) * len(squares))
            e = slice(o * len(products), (o + 1) * len(products))
            constant[j, o] = _dot(constant_diag[d], squares) + _dot(constant_off_diag[e], products)
            for c in range(len(term)):
                r = starts[j, c]
                value = _dot(diag[r, d], squares) + _dot(off_diag[r, e], products)
                if steps[j, c] != 0.0:
                    step = _dot(diag[r + 1, d], squares) + _dot(off_diag[r + 1, e], products) - value
                    value += weights[j, c] * step
                    for k in range(2):
                        if numeric[c, k] >= 0:
                            slopes[j, numeric[c, k], o] += direction[c, k] * steps[j, c] * step
                terms[j, term[c], o] += value
