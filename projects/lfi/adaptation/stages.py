"""Which feature maps of a backbone queries should read, found by running it once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lfi.models.adapters.feature_maps import FeatureMap, find_feature_maps
from lfi.utils.modules import eval_mode

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

    A stage is what gives maps of one grid, and ends with the module that runs last in it, among those that
    lie in no other that gives a map: a ResNet's 'layer3' and 'layer4', a ConvNeXt's 'stages.2' and
    'stages.3'. Where all blocks have one grid, it is the one in the middle and the last.

    Args:
        backbone: it is left as it was.
        size: of the blank image that it is run on.

    Returns:
        Their names, the earlier one first; none where the modules give fewer maps, where the backbone's own
        output is coarser than any of theirs, or where most weights come after them, as in a ViT, whose
        blocks give tokens.
    """
    runs, grid = _run(backbone, size)
    once = {run.name: run for run in runs if sum(run.name == other.name for other in runs) == 1}
    # Pooled ones have one location.
    maps = {
        name: run.grid
        for name, run in once.items()
        if run.grid and min(run.grid) > 1 and not (size % run.grid[0] or size % run.grid[1])
    }
    # A backbone may be a module of another one, and no stage holds all others.
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
    """Whether a module holds all others that give maps, and there are some."""
    others = [other for other in maps if other != name]
    return bool(others) and all(other.startswith(f'{name}.') for other in others)


class _Run(NamedTuple):
    """That a module has run."""

    name: str
    grid: tuple[int, int] | None
    """Of its map; None where it gives none."""


def _run(backbone: nn.Module, size: int) -> tuple[list[_Run], tuple[int, int] | None]:
    """What modules gave in a pass over a blank image, in the order in which they ended; the output's grid."""
    runs: list[_Run] = []

    def note(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        # What hands on its input, as timm's pool and head without classes, ends no stage.
        if not any(output is each for each in inputs):
            runs.append(_Run(name, _grid(output)))

    handles = [
        module.register_forward_hook(partial(note, name)) for name, module in backbone.named_modules() if name
    ]
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
