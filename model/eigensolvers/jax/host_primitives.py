"""Make a primitive of JAX from a function of NumPy arrays that runs on the host.

Not by `jax.pure_callback`, which copies its arguments to a device inside the callback: on the CPU that copy may wait
for a thread that waits for the callback. Here the function gets the buffers as they are. A callback also has no
transpose, which reverse mode asks of a tangent; a primitive says how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def host_primitive(
    name: str,
    compute: Callable[..., tuple[Any, ...]],
    shapes: Callable[..., list[tuple[int, ...]]],
    tangents: Callable[..., Any],
) -> Primitive:
    """Return a primitive whose arrays, in and out, have the same batch axes, first, and one dtype.

    Args:
        name: its name in printed programs.
        compute: arrays and options -> NumPy arrays of the results.
        shapes: the arguments' shapes and options -> the results' shapes.
        tangents: (primals, results, tangents, **options) -> the results' tangents.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def on_host(*arrays: Any, **options: Any) -> tuple[Any, ...]:
        plain = tuple(np.asarray(array) for array in arrays)
        return tuple(np.asarray(part, plain[0].dtype) for part in compute(*plain, **options))

    def abstract(*avals: Any, **options: Any) -> list[Any]:
        return [avals[0].update(shape=shape) for shape in shapes(*(aval.shape for aval in avals), **options)]

    def lower(context: Any, *operands: Any, **options: Any) -> Any:
        results, _, _ = mlir.emit_python_callback(
            context,
            lambda *arrays: on_host(*arrays, **options),
            None,
            operands,
            context.avals_in,
            context.avals_out,
            has_side_effect=False,
            returns_token=False,
        )
        return results

    def derive(primals: Any, changes: Any, **options: Any) -> Any:
        results = primitive.bind(*primals, **options)
        return results, tangents(primals, results, [ad.instantiate_zeros(change) for change in changes], **options)

    def batch(arrays: Any, axes: Any, **options: Any) -> Any:
        size = next(array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None)
        moved = [
            jnp.broadcast_to(array, (size, *array.shape)) if axis is None else jnp.moveaxis(array, axis, 0)
            for array, axis in zip(arrays, axes, strict=True)
        ]
        results = primitive.bind(*moved, **options)
        return results, [0] * len(results)

    primitive.def_impl(lambda *arrays, **options: [jax.device_put(part) for part in on_host(*arrays, **options)])
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, lower)
    ad.primitive_jvps[primitive] = derive
    batching.primitive_batchers[primitive] = batch
    return primitive
