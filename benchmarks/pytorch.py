"""Time an epoch of the article's recipe in torch: SciPy in an autograd function, and `eigenserve.torch`, in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import scipy.linalg
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks.timing import interleaved
from eigenserve.torch import SpectralNeuron

ROWS, FEATURES, DIM = 3200, 8, 15


class ThroughSciPy(torch.autograd.Function):
    """The article's function: one batched call of SciPy, whose eigenvectors are kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, diag: Tensor, off_diag: Tensor, k: int) -> Tensor:
        """Return eigenvalue k, (B,)."""
        values, vectors = scipy.linalg.eigh_tridiagonal(
            diag.numpy(), off_diag.numpy(), select="i", select_range=(k, k), lapack_driver="stemr"
        )
        ctx.save_for_backward(torch.as_tensor(vectors, dtype=diag.dtype).squeeze(-1))
        return torch.as_tensor(values, dtype=diag.dtype).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Return the gradients by the matrices."""
        (v,), grad = ctx.saved_tensors, grads[0].unsqueeze(-1)
        return grad * v.square(), 2 * grad * (v[..., :-1] * v[..., 1:]), None


class SciPyNeuron(nn.Module):
    """Two linear layers and an eigenvalue, as the article writes the neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.diag, self.off_diag = nn.Linear(FEATURES, DIM), nn.Linear(FEATURES, DIM - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the eigenvalues, (B,)."""
        return ThroughSciPy.apply(self.diag(x), self.off_diag(x), DIM // 2)  # type: ignore[no-untyped-call]


class Line(nn.Module):
    """A linear model: what torch itself takes for a step of anything."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (B,)."""
        return self.linear(x).squeeze(-1)


def epoch(module: nn.Module, batch: int, *, fused: bool = False) -> Callable[[], None]:
    """Return an epoch by Adam, as everyone writes it."""
    x, y = torch.randn(ROWS, FEATURES), torch.randn(ROWS)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3, fused=fused)

    def run() -> None:
        for rows, target in zip(x.split(batch), y.split(batch), strict=True):
            optimizer.zero_grad()
            mse_loss(module(rows), target).backward()
            optimizer.step()

    return run


def compiled_epoch(batch: int) -> Callable[[], None]:
    """Return an epoch whose step, gradient and Adam included, is one compiled graph (see docs/pytorch.md)."""
    x, y = torch.randn(ROWS, FEATURES), torch.randn(ROWS)
    neuron = SpectralNeuron(FEATURES, DIM)
    matrices = neuron.matrices.detach().clone()
    first, second, count = torch.zeros_like(matrices), torch.zeros_like(matrices), torch.zeros(())

    @torch.compile(fullgraph=True)
    def step(rows: Tensor, target: Tensor) -> None:
        def loss(values: Tensor) -> Tensor:
            return mse_loss(torch.func.functional_call(neuron, {"matrices": values}, (rows,)), target)

        grad = torch.func.grad(loss)(matrices)
        count.add_(1)
        first.lerp_(grad, 0.1)
        second.lerp_(grad * grad, 0.001)
        matrices.sub_(5e-3 * (first / (1 - 0.9**count)) / ((second / (1 - 0.999**count)).sqrt() + 1e-8))

    def run() -> None:
        with torch.no_grad():
            for rows, target in zip(x.split(batch), y.split(batch), strict=True):
                step(rows, target)

    return run


def run(quick: bool = False) -> None:
    """Print the times, for one thread of torch and for its default, on the cores as they are and on busy ones."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print(f"One epoch of {ROWS:,} rows, {FEATURES} inputs, dim {DIM}, float32, Adam: us per step and x SciPy")
    for batch in (50, 64):
        rivals = {
            "SciPy in autograd": epoch(SciPyNeuron(), batch),
            "SpectralNeuron": epoch(SpectralNeuron(FEATURES, DIM), batch),
            "SpectralNeuron, fused Adam": epoch(SpectralNeuron(FEATURES, DIM), batch, fused=True),
            "compiled step": compiled_epoch(batch),
            "a linear model": epoch(Line(), batch),
        }
        times = interleaved(rivals, 3 if quick else 7)
        steps = ROWS // batch
        for name, seconds in times.items():
            ratio = times["SciPy in autograd"] / seconds
            print(f"batch {batch} {name:>28} {seconds / steps * 1e6:>9.0f} {ratio:>6.1f}", flush=True)
    torch.set_num_threads(threads)
    for busy in (0, 2 * (os.cpu_count() or 1)):
        with_load(busy)


def with_load(busy: int) -> None:
    """Run a training step at batch 4096 in a fresh process with torch's own threads, beside processes that spin."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        command = [sys.executable, "-m", "benchmarks.pytorch", "large"]
        print(f"\nbatch 4096, torch's default threads, {busy} spinning processes beside it")
        subprocess.run(command, check=True, timeout=600)
    finally:
        for process in spinning:
            process.kill()


def _large() -> None:
    x, y = torch.randn(4096, FEATURES), torch.randn(4096)

    def step(module: nn.Module) -> Callable[[], None]:
        return lambda: mse_loss(module(x), y).backward()

    times = interleaved({"SciPy": step(SciPyNeuron()), "ours": step(SpectralNeuron(FEATURES, DIM))}, 5)
    print(f"SciPy {times['SciPy'] * 1e3:.1f} ms, SpectralNeuron {times['ours'] * 1e3:.2f} ms, ", end="")
    print(f"x{times['SciPy'] / times['ours']:.0f}", flush=True)


if __name__ == "__main__":
    _large() if sys.argv[1:] == ["large"] else run()
