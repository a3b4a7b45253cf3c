"""The CUDA solver in Triton (to come): the same functions as `cpu`, on arrays in GPU memory."""

from typing import Any


def solve_window(d: Any, e: Any, eig_idx: int, window: int, values: Any, vectors: Any) -> None:
    """As `cpu.solve_window`. Raises ValueError where there is no CUDA device."""
    raise ValueError("backend 'triton' needs a CUDA device and Triton; use 'auto' or 'numba'")
