"""Mix, differentiate and interpolate the matrices along a line, compiled: what ``Line`` asks at every point."""

from __future__ import annotations

from typing import Any

from eigenserve.model.kernels.compiled import kernel

# As in model.matrices.pencil.
_SUM_FLAGS = {"reassoc", "contract", "nsz"}


@kernel
def _share(corner: Any, shares: Any, j: Any, pairs: Any, c: Any) -> Any:
    """Return how much a state counts on curve c: only those of its switched features do."""
    if pairs[c, 0] < 0:
        return 1.0 if corner == 0 else 0.0
    if pairs[c, 1] < 0:
        if corner == 0:
            return shares[0, j] + shares[2, j]
        return shares[1, j] + shares[3, j] if corner == 1 else 0.0
    return shares[corner, j]


@kernel(fastmath=_SUM_FLAGS)
def _add(row: Any, first: Any, second: Any, a: float, b: float) -> None:
    """Add a first + b second to row."""
    for i in range(len(row)):
        row[i] += a * first[i] + b * second[i]


@kernel(fastmath=_SUM_FLAGS)
def mix(starts: Any, weights: Any, shares: Any, pairs: Any, constant: Any, table: Any, out: Any) -> None:
    """Write matrices (N, W) of points that are on up to four states of every curve to ``out``."""
    for j in range(len(out)):
        out[j] = constant
        for c in range(starts.shape[2]):
            for corner in range(len(starts)):
                share = _share(corner, shares, j, pairs, c)
                if share == 0.0:
                    continue
                r, w = starts[corner, j, c], weights[corner, j, c]
                if w == 0.0:
                    _add(out[j], table[r], table[r], share, 0.0)
                else:
                    _add(out[j], table[r], table[r + 1], share * (1.0 - w), share * w)


@kernel(fastmath=_SUM_FLAGS)
def differentiate(
    starts: Any,
    weights: Any,
    rates: Any,
    times: Any,
    shares: Any,
    pairs: Any,
    numeric: Any,
    direction: Any,
    step: Any,
    place: Any,
    table: Any,
    out: Any,
) -> None:
    """Add derivatives by t, by way of each moving feature, to ``out`` (N, A, W), which is zero."""
    for j in range(len(out)):
        t = times[j]
        for c in range(starts.shape[2]):
            p, q = pairs[c]
            for corner in range(len(starts)):
                if (p < 0 and corner > 0) or (q < 0 and corner > 1):
                    break
                r, w, rate = starts[corner, j, c], weights[corner, j, c], rates[corner, j, c]
                share = _share(corner, shares, j, pairs, c)
                if rate != 0.0:
                    for k in range(2):
                        i = numeric[c, k]
                        if i >= 0 and step[i] != 0.0:
                            by = share * direction[c, k] * step[i] * rate
                            _add(out[j, place[i]], table[r], table[r + 1], -by, by)
                if p < 0:
                    continue
                after = r + 1 if w != 0.0 else r
                # The state's sign in each switched feature's difference, and how much the other feature lets it count.
                sign = 1.0 if corner == 1 or corner == 3 else -1.0
                much = 1.0
                if q >= 0:
                    much = t if corner > 1 else 1.0 - t
                    sign_q = 1.0 if corner > 1 else -1.0
                    much_q = t if corner == 1 or corner == 3 else 1.0 - t
                    part = sign_q * much_q
                    _add(out[j, place[q]], table[r], table[after], part * (1.0 - w), part * w)
                part = sign * much
                _add(out[j, place[p]], table[r], table[after], part * (1.0 - w), part * w)


@kernel(fastmath=_SUM_FLAGS)
def interpolate(matrices: Any, bend: Any, bends: bool, which: Any, shares: Any, diag: Any, off_diag: Any) -> None:
    """Write diagonals (N, ...) and off-diagonals (N, ...) at shares of the way along segments."""
    on_diag = diag.shape[1]
    for j in range(len(which)):
        t = shares[j]
        first, second = matrices[which[j]], matrices[which[j] + 1]
        for i in range(on_diag):
            diag[j, i] = first[i] + t * (second[i] - first[i])
        for i in range(off_diag.shape[1]):
            off_diag[j, i] = first[on_diag + i] + t * (second[on_diag + i] - first[on_diag + i])
        if not bends:
            continue
        curved = bend[which[j]]
        less = 2.0 * t * (1.0 - t)
        for i in range(on_diag):
            diag[j, i] -= less * curved[i]
        for i in range(off_diag.shape[1]):
            off_diag[j, i] -= less * curved[on_diag + i]


@kernel(fastmath=_SUM_FLAGS)
def slopes_by_time(
    starts: Any, stops: Any, bends: bool, which: Any, shares: Any, weights: Any, vectors: Any, forms: Any, slopes: Any
) -> None:
    """Write v'(dT/dt)v, over members with their weights, by way of each moving feature to ``slopes`` (N, A)."""
    members, n = vectors.shape[1:]
    off = members * n
    for j in range(len(which)):
        for g in range(members):
            v = vectors[j, g]
            for i in range(n):
                forms[g * n + i] = weights[g] * v[i] * v[i]
            for i in range(n - 1):
                forms[off + g * (n - 1) + i] = 2.0 * weights[g] * v[i] * v[i + 1]
        t = shares[j]
        for f in range(starts.shape[1]):
            first = starts[which[j], f]
            total = 0.0
            for i in range(len(forms)):
                total += first[i] * forms[i]
            if bends:
                second, later = stops[which[j], f], 0.0
                for i in range(len(forms)):
                    later += second[i] * forms[i]
                total += t * (later - total)
            slopes[j, f] = total
