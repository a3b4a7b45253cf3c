"""Register `torch.ops.eigenserve.affine_*`: a small layer's forward and backward pass as one node of a graph each.

    affine_eigenpairs(x, matrices, eig_idx) -> values (B, H), vectors (B, H, n)
    affine_input_gradient(grad, matrices, vectors) -> (B, F)
    affine_matrix_gradient(grad, x, vectors) -> (F + 1, H, 2 n - 1)

x (B, F) and matrices (F + 1, H, 2 n - 1) are float32 or float64 on the CPU; grad is (B, H), vectors float64. Their
derivatives are expressions in torch and the operators of ``model.autograd.library``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eigenserve.model.autograd import derivatives, library
from eigenserve.model.torch import affine_kernels


def entries(x: Tensor, matrices: Tensor, constant: bool = True) -> Tensor:
    """Return the entries of rows' matrices, (..., B, H, 2 n - 1): x (..., B, F), matrices (..., F + 1, H, 2 n - 1)."""
    table = matrices.reshape(*matrices.shape[:-2], -1)
    total = x @ table[..., :-1, :]
    if constant:
        total = total + table[..., -1:, :]
    return total.reshape(*total.shape[:-1], *matrices.shape[-2:])


def form(grad: Tensor, vectors: Tensor) -> Tensor:
    """Return the gradient of the sum of grad times eigenvalues by entries, (..., B, H, 2 n - 1)."""
    by_entry = torch.cat([vectors * vectors, 2.0 * vectors[..., :-1] * vectors[..., 1:]], -1)
    return grad.to(vectors.dtype)[..., None] * by_entry


def to_inputs(form: Tensor, matrices: Tensor) -> Tensor:
    """Return the gradient by x of one by entries, (..., B, F)."""
    table = matrices.to(form.dtype).reshape(*matrices.shape[:-2], -1)
    return form.reshape(*form.shape[:-2], table.shape[-1]) @ table[..., :-1, :].transpose(-1, -2)


def to_matrices(form: Tensor, x: Tensor, constant: bool = True) -> Tensor:
    """Return the gradient by the matrices of one by entries, (..., F + 1, H, 2 n - 1)."""
    last = torch.ones_like(x[..., :1]) if constant else torch.zeros_like(x[..., :1])
    inputs = torch.cat([x, last], -1).to(form.dtype)
    flat = form.reshape(*form.shape[:-2], form.shape[-2] * form.shape[-1])
    total = inputs.transpose(-1, -2) @ flat
    return total.reshape(*total.shape[:-1], *form.shape[-2:])


def _split(entries: Tensor) -> tuple[Tensor, Tensor]:
    """Return entries (..., 2 n - 1) as contiguous float64 diag (M, n) and off_diag (M, n - 1)."""
    n = (entries.shape[-1] + 1) // 2
    flat = entries.double().reshape(-1, entries.shape[-1])
    return flat[:, :n].contiguous(), flat[:, n:].contiguous()


def _image(entries: Tensor, vectors: Tensor) -> Tensor:
    """Return matrices given by entries (B, H, 2 n - 1) times vectors (B, H, n)."""
    n = vectors.shape[-1]
    image = derivatives.times(*_split(entries), vectors.reshape(-1, 1, n))
    return image.reshape(vectors.shape)


def _turned(x: Tensor, matrices: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
    """Return (T - lambda I)+ rhs for every row and head, (B, H, n)."""
    n = vectors.shape[-1]
    diag, off_diag = _split(entries(x.double(), matrices.double()))
    column = vectors.reshape(-1, 1, n)
    solved = library.pseudo_inverse(diag, off_diag, values.double().reshape(-1, 1), column, rhs.reshape(-1, 1, n))
    return solved.reshape(vectors.shape)


def _eigenpairs_backward(tensors: Any, _: Any, grads: Any) -> Any:
    x, matrices, values, vectors = tensors
    grad_values, grad_vectors = grads
    if grad_vectors is None:
        grad_x = affine_input_gradient(grad_values, matrices, vectors)
        return grad_x.to(x.dtype), affine_matrix_gradient(grad_values, x, vectors).to(matrices.dtype), None
    left = -_turned(x, matrices, values, vectors, grad_vectors)
    if grad_values is not None:
        left = left + grad_values.double()[..., None] * vectors
    cross = left[..., :-1] * vectors[..., 1:] + left[..., 1:] * vectors[..., :-1]
    by_entry = torch.cat([left * vectors, cross], -1)
    return to_inputs(by_entry, matrices).to(x.dtype), to_matrices(by_entry, x).to(matrices.dtype), None


def _eigenpairs_tangent(tensors: Any, _: Any, changes: Any) -> Any:
    x, matrices, values, vectors = tensors
    d_x, d_matrices = changes
    change = entries(d_x.double(), matrices.double(), constant=False) + entries(x.double(), d_matrices.double())
    image = _image(change, vectors)
    return (vectors * image).sum(-1).to(values.dtype), -_turned(x, matrices, values, vectors, image)


def _input_gradient_backward(tensors: Any, _: Any, grads: Any) -> Any:
    grad, matrices, vectors = tensors[:3]
    image = _image(entries(grads[0].double(), matrices.double(), constant=False), vectors)
    by_matrices = to_matrices(form(grad, vectors), grads[0], constant=False)
    return (vectors * image).sum(-1).to(grad.dtype), by_matrices.to(matrices.dtype), _twice(grad, image)


def _input_gradient_tangent(tensors: Any, _: Any, changes: Any) -> Any:
    grad, matrices, vectors, out = tensors
    d_grad, d_matrices, d_vectors = changes
    total = to_inputs(_form_tangent(grad, vectors, d_grad, d_vectors), matrices)
    return (total + to_inputs(form(grad, vectors), d_matrices)).to(out.dtype)


def _matrix_gradient_backward(tensors: Any, _: Any, grads: Any) -> Any:
    grad, x, vectors = tensors[:3]
    image = _image(entries(x.double(), grads[0].double()), vectors)
    by_x = to_inputs(form(grad, vectors), grads[0])
    return (vectors * image).sum(-1).to(grad.dtype), by_x.to(x.dtype), _twice(grad, image)


def _matrix_gradient_tangent(tensors: Any, _: Any, changes: Any) -> Any:
    grad, x, vectors, out = tensors
    d_grad, d_x, d_vectors = changes
    total = to_matrices(_form_tangent(grad, vectors, d_grad, d_vectors), x)
    return (total + to_matrices(form(grad, vectors), d_x, constant=False)).to(out.dtype)


def _twice(grad: Tensor, image: Tensor) -> Tensor:
    return 2.0 * grad.double()[..., None] * image


def _form_tangent(grad: Tensor, vectors: Tensor, d_grad: Tensor, d_vectors: Tensor) -> Tensor:
    cross = d_vectors[..., :-1] * vectors[..., 1:] + d_vectors[..., 1:] * vectors[..., :-1]
    return form(d_grad, vectors) + grad.double()[..., None] * torch.cat([2.0 * d_vectors * vectors, 2.0 * cross], -1)


def _moved(info: Any, in_dims: Any, args: Any) -> list[Tensor]:
    """Return the tensors among the arguments with the axis of `vmap` first."""
    return [
        argument.expand(info.batch_size, *argument.shape) if dim is None else argument.movedim(dim, 0)
        for argument, dim in zip(args, in_dims, strict=True)
        if isinstance(argument, Tensor)
    ]


def _batched_eigenpairs(info: Any, in_dims: Any, *args: Any) -> Any:
    x, matrices = _moved(info, in_dims, args)
    made = entries(x.double(), matrices.double())
    values, vectors = library.eigenpairs(*_split(made), args[2], 0)
    dtype = torch.promote_types(x.dtype, matrices.dtype)
    shape = made.shape[:-1]
    return (values.reshape(shape).to(dtype), vectors.reshape(*shape, vectors.shape[-1])), (0, 0)


def _batched_input_gradient(info: Any, in_dims: Any, *args: Any) -> Any:
    grad, matrices, vectors = _moved(info, in_dims, args)
    return to_inputs(form(grad, vectors), matrices).to(matrices.dtype), 0


def _batched_matrix_gradient(info: Any, in_dims: Any, *args: Any) -> Any:
    grad, x, vectors = _moved(info, in_dims, args)
    return to_matrices(form(grad, vectors), x).to(x.dtype), 0


def _fake_eigenpairs(x: Tensor, matrices: Tensor, eig_idx: int) -> tuple[Tensor, Tensor]:
    shape = x.shape[0], matrices.shape[1]
    dtype = torch.promote_types(x.dtype, matrices.dtype)
    return x.new_empty(shape, dtype=dtype), x.new_empty((*shape, (matrices.shape[2] + 1) // 2), dtype=torch.float64)


def _fake_input_gradient(grad: Tensor, matrices: Tensor, vectors: Tensor) -> Tensor:
    return matrices.new_empty((grad.shape[0], matrices.shape[0] - 1))


def _fake_matrix_gradient(grad: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    return x.new_empty((x.shape[1] + 1, vectors.shape[1], 2 * vectors.shape[2] - 1))


affine_eigenpairs = library.define(
    "affine_eigenpairs(Tensor x, Tensor matrices, int eig_idx) -> (Tensor, Tensor)",
    affine_kernels.eigenpairs,
    _fake_eigenpairs,
    _eigenpairs_backward,
    _eigenpairs_tangent,
    _batched_eigenpairs,
    ("CPU",),
)
affine_input_gradient = library.define(
    "affine_input_gradient(Tensor grad, Tensor matrices, Tensor vectors) -> Tensor",
    affine_kernels.input_gradient,
    _fake_input_gradient,
    _input_gradient_backward,
    _input_gradient_tangent,
    _batched_input_gradient,
    ("CPU",),
)
affine_matrix_gradient = library.define(
    "affine_matrix_gradient(Tensor grad, Tensor x, Tensor vectors) -> Tensor",
    affine_kernels.matrix_gradient,
    _fake_matrix_gradient,
    _matrix_gradient_backward,
    _matrix_gradient_tangent,
    _batched_matrix_gradient,
    ("CPU",),
)
