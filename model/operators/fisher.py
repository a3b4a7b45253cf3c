"""FisherOperator: the empirical and the Monte-Carlo Fisher matrix of a module, by products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from eigenserve.model.operators.arguments import MAX_SEED, whole
from eigenserve.model.operators.hessian import GaussNewtonOperator
from eigenserve.model.operators.modules import ELEMENTWISE, ModuleLoss

#: (outputs, generator) -> targets drawn from what the outputs predict.
Sampler = Callable[[Tensor, torch.Generator], Tensor]


class FisherOperator(GaussNewtonOperator):
    """Multiply by the mean over rows of g g', g the gradient of one row's loss (the sum, for a loss that is one).

    "empirical": at the targets that there are. "monte-carlo": at targets drawn from the module's own predictions, whose
    mean is the Fisher matrix, and for cross entropy and squared error the Gauss-Newton matrix. The targets are drawn
    once, when the operator is made, so that it is one matrix.

    A row whose class has the weight w in torch's loss counts as w rows, w g g' with the gradient g of the loss without
    weights, and one whose target is ignored not at all, whatever is drawn for it.
    """

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        loader: Iterable[Any],
        parameters: str | Sequence[str] | None = None,
        *,
        kind: Literal["empirical", "monte-carlo"] = "empirical",
        samples: int = 1,
        seed: int = 0,
        sampler: Sampler | None = None,
    ) -> FisherOperator:
        """Return the operator of a module's parameters; arguments as of `ModuleLoss`.

        Args:
            module, loss, loader, parameters: see `ModuleLoss`.
            kind: "empirical" or "monte-carlo".
            samples: targets drawn per row.
            seed: of the draws.
            sampler: draws targets, for another loss than cross entropy, squared error or binary cross entropy with
                logits. A loss that is a mean over a row's outputs must be sampled as if it were their sum.

        Raises:
            ValueError: as `ModuleLoss`, another kind, a loss without a known sampler or that is no mean (or sum) over
                rows, weights where they say of no draw or no row what it counts, or label smoothing of drawn targets.
        """
        made = ModuleLoss(module, loss, loader, parameters, by_row=True)
        if kind == "empirical":
            batches: Sequence[Any] = _given(made)
        elif kind == "monte-carlo":
            batches = _drawn(made, whole("samples", samples, 1), whole("seed", seed, 0, MAX_SEED), sampler)
        else:
            raise ValueError(f"kind must be empirical or monte-carlo; got {kind!r}")
        copies = samples if kind == "monte-carlo" else 1
        total = copies if made.is_sum else made.total_weight * copies

        def row_losses(vector: Tensor, batch: Any) -> Tensor:
            inputs, targets, weights = batch
            outputs = made.outputs(vector, inputs)
            if kind == "empirical":
                return _weighted_losses(made, outputs, targets, weights)
            if made.class_loss is not None:
                # Each target is a likelihood of its own.
                each = made.class_loss.function(outputs, targets, reduction="none")
                return (each * weights.to(each.dtype).sqrt()).reshape(len(each), -1).sum(1)
            losses = made.row_losses(outputs, targets)
            # A row's likelihood is the sum over its terms; a mean over t terms has t times the Fisher matrix of g.
            return losses if made.is_sum else losses * _terms(made.loss, outputs, targets) ** 0.5

        def half_squares(losses: Tensor, _: Any) -> Tensor:
            return 0.5 * (losses**2).sum() / total

        operator = cls(row_losses, half_squares, made.vector, batches)
        operator.split = made.split
        return operator


def _terms(loss: Any, outputs: Tensor, targets: Tensor) -> int:
    is_elementwise = loss in ELEMENTWISE or isinstance(loss, tuple(c for c in ELEMENTWISE if isinstance(c, type)))
    return (outputs if is_elementwise else targets)[0].numel()


def _given(made: ModuleLoss) -> list[Any]:
    """Return batches (inputs, targets, weights of the targets or None) with the targets that there are."""
    batches = []
    for inputs, targets in map(made.on_device, made.batches()):
        weights = None
        if made.class_loss is not None:
            weights = made.class_loss.target_weights(targets)
            if made.class_loss.weight is not None and weights is not None and weights.ndim > 1:
                raise ValueError("class weights need one target per row, or kind='monte-carlo'; got several")
        if weights is None or bool((weights > 0).any()):
            batches.append((inputs, targets, weights))
    return batches


def _weighted_losses(made: ModuleLoss, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return rows' losses (rows that count,), such that their gradients' squares are what the rows count by."""
    if weights is None:
        return made.row_losses(outputs, targets)
    by_row = weights.reshape(len(weights), -1).sum(1).to(outputs.dtype)
    kept = by_row > 0
    losses, by_row = made.row_losses(outputs[kept], targets[kept]), by_row[kept]
    if not made.is_sum:
        return losses * by_row.sqrt()
    return losses / by_row.sqrt() if weights.ndim == 1 else losses


def _drawn(made: ModuleLoss, samples: int, seed: int, sampler: Sampler | None) -> list[Any]:
    """Return batches (inputs, targets, weights of the targets or None) with drawn targets, ``samples`` of each."""
    draw = sampler or _sampler_of(made.loss)
    if made.class_loss is not None and made.class_loss.label_smoothing:
        raise ValueError(
            "smoothed labels have no likelihood to draw from; leave label_smoothing out, or kind='empirical'"
        )
    generator = torch.Generator(made.device).manual_seed(seed)
    batches = []
    for inputs, targets in map(made.on_device, made.batches()):
        with torch.no_grad():
            outputs = made.outputs(made.vector, inputs)
        weights = None
        if made.class_loss is not None:
            weights = made.class_loss.target_weights(targets)
            if weights is None and made.class_loss.weight is not None:
                raise ValueError("class weights need targets that are indices, or kind='empirical'; got probabilities")
            if weights is None:
                share = 1.0 if made.is_sum else 1.0 / math.prod(outputs.shape[2:])
                weights = outputs.new_full(outputs.shape[:1] + outputs.shape[2:], share)
        batches += [(inputs, draw(outputs, generator), weights) for _ in range(samples)]
    return batches


def _sampler_of(loss: Any) -> Sampler:
    called = loss.func if isinstance(loss, partial) else loss

    def is_loss(kind: type[nn.Module], function: Any) -> bool:
        return isinstance(loss, kind) or called is function

    if is_loss(nn.CrossEntropyLoss, nn.functional.cross_entropy):
        return _draw_classes
    if is_loss(nn.MSELoss, nn.functional.mse_loss):
        return _draw_normal
    if is_loss(nn.BCEWithLogitsLoss, nn.functional.binary_cross_entropy_with_logits):
        options = loss.keywords if isinstance(loss, partial) else {}
        if any(getattr(loss, name, options.get(name)) is not None for name in ("weight", "pos_weight")):
            raise ValueError("weights of a binary cross entropy count no draws; leave them out, or kind='empirical'")
        return lambda outputs, generator: torch.bernoulli(outputs.sigmoid(), generator=generator)
    name = getattr(loss, "__name__", type(loss).__name__)
    raise ValueError(f"the loss {name} needs a sampler: give sampler(outputs, generator) -> targets")


def _draw_normal(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """Draw about the outputs: (o - y)^2 is the negative logarithm of a normal density of variance 1/2."""
    noise = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype, device=outputs.device)
    return outputs + 0.5**0.5 * noise


def _draw_classes(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """Draw classes of outputs (B, C, ...) -> (B, ...)."""
    chances = outputs.softmax(1).movedim(1, -1)
    return torch.multinomial(chances.flatten(0, -2), 1, generator=generator).view(chances.shape[:-1])
