"""AdamSteps: whole training steps as one compiled graph, gradient and optimiser included.

A step of a small module is mostly what torch spends around it: the engine of autograd, the optimiser's Python, and the
guards of a compiled function. One graph of several steps has the first two compiled, and pays the third once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value


class AdamSteps:
    """Train a module by Adam: ``steps(rows, targets)`` takes a step per batch of the rows and returns their losses.

    The module's parameters change in place, as by `torch.optim.Adam` without weight decay. Rows and targets may hold
    any number of batches, four to make the guards' cost small. Every other number of rows compiles another graph, in 10
    to 60 seconds: give as many each time.

    Args:
        module: its forward pass may not write to buffers, as batch normalisation does in training.
        loss: (outputs, targets) -> a scalar.
        batch: rows of a step; the last one of a call may be shorter.
        lr, betas, eps: as of `torch.optim.Adam`; ``lr`` is kept as a tensor: ``steps.lr.fill_(value)`` changes it.
        compiled: whether to compile; without, it is slower than the optimiser of torch.

    Raises:
        ValueError: a batch below 1, or a module without parameters that train.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        batch: int,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        compiled: bool = True,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1; got {batch}")
        # Aliases without a graph: what is written to them is in the module.
        values = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
        if not values:
            raise ValueError("module must have parameters that require a gradient; it has none")
        first, second = ({name: torch.zeros_like(value) for name, value in values.items()} for _ in range(2))
        like = next(iter(values.values()))
        # Of one element, not none: torch 2.13 compiles a captured float64 scalar without what is written to it.
        self.lr = torch.full((1,), lr, dtype=torch.float64, device=like.device)
        count = torch.zeros(1, dtype=torch.float64, device=like.device)
        (beta_1, beta_2), rate = betas, self.lr

        def step(rows: Tensor, targets: Tensor) -> Tensor:
            def loss_of(parameters: Any) -> Tensor:
                return loss(functional_call(module, parameters, (rows,)), targets)

            slopes, value = grad_and_value(loss_of)(values)
            count.add_(1)
            size = rate / (1 - beta_1**count)
            scale = (1 - beta_2**count).sqrt()
            for name, slope in slopes.items():
                first[name].lerp_(slope, 1 - beta_1)
                second[name].lerp_(slope * slope, 1 - beta_2)
                values[name].sub_(size * first[name] / (second[name].sqrt() / scale + eps))
            return value

        def steps(rows: Tensor, targets: Tensor) -> Tensor:
            parts = zip(rows.split(batch), targets.split(batch), strict=True)
            return torch.stack([step(*part) for part in parts])

        self._steps = torch.compile(steps, fullgraph=True, dynamic=False) if compiled else steps

    def __call__(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Take a step per batch and return the losses before them, (batches,)."""
        # In inference mode operators go past autograd's dispatch, a tenth of a compiled step.
        with torch.inference_mode():
            return self._steps(rows, targets)
