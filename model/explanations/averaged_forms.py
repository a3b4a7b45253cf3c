"""Averaged forms: the mean of v(s) v(s)' along straight lines of matrices T(s) = A + s (T - A), s from 0 to 1.

With lambda(s), v(s) an eigenpair of T(s), d lambda / ds = v'(T - A)v = <F, T - A> with the form F(s) = v v', of which
a tridiagonal matrix meets three diagonals. The mean of F gives every part of T - A its part of lambda(1) - lambda(0) at
once, whatever the parts are.

F is analytic in s and Gauss' rules converge exponentially, but for lines that pass a place where lambda nearly meets
a neighbour: there v turns quickly. What shows it costs nothing: lambda is known at every node, and must be the integral
of its slope up to there. Lines that fail this are cut where the tangents to lambda on either side meet, which is at the
near-crossing, and either piece is judged in the same way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_batch
from eigenserve.model.kernels.compiled import kernel, part
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest

#: Interior nodes of Lobatto's rule, exact to degree 11: the eigenpairs at both ends of a line are known, and a cut is
#: the end of two pieces. Measured: five leave as many lines to cut as six where lines turn much (housing),
#: and are less work where they do not (credit); four hide some near-crossings. Nodes graded towards the cut are no
#: better, nor is Gauss' rule on pieces, which is solved in six nodes and at the cut: 10 to 16% more time. Nor is a rule
#: for both levels of a near-crossing at once: it is seldom sure of itself, and solves two eigenpairs at every node.
NODES = 5
#: By how much lambda may differ from the integral of its slope on a whole line, as a share of its row's largest
#: contribution; on a piece by more, in inverse proportion to its length, but not by more than LOOSE: what a
#: near-crossing between two nodes can hide from lambda, where both levels have about the same slope, grows with the
#: length. That is for one member; errors of more differ in sign, and ``scale`` grows with the root of their number.
#: Measured on 600 rows of each of four models of 12 members, against tolerances of 1e-9: the worst contribution is off
#: by 1e-4 of its row's largest (housing without pairs), at the 99th percentile by 6e-5.
TIGHT, LOOSE = 5e-6, 1.2e-4
#: Rounds of cutting at most, and the shortest piece that is cut: what is left then is rounding.
ROUNDS, SHORTEST = 32, 2.0**-24
#: Lines taken together: the matrices of their nodes stay in the second-level cache.
GROUP = 64
# Eigenvalues are known to some roundings only, at nodes and at the ends.
_ROUNDING = 1e-13


class Lines(NamedTuple):
    """M lines of matrices, with the eigenpairs at both ends.

    Attributes:
        head: (M,), which start each line has.
        start_diag, start_off_diag: A of every head, (H, n) and (H, n - 1).
        start_values, start_vectors: its eigenvalues (H,) and eigenvectors (H, n).
        diag, off_diag, values, vectors: T, (M, n) and (M, n - 1), its eigenvalues (M,) and eigenvectors (M, n).
    """

    head: NDArray[np.int64]
    start_diag: FloatArray
    start_off_diag: FloatArray
    start_values: FloatArray
    start_vectors: FloatArray
    diag: FloatArray
    off_diag: FloatArray
    values: FloatArray
    vectors: FloatArray


def averaged_forms(lines: Lines, eig_idx: int, scale: FloatArray) -> FloatArray:
    """Return the mean of F over each line, (M, 2n - 1): of the diagonal, then twice those of the off-diagonal.

    Args:
        lines: M of them.
        eig_idx: which eigenvalue.
        scale: (M,), by which errors are judged: the largest contribution of each line's row, times the root of the
            number of members that the row's score is the mean of.
    """
    forms = np.zeros((len(lines.head), 2 * lines.diag.shape[1] - 1))
    _average(*(np.ascontiguousarray(part) for part in lines), eig_idx, scale, *_LOBATTO, forms)
    return forms


def _lobatto(interior: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a rule on [0, 1] with the ends, and what integrates the polynomial through its nodes from 0 to each."""
    count = interior + 2
    last = np.append(np.zeros(count - 1), 1.0)
    x = np.concatenate([[-1.0], np.sort(legendre.legroots(legendre.legder(last))), [1.0]])
    shares = 1.0 / (count * (count - 1) * legendre.legval(x, last) ** 2)
    powers = np.arange(count)
    moments = x[:, None] ** (powers + 1) - (-1.0) ** (powers + 1)
    through = np.linalg.inv(np.vander(x, increasing=True))
    return 0.5 * (1.0 + x), shares, moments / (2.0 * (powers + 1)) @ through


_LOBATTO = _lobatto(NODES)


# Kernels take arrays and the rows meant, not slices: Numba counts references to a slice by locked instructions.
@part
def _point(
    start_diag: Any, start_off_diag: Any, h: Any, diag: Any, off_diag: Any, m: Any, s: float, d: Any, e: Any, q: Any
) -> None:
    """Write A + s (T - A) of line m, whose head is h, into row q of d and e."""
    # Unsigned, or every index is first looked at for being negative.
    h, m, q, n = np.uintp(h), np.uintp(m), np.uintp(q), np.uintp(d.shape[1])
    for i in range(n):
        d[q, i] = start_diag[h, i] + s * (diag[m, i] - start_diag[h, i])
    for i in range(np.uintp(e.shape[1])):
        e[q, i] = start_off_diag[h, i] + s * (off_diag[m, i] - start_off_diag[h, i])


@part(fastmath={"reassoc", "contract", "nsz"})
def _add_form(
    start_diag: Any,
    start_off_diag: Any,
    h: Any,
    diag: Any,
    off_diag: Any,
    m: Any,
    v: Any,
    q: Any,
    weight: float,
    forms: Any,
    p: Any,
) -> Any:
    """Add weight F, of the vector in row q of v, to row p of forms, and return the slope <F, T - A> of line m."""
    h, m, q, p, n = np.uintp(h), np.uintp(m), np.uintp(q), np.uintp(p), np.uintp(v.shape[1])
    one = np.uintp(1)
    slope = 0.0
    for i in range(n):
        square = v[q, i] * v[q, i]
        forms[p, i] += weight * square
        slope += square * (diag[m, i] - start_diag[h, i])
    for i in range(n - one):
        twice = 2.0 * v[q, i] * v[q, i + one]
        forms[p, n + i] += weight * twice
        slope += twice * (off_diag[m, i] - start_off_diag[h, i])
    return slope


@part
def _misses(places: Any, values: Any, slopes: Any, p: int, antiderivative: Any, miss: Any) -> Any:
    """Write by how much the integral of the slope misses lambda at the nodes of row p, and return the largest miss.

    The integral is that of the polynomial through the slopes.
    """
    last = places.shape[1] - 1
    length, worst = places[p, last] - places[p, 0], 0.0
    miss[p, 0] = 0.0
    for j in range(1, last + 1):
        rise = 0.0
        for k in range(antiderivative.shape[1]):
            rise += antiderivative[j, k] * slopes[p, k]
        miss[p, j] = values[p, j] - values[p, 0] - length * rise
        worst = max(worst, abs(miss[p, j]))
    return worst


@part
def _cut(
    line: Any,
    places: Any,
    values: Any,
    slopes: Any,
    miss: Any,
    nodes: Any,
    part_line: Any,
    part_places: Any,
    part_values: Any,
    part_slopes: Any,
) -> None:
    """Cut pieces in two, and place the nodes of the parts.

    Between the two nodes where the integral of the slope parts from lambda, the cut is where their tangents meet;
    half-way, if that is not between them.
    """
    last = places.shape[1] - 1
    for p in range(len(line)):
        worst, most = 0, -1.0
        for j in range(last):
            jump = abs(miss[p, j + 1] - miss[p, j])
            if jump > most:
                worst, most = j, jump
        start, step = places[p, worst], places[p, worst + 1] - places[p, worst]
        rise, turn = values[p, worst + 1] - values[p, worst], slopes[p, worst + 1] - slopes[p, worst]
        share = 0.5
        if turn != 0.0:
            met = (slopes[p, worst + 1] - rise / step) / turn
            if 0.02 < met < 0.98:
                share = met
        cut = start + share * step
        for side in range(2):
            q, j = 2 * p + side, side * last
            part_line[q] = line[p]
            low, high = (places[p, 0], cut) if side == 0 else (cut, places[p, last])
            for k in range(last + 1):
                part_places[q, k] = low + nodes[k] * (high - low)
            part_values[q, j], part_slopes[q, j] = values[p, j], slopes[p, j]


def _cached(sources: int) -> Any:
    """Return the kernel, which captures the digest of the ``sources`` that it calls."""

    @kernel
    def average(
        head: Any,
        start_diag: Any,
        start_off_diag: Any,
        start_values: Any,
        start_vectors: Any,
        diag: Any,
        off_diag: Any,
        values: Any,
        vectors: Any,
        eig_idx: int,
        scale: Any,
        nodes: Any,
        shares: Any,
        antiderivative: Any,
        forms: Any,
    ) -> None:
        if sources < 0:  # only so that the digest is captured
            return
        total, n = diag.shape
        last = len(nodes) - 1
        for first in range(0, total, GROUP):
            count = min(GROUP, total - first)
            # The whole lines: nodes from 0 to 1, both included.
            places, level = np.empty((count, last + 1)), np.empty((count, last + 1))
            slope, miss = np.empty((count, last + 1)), np.empty((count, last + 1))
            inner = count * (last - 1)
            d, e = np.empty((inner, n)), np.empty((inner, n - 1))
            found, v = np.empty(inner), np.empty((inner, n))
            for j in range(count):
                for k in range(last + 1):
                    places[j, k] = nodes[k]
                for k in range(1, last):
                    q = j * (last - 1) + k - 1
                    _point(start_diag, start_off_diag, head[first + j], diag, off_diag, first + j, nodes[k], d, e, q)
            solve_batch(d, e, eig_idx, found, v)
            line, ends = np.empty(count, np.int64), np.empty((2 * count, n))
            open_count = 0
            for j in range(count):
                m = first + j
                level[j, 0], level[j, last] = start_values[head[m]], values[m]
                for k in range(last + 1):
                    weight = shares[k]
                    if k == 0:
                        slope[j, k] = _add_form(
                            start_diag,
                            start_off_diag,
                            head[m],
                            diag,
                            off_diag,
                            m,
                            start_vectors,
                            head[m],
                            weight,
                            forms,
                            m,
                        )
                    elif k == last:
                        slope[j, k] = _add_form(
                            start_diag, start_off_diag, head[m], diag, off_diag, m, vectors, m, weight, forms, m
                        )
                    else:
                        q = j * (last - 1) + k - 1
                        level[j, k] = found[q]
                        slope[j, k] = _add_form(
                            start_diag, start_off_diag, head[m], diag, off_diag, m, v, q, weight, forms, m
                        )
                worst = _misses(places, level, slope, j, antiderivative, miss)
                rounding = _ROUNDING * max(abs(level[j, 0]), abs(level[j, last]))
                if worst > max(TIGHT * scale[m], rounding):
                    for i in range(2 * n - 1):
                        forms[m, i] = 0.0
                    line[open_count] = m
                    for i in range(n):
                        ends[2 * open_count, i] = start_vectors[head[m], i]
                        ends[2 * open_count + 1, i] = vectors[m, i]
                    for k in range(last + 1):
                        level[open_count, k], slope[open_count, k] = level[j, k], slope[j, k]
                        miss[open_count, k] = miss[j, k]
                    open_count += 1
            # The lines that failed, in ever more pieces.
            for turn in range(ROUNDS):
                if open_count == 0:
                    break
                halves = 2 * open_count
                part_line, part_places = np.empty(halves, np.int64), np.empty((halves, last + 1))
                part_level, part_slope = np.empty((halves, last + 1)), np.empty((halves, last + 1))
                part_miss, part_ends = np.empty((halves, last + 1)), np.empty((2 * halves, n))
                _cut(
                    *(line[:open_count], places[:open_count], level[:open_count], slope[:open_count]),
                    *(miss[:open_count], nodes, part_line, part_places, part_level, part_slope),
                )
                inner = open_count + halves * (last - 1)
                d, e = np.empty((inner, n)), np.empty((inner, n - 1))
                found, v = np.empty(inner), np.empty((inner, n))
                for p in range(halves):
                    m = part_line[p]
                    if p % 2 == 0:
                        q, s = p // 2, part_places[p, last]
                        _point(start_diag, start_off_diag, head[m], diag, off_diag, m, s, d, e, q)
                    for k in range(1, last):
                        q, s = open_count + p * (last - 1) + k - 1, part_places[p, k]
                        _point(start_diag, start_off_diag, head[m], diag, off_diag, m, s, d, e, q)
                solve_batch(d, e, eig_idx, found, v)
                form = np.zeros((1, 2 * n - 1))
                left = 0
                for p in range(halves):
                    # The cut, p // 2, is the right end of the first part and the left end of the second.
                    m, q, at = part_line[p], p // 2, last if p % 2 == 0 else 0
                    part_level[p, at] = found[q]
                    for i in range(n):
                        part_ends[2 * p, i] = ends[p, i] if p % 2 == 0 else v[q, i]
                        part_ends[2 * p + 1, i] = v[q, i] if p % 2 == 0 else ends[p, i]
                    length = part_places[p, last] - part_places[p, 0]
                    for i in range(2 * n - 1):
                        form[0, i] = 0.0
                    for k in range(last + 1):
                        weight = length * shares[k]
                        if k == 0 or k == last:
                            q = 2 * p + (1 if k == last else 0)
                            part_slope[p, k] = _add_form(
                                start_diag, start_off_diag, head[m], diag, off_diag, m, part_ends, q, weight, form, 0
                            )
                        else:
                            q = open_count + p * (last - 1) + k - 1
                            part_level[p, k] = found[q]
                            part_slope[p, k] = _add_form(
                                start_diag, start_off_diag, head[m], diag, off_diag, m, v, q, weight, form, 0
                            )
                    worst = _misses(part_places, part_level, part_slope, p, antiderivative, part_miss)
                    rounding = _ROUNDING * max(abs(start_values[head[m]]), abs(values[m]))
                    allowed = max(min(TIGHT / length, LOOSE) * scale[m], rounding)
                    if worst > allowed and length > SHORTEST and turn < ROUNDS - 1:
                        part_line[left] = m
                        for k in range(last + 1):
                            part_places[left, k], part_level[left, k] = part_places[p, k], part_level[p, k]
                            part_slope[left, k], part_miss[left, k] = part_slope[p, k], part_miss[p, k]
                        for i in range(n):
                            part_ends[2 * left, i] = part_ends[2 * p, i]
                            part_ends[2 * left + 1, i] = part_ends[2 * p + 1, i]
                        left += 1
                    else:
                        for i in range(2 * n - 1):
                            forms[m, i] += form[0, i]
                line, places, level, slope, miss, ends = (
                    part_line,
                    part_places,
                    part_level,
                    part_slope,
                    part_miss,
                    part_ends,
                )
                open_count = left

    return average


_average = _cached(source_digest(*SOLVER_SOURCES))
