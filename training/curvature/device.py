"""Choose where to compute, by the names of the command line."""

from __future__ import annotations

import torch

from eigenserve.errors import UserError


def choose_device(name: str) -> str:
    """Choose "cpu" or "cuda" for auto, cpu or cuda; auto is cuda where torch has one.

    Raises:
        UserError: cuda where torch has none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if has_cuda else "cpu"
    if name == "cuda" and not has_cuda:
        raise UserError("--device cuda needs a CUDA device and a torch that was built for it; use --device cpu")
    return name
