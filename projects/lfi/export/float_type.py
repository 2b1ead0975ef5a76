"""The floating type of what is exported."""

from torch import Tensor, nn


def in_type_of(module: nn.Module, images: Tensor) -> Tensor:
    """Images in the floating type of a module's weights."""
    return images.to(next(module.parameters()).dtype)
