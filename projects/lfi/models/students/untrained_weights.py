"""Weights of a backbone that its features depend on, and no loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

ADAPTER = 'interaction.'
"""Prefix of an adapter's own weights, which the backbone works without."""


def check_losses_reach(backbone: nn.Module, features: Iterable[Tensor], losses: Iterable[Any]) -> None:
    """Check that the losses depend on each weight on which the features depend.

    Weight decay alone would change the others. Norms and biases are left out: the last norm of a ViT is
    trained by no map.

    Args:
        backbone: backbone of a pretraining.
        features: outputs of the backbone.
        losses: losses, tensors or lists of these, before the features are added to them.

    Raises:
        ValueError: if a weight is not reached.
    """
    of_losses = [part for loss in losses for part in (loss if isinstance(loss, list | tuple) else [loss])]
    trained = _reached(of_losses)
    used = _reached(features)
    if trained is None or used is None:
        return
    untrained = [
        name
        for name, weight in backbone.named_parameters()
        if weight.ndim > 1
        and id(weight) in used
        and id(weight) not in trained
        and not name.startswith(ADAPTER)
    ]
    if untrained:
        raise ValueError(
            f'no loss reaches {len(untrained)} weights of the backbone, such as backbone.{untrained[0]}, so '
            'that weight decay alone would change its features: read a later layer, by backbone.reads or '
            'backbone.interaction_layers, or add a part that reads the last output, as '
            "supervision.mse=dict(type='lfi.FeatureMSE')"
        )


def _reached(tensors: Iterable[Tensor]) -> set[int] | None:
    """Return the ids of the leaves that tensors depend on; None if checkpointing hides part of the graph."""
    nodes: list[Any] = [tensor.grad_fn for tensor in tensors if isinstance(tensor, Tensor)]
    seen, leaves = set(), set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == 'CheckpointFunctionBackward':
            return None
        if hasattr(node, 'variable'):
            leaves.add(id(node.variable))
        nodes.extend(following for following, _ in node.next_functions)
    return leaves
