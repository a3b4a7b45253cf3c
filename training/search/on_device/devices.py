"""Find the device that members are trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eigenserve.errors import UserError

if TYPE_CHECKING:
    import torch

#: Where Numba's kernels train, one member per thread.
CPU = "cpu"
#: The path of CUDA on torch's CPU tensors: slower than ``CPU``, for checks where there is no GPU.
TORCH_CPU = "torch-cpu"


def check_device(name: str) -> None:
    """Raise UserError where torch, or its device of this name, is missing."""
    if name != CPU:
        torch_device(name)


def torch_device(name: str) -> torch.device:
    """Return torch's device for "cuda", "cuda:1" or "torch-cpu".

    Raises:
        UserError: torch is not installed, or has no such device.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UserError(
            f"device {name} needs torch, which is not installed: pip install 'eigenserve[train]', or use cpu"
        ) from error
    if name == TORCH_CPU:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"device {name} needs a CUDA device; torch {torch.__version__} finds none: use cpu, or a CUDA build of "
            "torch where nvidia-smi lists one"
        )
    device = torch.device(name)
    if (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name} does not exist; torch finds {torch.cuda.device_count()}, from cuda:0")
    return device
