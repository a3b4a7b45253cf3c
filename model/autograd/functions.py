"""Eigenpairs as nodes of torch's graph: contiguous float64 (M, n) and (M, n - 1), and their derivatives.

They are the operators of `library`; what eager code asks for most, the gradient of one eigenvalue on the CPU, has a
shorter way.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from eigenserve.model.autograd import derivatives, kernels, library

eigenpairs = library.eigenpairs
pseudo_inverse = library.pseudo_inverse


def eigenvalues(diag: Tensor, off_diag: Tensor, eig_idx: int) -> Tensor:
    """Return eigenvalue `eig_idx` of each matrix, (M,); without a vector where no derivative can be wanted."""
    wanted = torch.is_grad_enabled() and (diag.requires_grad or off_diag.requires_grad)
    if is_plain(diag, off_diag):
        solve: Any = _Eigenvalues.apply if wanted else kernels.eigenvalues
        return solve(diag, off_diag, eig_idx)
    if wanted:
        return eigenpairs(diag, off_diag, eig_idx, 0)[0].squeeze(-1)
    return library.eigenvalues(diag, off_diag, eig_idx)


def is_traced() -> bool:
    """Return whether code is compiled, exported, traced, transformed by `torch.func` or under a dispatch mode."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or is_dispatched_to_a_mode()
    )


def is_dispatched_to_a_mode() -> bool:
    """Return whether a mode sees every operator: `make_fx`, fake tensors, a counter of FLOPs or another's own.

    Its tensors may be plain ones; what NumPy does to their memory, the mode would miss.
    """
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._dispatch_tls_is_dispatch_key_included(_PRE_DISPATCH)


def is_plain(*tensors: Tensor) -> bool:
    """Return whether tensors are plain CPU tensors in eager mode, to no transform and without a tangent."""
    return not (
        is_traced() or forward_ad._current_level >= 0 or any(type(t) not in _PLAIN or not t.is_cpu for t in tensors)
    )


_PLAIN = (Tensor, torch.nn.Parameter)
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch


class _Eigenvalues(Function):
    """Map (M, n), (M, n - 1) to eigenvalues (M,), all float64 on the CPU: `eigenpairs`' first, in half the time.

    What autograd spends on an output costs as much as fifty matrices; the vectors are not an output here. Where the
    gradient is to be differentiated again, they are computed again, as outputs.
    """

    @staticmethod
    def forward(ctx: Any, diag: Tensor, off_diag: Tensor, eig_idx: int) -> Tensor:
        values, vectors = kernels.eigenpairs(diag, off_diag, eig_idx, 0)
        ctx.save_for_backward(diag, off_diag)
        ctx.vectors, ctx.eig_idx = vectors, eig_idx
        return values.view(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (weights,) = grads
        if torch.is_grad_enabled() or not is_readable(weights):
            _, vectors = eigenpairs(*ctx.saved_tensors, ctx.eig_idx, 0)
            return *derivatives.outer(weights[:, None, None] * vectors, vectors), None
        return *kernels.gradients(weights.contiguous()[:, None], ctx.vectors), None


def is_readable(tensor: Tensor) -> bool:
    """Return whether a kernel can read a gradient: not one of `torch.func`, a mode or `is_grads_batched`."""
    return not (
        torch._C._are_functorch_transforms_active()
        or is_dispatched_to_a_mode()
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
    )
