"""FisherOperator: the empirical and the Monte-Carlo Fisher matrix of a module, by products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
            ValueError: as `ModuleLoss`, another kind, or a loss without a known sampler.
        """
        made = ModuleLoss(module, loss, loader, parameters)
        if kind == "empirical":
            batches: Sequence[Any] = [made.on_device(batch) for batch in made.batches()]
        elif kind == "monte-carlo":
            batches = _drawn(made, whole("samples", samples, 1), whole("seed", seed, 0, MAX_SEED), sampler)
        else:
            raise ValueError(f"kind must be empirical or monte-carlo; got {kind!r}")
        copies = samples if kind == "monte-carlo" else 1
        rows = copies if made.is_sum else made.num_rows * copies

        def row_losses(vector: Tensor, batch: Any) -> Tensor:
            inputs, targets = batch
            outputs = made.outputs(vector, inputs)
            losses = made.row_losses(outputs, targets)
            # A row's likelihood is the sum over its terms; a mean over t terms has t times the Fisher matrix of g.
            terms = 1 if kind == "empirical" or made.is_sum else _terms(made.loss, outputs, targets)
            return losses * terms**0.5

        def half_squares(losses: Tensor, _: Any) -> Tensor:
            return 0.5 * (losses**2).sum() / rows

        operator = cls(row_losses, half_squares, made.vector, batches)
        operator.split = made.split
        return operator


def _terms(loss: Any, outputs: Tensor, targets: Tensor) -> int:
    is_elementwise = loss in ELEMENTWISE or isinstance(loss, tuple(c for c in ELEMENTWISE if isinstance(c, type)))
    return (outputs if is_elementwise else targets)[0].numel()


def _drawn(made: ModuleLoss, samples: int, seed: int, sampler: Sampler | None) -> list[Any]:
    draw = sampler or _sampler_of(made.loss)
    generator = torch.Generator(made.device).manual_seed(seed)
    batches = []
    for batch in made.batches():
        inputs, _ = made.on_device(batch)
        with torch.no_grad():
            outputs = made.outputs(made.vector, inputs)
        batches += [(inputs, draw(outputs, generator)) for _ in range(samples)]
    return batches


def _sampler_of(loss: Any) -> Sampler:
    def is_loss(kind: type[nn.Module], function: Any) -> bool:
        return isinstance(loss, kind) or loss is function

    if is_loss(nn.CrossEntropyLoss, nn.functional.cross_entropy):
        return _draw_classes
    if is_loss(nn.MSELoss, nn.functional.mse_loss):
        return _draw_normal
    if is_loss(nn.BCEWithLogitsLoss, nn.functional.binary_cross_entropy_with_logits):
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
