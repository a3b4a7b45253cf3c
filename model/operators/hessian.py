"""Apply Hessian and Gauss-Newton operators of any loss that torch can differentiate twice, in mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd import grad

from eigenserve.model.operators.modules import ModuleLoss
from eigenserve.model.operators.operator import SymmetricOperator


def _whole(vector: Tensor) -> dict[str, Tensor]:
    return {"parameters": vector}


class HessianOperator(SymmetricOperator):
    """Apply the Hessian of sum over batches of ``loss(parameters, batch)``, at ``parameters`` (n,).

    A loss that is a sum over rows, divided by the number of all rows, gives the Hessian of the mean whatever
    the sizes of the batches; a mean per batch would weigh the rows of a short last batch more.

    A product costs two backward passes over all batches and the memory of one.

    Attributes:
        split: a vector (n,) -> tensors by the names of the parameters.
    """

    split: Callable[[Tensor], dict[str, Tensor]] = staticmethod(_whole)

    def __init__(self, loss: Callable[[Tensor, Any], Tensor], parameters: Tensor, batches: Iterable[Any]) -> None:
        self.loss, self.batches = loss, batches
        self.parameters = _flat(parameters)
        self.size, self.dtype, self.device = len(parameters), parameters.dtype, parameters.device

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        loader: Iterable[Any],
        parameters: str | Sequence[str] | None = None,
    ) -> Self:
        """Return the Hessian of a module's mean loss on a loader's rows; arguments and errors as of `ModuleLoss`.

        ``operator.split(vector)`` gives a vector, such as an eigenvector, as tensors by the parameters' names.
        """
        made = ModuleLoss(module, loss, loader, parameters)
        operator = cls(made.batch_loss, made.vector, made.batches())
        operator.split = made.split
        return operator

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``."""
        total = torch.zeros_like(vector)
        for batch in self.batches:
            with gradients():
                (slope,) = grad(self.loss(self.parameters, batch), self.parameters, create_graph=True)
                if slope.requires_grad:  # a loss that is linear in the parameters: its Hessian is zero
                    total += grad(slope, self.parameters, vector)[0]
        return total


class GaussNewtonOperator(SymmetricOperator):
    """Apply the generalised Gauss-Newton matrix of sum over batches of ``loss(scores(parameters, batch), batch)``.

    It is sum of J' L J, J the Jacobian of the scores and L the loss's Hessian with respect to them:
    positive semidefinite for a loss that is convex in the scores, and the Hessian itself where the scores
    are linear in the parameters or fit perfectly (Schraudolph, 2002).

    Attributes:
        split: see ``HessianOperator``.
    """

    split: Callable[[Tensor], dict[str, Tensor]] = staticmethod(_whole)

    def __init__(
        self,
        scores: Callable[[Tensor, Any], Tensor],
        loss: Callable[[Tensor, Any], Tensor],
        parameters: Tensor,
        batches: Iterable[Any],
    ) -> None:
        self.scores, self.loss, self.batches = scores, loss, batches
        self.parameters = _flat(parameters)
        self.size, self.dtype, self.device = len(parameters), parameters.dtype, parameters.device

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        loader: Iterable[Any],
        parameters: str | Sequence[str] | None = None,
    ) -> Self:
        """Return the Gauss-Newton matrix of a module's mean loss; see ``HessianOperator.from_module``."""
        made = ModuleLoss(module, loss, loader, parameters)

        def outputs(vector: Tensor, batch: Any) -> Tensor:
            return made.outputs(vector, made.on_device(batch)[0])

        def loss_of_outputs(outputs: Tensor, batch: Any) -> Tensor:
            return made.output_loss(outputs, made.on_device(batch)[1])

        operator = cls(outputs, loss_of_outputs, made.vector, made.batches())
        operator.split = made.split
        return operator

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``."""
        total = torch.zeros_like(vector)
        for batch in self.batches:
            with gradients():
                scores = self.scores(self.parameters, batch)
                # J'c is linear in c, so its derivative by c in the direction of ``vector`` is J times it.
                cotangent = torch.zeros_like(scores, requires_grad=True)
                (pulled,) = grad(scores, self.parameters, cotangent, create_graph=True)
                (pushed,) = grad(pulled, cotangent, vector)
                bent = loss_curvature(self.loss, scores, batch, pushed)
                total += grad(scores, self.parameters, bent)[0]
        return total


def loss_curvature(loss: Callable[[Tensor, Any], Tensor], scores: Tensor, batch: Any, direction: Tensor) -> Tensor:
    """Multiply the Hessian of ``loss(scores, batch)`` by the scores with ``direction`` of their shape."""
    with gradients():
        scores = scores.detach().requires_grad_()
        (slope,) = grad(loss(scores, batch), scores, create_graph=True)
        if not slope.requires_grad:
            return torch.zeros_like(direction)
        return grad(slope, scores, direction)[0]


@contextmanager
def gradients() -> Iterator[None]:
    """Record gradients, under `torch.no_grad` too.

    Raises:
        RuntimeError: under `torch.inference_mode`, whose tensors can have none.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "products need gradients, which torch.inference_mode() excludes; use torch.no_grad() instead"
        )
    with torch.enable_grad():
        yield


def _flat(parameters: Tensor) -> Tensor:
    if parameters.ndim != 1:
        raise ValueError(f"parameters must be one vector (n,); got shape {tuple(parameters.shape)}")
    with gradients():
        return parameters.detach().clone().requires_grad_()
