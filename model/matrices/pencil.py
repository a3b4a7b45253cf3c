"""Turn terms and their curves into (diag, off_diag) of every head, and back into contributions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.tiles.tile import aligned_rows
from eigenserve.model.kernels.compiled import kernel, part
from eigenserve.model.kernels.lanes import (
    ALIGNMENT,
    LANES_F64,
    add_sums,
    fill,
    load,
    load_below,
    store,
    store_between,
    sum_lanes,
)
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

    def room(self, count: int) -> tuple[FloatArray, FloatArray]:
        """Return room for `matrices`."""
        return np.empty((count, self.num_heads, self.dim)), np.empty((count, self.num_heads, self.dim - 1))

    def matrices(self, walk: Walk, into: tuple[FloatArray, FloatArray] | None = None) -> tuple[FloatArray, FloatArray]:
        """Build the matrices where rows stand: diag (N, H, n) and off_diag (N, H, n-1), ``into`` room if given."""
        count = len(walk.starts)
        diag, off_diag = self.room(count) if into is None else (part[:count] for part in into)
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

    def decompose(
        self, walk: Walk, forms: FloatArray, heads: slice, into: Decomposition | None = None
    ) -> Decomposition:
        """Decompose sums of products <F, T> over heads: <F, T(x)> = <F, A> + sum over terms of <F, M_t(x_t)>.

        Args:
            walk: where N rows stand.
            forms: F of each of G heads, (N, G, 2n - 1), as ``weighted_forms`` gives them of eigenvectors: then <F, T> =
                weight v'Tv.
            heads: those G.
            into: zeros to add them to.
        """
        features = 1 + max((i for term in self.terms for i in term.features), default=-1)
        parts = Decomposition.zeros(len(walk.starts), len(self.terms), features) if into is None else into
        _decompose(
            *walk,
            self.curves.direction,
            self.curves.numeric,
            self.curves.term,
            *(part[heads] for part in self._packed),
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
    """Hold decomposed scores of N rows.

    Attributes:
        constant: (N,), the part of the constant matrices.
        terms: (N, T), the part of each term.
        slopes: (N, F), derivatives by the coordinates of numeric features.
    """

    constant: FloatArray
    terms: FloatArray
    slopes: FloatArray

    @classmethod
    def zeros(cls, count: int, terms: int, features: int) -> Decomposition:
        """Return a decomposition of nothing."""
        return cls(np.zeros(count), np.zeros((count, terms)), np.zeros((count, features)))

    def at(self, rows: slice) -> Decomposition:
        """Return that of some rows."""
        return Decomposition(*(part[rows] for part in self))


# Unsigned, or every index is first looked at for being negative.
_ONE, _TWO, _THREE = np.uintp(1), np.uintp(2), np.uintp(3)


@part(forceinline=True)
def _product(lanes: Any, row: Any, form_0: Any, form_1: Any) -> Any:
    """Multiply the block of a matrix by that of a form; the sum of the lanes is their product."""
    return load(lanes, row) * form_0 + load(lanes, row + 1) * form_1


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
        numeric: Any,
        term: Any,
        constant: Any,
        table: Any,
        forms: Any,
        constants: Any,
        terms: Any,
        slopes: Any,
    ) -> None:
        """Add up <F, M> over the heads for both matrices of every curve, and then over the curves of a term.

        What the weights multiply does not depend on the head, so that two sums for each curve serve its terms and
        derivatives. Those of four curves become one register: lane by lane they would take twice the time (measured).
        """
        if sources < 0:  # only so that the digest is captured
            return
        heads, blocks, matrices, width = table.shape
        count, curves = starts.shape
        entries, half = forms.shape[2], width // 2
        constant_lanes, lanes = constant.reshape(-1, half), table.reshape(-1, half)
        packed = aligned_rows(1, 2 * count)[0]
        groups = -(-curves // 4)
        sums = np.zeros((count * groups, 8))
        zero = fill(load(constant_lanes, 0), 0.0)
        for h in range(heads):
            for b in range(blocks):
                place = h * blocks + b
                base = place * matrices
                own_0, own_1 = load(constant_lanes, 2 * place), load(constant_lanes, 2 * place + 1)
                for j in range(count):
                    first = (j * heads + h) * entries
                    form_0 = load_below(forms, first + b * width, entries - b * width, zero)
                    form_1 = load_below(forms, first + b * width + half, entries - b * width - half, zero)
                    store(packed, 2 * j, form_0)
                    store(packed, 2 * j + 1, form_1)
                    constants[j] += sum_lanes(own_0 * form_0 + own_1 * form_1)
                for g in range(groups):
                    # The last group's missing curves repeat the last one; nobody reads their sums.
                    c0, most = np.uintp(4 * g), np.uintp(curves - 1)
                    c1, c2, c3 = min(c0 + _ONE, most), min(c0 + _TWO, most), min(c0 + _THREE, most)
                    for j in range(count):
                        form_0, form_1 = load(packed, 2 * j), load(packed, 2 * j + 1)
                        r0, r1 = 2 * (base + starts[j, c0]), 2 * (base + starts[j, c1])
                        r2, r3 = 2 * (base + starts[j, c2]), 2 * (base + starts[j, c3])
                        add_sums(
                            sums,
                            j * groups + g,
                            _product(lanes, r0, form_0, form_1),
                            _product(lanes, r0 + 2, form_0, form_1),
                            _product(lanes, r1, form_0, form_1),
                            _product(lanes, r1 + 2, form_0, form_1),
                            _product(lanes, r2, form_0, form_1),
                            _product(lanes, r2 + 2, form_0, form_1),
                            _product(lanes, r3, form_0, form_1),
                            _product(lanes, r3 + 2, form_0, form_1),
                        )
        for j in range(count):
            for c in range(curves):
                here = sums[j * groups + c // 4, 2 * (c % 4)]
                rise = sums[j * groups + c // 4, 2 * (c % 4) + 1] - here
                terms[j, term[c]] += here + rise * weights[j, c]
                p, q = numeric[c, 0], numeric[c, 1]
                if p >= 0:
                    slopes[j, p] += rise * (direction[c, 0] * steps[j, c])
                if q >= 0:
                    slopes[j, q] += rise * (direction[c, 1] * steps[j, c])

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
