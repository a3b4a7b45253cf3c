"""Register `torch.ops.eigenserve.*`: what transforms, compilers and exported graphs see in place of Numba.

All take float64: diag (M, n), off_diag (M, n - 1), values (M, places), vectors and rhs (M, places, n).

    eigenvalues(diag, off_diag, eig_idx) -> (M,)
    eigenpairs(diag, off_diag, eig_idx, window) -> values, vectors
    eigenvalue_gradients(weights, vectors) -> gradients of the sum of w lambda by diag and off_diag
    pseudo_inverse(diag, off_diag, values, vectors, rhs) -> (T - lambda I)+ rhs, damped

Each has one kernel for every device, a fake kernel, a batching rule, and derivatives in reverse and forward mode that
are made of the others, so of any order. An exported graph holds operators by name: import `eigenserve.torch` before
loading one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eigenserve.model.autograd import derivatives, kernels
from eigenserve.model.autograd.batching import batching_rule
from eigenserve.model.autograd.nodes import autograd_kernel

#: Kept: a library's operators vanish with it.
LIBRARY = torch.library.Library("eigenserve", "DEF")
MATRICES = "Tensor diag, Tensor off_diag"


def _check(diag: Tensor, off_diag: Tensor, eig_idx: int) -> None:
    if diag.dtype is not torch.float64 or off_diag.dtype is not torch.float64:
        raise TypeError(f"diag and off_diag must be float64; got {diag.dtype} and {off_diag.dtype}")
    if diag.ndim != 2 or off_diag.ndim != 2 or off_diag.shape[1] != diag.shape[1] - 1:
        got = f"{tuple(diag.shape)} and {tuple(off_diag.shape)}"
        raise ValueError(f"diag must be (M, n) and off_diag (M, n - 1); got {got}")
    if not 0 <= eig_idx < diag.shape[1]:
        raise ValueError(f"eig_idx must be in [0, {diag.shape[1]}); got {eig_idx}")


def _eigenvalues(diag: Tensor, off_diag: Tensor, eig_idx: int) -> Tensor:
    _check(diag, off_diag, eig_idx)
    return kernels.eigenvalues(diag.contiguous(), off_diag.contiguous(), eig_idx)


def _fake_eigenvalues(diag: Tensor, off_diag: Tensor, eig_idx: int) -> Tensor:
    _check(diag, off_diag, eig_idx)
    return diag.new_empty((diag.shape[0],))


def _eigenvalues_backward(tensors: Any, options: Any, grads: Any) -> Any:
    diag, off_diag, _ = tensors
    _, vectors = eigenpairs(diag, off_diag, *options, 0)
    return *eigenvalue_gradients(grads[0][:, None], vectors), None


def _eigenvalues_tangent(tensors: Any, options: Any, changes: Any) -> Any:
    diag, off_diag, _ = tensors
    _, vectors = eigenpairs(diag, off_diag, *options, 0)
    return derivatives.dot(vectors, derivatives.times(changes[0], changes[1], vectors)).flatten()


def _eigenpairs(diag: Tensor, off_diag: Tensor, eig_idx: int, window: int) -> tuple[Tensor, Tensor]:
    _check(diag, off_diag, eig_idx)
    return kernels.eigenpairs(diag.contiguous(), off_diag.contiguous(), eig_idx, window)


def _fake_eigenpairs(diag: Tensor, off_diag: Tensor, eig_idx: int, window: int) -> tuple[Tensor, Tensor]:
    _check(diag, off_diag, eig_idx)
    count, n = diag.shape
    return diag.new_empty((count, 2 * window + 1)), diag.new_empty((count, 2 * window + 1, n))


def _eigenpairs_backward(tensors: Any, _: Any, grads: Any) -> Any:
    diag, off_diag, values, vectors = tensors
    grad_values, grad_vectors = grads
    parts = []
    if grad_values is not None:
        parts.append(eigenvalue_gradients(grad_values, vectors))
    if grad_vectors is not None:
        turned = pseudo_inverse(diag, off_diag, values, vectors, grad_vectors)
        parts.append(derivatives.outer(-turned, vectors))
    if len(parts) < 2:
        return *parts[0], None, None
    return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1], None, None


def _eigenpairs_tangent(tensors: Any, _: Any, changes: Any) -> Any:
    diag, off_diag, values, vectors = tensors
    turn = derivatives.times(changes[0], changes[1], vectors)
    return derivatives.dot(vectors, turn).squeeze(-1), -pseudo_inverse(diag, off_diag, values, vectors, turn)


def _gradients(weights: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    return kernels.gradients(weights.contiguous(), vectors.contiguous())


def _fake_gradients(weights: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    count, _, n = vectors.shape
    return vectors.new_empty((count, n)), vectors.new_empty((count, n - 1))


def _gradients_backward(tensors: Any, _: Any, grads: Any) -> Any:
    weights, vectors, *outputs = tensors
    grad_diag, grad_off = (torch.zeros_like(t) if g is None else g for g, t in zip(grads, outputs, strict=True))
    image = derivatives.times(grad_diag, grad_off, vectors)
    return (vectors * image).sum(-1), 2.0 * weights[..., None] * image


def _gradients_tangent(tensors: Any, _: Any, changes: Any) -> Any:
    weights, vectors = tensors[:2]
    d_weights, d_vectors = changes
    return derivatives.outer(d_weights[..., None] * vectors + 2.0 * weights[..., None] * d_vectors, vectors)


def _pseudo_inverse(diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
    return kernels.pseudo_inverse(*(t.contiguous() for t in (diag, off_diag, values, vectors, rhs)))


def _fake_pseudo_inverse(diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
    return vectors.new_empty(vectors.shape)


def _pseudo_inverse_backward(tensors: Any, _: Any, grads: Any) -> Any:
    return derivatives.pseudo_inverse_gradients(pseudo_inverse, *tensors, *grads)


def _pseudo_inverse_tangent(tensors: Any, _: Any, changes: Any) -> Any:
    return derivatives.pseudo_inverse_tangent(pseudo_inverse, tensors, (changes[0], changes[1], changes[4]))


def define(
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any],
    tangent: Callable[..., Any],
    batching: Callable[..., Any] | None = None,
    devices: tuple[str, ...] = ("CPU", "CUDA"),
) -> Any:
    """Register an operator and return it; ``backward`` and ``tangent`` as of `autograd_kernel`."""
    name = LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    overload = getattr(torch.ops.eigenserve, name).default
    for device in devices:
        LIBRARY.impl(name, kernel, device)
    torch.library.register_fake(f"eigenserve::{name}", fake, lib=LIBRARY)
    torch.library.register_vmap(f"eigenserve::{name}", batching or batching_rule(overload), lib=LIBRARY)
    LIBRARY.impl(name, autograd_kernel(overload, backward, tangent), "Autograd", with_keyset=True)
    return overload


eigenvalues = define(
    f"eigenvalues({MATRICES}, int eig_idx) -> Tensor",
    _eigenvalues,
    _fake_eigenvalues,
    _eigenvalues_backward,
    _eigenvalues_tangent,
)
eigenpairs = define(
    f"eigenpairs({MATRICES}, int eig_idx, int window) -> (Tensor, Tensor)",
    _eigenpairs,
    _fake_eigenpairs,
    _eigenpairs_backward,
    _eigenpairs_tangent,
)
eigenvalue_gradients = define(
    "eigenvalue_gradients(Tensor weights, Tensor vectors) -> (Tensor, Tensor)",
    _gradients,
    _fake_gradients,
    _gradients_backward,
    _gradients_tangent,
)
pseudo_inverse = define(
    f"pseudo_inverse({MATRICES}, Tensor values, Tensor vectors, Tensor rhs) -> Tensor",
    _pseudo_inverse,
    _fake_pseudo_inverse,
    _pseudo_inverse_backward,
    _pseudo_inverse_tangent,
)
