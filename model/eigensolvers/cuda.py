"""Solve on CUDA in Triton: the algorithm of `cpu`, one matrix per thread, rows read side by side.

torch scales and transposes the batch, so that neighbouring threads read neighbouring addresses; the kernels
do the recurrences. The same source runs on a CPU through Triton's interpreter (TRITON_INTERPRET=1), which
is how it is tested without a GPU. Results are within the same bounds as the CPU solver's, not the
same bits.
"""

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from eigenserve.model.eigensolvers import cpu
from eigenserve.model.eigensolvers.tiles.eigenvalues import (
    COARSE_ERROR,
    COARSE_STEPS,
    FINE_STEPS,
    NEWTON_STEPS,
    TOLERANCE,
)
from eigenserve.model.eigensolvers.tiles.orthogonal import CLOSE
from eigenserve.model.eigensolvers.tiles.tile import EPS, FLOOR_F32, FLOOR_F64
from eigenserve.model.eigensolvers.tiles.twisted import HUGE_NORM, TINY_PIVOT

_THREADS = 128  # matrices per program: one warp scheduler's worth of warps, each thread a separate matrix


@triton.jit
def _count_below(diag, squared, shift, offsets, mask, stride, n):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Count below a shift per lane, as `sturm.count_below`; rescaled every row, which costs a GPU little."""
    before = shift * 0
    p = before + 1
    count = tl.zeros_like(shift).to(tl.int32)
    for i in range(n):
        d = tl.load(diag + i * stride + offsets, mask=mask, other=1.0)
        e2 = tl.load(squared + i * stride + offsets, mask=mask, other=0.0)
        following = (d - shift) * p - e2 * before
        # Zero has the sign plus, as in the sign bit the CPU counts.
        count += ((following < 0) != (p < 0)).to(tl.int32)
        size = tl.maximum(tl.abs(following), tl.abs(p))
        scale = tl.where(size > 1e10, 1e-10, tl.where(size < 1e-10, 1e10, 1.0)).to(shift.dtype)
        before = p * scale
        p = following * scale
    return count


@triton.jit
def _newton_step(diag, squared, shift, offsets, mask, stride, n):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Return -p_n / p_n' per lane, as `sturm.newton_step`."""
    before = shift * 0
    p = before + 1
    slope_before = before
    slope = before
    for i in range(n):
        d = tl.load(diag + i * stride + offsets, mask=mask, other=1.0)
        e2 = tl.load(squared + i * stride + offsets, mask=mask, other=0.0)
        following = (d - shift) * p - e2 * before
        slope_following = (d - shift) * slope - e2 * slope_before - p
        size = tl.maximum(tl.abs(following), tl.abs(p))
        scale = tl.where(size > 1e10, 1e-10, tl.where(size < 1e-10, 1e10, 1.0))
        before = p * scale
        p = following * scale
        slope_before = slope * scale
        slope = slope_following * scale
    return -p / slope


@triton.jit
def _eigenvalues_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202
    diag, squared, diag32, squared32, bounds, values, count, n, first,
    coarse_steps: tl.constexpr, newton_steps: tl.constexpr, fine_steps: tl.constexpr,
    coarse_reach: tl.constexpr, tolerance_eps: tl.constexpr, eps: tl.constexpr, threads: tl.constexpr,
):  # fmt: skip
    """Write values (places, count): float32 bisection, float64 Newton, a proof by two counts, else bisection."""
    offsets = tl.program_id(0) * threads + tl.arange(0, threads)
    place = tl.program_id(1)
    eig_idx = first + place
    mask = offsets < count
    low = tl.load(bounds + offsets, mask=mask, other=0.0)
    high = tl.load(bounds + count + offsets, mask=mask, other=0.0)
    centre = tl.load(bounds + 2 * count + offsets, mask=mask, other=0.0)
    width = tl.load(bounds + 3 * count + offsets, mask=mask, other=1.0)
    left32 = (centre * 0 - 1).to(tl.float32)
    right32 = (centre * 0 + 1).to(tl.float32)
    for _ in range(coarse_steps):
        middle32 = (left32 + right32) * 0.5
        under = _count_below(diag32, squared32, middle32, offsets, mask, count, n) <= eig_idx
        left32 = tl.where(under, middle32, left32)
        right32 = tl.where(under, right32, middle32)
    start = centre + width * ((left32 + right32) * 0.5).to(tl.float64)
    reach = width * coarse_reach
    value = start
    for _ in range(newton_steps):
        value += _newton_step(diag, squared, value, offsets, mask, count, n)
        value = tl.where(value > start - reach, value, start - reach)
        value = tl.where(value < start + reach, value, start + reach)
    norm = tl.maximum(tl.abs(low), tl.abs(high))
    tolerance = norm * tolerance_eps * eps
    below = _count_below(diag, squared, value - tolerance, offsets, mask, count, n) <= eig_idx
    above = _count_below(diag, squared, value + tolerance, offsets, mask, count, n) > eig_idx
    proved = (below & above) | (mask == 0)
    if tl.min(proved.to(tl.int32), axis=0) == 0:
        pad = norm * 8 * eps + eps
        left = low - pad
        right = high + pad
        for _ in range(fine_steps):
            active = right - left > tolerance
            middle = (left + right) * 0.5
            under = _count_below(diag, squared, middle, offsets, mask, count, n) <= eig_idx
            left = tl.where(active & under, middle, left)
            right = tl.where(active & (under == 0), middle, right)
        value = tl.where(proved, value, (left + right) * 0.5)
    tl.store(values + place * count + offsets, value, mask=mask)


@triton.jit
def _vectors_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202
    diag, off_diag, shifts, work, vectors, count, n,
    tiny: tl.constexpr, huge: tl.constexpr, threads: tl.constexpr,
):  # fmt: skip
    """Write vectors (n, count) for `shifts` (count,), by twisted factorisation; work (3, n, count)."""
    offsets = tl.program_id(0) * threads + tl.arange(0, threads)
    mask = offsets < count
    shift = tl.load(shifts + offsets, mask=mask, other=0.0)
    above = work + offsets
    pivots = work + n * count + offsets
    norms = work + 2 * n * count + offsets
    zero = shift * 0
    one = zero + 1
    pivot = shift - tl.load(diag + offsets, mask=mask, other=1.0)
    norm = one
    for i in range(n - 1):
        tl.store(pivots + i * count, pivot, mask=mask)
        tl.store(norms + i * count, norm, mask=mask)
        e = tl.load(off_diag + i * count + offsets, mask=mask, other=0.0)
        ratio = e / tl.where(tl.abs(pivot) < tiny, tiny, pivot)
        tl.store(above + i * count, ratio, mask=mask)
        norm = one + ratio * ratio * norm
        pivot = (shift - tl.load(diag + (i + 1) * count + offsets, mask=mask, other=1.0)) - e * ratio
    # The way up: pivots from the bottom, the best twist row so far, and the multipliers below it in
    # `vectors`.
    gamma = pivot
    best_square = tl.where(norm < huge, gamma * gamma, float("inf"))
    best_norm = tl.where(norm < huge, norm, one)
    best_row = tl.zeros_like(shift).to(tl.int32) + (n - 1)
    pivot = shift - tl.load(diag + (n - 1) * count + offsets, mask=mask, other=1.0)
    norm = one
    for step in range(1, n):
        i = n - 1 - step
        e = tl.load(off_diag + i * count + offsets, mask=mask, other=0.0)
        ratio = e / tl.where(tl.abs(pivot) < tiny, tiny, pivot)
        tl.store(vectors + (i + 1) * count + offsets, ratio, mask=mask)
        norm = one + ratio * ratio * norm
        gamma = tl.load(pivots + i * count, mask=mask, other=1.0) - e * ratio
        whole = tl.load(norms + i * count, mask=mask, other=1.0) + norm - 1
        better = (gamma * gamma * best_norm < best_square * whole) & (whole < huge)
        best_square = tl.where(better, gamma * gamma, best_square)
        best_norm = tl.where(better, whole, best_norm)
        best_row = tl.where(better, i, best_row)
        pivot = (shift - tl.load(diag + i * count + offsets, mask=mask, other=1.0)) - e * ratio
    total = one
    z = zero
    for i in range(n):
        ratio = tl.load(vectors + i * count + offsets, mask=mask & (best_row < i), other=0.0)
        z = tl.where(best_row == i, one, ratio * z)
        total += tl.where(best_row < i, z * z, zero)
        tl.store(vectors + i * count + offsets, z, mask=mask)
    z = zero
    for step in range(n):
        i = n - 1 - step
        ratio = tl.load(above + i * count, mask=mask & (i < best_row), other=0.0)
        z = tl.where(best_row == i, one, ratio * z)
        total += tl.where(i < best_row, z * z, zero)
        tl.store(vectors + i * count + offsets, z, mask=mask & (i < best_row))
    scale = 1 / tl.sqrt(total)
    for i in range(n):
        z = tl.load(vectors + i * count + offsets, mask=mask, other=0.0)
        tl.store(vectors + i * count + offsets, z * scale, mask=mask)


def solve_window(diag: Any, off_diag: Any, eig_idx: int, window: int, eigenvalues: Any, eigenvectors: Any) -> None:
    """Solve as `cpu.solve_window`, for NumPy arrays, which go to the GPU and back.

    Raises ValueError where there is neither a CUDA device nor the interpreter.
    """
    device = _device()
    arrays = (torch.from_numpy(a).to(device) for a in (diag, off_diag, eigenvalues, eigenvectors))
    d, e, values, vectors = arrays
    solve_window_tensors(d, e, eig_idx, window, values, vectors)
    eigenvalues[:] = values.cpu().numpy()
    eigenvectors[:] = vectors.cpu().numpy()


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if triton.knobs.runtime.interpret:
        return torch.device("cpu")
    raise ValueError("backend 'triton' needs a CUDA device; found none: use 'auto' or 'numba'")


def solve_window_tensors(
    diag: torch.Tensor,
    off_diag: torch.Tensor,
    eig_idx: int,
    window: int,
    eigenvalues: torch.Tensor,
    eigenvectors: torch.Tensor,
) -> None:
    """Solve as `cpu.solve_window`, for float64 tensors on one device."""
    count, n = diag.shape
    first, last = max(0, eig_idx - window), min(n - 1, eig_idx + window)
    start = first - (eig_idx - window)
    inside = slice(start, start + last - first + 1)
    eigenvalues[:, :start] = -torch.inf
    eigenvalues[:, inside.stop :] = torch.inf
    eigenvectors.zero_()
    if count == 0:
        return
    d, e, squared, exponent, finite = _scaled(diag, off_diag)
    bounds = _bounds(d, e)
    narrow = ((d - bounds[2]) / bounds[3]).float()
    narrow_squared = (squared / bounds[3] ** 2).clamp(min=FLOOR_F32).float()
    values = torch.empty((last - first + 1, count), dtype=d.dtype, device=d.device)
    grid = (triton.cdiv(count, _THREADS), len(values))
    _eigenvalues_kernel[grid](
        d, squared, narrow, narrow_squared, bounds, values, count, n, first,
        COARSE_STEPS, NEWTON_STEPS, FINE_STEPS, COARSE_ERROR + 2.0**-COARSE_STEPS, TOLERANCE, EPS, _THREADS,
    )  # fmt: skip
    unscaled = torch.where(finite, _times_power_of_two(values, exponent), torch.nan)
    eigenvalues[:, inside] = unscaled.T if n > 1 else diag + diag * 0
    work = torch.empty((3, n, count), dtype=d.dtype, device=d.device)
    column = torch.empty((n, count), dtype=d.dtype, device=d.device)
    for place, shifts in enumerate(values):
        _vectors_kernel[grid[:1]](d, e, shifts, work, column, count, n, TINY_PIVOT, HUGE_NORM, _THREADS)
        eigenvectors[:, start + place] = torch.where(finite, column, torch.nan).T
    if len(values) > 1:
        crowded = ((values[1:] - values[:-1] < CLOSE).any(0) & finite).nonzero()[:, 0]
        _orthogonalise_on_cpu(diag, off_diag, eig_idx, window, eigenvectors, crowded)


def _scaled(diag: torch.Tensor, off_diag: torch.Tensor) -> Any:
    """Lay rows side by side (n, M), largest entry in [1, 2); e^2 as Sturm counts want it; what undoes it."""
    entries = torch.cat([diag, off_diag], 1)
    finite = torch.isfinite(entries).all(1)
    entries = torch.where(finite[:, None], entries, 0.0)
    largest, exponent = torch.frexp(entries.abs().amax(1))
    # A zero matrix may be scaled by anything; this makes what rounding leaves of its eigenvalues vanish.
    exponent = torch.where(largest > 0, exponent - 1, -1100)
    scaled = _times_power_of_two(entries.T.contiguous(), -exponent)
    n = diag.shape[1]
    d, e = scaled[:n].contiguous(), scaled[n:].contiguous()
    squared = torch.zeros_like(d)
    squared[1:] = (e * e).clamp(min=FLOOR_F64)
    return d, e, squared, exponent, finite


def _times_power_of_two(x: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """Return x 2^exponent in two steps, either of which is a number where the whole factor may not be."""
    half = torch.div(exponent, 2, rounding_mode="floor")
    return torch.ldexp(torch.ldexp(x, half), exponent - half)


def _bounds(d: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
    """Return (4, M): Gershgorin's low and high, and the centre and half-width of the float32 twin."""
    radius = torch.zeros_like(d)
    radius[:-1] += e.abs()
    radius[1:] += e.abs()
    low, high = (d - radius).amin(0), (d + radius).amax(0)
    return torch.stack([low, high, (low + high) / 2, ((high - low) / 2).clamp(min=EPS)])


def _orthogonalise_on_cpu(
    diag: torch.Tensor,
    off_diag: torch.Tensor,
    eig_idx: int,
    window: int,
    eigenvectors: torch.Tensor,
    rows: torch.Tensor,
) -> None:
    """Solve the few matrices whose window holds close eigenvalues where inverse iteration is at hand."""
    if len(rows):
        vectors = np.empty((len(rows), *eigenvectors.shape[1:]))
        d, e = (t[rows].cpu().numpy() for t in (diag, off_diag))
        cpu.solve_window(d, e, eig_idx, window, np.empty(vectors.shape[:2]), vectors)
        eigenvectors[rows] = torch.from_numpy(vectors).to(eigenvectors.device)
