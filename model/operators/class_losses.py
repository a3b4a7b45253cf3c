"""ClassLoss: what torch's losses of class indices divide by, the weights of the targets that are not ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

FUNCTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.CrossEntropyLoss: nn.functional.cross_entropy,
    nn.NLLLoss: nn.functional.nll_loss,
}
_OPTIONS = ("weight", "ignore_index", "label_smoothing")


@dataclass(frozen=True)
class ClassLoss:
    """Hold the options of a cross entropy or a negative log-likelihood of classes.

    Attributes:
        function: of `torch.nn.functional`.
        weight: (C,) of each class, or None.
        ignore_index: the target that does not count.
        label_smoothing: as of `torch.nn.CrossEntropyLoss`.
    """

    function: Callable[..., Tensor]
    weight: Tensor | None = None
    ignore_index: int = -100
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, loss: Any) -> ClassLoss | None:
        """Return the options of a module, a function or a `functools.partial` of it; None for another loss."""
        called, options = (loss.func, loss.keywords) if isinstance(loss, partial) else (loss, {})
        for kind, function in FUNCTIONS.items():
            if isinstance(loss, kind) and type(loss).forward is kind.forward:
                options = {name: getattr(loss, name) for name in _OPTIONS if hasattr(loss, name)}
            elif called is not function:
                continue
            return cls(function, **{name: options[name] for name in _OPTIONS if name in options})
        return None

    def target_weights(self, targets: Tensor) -> Tensor | None:
        """Return the weight of each target (B, ...), 0 where it is ignored; None for probabilities of classes."""
        if targets.is_floating_point():
            return None
        counted = targets != self.ignore_index
        if self.weight is None:
            return counted.to(torch.get_default_dtype())
        return torch.where(counted, self.weight.to(targets.device)[torch.where(counted, targets, 0)], 0.0)


def reduction_of(loss: Any) -> str:
    """Return a loss's ``reduction``: its attribute, its keyword as a `functools.partial`, or "mean"."""
    options = loss.keywords if isinstance(loss, partial) else {}
    return str(getattr(loss, "reduction", options.get("reduction", "mean")))


def is_of_torch(loss: Any) -> bool:
    """Return whether a loss is torch's own, and so a mean over rows, or over what `ClassLoss` has the weights of."""
    called = loss.func if isinstance(loss, partial) else loss
    if isinstance(called, nn.Module):
        return type(called).forward.__module__ == nn.MSELoss.__module__
    return getattr(called, "__module__", "") == nn.functional.__name__
