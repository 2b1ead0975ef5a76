"""Which feature maps of a backbone queries should read, found by running it once."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lfi.models.adapters.feature_maps import FeatureMap, find_feature_maps

SIZES = (64, 256, 224, 384, 512, 32)
"""Sides in pixels of the blank images that are tried, the cheapest first: some backbones see but one."""


def outputs_of(backbone: nn.Module, size: int) -> list[FeatureMap]:
    """The maps among a backbone's last two outputs; none where an output is no map.

    Args:
        backbone: it is left as it was.
        size: of the blank image.
    """
    try:
        return find_feature_maps(backbone, None, (size, size))[1]
    except ValueError:
        return []


def last_stages(backbone: nn.Module, size: int) -> tuple[str, ...]:
    """The modules that end a backbone's last two stages.

    A stage is what gives maps of one grid. It ends with the module that runs last among those that lie
    highest in the tree of modules: a ResNet's 'layer3' and 'layer4', a ConvNeXt's 'stages.2' and 'stages.3'.

    Args:
        backbone: it is left as it was.
        size: of the blank image that it is run on.

    Returns:
        Their names, the finer one first; none where the modules give fewer maps, or where the backbone's own
        output is coarser than any of theirs.
    """
    runs: Counter[str] = Counter()
    maps: dict[str, tuple[int, int]] = {}
    ended: list[tuple[int, int]] = []

    def keep(name: str, module: nn.Module, inputs: object, output: object) -> None:
        runs[name] += 1
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] > 1:
            maps[name] = (output.shape[2], output.shape[3])

    def end(module: nn.Module, inputs: object, output: Any) -> None:
        last = output[-1] if isinstance(output, list | tuple) else output
        if isinstance(last, Tensor) and last.ndim == 4:
            ended.append((last.shape[2], last.shape[3]))

    handles = [
        module.register_forward_hook(partial(keep, name)) for name, module in backbone.named_modules() if name
    ]
    handles.append(backbone.register_forward_hook(end))
    training = backbone.training
    try:
        backbone.eval()
        with torch.no_grad():
            backbone(torch.zeros(1, 3, size, size).to(next(backbone.parameters())))
    finally:
        backbone.train(training)
        for handle in handles:
            handle.remove()
    # Pooled ones have one location, and a module that runs often is no stage.
    grids = {
        name: grid
        for name, grid in maps.items()
        if runs[name] == 1 and min(grid) > 1 and not (size % grid[0] or size % grid[1])
    }
    ends: dict[tuple[int, int], str] = {}
    for name, grid in grids.items():
        if grid not in ends or name.count('.') <= ends[grid].count('.'):
            ends[grid] = name
    coarsest = sorted(ends)[:2]
    if len(coarsest) < 2 or (ended and ended[-1] != coarsest[0]):
        return ()
    return ends[coarsest[1]], ends[coarsest[0]]
