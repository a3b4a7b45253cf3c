"""Check what a caller may ask for: whole numbers, tolerances and seeds, once at the boundary."""

from __future__ import annotations

from math import inf, isfinite
from operator import index
from typing import Any, Literal, get_args

import torch
from torch import Tensor

#: LM: largest magnitude. LA: largest (algebraic). SA: smallest (algebraic). As ARPACK names them.
Which = Literal["LM", "LA", "SA"]
#: torch takes 64 bits, the larger half of them as negative numbers.
MAX_SEED = 2**63 - 1


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Check that ``value`` is an int in [least, most]: a whole number of any type, NumPy's and torch's scalars too.

    Raises:
        TypeError: no whole number.
        ValueError: one outside the range.
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {value!r}") from None
    if number < least or (most is not None and number > most):
        allowed = f"at least {least}" if most is None else f"in [{least}, {most}]"
        raise ValueError(f"{name} must be {allowed}; got {number}")
    return number


def real(name: str, value: Any, least: float = -inf) -> float:
    """Check that ``value`` is a finite float that is at least ``least``.

    Raises:
        TypeError: no number.
        ValueError: one outside the range, infinity or NaN.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a number; got {value!r}") from None
    if not isfinite(number) or number < least:
        allowed = "finite" if least == -inf else f"finite and at least {least:g}"
        raise ValueError(f"{name} must be {allowed}; got {number}")
    return number


def check_which(which: str) -> None:
    """Raise ValueError unless ``which`` names an end of the spectrum."""
    if which not in get_args(Which):
        raise ValueError(f"which must be one of {', '.join(get_args(Which))}; got {which!r}")


def seeded(seed: int) -> torch.Generator:
    """Return a separate generator, so that the ambient one stays untouched."""
    return torch.Generator(device="cpu").manual_seed(whole("seed", seed, 0, MAX_SEED))


def random_vectors(count: int, size: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Draw (count, n) standard normal numbers on the CPU, so that every device starts from the same."""
    return torch.randn(count, size, dtype=dtype, generator=generator)
