"""Search for the feature maps of a backbone that queries should read, by one forward pass."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lfi.models.adapters.feature_maps import FeatureMap, find_feature_maps
from lfi.utils.modules import eval_mode

PROBE_SIZES = (64, 256, 224, 384, 512, 32)
"""Sides in pixels of the blank images to try, in this order: some backbones take only one size."""


def output_maps(backbone: nn.Module, size: int) -> list[FeatureMap]:
    """Return the feature maps of a backbone's last two outputs; empty if an output is no map.

    Args:
        backbone: backbone, which is left unchanged.
        size: side of the blank image in pixels.
    """
    try:
        return find_feature_maps(backbone, None, (size, size))[1]
    except ValueError:
        return []


def last_stages(backbone: nn.Module, size: int) -> tuple[str, ...]:
    """Return the names of the modules that end a backbone's last two stages.

    A stage is the modules whose maps have one grid. It ends with the outermost module that runs last:
    'layer3' and 'layer4' of a ResNet, 'stages.2' and 'stages.3' of a ConvNeXt. If all blocks have one grid,
    the middle block and the last one count as ends.

    Args:
        backbone: backbone, which is left unchanged.
        size: side of the blank image in pixels.

    Returns:
        The names, the earlier stage first. Empty if too few modules return maps, if the backbone's output is
        coarser than all maps, or if most weights come after the maps, as in a ViT: its blocks return tokens.
    """
    runs, grid = _run(backbone, size)
    single_runs = {run.name: run for run in runs if sum(run.name == other.name for other in runs) == 1}
    # Pooled features have one location.
    maps = {
        name: run.grid
        for name, run in single_runs.items()
        if run.grid and min(run.grid) > 1 and not (size % run.grid[0] or size % run.grid[1])
    }
    # A backbone may wrap another one: a module that holds all others is no stage.
    maps = {name: grid for name, grid in maps.items() if not _holds_all(name, maps)}
    outer = [name for name in maps if not any(name.startswith(f'{other}.') for other in maps)]
    ends = {maps[name]: name for name in outer}
    if not ends or (grid and grid != min(ends)):
        return ()
    last = ends[min(ends)]
    modules, names = dict(backbone.named_modules()), [run.name for run in runs]
    later = {name for name in names[names.index(last) :] if name != last}
    if sum(map(_own_weights, map(modules.__getitem__, later))) > sum(map(_own_weights, modules.values())) / 2:
        return ()
    if len(ends) > 1:
        return ends[sorted(ends)[1]], last
    return (outer[len(outer) // 2], last) if len(outer) > 2 else ()


def _holds_all(name: str, maps: Iterable[str]) -> bool:
    """Whether a module holds all other modules that return maps, at least one."""
    others = [other for other in maps if other != name]
    return bool(others) and all(other.startswith(f'{name}.') for other in others)


class _Run(NamedTuple):
    """Name of a module that ran, with the height and width of its map, or None if it returns no map."""

    name: str
    grid: tuple[int, int] | None


def _run(backbone: nn.Module, size: int) -> tuple[list[_Run], tuple[int, int] | None]:
    """Return the modules that run on a blank image, in the order in which they end, and the output's grid."""
    runs: list[_Run] = []

    def record(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        # Identities end no stage, such as timm's pool and head without classes.
        if not any(output is value for value in inputs):
            runs.append(_Run(name, _grid(output)))

    modules = [(name, module) for name, module in backbone.named_modules() if name]
    handles = [module.register_forward_hook(partial(record, name)) for name, module in modules]
    try:
        with eval_mode(backbone), torch.no_grad():
            output = backbone(torch.zeros(1, 3, size, size).to(next(backbone.parameters())))
    finally:
        for handle in handles:
            handle.remove()
    return runs, _grid(output[-1] if isinstance(output, list | tuple) else output)


def _grid(output: object) -> tuple[int, int] | None:
    if not isinstance(output, Tensor) or output.ndim != 4:
        return None
    return output.shape[2], output.shape[3]


def _own_weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters(recurse=False))
