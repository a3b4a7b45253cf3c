"""autograd_kernel: an operator's derivatives in reverse and forward mode, under every nesting of `torch.func`.

`torch.library.register_autograd` has no forward mode, which `torch.func.hessian` needs, and refuses nested transforms
such as `vmap(grad(f))`, which per-sample gradients need (both in torch 2.13). So the kernel of the Autograd key is made
here, of the parts that torch makes its own of: one node per level of transforms.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction


def autograd_kernel(operator: Any, backward: Callable[..., Any], tangent: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel of the Autograd key, to be registered with its keyset.

    Args:
        operator: an overload, which the kernel calls below autograd.
        backward: (tensors, options, gradients of the outputs, of which some may be None) -> a gradient or None for each
            argument; the tensors are those among the arguments and the outputs, the options all other arguments.
        tangent: (tensors, options, changes of the arguments, None for options) -> the outputs' changes.
    """

    def call(keyset: Any, *args: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return operator.redispatch(keyset & torch._C._after_autograd_keyset, *args)

    class Node(_SingleLevelFunction):
        @staticmethod
        def forward(ctx: Any, keyset: Any, *args: Any) -> Any:
            # torch turns both modes off around a forward, but the levels of transforms below this one need them.
            with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
                output = call(keyset, *args)
            outputs = (output,) if isinstance(output, Tensor) else output
            inputs = [argument for argument in args if isinstance(argument, Tensor)]
            ctx.options = args[len(inputs) :]
            ctx.save_for_backward(*inputs, *outputs)
            ctx.save_for_forward(*inputs, *outputs)
            ctx.set_materialize_grads(False)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> Any:
            if all(grad is None for grad in grads):
                return (None,) * len(ctx.needs_input_grad)
            return None, *backward(ctx.saved_tensors, ctx.options, grads)

        @staticmethod
        def jvp(ctx: Any, _: Any, *changes: Any) -> Any:
            filled = [
                torch.zeros_like(tensor) if change is None else change
                for change, tensor in zip(changes[: len(changes) - len(ctx.options)], ctx.saved_tensors, strict=False)
            ]
            return tangent(ctx.saved_tensors, ctx.options, filled)

    Node.__name__ = Node.__qualname__ = operator.name().replace("::", "_")

    def kernel(keyset: Any, *args: Any) -> Any:
        transformed = torch._C._are_functorch_transforms_active()
        backward_wanted = torch.is_grad_enabled() and torch._C._any_requires_grad(*args)
        # A dual level is open under every `jvp`, whichever the tensors with a tangent are.
        if not (backward_wanted or forward_ad._current_level >= 0):
            return call(keyset, *args)
        if transformed:
            _check_nesting()
        with enable_single_level_autograd_function() if transformed else nullcontext():
            return Node.apply(keyset, *args)  # type: ignore[attr-defined]

    return kernel


def _check_nesting() -> None:
    """Raise where forward mode stands inside forward mode: a node's tangent would count as a constant there."""
    kinds = [level.key() for level in torch._C._functorch.get_interpreter_stack() or []]
    if kinds.count(torch._C._functorch.TransformType.Jvp) > 1:
        raise RuntimeError(
            "eigenpairs: torch has no forward mode inside forward mode for custom operators; use reverse mode inside: "
            "torch.func.hessian(f) or jacfwd(jacrev(f)), and jacrev for every further order"
        )
