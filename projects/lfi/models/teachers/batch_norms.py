"""Folding of a frozen tower's batch norms into its convolutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.logging import print_log
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

# Only these exact types: a subclass may compute more than its base.
CONVS = (nn.Conv2d, Conv2dSame)
NORMS = (nn.BatchNorm2d, BatchNormAct2d)


@torch.no_grad()
def fold_batch_norms(tower: nn.Module) -> int:
    """Fold batch norms into the convolutions before them; the outputs stay the same.

    EfficientNet-Lite0 spends a fifth of its forward pass on a CPU in batch norms.

    Args:
        tower: module in eval mode, changed in place.

    Returns:
        Number of folded batch norms.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules()):
        return 0
    try:
        graph = _Tracer().trace(tower)
    except Exception as error:  # A foreign forward pass may raise any error; the tower works unfolded.
        print_log(f'batch norms are not folded: {type(tower).__name__} cannot be traced ({error})', 'current')
        return 0
    pairs = list(_conv_and_norm(graph, tower))
    for conv_name, norm_name in pairs:
        conv: Any = tower.get_submodule(conv_name)
        norm: Any = tower.get_submodule(norm_name)
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        remainder: nn.Module = nn.Identity()
        if isinstance(norm, BatchNormAct2d):
            remainder = nn.Sequential(norm.drop, norm.act)
        parent, _, name = norm_name.rpartition('.')
        setattr(tower.get_submodule(parent), name, remainder)
    return len(pairs)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return type(module) in CONVS + NORMS or super().is_leaf_module(module, name)


def _conv_and_norm(graph: fx.Graph, tower: nn.Module) -> Iterator[tuple[str, str]]:
    """Iterate over the names of convolutions and of the batch norms that alone read their outputs."""
    calls = Counter(node.target for node in graph.nodes if node.op == 'call_module')
    for node in graph.nodes:
        if node.op != 'call_module' or len(node.users) != 1:
            continue
        (user,) = node.users
        if user.op != 'call_module' or calls[node.target] > 1 or calls[user.target] > 1:
            continue
        conv, norm = tower.get_submodule(node.target), tower.get_submodule(user.target)
        if type(conv) in CONVS and type(norm) in NORMS:
            yield node.target, user.target
