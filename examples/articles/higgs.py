"""Try layers of eigenvalues on a simulated table like HIGGS: which collisions hold a decaying resonance?

    python examples/articles/higgs.py [--epochs 20] [--seeds 3]

Every collision has two jets, a lepton and missing energy, 13 numbers. In half of them the jets come from one resonance
of mass 125, smeared by the detector; in the others from falling spectra. The mass of the pair separates them, which is
no linear function of the numbers given.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from eigenserve.torch import SpectralLayer, SpectralNeuron

MASS, SMEARING = 125.0, 0.1
Tables = tuple[Tensor, Tensor, Tensor, Tensor]


def collisions(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return standardised numbers (rows, 13) and labels (rows,), 1 where there is a resonance."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def falling(*shape: int) -> Tensor:
        return -torch.log(1 - uniform(*shape))

    label = (uniform(rows) < 0.5).float()
    cosine, turn = 2 * uniform(rows) - 1, 2 * torch.pi * uniform(rows)
    sine = (1 - cosine**2).sqrt()
    direction = torch.stack([sine * turn.cos(), sine * turn.sin(), cosine], 1)
    across, along = 40 * falling(rows), 2 * torch.pi * uniform(rows)
    momentum = torch.stack([across * along.cos(), across * along.sin(), 60 * normal(rows)], 1)
    columns = []
    for jet in decay(direction, momentum):
        size = jet[:, :2].norm(dim=1).clamp(min=1e-3)
        signal = torch.stack([size, torch.asinh(jet[:, 2] / size), torch.atan2(jet[:, 1], jet[:, 0])], 1)
        other = torch.stack([20 + 45 * falling(rows), 1.1 * normal(rows), torch.pi * (2 * uniform(rows) - 1)], 1)
        seen = torch.where(label[:, None] > 0, signal, other)
        seen[:, 0] *= torch.exp(SMEARING * normal(rows))
        columns += [seen[:, 0].log(), seen[:, 1], seen[:, 2], normal(rows) + 0.5 * label]  # the last: a b-tag
    columns += [(10 + 35 * falling(rows)).log(), normal(rows), torch.pi * (2 * uniform(rows) - 1)]
    columns += [(10 + (30 + 8 * label) * falling(rows)).log(), torch.pi * (2 * uniform(rows) - 1)]
    x = torch.stack(columns, 1)
    return (x - x.mean(0)) / x.std(0), label


def decay(direction: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
    """Return the momenta (rows, 3) of two massless jets: back to back in their rest frame, boosted by its momentum."""
    energy = (MASS**2 + (momentum**2).sum(1)).sqrt()
    half = 0.5 * MASS * direction
    share = ((half * momentum).sum(1) / (MASS * (energy + MASS)))[:, None]
    return half + (0.5 + share) * momentum, -half + (0.5 - share) * momentum


def area(scores: Tensor, labels: Tensor) -> float:
    """Return the area under the ROC curve."""
    ranks = torch.empty(len(scores), dtype=torch.float64)
    ranks[scores.argsort()] = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    positive = labels > 0
    count = int(positive.sum())
    return float(ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count))


def train(module: nn.Module, epochs: int, tables: Tables) -> float:
    """Return the area on new rows after Adam with one cycle, in batches of 256; no epoch is chosen."""
    x, y, test_x, test_y = tables
    steps = epochs * -(-len(x) // 256)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(256):
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(module(x[rows]).reshape(-1), y[rows]).backward()
            optimizer.step()
            cycle.step()
    with torch.no_grad():
        return area(module(test_x).reshape(-1), test_y)


#: The networks compared, by name.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(13, 1),
    "one neuron, dim 15": lambda: SpectralNeuron(13, 15),
    "one neuron, dim 45": lambda: SpectralNeuron(13, 45),
    "two layers, 16 of dim 9, then 1": lambda: nn.Sequential(SpectralLayer(13, 16, 9), SpectralNeuron(16, 9)),
    "two layers of 64 ReLU": lambda: nn.Sequential(
        nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    ),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=40_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tables = (*collisions(options.rows, 0), *collisions(20_000, 1))
    print("| model | parameters | area on 20,000 new rows | seconds |\n| --- | --- | --- | --- |", flush=True)
    for name, make in NETWORKS.items():
        areas, started = [], time.process_time()
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            areas.append(train(make(), options.epochs, tables))
        seconds = (time.process_time() - started) / options.seeds
        parameters = sum(p.numel() for p in make().parameters())
        spread = f"{min(areas):.4f} to {max(areas):.4f}"
        print(f"| {name} | {parameters:,} | {spread} | {seconds:.1f} |", flush=True)
    started = time.process_time()
    trees = HistGradientBoostingClassifier(random_state=0).fit(*(t.numpy() for t in tables[:2]))
    scores = torch.from_numpy(trees.decision_function(tables[2].numpy()))
    seconds = time.process_time() - started
    print(f"| boosted trees (scikit-learn) | | {area(scores, tables[3]):.4f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
