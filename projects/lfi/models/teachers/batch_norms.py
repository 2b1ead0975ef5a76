"""Batch norms of a frozen tower, folded into its convolutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.logging import print_log
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

# Of exactly these types: a subclass may do more than its base.
CONVS = (nn.Conv2d, Conv2dSame)
NORMS = (nn.BatchNorm2d, BatchNormAct2d)


@torch.no_grad()
def fold_batch_norms(tower: nn.Module) -> int:
    """Fold batch norms into the convolutions before them; the outputs stay the same.

    EfficientNet-Lite0 spends a fifth of its forward pass on a CPU in batch norms.

    Args:
        tower: in eval mode, changed in place.

    Returns:
        How many were folded.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules()):
        return 0
    try:
        graph = _Tracer().trace(tower)
    except Exception as error:  # Any error may come from a foreign forward pass; the tower works as it is.
        print_log(
            f'batch norms stay as they are: {type(tower).__name__} cannot be traced ({error})', 'current'
        )
        return 0
    pairs = list(_conv_and_norm(graph, tower))
    for conv_name, norm_name in pairs:
        conv: Any = tower.get_submodule(conv_name)
        norm: Any = tower.get_submodule(norm_name)
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        rest: nn.Module = nn.Identity()
        if isinstance(norm, BatchNormAct2d):
            rest = nn.Sequential(norm.drop, norm.act)
        parent, _, name = norm_name.rpartition('.')
        setattr(tower.get_submodule(parent), name, rest)
    return len(pairs)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return type(module) in CONVS + NORMS or super().is_leaf_module(module, name)


def _conv_and_norm(graph: fx.Graph, tower: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of the convolutions whose output a norm reads and nothing else, and of the norms."""
    calls = Counter(node.target for node in graph.nodes if node.op == 'call_module')
    for node in graph.nodes:
        if node.op != 'call_module' or len(node.users) != 1:
            continue
        (reader,) = node.users
        if reader.op != 'call_module' or calls[node.target] > 1 or calls[reader.target] > 1:
            continue
        conv, norm = tower.get_submodule(node.target), tower.get_submodule(reader.target)
        if type(conv) in CONVS and type(norm) in NORMS:
            yield node.target, reader.target
