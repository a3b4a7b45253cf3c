"""Check and time a GPU against the CPU and dense torch, in one command of at most ten minutes: `eigenserve gpu-check`.

First what is right: eigenpairs of matrix families, gradients and a fit, against the CPU's. Then what is fast:
eigenpairs against `torch.linalg.eigh` on the same device and against the time to read and write the arrays once, and
training. What does not fit into the time or the memory is named and left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from eigenserve.errors import UserError
from eigenserve.model.autograd import eigh_tridiagonal, eigvalsh_tridiagonal
from eigenserve.model.torch.layers import SpectralNeuron

DIMS, BATCHES, TRAINING_ROWS = (5, 15, 45, 100), (4_096, 65_536, 1_000_000), 1_000_000
#: Seconds after which nothing more is begun: the longest of what may be running is well below the rest of ten minutes.
LATEST_START_S = 480.0
#: Both solvers promise eigenvalues to 8 eps of the norm, residuals of unit vectors to a few times that.
VALUE_ERROR, RESIDUAL = 16 * 2.0**-52, 64 * 2.0**-52
#: Gradients of vectors divide by gaps, of random matrices of order 15 rarely below 1e-4 of the norm.
GRADIENT_ERROR = 1e-9
#: Arrays as large as the matrices that the solver holds at its peak.
WORKING_ARRAYS = 16
#: Entries of dense matrices: some versions of torch solve orders above 32 one by one, a millisecond or more each.
DENSE_ENTRIES = 2**24


@dataclass(frozen=True)
class Run:
    """Hold where a check runs: the device, when it began, and how much memory there is."""

    device: torch.device
    started: float
    memory: int

    def left_out(self, size: float) -> str | None:
        """Return why something of this many bytes is not begun, if so."""
        if time.monotonic() - self.started > LATEST_START_S:
            return "left out: no time left"
        if size > self.memory:
            return f"left out: needs {size / 2**30:.0f} GiB, {self.memory / 2**30:.0f} GiB are free"
        return None

    def seconds(self, call: Callable[[], object], rounds: int = 3) -> float:
        """Return the least seconds of a call, after one that is not timed."""
        call()
        times = []
        for _ in range(rounds):
            self.wait()
            start = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - start)
        return min(times)

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def main(check_fit: Callable[[], bool]) -> int:
    """Check the first CUDA device; 1 if a result is wrong. Raises UserError where there is no device.

    check_fit: checks `fit`, which training above this package has.
    """
    if not torch.cuda.is_available():
        raise UserError(
            f"gpu-check needs a CUDA device; torch {torch.__version__} finds none: run it where nvidia-smi lists one, "
            "with a CUDA build of torch"
        )
    device = torch.device("cuda")
    properties = torch.cuda.get_device_properties(device)
    free, _ = torch.cuda.mem_get_info(device)
    print(f"{properties.name}, {free / 2**30:.0f} GiB free, torch {torch.__version__}", flush=True)
    right = check(Run(device, time.monotonic(), int(0.8 * free)), check_fit)
    print("all right" if right else "WRONG: see above")
    return 0 if right else 1


def check(
    run: Run,
    check_fit: Callable[[], bool],
    dims: tuple[int, ...] = DIMS,
    batches: tuple[int, ...] = BATCHES,
    training_rows: int = TRAINING_ROWS,
) -> bool:
    """Print every line and return whether all results are right."""
    right = True
    print("\nResults against the CPU's: largest error of eigenvalues, residual, both in norms; of gradients, relative")
    for n in dims:
        for name, (diag, off_diag) in families(n).items():
            errors = family_errors(run.device, diag, off_diag)
            fine = errors[0] <= VALUE_ERROR and errors[1] <= RESIDUAL
            right &= fine
            print(f"n {n:>3} {name:>16} {errors[0]:.1e} {errors[1]:.1e} {'right' if fine else 'WRONG'}", flush=True)
    for what, error in gradient_errors(run.device).items():
        right &= error <= GRADIENT_ERROR
        print(f"gradient of {what}: {error:.1e} {'right' if error <= GRADIENT_ERROR else 'WRONG'}", flush=True)
    right &= check_fit()
    bandwidth = copied_bytes_per_s(run)
    print(f"\nA middle eigenpair, float64; a copy moves {bandwidth / 1e9:.0f} GB/s")
    for n in dims:
        dense_s = cache(partial(dense_seconds, run, n))
        for batch in batches:
            print(f"n {n:>3} batch {batch:>9,}: {timed(run, n, batch, bandwidth, dense_s)}", flush=True)
    print(
        f"\nTraining a SpectralNeuron, 8 inputs, dim 15, {training_rows:,} rows: {trained(run, training_rows)}",
        flush=True,
    )
    return right


def families(n: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return matrices of order n that are hard in different ways, on the CPU."""
    generator = torch.Generator().manual_seed(n)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    diag, off_diag = normal(512, n), normal(512, n - 1)
    steps = torch.arange(n, dtype=torch.float64)
    return {
        "random": (diag, off_diag),
        "repeated": (torch.ones(8, n, dtype=torch.float64), torch.zeros(8, n - 1, dtype=torch.float64)),
        "clustered": ((steps - (n - 1) / 2).abs()[None], torch.ones(1, n - 1, dtype=torch.float64)),
        "zero off-diagonals": (diag, off_diag * (off_diag > 0)),
        "graded": (diag * 10.0 ** (-12 * steps / n), off_diag * 10.0 ** (-12 * steps[1:] / n)),
        "huge": (diag * 1e300, off_diag * 1e300),
        "tiny": (diag * 1e-300, off_diag * 1e-300),
    }


def family_errors(device: torch.device, diag: Tensor, off_diag: Tensor) -> tuple[float, float]:
    """Return the largest error of the middle eigenvalues, and the largest residual, in norms of their matrices."""
    k = diag.shape[1] // 2
    truth = eigh_tridiagonal(diag, off_diag, eig_idx=k).eigenvalues[:, 0]
    pairs = eigh_tridiagonal(diag.to(device), off_diag.to(device), eig_idx=k)
    values, vectors = pairs.eigenvalues[:, 0].cpu(), pairs.eigenvectors[:, 0].cpu()
    size = torch.cat([diag, off_diag], 1).abs().amax(1, keepdim=True)
    size[size == 0] = 1.0
    d, e = diag / size, off_diag / size
    image = d * vectors
    image[:, :-1] += e * vectors[:, 1:]
    image[:, 1:] += e * vectors[:, :-1]
    residual = (image - (values[:, None] / size) * vectors).norm(dim=1) + (vectors.norm(dim=1) - 1).abs()
    # A norm is at least the largest entry; a NaN is an infinite error.
    errors = ((values - truth).abs() / size[:, 0]).amax(), residual.amax()
    return tuple(math.inf if math.isnan(error) else error for error in map(float, errors))  # type: ignore[return-value]


def gradient_errors(device: torch.device) -> dict[str, float]:
    """Return the largest differences of gradients from the CPU's, relative to the largest."""
    diag, off_diag = families(15)["random"]

    def gradients(where: Any, of_vectors: bool) -> Tensor:
        d, e = (part.to(where).requires_grad_() for part in (diag, off_diag))
        if of_vectors:
            value = eigh_tridiagonal(d, e, eig_idx=7).eigenvectors[..., 3].square().sum()
        else:
            value = eigvalsh_tridiagonal(d, e, eig_idx=7).square().sum()
        return torch.cat(torch.autograd.grad(value, (d, e)), 1).cpu()

    errors = {}
    for what, of_vectors in (("eigenvalues", False), ("eigenvectors", True)):
        ours, truth = gradients(device, of_vectors), gradients("cpu", of_vectors)
        error = float((ours - truth).abs().amax() / truth.abs().amax())
        errors[what] = math.inf if math.isnan(error) else error
    return errors


def copied_bytes_per_s(run: Run) -> float:
    """Return bytes read and written per second by a copy, the bound of whatever touches each array once."""
    size = min(2**27, run.memory // 64)
    source, target = (torch.zeros(size, dtype=torch.float64, device=run.device) for _ in range(2))
    return 16 * size / run.seconds(lambda: target.copy_(source), 10)


def timed(run: Run, n: int, batch: int, bandwidth: float, dense_s: Callable[[int], float]) -> str:
    """Describe the time of eigenpairs against dense torch's seconds per matrix of so many, and the memory's bound."""
    reason = run.left_out(8.0 * WORKING_ARRAYS * n * batch)
    if reason is not None:
        return reason
    diag, off_diag = drawn(run.device, n, batch)
    ours = run.seconds(lambda: eigh_tridiagonal(diag, off_diag, eig_idx=n // 2))
    bound = 8 * batch * (3 * n) / bandwidth  # diagonal, off-diagonal and value, vector
    part = min(batch, DENSE_ENTRIES // n**2)
    ratio = dense_s(part) * batch / ours
    return (
        f"{1e6 * ours / batch:.4f} us a matrix, {ours / bound:.0f} x the memory's bound, "
        f"{ratio:.1f} times as fast as torch.linalg.eigh of {part:,}"
    )


def dense_seconds(run: Run, n: int, count: int) -> float:
    """Return the seconds per matrix of all eigenpairs of `count` dense ones: torch has no part of a spectrum."""
    diag, off_diag = drawn(run.device, n, count)
    dense = torch.diag_embed(diag) + torch.diag_embed(off_diag, 1) + torch.diag_embed(off_diag, -1)
    return run.seconds(lambda: torch.linalg.eigh(dense), 1) / count


def drawn(device: torch.device, n: int, count: int) -> tuple[Tensor, Tensor]:
    """Return random matrices on the device."""
    generator = torch.Generator(device).manual_seed(0)
    diag = torch.randn(count, n, generator=generator, device=device, dtype=torch.float64)
    return diag, torch.randn(count, n - 1, generator=generator, device=device, dtype=torch.float64)


def trained(run: Run, rows: int, batch: int = 65_536) -> str:
    """Describe the time of an epoch of Adam, on the device and on the CPU."""
    reason = run.left_out(64.0 * rows)
    if reason is not None:
        return reason
    times = []
    for device in (run.device, torch.device("cpu")):
        x = torch.randn(rows, 8, device=device, generator=torch.Generator(device).manual_seed(0))
        y = x[:, 0].abs() - x[:, 1]
        neuron = SpectralNeuron(8, 15, device=device)
        optimizer = torch.optim.Adam(neuron.parameters(), lr=1e-2, fused=True)

        def epoch(x: Tensor = x, y: Tensor = y, neuron: Any = neuron, optimizer: Any = optimizer) -> None:
            for part, target in zip(x.split(batch), y.split(batch), strict=True):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(neuron(part), target).backward()
                optimizer.step()

        times.append(run.seconds(epoch, 1))
    return f"{times[0]:.2f} s an epoch on the device, {times[1]:.2f} s on the CPU"
