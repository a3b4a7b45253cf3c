"""Lanczos against SciPy's ARPACK and hessian-eigenthings: products spent for the same residuals, and errors."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

from eigenserve.model.operators import (
    CallableOperator,
    SparseOperator,
    SymmetricOperator,
    block_lanczos,
    deflated_power_iteration,
    lanczos,
    shift_invert_lanczos,
)

#: Their Lanczos takes the number of steps as given: it gets the smallest that reaches the tolerance.
THEIRS = "hessian-eigenthings"


class Counted(SymmetricOperator):
    """An operator and how often it was multiplied with a vector."""

    def __init__(self, inner: SymmetricOperator) -> None:
        self.inner, self.products = inner, 0
        self.size, self.dtype, self.device = inner.size, inner.dtype, inner.device

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        """Multiply, and count it."""
        self.products += 1
        return self.inner.matvec(vector)


def cases(quick: bool) -> dict[str, tuple[SymmetricOperator, Any, int, float]]:
    """Name -> operator, the same for SciPy, k and tolerance."""
    rng = np.random.default_rng(0)
    random = rng.normal(size=(1000, 1000))
    random = (random + random.T) / 2
    rows = 100_000 if quick else 1_000_000
    clustered = np.concatenate([np.linspace(0, 1, 20_000), 2 + 0.001 * np.arange(10)])
    band = scipy.sparse.diags_array(
        [np.full(rows - 1, -1.0), rng.exponential(size=rows), np.full(rows - 1, -1.0)], offsets=[-1, 0, 1]
    ).tocsr()
    draw = scipy.sparse.random_array((rows, rows), density=2 / rows, rng=rng, format="csr")
    outliers = scipy.sparse.diags_array(np.concatenate([np.arange(40.0, 80.0, 4.0), np.zeros(rows - 10)]))
    spiked = ((draw + draw.T) / 2 + outliers).tocsr()
    matrices = {
        "random, 1,000 rows": (scipy.sparse.csr_array(random), 10, 1e-6),
        "clustered, 20,010 rows": (scipy.sparse.diags_array(clustered).tocsr(), 10, 1e-6),
        f"sparse random with outliers, {rows:,} rows": (spiked, 10, 1e-6),
        f"tridiagonal with a random diagonal, {rows:,} rows": (band, 5, 1e-4),
    }
    return {name: (SparseOperator(m), m, k, tol) for name, (m, k, tol) in matrices.items()}


def run(quick: bool = False) -> None:
    rivals = importlib.util.find_spec("hessian_eigenthings") is not None
    lanczos(CallableOperator(lambda v: v, 60), 5, max_iter=60)  # compiles the eigensolver
    print("Top eigenpairs (LA): products until all residuals are below tol |lambda|")
    if not rivals:
        print(f"({THEIRS} is not installed: pip install --pre {THEIRS}==1.0.0a5)")
    print(
        f"{'operator':>50} {'tol':>6} {'who':>20} {'products':>9} {'s':>7} {'x ours':>7} {'residual':>9} {'error':>9}"
    )
    for name, (operator, matrix, k, tol) in cases(quick).items():
        _compare(name, operator, matrix, k, tol, rivals)
    _multiplicity()
    _smallest(quick)


def _compare(name: str, operator: SymmetricOperator, matrix: Any, k: int, tol: float, rivals: bool) -> None:
    exact = np.sort(scipy.sparse.linalg.eigsh(matrix, k, which="LA", tol=1e-12, return_eigenvectors=False))[::-1]

    def ours(max_basis: int | None) -> tuple[Any, Any, int]:
        counted = Counted(operator)
        found = lanczos(counted, k, max_iter=2000, tol=tol, which="LA", max_basis=max_basis)
        return found.eigenvalues, found.eigenvectors, counted.products

    whole = _timed(lambda: ours(min(2000, operator.size)))
    steps = whole[0][2]
    lines = {"ours, whole basis": whole, "ours, 50 vectors": _timed(lambda: ours(None))}
    lines["SciPy eigsh, 50 v."] = _timed(lambda: _arpack(matrix, k, tol))
    if rivals:
        lines[THEIRS] = _timed(lambda: _theirs(operator, k, tol, steps))
    lines["power iteration"] = _timed(lambda: _power(operator, k, tol, 20 * steps))
    for who, ((values, vectors, products), seconds) in lines.items():
        values = torch.as_tensor(values)
        vectors = torch.as_tensor(vectors)
        errors = operator.matmat(vectors) - values[:, None] * vectors
        residual = float((torch.linalg.vector_norm(errors, dim=1) / values.abs()).max())
        error = float(np.abs(np.sort(values.numpy())[::-1] / exact - 1).max())
        print(
            f"{name:>50} {tol:>6.0e} {who:>20} {products:>9} {seconds:>7.2f} {products / steps:>7.2f} "
            f"{residual:>9.1e} {error:>9.1e}"
        )
        name = ""


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def _arpack(matrix: Any, k: int, tol: float) -> tuple[Any, Any, int]:
    count = 0

    def product(vector: Any) -> Any:
        nonlocal count
        count += 1
        return matrix @ vector

    operator = scipy.sparse.linalg.LinearOperator(matrix.shape, matvec=product, dtype=float)
    values, vectors = scipy.sparse.linalg.eigsh(operator, k, which="LA", tol=tol, ncv=50)
    return values.copy(), vectors.T.copy(), count


def _theirs(operator: SymmetricOperator, k: int, tol: float, steps: int) -> tuple[Any, Any, int]:
    """Their Lanczos with full reorthogonalisation and the fewest steps that reach the tolerance.

    They draw the same start from the same seed, so the search begins where ours ended.
    """
    from hessian_eigenthings import LambdaOperator
    from hessian_eigenthings import lanczos as their_lanczos

    def attempt(max_iter: int) -> Any:
        rival = LambdaOperator(operator.matvec, operator.size, operator.device, operator.dtype)
        return their_lanczos(rival, k=k, max_iter=max_iter, tol=tol, which="LA", reorthogonalize=True, seed=0)

    found = attempt(steps)
    if bool(found.converged.all()):
        while bool((shorter := attempt(steps - 1)).converged.all()):
            found, steps = shorter, steps - 1
    while not bool(found.converged.all()):
        steps += 1
        found = attempt(steps)
    return found.eigenvalues, found.eigenvectors, steps


def _power(operator: SymmetricOperator, k: int, tol: float, most: int) -> tuple[Any, Any, int]:
    found = deflated_power_iteration(operator, k, max_iter=max(1, most // k), tol=tol)
    return found.eigenvalues, found.eigenvectors, found.iterations


def _multiplicity() -> None:
    spectrum = torch.from_numpy(np.concatenate([[10.0] * 5, [9.0, 7.0, 5.0], np.linspace(0, 1, 300)]))
    operator = CallableOperator(lambda v: spectrum * v, len(spectrum))
    print("\nAn eigenvalue of 10, five times, then 9, 7, 5 (tol 1e-8, six pairs wanted of each)")
    for who, found in (
        ("lanczos", lanczos(operator, 4, tol=1e-8)),
        ("block_lanczos", block_lanczos(operator, 7, tol=1e-8)),
    ):
        print(f"{who:>15} {found.iterations:>4} products: {np.round(found.eigenvalues.numpy(), 6).tolist()}")


def _smallest(quick: bool) -> None:
    print("\nThe five smallest magnitudes of Laplacians of 100,000 rows by shift-invert (tol 1e-4)")
    print(f"{'graph':>20} {'solutions':>10} {'fill of factors':>16} {'product equivalents per pair':>29} {'error':>9}")
    for name, matrix, exact in _laplacians():
        operator = SparseOperator(matrix)
        found = shift_invert_lanczos(operator, 5, tol=1e-4)
        factors = scipy.sparse.linalg.splu(
            matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        fill = (factors.L.nnz + factors.U.nnz) / matrix.nnz
        solutions = found.iterations - 5
        error = float(np.abs(found.eigenvalues.numpy() / exact - 1).max())
        print(f"{name:>20} {solutions:>10} {fill:>16.2f} {(solutions * fill + 5) / 5:>29.1f} {error:>9.1e}")


def _laplacians() -> list[tuple[str, Any, Any]]:
    def path(n: int) -> Any:
        return scipy.sparse.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])

    def exact(n: int) -> Any:
        return 4 * np.sin(np.arange(1, 9) * np.pi / (2 * n + 2)) ** 2

    grid = scipy.sparse.kron(path(400), scipy.sparse.eye_array(250)) + scipy.sparse.kron(
        scipy.sparse.eye_array(400), path(250)
    )
    return [
        ("path", path(100_000), exact(100_000)[:5]),
        ("grid, 400 x 250", grid, np.sort(exact(400)[:, None] + exact(250), axis=None)[:5]),
    ]


if __name__ == "__main__":
    run()
