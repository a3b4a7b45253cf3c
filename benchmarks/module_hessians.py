"""Count products and statements for a module's largest Hessian eigenpairs: here, hessian-eigenthings and curvlinops.

Needs `pip install --pre hessian-eigenthings curvlinops-for-pytorch`, best in an environment made for it.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from typing import Any

import curvlinops
import hessian_eigenthings as eigenthings
import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from eigenserve.operators import HessianOperator, lanczos

K, TOLERANCE = 3, 1e-6


class Attention(nn.Module):
    """A small encoder and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores."""
        return self.head(self.encoder(x).mean(1))


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return the networks and their inputs, float64."""
    torch.manual_seed(0)
    convolutional = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(128, 3)
    )
    return {
        "convolutional": (convolutional.double(), torch.randn(250, 1, 8, 8, dtype=torch.float64)),
        "attention": (Attention().double(), torch.randn(250, 6, 16, dtype=torch.float64)),
    }


def ours(module: nn.Module, loss: Any, loader: Any) -> Any:
    operator = HessianOperator.from_module(module, loss, loader)
    found = lanczos(operator, K, which="LA", tol=TOLERANCE)
    return found.eigenvalues, found.eigenvectors, found.iterations


def with_eigenthings(module: nn.Module, loss: Any, loader: Any, steps: int = 200) -> Any:
    rows, targets = (torch.cat(side) for side in zip(*loader, strict=True))  # its mean is over batches, not rows
    with sdpa_kernel(SDPBackend.MATH):
        operator = eigenthings.HessianOperator(module, [(rows, targets)], eigenthings.supervised_loss(loss))
        found = eigenthings.lanczos(
            operator, k=K, which="LA", tol=TOLERANCE, max_iter=steps, reorthogonalize=True, seed=0
        )
    return found.eigenvalues, found.eigenvectors, steps if found.converged.all() else math.inf


def with_curvlinops(module: nn.Module, loss: Any, loader: Any) -> Any:
    parameters = list(module.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        operator = curvlinops.HessianLinearOperator(module, loss, parameters, loader)
        counted = Counted(operator.to_scipy())
        values, vectors = eigsh(counted, k=K, which="LA", tol=TOLERANCE, rng=0)
    return values[::-1], vectors.T[::-1], counted.products


def with_fewest_steps(*arguments: Any) -> Any:
    """Return what hessian-eigenthings finds with the fewest steps that converge: it takes as many as it is given."""
    return next(found for steps in range(10, 200) if (found := with_eigenthings(*arguments, steps))[2] < math.inf)


class Counted(LinearOperator):
    """An operator of SciPy that counts its products."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner.dtype, inner.shape)
        self.inner, self.products = inner, 0

    def _matvec(self, vector: Any) -> Any:
        self.products += 1
        return self.inner @ vector


def statements(function: Callable[..., Any]) -> int:
    """Count what a user writes: a function's statements but for its return and the counting of products."""
    (tree,) = ast.parse(inspect.getsource(function)).body
    inside = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and node is not tree]
    return sum(not (isinstance(node, ast.Return) or ast.unparse(node).startswith("counted = ")) for node in inside)


def run() -> None:
    """Print a row per network and library."""
    torch.set_num_threads(1)
    for name, (module, x) in networks().items():
        y = torch.randint(0, 3, (len(x),), generator=torch.Generator().manual_seed(1))
        loader = list(zip(x.split(100), y.split(100), strict=True))  # the last batch is short
        truth = None
        for library, call in ((ours, ours), (with_eigenthings, with_fewest_steps), (with_curvlinops, with_curvlinops)):
            values, vectors, products = call(module, nn.CrossEntropyLoss(), loader)
            values, vectors = np.array(values), np.array(vectors)
            truth = truth or (values, vectors)
            apart = np.abs(values / truth[0] - 1).max()
            turned = np.abs(1 - np.abs((vectors * truth[1]).sum(1))).max()
            print(
                f"{name:>14} {library.__name__:>17} {products:>4} products, {statements(library)} statements, "
                f"values apart {apart:.0e}, vectors {turned:.0e}",
                flush=True,
            )


if __name__ == "__main__":
    run()
