"""Schedule the learning rate in one cycle."""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray


def one_cycle(steps: int, peak: float) -> FloatArray:
    """Return learning rates (steps,): a cosine up from peak/25 over the first 30%, then one down to peak/250,000.

    The schedule of Smith and Topin (arXiv 1708.07120) in the form that PyTorch made common.
    """
    low, end = peak / 25.0, peak / 25.0 / 1e4
    turn = 0.3 * steps - 1.0
    at = np.arange(steps)
    up = _cosine(low, peak, np.clip(at / max(turn, 1.0), 0.0, 1.0))
    down = _cosine(peak, end, np.clip((at - turn) / max(steps - 1.0 - turn, 1.0), 0.0, 1.0))
    return np.where(at <= turn, up, down)


def _cosine(start: float, end: float, share: FloatArray) -> FloatArray:
    return end + (start - end) / 2.0 * (1.0 + np.cos(np.pi * share))
