"""Turn terms and their curves into (diag, off_diag) of every head, and back into contributions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.lanes import ALIGNMENT, LANES_F64, fill, load, store_between, sum_lanes
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest
from eigenserve.model.matrices.curves import CurveSet, Term, Walk

# The kernels read a head's numbers in blocks of two Lanes: with AVX-512 a matrix of up to 16 rows is one block.
_BLOCK = 2 * LANES_F64


@dataclass(frozen=True)
class TridiagonalPencil:
    """Compute T_h(x) = A_h + sum over terms of M_ht(x_t), symmetric tridiagonal, for every head h.

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
        """Return the number of heads H: members times outputs."""
        return self.constant_diag.shape[0]

    @property
    def dim(self) -> int:
        """Return the size n of every matrix."""
        return self.constant_diag.shape[1]

    def matrices(self, walk: Walk) -> tuple[FloatArray, FloatArray]:
        """Build the matrices where rows stand: diag (N, H, n) and off_diag (N, H, n-1)."""
        count = len(walk.starts)
        diag = np.empty((count, self.num_heads, self.dim))
        off_diag = np.empty((count, self.num_heads, self.dim - 1))
        _gather(walk.starts, walk.weights, *self._packed, diag, off_diag)
        return diag, off_diag

    def at(self, coordinates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the matrices of coordinates (N, F): diag (N, H, n) and off_diag (N, H, n-1)."""
        return self.matrices(self.curves.walk(coordinates))

    def terms_at(self, coordinates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return every term's matrix at coordinates (F,): (T, H, n) and (T, H, n-1)."""
        walk = self.curves.walk(coordinates[None])
        starts, weights = walk.starts[0], walk.weights[0, :, None, None]
        sums = []
        for table in (self.diag, self.off_diag):
            total = np.zeros((len(self.terms), *table.shape[1:]))
            second = table[np.where(walk.weights[0] != 0.0, starts + 1, starts)]
            np.add.at(total, self.curves.term, table[starts] + weights * (second - table[starts]))
            sums.append(total)
        return sums[0], sums[1]

    def along(self, curve: int) -> tuple[FloatArray, FloatArray]:
        """Return the matrices at a curve's knots: (paths, knots, H, n) and (paths, knots, H, n-1)."""
        shape, first = self.curves.curves[curve], int(self.curves.offsets[curve])
        paths, knots = shape.num_paths, len(shape.knots)
        diag, off_diag = (part[first : first + paths * knots] for part in (self.diag, self.off_diag))
        return (
            diag.reshape(paths, knots, self.num_heads, self.dim),
            off_diag.reshape(paths, knots, self.num_heads, self.dim - 1),
        )

    def decompose(self, walk: Walk, forms: FloatArray, outputs: int) -> Decomposition:
        """Decompose sums of products <F, T> over members: <F, T(x)> = <F, A> + sum over terms of <F, M_t(x_t)>.

        Args:
            walk: where N rows stand.
            forms: F, (N, H, 2n - 1), as ``weighted_forms`` gives them of eigenvectors: then <F, T> = weight v'Tv.
            outputs: O, of which each has H / O heads.
        """
        count = len(walk.starts)
        features = 1 + max((i for term in self.terms for i in term.features), default=-1)
        parts = Decomposition(
            np.empty((count, outputs)),
            np.zeros((count, len(self.terms), outputs)),
            np.zeros((count, features, outputs)),
        )
        _decompose(
            *walk,
            self.curves.direction,
            self._runs,
            *self._packed,
            forms,
            *parts,
        )
        return parts

    @cached_property
    def _packed(self) -> tuple[FloatArray, FloatArray]:
        """Pack the constant (H, B, 1, _BLOCK) and the curves (H, B, R + 1, _BLOCK), as the kernels read them.

        A head's diagonal and off-diagonal follow each other, filled up with zeros to B whole blocks. Block
        by block a row's two matrices of a curve are neighbours in memory, and what all rows read in turn
        (344 kB of 2.5 MB in the demo model) stays in the second-level cache: measured 1.7 us a row instead
        of 2.65. The last matrix is zero, so that the one after every start exists.
        """
        return (
            _blocks(self.constant_diag[None], self.constant_off_diag[None], spare=0),
            _blocks(self.diag, self.off_diag, spare=1),
        )

    @cached_property
    def _runs(self) -> NDArray[np.int64]:
        """Return (U, 5): first curve of each run and the one after its last, its term, its two numeric features or -1.

        A run is of neighbours in one term that walk by the same features, so that one sum serves them all.
        """
        runs: list[list[int]] = []
        for c, (term, numeric) in enumerate(zip(self.curves.term, self.curves.numeric, strict=True)):
            key = [int(term), *map(int, numeric)]
            if runs and runs[-1][2:] == key:
                runs[-1][1] = c + 1
            else:
                runs.append([c, c + 1, *key])
        return np.array(runs, np.int64).reshape(-1, 5)


def _blocks(diag: FloatArray, off_diag: FloatArray, spare: int) -> FloatArray:
    """Arrange matrices (R, H, n), (R, H, n - 1) as (H, B, R + spare, _BLOCK), the spare ones zero."""
    count, heads, n = diag.shape
    blocks = -(-(2 * n - 1) // _BLOCK)
    flat = np.zeros((count + spare, heads, blocks * _BLOCK))
    flat[:count, :, :n] = diag
    flat[:count, :, n : 2 * n - 1] = off_diag
    raw = np.empty(flat.size + ALIGNMENT // 8)
    start = (-raw.ctypes.data % ALIGNMENT) // 8  # loads that straddle cache lines take twice as long
    packed = raw[start : start + flat.size].reshape(heads, blocks, count + spare, _BLOCK)
    packed[:] = flat.reshape(count + spare, heads, blocks, _BLOCK).transpose(1, 2, 0, 3)
    return packed


class Decomposition(NamedTuple):
    """Hold decomposed scores, for N rows and O outputs.

    Attributes:
        constant: (N, O), the part of the constant matrices.
        terms: (N, T, O), the part of each term.
        slopes: (N, F, O), derivatives by the coordinates of numeric features.
    """

    constant: FloatArray
    terms: FloatArray
    slopes: FloatArray


def _cached(sources: int) -> tuple[Any, Any]:
    """Return the two kernels, which capture the digest of the ``sources`` that they call."""

    @kernel
    def gather(starts: Any, weights: Any, constant: Any, table: Any, diag: Any, off_diag: Any) -> None:
        if sources < 0:  # only so that the digest is captured
            return
        heads, blocks, matrices, width = table.shape
        count, _, n = diag.shape
        constants, lanes = constant.reshape(-1, width // 2), table.reshape(-1, width // 2)
        for h in range(heads):
            for b in range(blocks):
                place = h * blocks + b
                own_0, own_1 = load(constants, 2 * place), load(constants, 2 * place + 1)
                # Of a head's numbers: the first n are on the diagonal, and the next n - 1 off it.
                first, second = b * width, b * width + width // 2
                for j in range(count):
                    sum_0, sum_1 = own_0, own_1
                    for c in range(starts.shape[1]):
                        row = 2 * (place * matrices + starts[j, c])
                        w = weights[j, c]
                        here_0, here_1 = load(lanes, row), load(lanes, row + 1)
                        sum_0 = sum_0 + (here_0 + (load(lanes, row + 2) - here_0) * w)
                        sum_1 = sum_1 + (here_1 + (load(lanes, row + 3) - here_1) * w)
                    on_start, off_start = (j * heads + h) * n, (j * heads + h) * (n - 1)
                    store_between(diag, on_start + first, 0, n - first, sum_0)
                    store_between(diag, on_start + second, 0, n - second, sum_1)
                    store_between(off_diag, off_start + first - n, n - first, 2 * n - 1 - first, sum_0)
                    store_between(off_diag, off_start + second - n, n - second, 2 * n - 1 - second, sum_1)

    @kernel
    def decompose(
        starts: Any,
        weights: Any,
        steps: Any,
        direction: Any,
        runs: Any,
        constant: Any,
        table: Any,
        given: Any,
        constants: Any,
        terms: Any,
        slopes: Any,
    ) -> None:
        """Add up runs of curves lane by lane, and lanes once for each run and derivative."""
        if sources < 0:  # only so that the digest is captured
            return
        heads, blocks, matrices, width = table.shape
        count, _, entries = given.shape
        members = heads // constants.shape[1]
        constant_lanes, lanes = constant.reshape(-1, width // 2), table.reshape(-1, width // 2)
        forms = np.zeros((2 * count * blocks, width // 2))
        numbers = forms.reshape(count, blocks * width)
        zero = fill(load(forms, 0), 0.0)
        constants[:] = 0.0
        for h in range(heads):
            o = h // members
            for j in range(count):
                for i in range(entries):
                    numbers[j, i] = given[j, h, i]
            for b in range(blocks):
                place = h * blocks + b
                own_0, own_1 = load(constant_lanes, 2 * place), load(constant_lanes, 2 * place + 1)
                for j in range(count):
                    form = 2 * (j * blocks + b)
                    constants[j, o] += sum_lanes(own_0 * load(forms, form) + own_1 * load(forms, form + 1))
                for run in runs:
                    t, p, q = run[2], run[3], run[4]
                    # Unsigned, or every index is first looked at for being negative.
                    start, stop = np.uintp(run[0]), np.uintp(run[1])
                    for j in range(count):
                        form = 2 * (j * blocks + b)
                        form_0, form_1 = load(forms, form), load(forms, form + 1)
                        values = rises = by_p = by_q = zero
                        for c in range(start, stop):
                            row = 2 * (place * matrices + starts[j, c])
                            value = load(lanes, row) * form_0 + load(lanes, row + 1) * form_1
                            rise = load(lanes, row + 2) * form_0 + load(lanes, row + 3) * form_1 - value
                            step = steps[j, c]
                            values = values + value
                            rises = rises + rise * weights[j, c]
                            by_p = by_p + rise * (direction[c, np.uintp(0)] * step)
                            by_q = by_q + rise * (direction[c, np.uintp(1)] * step)
                        terms[j, t, o] += sum_lanes(values + rises)
                        if p >= 0:
                            slopes[j, p, o] += sum_lanes(by_p)
                        if q >= 0:
                            slopes[j, q, o] += sum_lanes(by_q)

    return gather, decompose


@kernel
def weighted_forms(vectors: Any, member_weights: Any, forms: Any) -> None:
    """Write d(score)/dT into forms (N, H, 2n - 1): weight v_i^2, then 2 weight v_i v_(i+1), of vectors (N, H, n)."""
    count, heads, n = vectors.shape
    for j in range(count):
        for h in range(heads):
            scale = member_weights[h % len(member_weights)]
            for i in range(n):
                forms[j, h, i] = scale * vectors[j, h, i] * vectors[j, h, i]
            for i in range(n - 1):
                forms[j, h, n + i] = 2.0 * scale * vectors[j, h, i] * vectors[j, h, i + 1]


_gather, _decompose = _cached(source_digest(*SOLVER_SOURCES))
