"""Compute what the kernels do, tensors in and tensors out, on the tensors' device and without a graph.

All take and return contiguous float64: diag (M, n), off_diag (M, n - 1), values (M, places), vectors (M, places, n).
Threads are those of `kernels.threads`, never torch's: torch's own threads spin for a while after each parallel
operation, and two pools that spin on the same cores wait for each other.
"""

import torch
from torch import Tensor

from eigenserve.model.autograd.derivatives import outer, pseudo_inverse_dense
from eigenserve.model.autograd.gradients import eigenvalue_gradients
from eigenserve.model.eigensolvers import cpu
from eigenserve.model.eigensolvers.pseudo_inverse import solve_pseudo_inverse
from eigenserve.model.kernels.threads import for_ranges

_GRAIN_ROWS = 16384  # as in eigensolvers.api: rows of work worth a second thread


def grain(n: int, places: int = 1) -> int:
    """Return the fewest matrices of order n that are worth a second thread, in whole tiles of 32."""
    return max(1, _GRAIN_ROWS // (32 * n * places)) * 32


def eigenvalues(diag: Tensor, off_diag: Tensor, eig_idx: int) -> Tensor:
    """Return eigenvalue `eig_idx` of each matrix, (M,)."""
    if diag.is_cuda:
        return eigenpairs(diag, off_diag, eig_idx, 0)[0].reshape(-1)
    values = diag.new_empty(len(diag))
    d, e, lam = (t.detach().numpy() for t in (diag, off_diag, values))
    for_ranges(len(d), grain(d.shape[1]), lambda i, j: cpu.solve_eigenvalues(d[i:j], e[i:j], eig_idx, lam[i:j]))
    return values


def eigenpairs(diag: Tensor, off_diag: Tensor, eig_idx: int, window: int) -> tuple[Tensor, Tensor]:
    """Return the eigenpairs around `eig_idx`, 2 window + 1 places."""
    count, n = diag.shape
    places = 2 * window + 1
    values, vectors = diag.new_empty((count, places)), diag.new_empty((count, places, n))
    if diag.is_cuda:
        from eigenserve.model.eigensolvers import cuda

        # Triton launches on the current device, whichever the tensors' is.
        with torch.cuda.device_of(diag):
            cuda.solve_window_tensors(diag, off_diag, eig_idx, window, values, vectors)
        return values, vectors
    d, e, lam, v = (t.detach().numpy() for t in (diag, off_diag, values, vectors))
    for_ranges(
        count,
        grain(n, places),
        lambda i, j: cpu.solve_window(d[i:j], e[i:j], eig_idx, window, lam[i:j], v[i:j]),
    )
    return values, vectors


def gradients(weights: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of the sum over places of w lambda by (diag, off_diag); weights (M, places)."""
    if vectors.is_cuda:
        return outer(weights[..., None] * vectors, vectors)
    count, places, n = vectors.shape
    grad_diag, grad_off = vectors.new_empty((count, n)), vectors.new_empty((count, n - 1))
    w, v, d, e = (t.detach().numpy() for t in (weights, vectors, grad_diag, grad_off))
    for_ranges(count, grain(n, places), lambda i, j: eigenvalue_gradients(w[i:j], v[i:j], d[i:j], e[i:j]))
    return grad_diag, grad_off


def pseudo_inverse(diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
    """Return A+ b for every place: rhs (M, places, n)."""
    if diag.is_cuda:
        return pseudo_inverse_dense(diag, off_diag, values, vectors, rhs)
    out = vectors.new_empty(vectors.shape)
    d, e, lam, v, b, x = (t.detach().numpy() for t in (diag, off_diag, values, vectors, rhs, out))
    for_ranges(
        len(d),
        grain(*vectors.shape[:0:-1]),
        lambda i, j: solve_pseudo_inverse(d[i:j], e[i:j], lam[i:j], v[i:j], b[i:j], x[i:j]),
    )
    return out
