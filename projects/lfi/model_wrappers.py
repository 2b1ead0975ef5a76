"""Models inside others that only run them."""

from __future__ import annotations

from typing import Any


def unwrapped(model: Any) -> Any:
    """The model itself, taken out of DDP and the like, and of mmengine's test-time augmentation."""
    while hasattr(model, 'module'):
        model = model.module
    return model
