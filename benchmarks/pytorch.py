"""Time an epoch of the article's recipe in torch: SciPy in an autograd function, and `eigenserve.torch`, in one run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import scipy.linalg
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks.timing import interleaved
from eigenserve.torch import AdamSteps, SpectralNeuron, eigvalsh_tridiagonal

ROWS, FEATURES, DIM = 12_800, 8, 15


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


class SolvedLinear(SciPyNeuron):
    """The same with the eigenvalue from here: what changing one line of the article's code gives."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the eigenvalues, (B,)."""
        return eigvalsh_tridiagonal(self.diag(x), self.off_diag(x), eig_idx=DIM // 2)


class TwoLinear(SciPyNeuron):
    """The same without an eigenvalue."""

    def forward(self, x: Tensor) -> Tensor:
        """Return sums, (B,)."""
        return self.diag(x).sum(-1) + self.off_diag(x).sum(-1)


class Line(nn.Module):
    """A linear model: what torch itself takes for a step of anything."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (B,)."""
        return self.linear(x).squeeze(-1)


def table() -> tuple[Tensor, Tensor]:
    """Return ROWS rows and their targets."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, FEATURES, generator=generator), torch.randn(ROWS, generator=generator)


def epoch(module: nn.Module, batch: int, *, fused: bool = True) -> Callable[[], None]:
    """Return an epoch by Adam, as everyone writes it; batches are slices, without a DataLoader."""
    x, y = table()
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3, fused=fused)

    def run() -> None:
        for rows, target in zip(x.split(batch), y.split(batch), strict=True):
            optimizer.zero_grad()
            mse_loss(module(rows), target).backward()
            optimizer.step()

    return run


def steps_epoch(batch: int, per_call: int, compiled: bool) -> Callable[[], None]:
    """Return an epoch by `AdamSteps`, of `per_call` batches a call, as one compiled graph or in eager mode."""
    x, y = table()
    steps = AdamSteps(SpectralNeuron(FEATURES, DIM), mse_loss, batch=batch, lr=5e-3, compiled=compiled)

    def run() -> None:
        for rows, target in zip(x.split(batch * per_call), y.split(batch * per_call), strict=True):
            steps(rows, target)

    return run


def components(module: nn.Module) -> dict[str, Callable[[], object]]:
    """Return the parts of a step at batch 64."""
    x, y = (part[:64] for part in table())
    plain, fused = (torch.optim.Adam(module.parameters(), lr=5e-3, fused=fused) for fused in (False, True))
    return {
        "forward": lambda: module(x),
        "forward and loss": lambda: mse_loss(module(x), y),
        "and backward": lambda: mse_loss(module(x), y).backward(),
        "Adam": plain.step,
        "fused Adam": fused.step,
    }


def run(quick: bool = False) -> None:
    """Print the times of a step's parts, of epochs on one thread of torch, and of its default on busy cores."""
    rounds = 3 if quick else 7
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    makers = {"SciPy in autograd": SciPyNeuron, "SpectralNeuron": lambda: SpectralNeuron(FEATURES, DIM), "linear": Line}
    print(f"Parts of a step of 64 rows, {FEATURES} inputs, dim {DIM}, float32: processor us")
    for name, make in makers.items():
        times = interleaved(components(make()), rounds, clock=time.process_time)
        print(f"{name:>28}", *(f"{part} {1e6 * seconds:.0f}" for part, seconds in times.items()), flush=True)
    print(f"\nOne epoch of {ROWS:,} rows: processor us per step, and x SciPy")
    for batch in (50, 64):
        rivals = {name: epoch(make(), batch) for name, make in makers.items()}
        rivals["SpectralNeuron, Adam as is"] = epoch(SpectralNeuron(FEATURES, DIM), batch, fused=False)
        rivals["AdamSteps"] = steps_epoch(batch, 1, compiled=False)
        for per_call in (1, 4):
            rivals[f"compiled AdamSteps, {per_call} a call"] = steps_epoch(batch, per_call, compiled=True)
        times = interleaved(rivals, rounds, clock=time.process_time)
        for name, seconds in times.items():
            ratio = times["SciPy in autograd"] / seconds
            print(f"batch {batch} {name:>30} {seconds / (ROWS // batch) * 1e6:>9.0f} {ratio:>6.1f}", flush=True)
    torch.set_num_threads(threads)
    for busy in (0, 2 * (os.cpu_count() or 1)):
        with_load(busy)


def with_load(busy: int) -> None:
    """Run gradients in a fresh process with torch's own threads, next to processes that spin."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        for policy in (None, "PASSIVE"):
            environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
            environment |= {} if policy is None else {"OMP_WAIT_POLICY": policy}
            print(f"\nGradients, torch's default threads, OMP_WAIT_POLICY {policy}, {busy} spinning processes: wall ms")
            command = [sys.executable, "-m", "benchmarks.pytorch", "threads"]
            subprocess.run(command, check=True, timeout=600, env=environment)
    finally:
        for process in spinning:
            process.kill()


def _threads() -> None:
    for rows in (64, 4096):
        x, y = torch.randn(rows, FEATURES), torch.randn(rows)

        def step(module: nn.Module, x: Tensor = x, y: Tensor = y) -> Callable[[], None]:
            return lambda: mse_loss(module(x), y).backward()

        rivals = {
            "SciPy in autograd": step(SciPyNeuron()),
            "SpectralNeuron": step(SpectralNeuron(FEATURES, DIM)),
            "its bfloat16 inputs": step(SpectralNeuron(FEATURES, DIM), x.bfloat16()),
            "eigvalsh_tridiagonal of two linear layers": step(SolvedLinear()),
            "two linear layers alone": step(TwoLinear()),
        }
        if rows == 64:
            # Whole steps, with an optimiser, as an epoch takes them.
            rivals["an epoch, fused Adam"] = epoch(SpectralNeuron(FEATURES, DIM), 64)
            rivals["an epoch, Adam as is"] = epoch(SpectralNeuron(FEATURES, DIM), 64, fused=False)
            rivals["an epoch, AdamSteps"] = steps_epoch(64, 1, compiled=False)
            rivals["an epoch, SciPy in autograd"] = epoch(SciPyNeuron(), 64, fused=False)
        times = interleaved(rivals, 5)
        for name, seconds in times.items():
            ratio = times["an epoch, SciPy in autograd" if "epoch" in name else "SciPy in autograd"] / seconds
            print(f"batch {rows:>4} {name:>42} {1e3 * seconds:>9.3f} {ratio:>6.1f}", flush=True)


if __name__ == "__main__":
    _threads() if sys.argv[1:] == ["threads"] else run()
