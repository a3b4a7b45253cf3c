"""Take the slopes of losses by scores, for a batch of torch tensors: the twin of ``losses.loss_slopes``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from eigenserve.training.kernels.losses import (
    GAMMA,
    HUBER,
    LOGISTIC,
    MAX_LOG_RATE,
    POISSON,
    QUANTILE,
    SOFTMAX,
    SQUARED,
    TWEEDIE,
)


def batch_slopes(kind: int, parameter: float, scores: Tensor, target: Tensor, soft: Tensor | None = None) -> Tensor:
    """Return d(loss)/d(score): scores (..., O), target (...) numbers or class codes -> (..., O).

    soft: (..., O) probabilities of classes that take the place of the target.
    """
    if kind == SOFTMAX:
        return scores.softmax(-1) - (one_hot(target.long(), scores.shape[-1]) if soft is None else soft)
    first = scores[..., 0]
    if kind == SQUARED:
        slope = first - target
    elif kind == HUBER:
        slope = (first - target).clamp(-parameter, parameter)
    elif kind == QUANTILE:
        slope = (first > target).to(first.dtype) - parameter
    elif kind == LOGISTIC:
        slope = first.sigmoid() - target
    elif kind == POISSON:
        slope = first.clamp(max=MAX_LOG_RATE).exp() - target
    elif kind == GAMMA:
        slope = 1.0 - target * (-first).clamp(max=MAX_LOG_RATE).exp()
    elif kind == TWEEDIE:
        held = first.clamp(-MAX_LOG_RATE, MAX_LOG_RATE)
        slope = torch.exp((2.0 - parameter) * held) - target * torch.exp((1.0 - parameter) * held)
    else:
        raise ValueError(f"no slopes of loss {kind}")
    return slope[..., None]
