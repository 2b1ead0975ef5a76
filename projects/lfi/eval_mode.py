"""Models in training that are asked something in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Within it a model is in evaluation mode; behind it each module is in the mode that it was in.

    Args:
        model: whole or in part in training mode, or not at all: then nothing is done.
    """
    modes = [(module, module.training) for module in model.modules()]
    if not any(training for _, training in modes):
        yield
        return
    try:
        model.eval()
        yield
    finally:
        # A module may do more than to note its mode, such as LeViT's, which forget what they keep for tests.
        for module, training in modes:
            if module.training != training:
                module.train(training)
        # One with frozen parts has set the mode of these again.
        for module, training in modes:
            module.training = training
