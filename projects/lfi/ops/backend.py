"""What all ops share: torchvision's kernels and the precision they run in."""

from typing import Any

import torch
from torch import Tensor


def torchvision_ops() -> Any:
    """torchvision's op namespace; torchvision is imported on the first call."""
    import torchvision  # noqa: F401

    return torch.ops.torchvision


def widen(tensor: Tensor) -> Tensor:
    """Half precision as float32, any other dtype as it is.

    torchvision has no bfloat16 kernels, and under autocast it runs these ops in float32 as well.
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
