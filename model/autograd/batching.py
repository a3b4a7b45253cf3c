"""Batch every operator here: the axis that `torch.func.vmap` adds joins the axis of the matrices."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


def batching_rule(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function whose tensors, in and out, all have the axis of the matrices first."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        size = info.batch_size
        flat, count = [], 0
        for argument, dim in zip(args, in_dims, strict=True):
            if not isinstance(argument, Tensor):
                flat.append(argument)
                continue
            moved = argument.expand(size, *argument.shape) if dim is None else argument.movedim(dim, 0)
            count = moved.shape[1]
            flat.append(moved.flatten(0, 1))
        out = call(*flat)
        if isinstance(out, Tensor):
            return out.unflatten(0, (size, count)), 0
        return tuple(part.unflatten(0, (size, count)) for part in out), (0,) * len(out)

    return rule
