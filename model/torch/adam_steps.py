"""AdamSteps: training steps without what torch spends around a small module's own work.

Of a step of a small module by `torch.optim.Adam`, `backward` and `zero_grad`, a third is the optimiser's Python. Here a
step is the module, `torch.autograd.grad` and one kernel; compiled, whole steps are one graph, without the engine of
autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.func import functional_call, grad_and_value

from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.source_digest import source_digest
from eigenserve.model.torch.affine_kernels import as_array


class AdamSteps:
    """Train a module by Adam: ``steps(rows, targets)`` takes a step per batch of the rows and returns their losses.

    The module's parameters change in place, as by `torch.optim.Adam` without weight decay; their ``grad`` is not used.
    Rows and targets may hold any number of batches.

    Args:
        module: its forward pass may not write to buffers if it is compiled, as batch normalisation does in training.
        loss: (outputs, targets) -> a scalar.
        batch: rows of a step; the last one of a call may be shorter.
        lr, betas, eps: as of `torch.optim.Adam`; ``lr`` is kept as a tensor: ``steps.lr.fill_(value)`` changes it.
        compiled: whether to compile the steps of a call as one graph. It pays with several batches in each call, four
            or more; every other number of rows compiles another graph, in 10 to 60 seconds.

    Raises:
        ValueError: a batch below 1, a module without parameters that train, or a rate, betas or eps that
            `torch.optim.Adam` refuses.
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
        compiled: bool = False,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1; got {batch}")
        if not lr >= 0:
            raise ValueError(f"lr must be at least 0; got {lr}")
        if not eps >= 0:
            raise ValueError(f"eps must be at least 0; got {eps}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be in [0, 1); got {betas}")
        self._trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not self._trained:
            raise ValueError("module must have parameters that require a gradient; it has none")
        # Aliases without a graph: what is written to them is in the module.
        self._values = {name: p.detach() for name, p in self._trained.items()}
        self._moments = [{name: torch.zeros_like(p) for name, p in self._values.items()} for _ in range(2)]
        like = next(iter(self._values.values()))
        # Of one element, not none: torch 2.13 compiles a captured float64 scalar without what is written to it.
        self.lr = torch.full((1,), lr, dtype=torch.float64, device=like.device)
        self._module, self._loss, self._batch, self._betas, self._eps = module, loss, batch, betas, eps
        self._parameters, parts = list(self._trained.values()), [self._values, *self._moments]
        self._groups = [_Group([list(part.values()) for part in parts], places) for places in _alike(self._parameters)]
        self._compiled = torch.compile(self._graph(), fullgraph=True, dynamic=False) if compiled else None

    def __call__(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Take a step per batch and return the losses before them, (batches,).

        Raises:
            RuntimeError: the module was moved or converted since, or has other parameters.
            ValueError: no rows, or another number of targets.
        """
        if not 0 < len(rows) == len(targets):
            raise ValueError(f"there must be as many targets as rows, at least one; got {len(targets)} and {len(rows)}")
        there = dict(self._module.named_parameters())
        for name, value in self._values.items():
            if there.get(name) is not self._trained[name]:
                raise RuntimeError(f"parameter {name!r} was replaced or removed: make AdamSteps again after that")
            if self._trained[name].data_ptr() != value.data_ptr():
                raise RuntimeError(f"parameter {name!r} was moved or converted: make AdamSteps again after that")
        if self._compiled is None:
            return self._eager(rows, targets)
        # In inference mode operators go past autograd's dispatch, a tenth of a compiled step.
        with torch.inference_mode():
            losses = self._compiled(rows, targets)
        increment_version(self._parameters)
        return losses

    def _eager(self, rows: Tensor, targets: Tensor) -> Tensor:
        if len(rows) <= self._batch:
            return self._step(rows, targets).reshape(1)
        parts = zip(rows.split(self._batch), targets.split(self._batch), strict=True)
        return torch.stack([self._step(*part) for part in parts])

    def _step(self, rows: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            value = self._loss(self._module(rows), targets)
        slopes = torch.autograd.grad(value, self._parameters, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            for group in self._groups:
                group.step(slopes, self.lr, self._betas, self._eps)
        # A kernel wrote to them: graphs made before must find out, as after torch's own steps.
        increment_version(self._parameters)
        return value.detach()

    def _graph(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the same as a function of tensors alone, for the compiler."""
        module, loss, batch, eps, rate = self._module, self._loss, self._batch, self._eps, self.lr
        values, (first, second), (beta_1, beta_2) = self._values, self._moments, self._betas
        count = torch.zeros(1, dtype=torch.float64, device=rate.device)

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

        return steps


class _Group:
    """Hold parameters of one device and dtype, and step them by one call.

    On the CPU that is a kernel here: torch's operator asks its threads however few numbers there are, and on busy cores
    that takes as long as a hundred steps.
    """

    def __init__(self, tensors: Sequence[Sequence[Tensor]], places: Sequence[int]) -> None:
        self._places, self._count = places, 0
        self._tensors = [[kind[i] for i in places] for kind in tensors]
        like = self._tensors[0][0]
        self._counts = [torch.zeros((), device=like.device)] * len(places)
        self._arrays: list[tuple[Any, ...]] | None = None
        if like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64):
            flat = [[tensor.view(-1).numpy() for tensor in kind] for kind in self._tensors if _all_dense(kind)]
            self._arrays = list(zip(*flat, strict=True)) if len(flat) == len(tensors) else None

    def step(self, slopes: Sequence[Tensor], lr: Tensor, betas: tuple[float, float], eps: float) -> None:
        """Take a step."""
        if self._arrays is not None:
            self._count += 1
            size, scale = float(lr) / (1 - betas[0] ** self._count), 1.0 / (1 - betas[1] ** self._count)
            for arrays, place in zip(self._arrays, self._places, strict=True):
                adam_step(*arrays, as_array(slopes[place]).reshape(-1), size, scale, *betas, eps)
            return
        values, first, second = self._tensors
        self._counts[0].add_(1)
        torch._fused_adam_(
            values,
            [slopes[i] for i in self._places],
            first,
            second,
            [],
            self._counts,
            lr=lr,
            beta1=betas[0],
            beta2=betas[1],
            weight_decay=0.0,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )


def _all_dense(tensors: Sequence[Tensor]) -> bool:
    return all(tensor.is_contiguous() for tensor in tensors)


def _alike(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return the places of tensors by device and dtype."""
    groups: dict[Any, list[int]] = {}
    for place, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype), []).append(place)
    return list(groups.values())


def _cached(sources: int) -> Any:
    @kernel
    def adam_step(
        values: Any,
        first: Any,
        second: Any,
        slopes: Any,
        size: float,
        scale: float,
        beta_1: float,
        beta_2: float,
        eps: float,
    ) -> None:
        """Step flat values and moments; ``size`` is the rate over the first bias, ``scale`` one over the second's."""
        if sources < 0:  # only so that the digest is captured
            return
        for i in range(len(values)):
            slope = np.float64(slopes[i])
            mean = beta_1 * first[i] + (1.0 - beta_1) * slope
            square = beta_2 * second[i] + (1.0 - beta_2) * slope * slope
            first[i], second[i] = mean, square
            values[i] -= size * mean / (math.sqrt(square * scale) + eps)

    return adam_step


adam_step = _cached(source_digest(Path(__file__)))
