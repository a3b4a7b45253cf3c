"""Run the experiments of A. Shtoff's articles on tridiagonal eigenvalue models with `eigenserve.torch`.

    python examples/articles/run.py [--epochs 60]

prints one table: the article's figure, ours and the time. Rows are California housing, in the articles' split.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.linalg
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from eigenserve.torch import SpectralLayer, SpectralNeuron, eigvalsh_tridiagonal

DATA = Path(__file__).parents[1] / "data"
#: Best test RMSE in the figures of the articles, dollars, by dim: plain tridiagonal, up to 350 epochs.
PLAIN = {7: 55_738, 11: 54_585, 15: 54_138, 45: 53_592}
#: Of dense matrices of order 15 with the smoothed eigenvalue, 75 epochs, by smoothing.
SMOOTHED = {0.1: 53_699, 5.0: 52_950}


def california() -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Return standardised training and test rows and targets, and the dollars in one unit of the target."""
    train, test = (pd.read_csv(DATA / f"california_housing_{part}.csv") for part in ("train", "test"))
    mean, scale = train.mean(), train.std(ddof=0)
    tables = [torch.tensor(((t - mean) / scale).to_numpy(), dtype=torch.float32) for t in (train, test)]
    return *(part for t in tables for part in (t[:, :-1].contiguous(), t[:, -1].contiguous())), float(scale.iloc[-1])


def train(module: nn.Module, epochs: int, lr: float, data: tuple[Tensor, Tensor, Tensor, Tensor, float]) -> float:
    """Return the best test RMSE over the epochs, as the articles report it: Adam, one cycle, batches of 64."""
    x, y, test_x, test_y, unit = data
    steps = epochs * -(-len(x) // 64)
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=steps, pct_start=0.1, anneal_strategy="linear"
    )
    best = np.inf
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for rows in order.split(64):
            optimizer.zero_grad()
            mse_loss(module(x[rows]), y[rows]).backward()
            optimizer.step()
            cycle.step()
        with torch.no_grad():
            best = min(best, unit * float(mse_loss(module(test_x), test_y)) ** 0.5)
    return best


def toy() -> float:
    """Return the test loss of a neuron that learns whether a bit string has two or five ones."""
    x = torch.cartesian_prod(*([torch.tensor([0.0, 1.0])] * 12))
    y = ((x.sum(-1) == 2) | (x.sum(-1) == 5)).float()
    known = torch.rand(len(x)) < 0.5
    neuron = SpectralNeuron(12, 9)
    optimizer = torch.optim.Adam(neuron.parameters(), lr=0.1)
    best = np.inf
    for _ in range(60):
        for rows in known.nonzero()[:, 0][torch.randperm(int(known.sum()))].split(64):
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(neuron(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            best = min(best, float(binary_cross_entropy_with_logits(neuron(x[~known]), y[~known])))
    return best


def speed() -> tuple[float, float]:
    """Return milliseconds of 50 gradients of order 100, by one batched SciPy call and here."""
    diag, off_diag = (torch.randn(50, m, requires_grad=True) for m in (100, 99))

    def scipy_call() -> None:
        d, e = diag.detach().numpy(), off_diag.detach().numpy()
        scipy.linalg.eigh_tridiagonal(d, e, select="i", select_range=(2, 2), lapack_driver="stemr")

    def ours() -> None:
        eigvalsh_tridiagonal(diag, off_diag, eig_idx=2).sum().backward()

    def best(call: Callable[[], None]) -> float:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        return 1e3 * min(times)

    return best(scipy_call), best(ours)


def row(what: str, theirs: str, ours: Callable[[], str]) -> None:
    """Print a line of the table as soon as it is known."""
    started = time.perf_counter()
    found = ours()
    print(f"| {what} | {theirs} | {found} | {time.perf_counter() - started:.0f} s |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help="of each run on California housing (default 60)")
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = california()
    print("| experiment | article | here | time |\n| --- | --- | --- | --- |", flush=True)
    row("bit strings with two or five ones, dim 9: best test loss", "near 0", lambda: f"{toy():.4f}")
    times = speed()
    row("50 gradients of order 100", f"4.9 ms (SciPy here: {times[0]:.1f} ms)", lambda: f"{times[1]:.2f} ms")
    neurons = {}
    for dim, theirs in PLAIN.items():
        neurons[dim] = SpectralNeuron(8, dim)
        row(
            f"California, dim {dim}, {epochs} epochs (article: up to 350)",
            f"{theirs:,}",
            lambda dim=dim: f"{train(neurons[dim], epochs, 5e-3, data):,.0f}",
        )
    with torch.no_grad():
        x = data[2].requires_grad_()
    (slopes,) = torch.autograd.grad(neurons[15](x).sum(), x)
    bounds = neurons[15].strengths()[:, 0].detach()
    share = (slopes.abs().amax(0) / bounds).max().item()
    row("largest slope over its bound, any input, dim 15", "at most 1", lambda: f"{share:.2f}")
    data[2].requires_grad_(False)
    short = max(1, epochs // 3)
    for smoothing, theirs in SMOOTHED.items():
        row(
            f"California, dim 15, smoothing {smoothing:g}, {short} epochs (article: dense, 75)",
            f"{theirs:,}",
            lambda s=smoothing: f"{train(SpectralNeuron(8, 15, smoothing=s), short, 1e-2, data):,.0f}",
        )
    network = nn.Sequential(SpectralLayer(8, 8, 9), SpectralNeuron(8, 9))
    row(
        f"California, two layers (8 of dim 9, then 1), {short} epochs",
        "an open question",
        lambda: f"{train(network, short, 5e-3, data):,.0f}",
    )


if __name__ == "__main__":
    main()
