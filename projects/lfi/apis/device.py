"""Where a model runs."""

from __future__ import annotations

import torch
from mmengine.device import get_device


def usable_device(device: str | None) -> torch.device:
    """The device of a name.

    Args:
        device: None for a GPU where there is one, else the CPU.

    Raises:
        ValueError: If it cannot be used here; the message names it.
    """
    try:
        found = torch.device(device or get_device())
        torch.empty(0, device=found)
    # Torch without CUDA asserts that it has it.
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'device={device!r} cannot be used: {error}') from error
    return found
