"""Estimate the trace and the spectral density of an operator, by stochastic Lanczos quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from eigenserve.model.operators.arguments import seeded, whole
from eigenserve.model.operators.methods.krylov_basis import KrylovBasis
from eigenserve.model.operators.methods.projected import tridiagonal_eigenpairs
from eigenserve.model.operators.methods.result import EigenResult, Progress
from eigenserve.model.operators.operator import SymmetricOperator
from eigenserve.model.operators.products import FloatArray, Products


@dataclass(frozen=True)
class Spectrum:
    """Hold where the eigenvalues of an operator lie, as points with shares of them.

    Attributes:
        size: eigenvalues in all, n.
        trace, trace_error: their sum, and the standard error of that estimate (NaN for one probe).
        nodes, weights: (p,) eigenvalues and the share of all that each stands for; the shares' sum is 1.
        runs: (p,) the run from 0 that found each node; -1 for a known eigenvalue.
        iterations: products spent.
    """

    size: int
    trace: float
    trace_error: float
    nodes: FloatArray
    weights: FloatArray
    runs: NDArray[np.int64]
    iterations: int

    def density(self, grid: FloatArray, width: float) -> FloatArray:
        """Return the density on ``grid`` (g,), each node smeared by a Gaussian of standard deviation ``width``."""
        kernel = np.exp(-0.5 * ((grid[:, None] - self.nodes) / width) ** 2)
        return (kernel @ self.weights) / (width * np.sqrt(2 * np.pi))

    def distribution(self, grid: FloatArray) -> FloatArray:
        """Return the share of eigenvalues at most each point of ``grid`` (g,)."""
        return (self.weights * (self.nodes <= grid[:, None])).sum(axis=1)


def spectrum(
    operator: SymmetricOperator,
    probes: int = 10,
    steps: int = 50,
    seed: int = 0,
    *,
    known: EigenResult | None = None,
    progress: Progress | None = None,
) -> Spectrum:
    """Estimate trace and spectral density from ``probes`` Lanczos runs of ``steps`` steps each.

    A run from a random sign vector gives a Gauss quadrature of the eigenvalues' distribution; the mean over
    the runs has a standard error that falls with 1 / sqrt(probes). Eigenpairs that are ``known`` are taken
    as they are and the probes kept orthogonal to them: a few outlying eigenvalues are most of the variance.

    Args:
        operator: the matrix.
        probes: random vectors.
        steps: of each run; more show finer detail at the spectrum's ends.
        seed: of the probes.
        known: eigenpairs found before, with different eigenvectors each.
        progress: called after each product; its last argument counts finished probes.

    Raises:
        ValueError: fewer than one probe or step, more known pairs than the operator has, or a matrix that
            is not finite.

    Source: Ubaru, Chen and Saad (2017), SIAM J. Matrix Anal. Appl. 38; with deflation as in Hutch++ (Meyer,
    Musco, Musco and Woodruff, 2021).
    """
    products = Products(operator)
    n, dtype, device = products.size, products.dtype, products.device
    probes, steps = whole("probes", probes, 1), whole("steps", steps, 1)
    held = 0 if known is None else len(known.eigenvalues)
    if held > n:
        raise ValueError(f"at most {n} eigenpairs can be known; got {held}")
    steps = min(steps, n - held)  # none, if all is known
    basis = KrylovBasis(held + steps, n, dtype, device)
    values = np.empty(0) if known is None else known.eigenvalues.cpu().double().numpy()
    nodes, weights, runs = [np.empty(0)], [np.full(held, 1.0 / n)], [np.full(held, -1)]
    generator = seeded(seed)
    forms = np.zeros(probes)
    for i in range(probes if steps else 0):
        basis.count = 0
        if known is not None:
            basis.append(known.eigenvectors.to(device))
        signs = torch.randint(0, 2, (n,), generator=generator).to(dtype) * 2 - 1
        probe = basis.orthogonalize(signs.to(device))
        square = float(probe @ probe)
        diag, off_diag = _recurrence(products, basis, probe / square**0.5, steps)
        pairs = tridiagonal_eigenpairs(diag, off_diag, 0, len(diag))
        nodes.append(pairs.values)
        runs.append(np.full(len(diag), i))
        # Each run speaks for all that is not known; the norm of its probe, for the trace alone.
        weights.append((n - held) / n / probes * pairs.vectors[:, 0] ** 2)
        forms[i] = square * diag[0]
        if progress is not None:
            progress(products.count, probes * steps, i + 1)
    # One probe has no deviation.
    deviation = forms.std(ddof=min(1, probes - 1))
    mean, error = products.restored(np.array([forms.mean(), deviation / np.sqrt(probes)]))
    return Spectrum(
        size=n,
        trace=float(values.sum() + mean),
        trace_error=float(error) if probes > 1 else float("nan"),
        nodes=np.concatenate([values, products.restored(np.concatenate(nodes))]),
        weights=np.concatenate(weights),
        runs=np.concatenate(runs),
        iterations=products.count,
    )


def _recurrence(
    products: Products, basis: KrylovBasis, start: torch.Tensor, steps: int
) -> tuple[FloatArray, FloatArray]:
    """Take up to ``steps`` Lanczos steps orthogonal to all of ``basis``, until the space is invariant."""
    diag, off_diag = np.empty(0), np.empty(0)
    vector, scale = start, 0.0
    while True:
        basis.append(vector)
        product = products.matvec(vector)
        diag = np.append(diag, float(vector @ product))
        product = basis.orthogonalize(product)
        beta = float(torch.linalg.vector_norm(product))
        scale = max(scale, abs(diag[-1]) + beta)
        if len(diag) == steps or beta <= products.rounding(scale):
            return diag, off_diag
        off_diag = np.append(off_diag, beta)
        vector = product / beta
