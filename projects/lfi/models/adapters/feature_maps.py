"""Channels and strides of a backbone's feature maps, measured by one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lfi.utils.modules import eval_mode

Reads = tuple[int, ...] | tuple[str, ...]
"""Maps to read: indices of the backbone's outputs, or names of the modules that return them."""


@dataclass(frozen=True)
class FeatureMap:
    """Channels and stride of a feature map.

    Args:
        channels: number of channels.
        stride: height and width in pixels from one location to the next.
    """

    channels: int
    stride: tuple[int, int]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the map of an image of height x width pixels, rounded up as backbones do."""
        return -(-height // self.stride[0]), -(-width // self.stride[1])

    def scale(self, finest: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a location, counted in locations of the finest map.

        Args:
            finest: stride of the finest map.

        Raises:
            ValueError: if the stride is not a multiple of the finest map's stride.
        """
        if self.stride[0] % finest[0] or self.stride[1] % finest[1]:
            raise ValueError(
                f'reads: the stride {self.stride} of a map is not a multiple of the finest stride {finest}: '
                'read maps whose strides are multiples of the finest one'
            )
        return self.stride[0] // finest[0], self.stride[1] // finest[1]


@torch.no_grad()
def find_feature_maps(
    backbone: nn.Module, reads: Sequence[int] | Sequence[str] | None, size: tuple[int, int]
) -> tuple[Reads, list[FeatureMap], list[str]]:
    """Measure the feature maps of a backbone on a blank image of 3 channels, in eval mode.

    Args:
        backbone: backbone, left unchanged.
        reads: maps to read. None for the last two outputs, or the only one.
        size: height and width in pixels of the blank image.

    Returns:
        `reads`, with indices of 0 or more, and the map of each read, both in the order of the forward pass.
        The third value names what follows the last read: outputs, or modules with weights other than norms.

    Raises:
        ValueError: if an output to read is no feature map (B, C, H, W), its stride is not a whole number of
            pixels, or the backbone does not accept the image.
    """
    if isinstance(reads, str) or len({type(read) for read in reads or ()}) > 1:
        raise ValueError(f'reads={reads!r} must be a list of output indices, or a list of module names')
    modules = dict(backbone.named_modules())
    names = [read for read in reads or () if isinstance(read, str)]
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(
            f'reads={list(reads or ())} has {unknown[0]!r}, which is not a module of '
            f'{type(backbone).__name__}; it has {_children(backbone)}'
        )
    module_outputs: dict[str, object] = {}
    unread: list[str] = []

    def store(name: str, module: nn.Module, inputs: object, output: object) -> None:
        module_outputs[name] = output
        unread.clear()

    def note(name: str, module: nn.Module, inputs: object) -> None:
        unread.append(name)

    handles = [modules[name].register_forward_hook(partial(store, name)) for name in names]
    for name, module in modules.items():
        # Parameters of norms have one dimension.
        if any(parameter.ndim > 1 for parameter in module.parameters(recurse=False)):
            handles.append(module.register_forward_pre_hook(partial(note, name)))
    parameter = next(backbone.parameters())
    try:
        with eval_mode(backbone):
            outputs = _outputs(backbone, torch.zeros(1, 3, *size).to(parameter))
    finally:
        for handle in handles:
            handle.remove()
    idle = [name for name in names if name not in module_outputs]
    if idle:
        raise ValueError(
            f'reads={list(reads or ())} has {idle[0]!r}, which {type(backbone).__name__} does not run in its '
            f'forward pass: choose from {_children(backbone)}'
        )
    outputs_by_read: list[tuple[Any, object]] = list(module_outputs.items())
    if not names:
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        if not isinstance(outputs, list | tuple):
            raise ValueError(
                f'{type(backbone).__name__} returns a {type(outputs).__name__}, and not a list or a tuple of '
                f'maps: set reads to names of its modules, such as {_children(backbone)}'
            )
        indices = _indices(reads, len(outputs))
        outputs_by_read = [(index, outputs[index]) for index in indices]
        unread = [f'output {index}' for index in range(indices[-1] + 1, len(outputs))]
    maps = [_feature_map(backbone, read, output, size) for read, output in outputs_by_read]
    return tuple(read for read, _ in outputs_by_read), maps, unread


def _outputs(backbone: nn.Module, images: Tensor) -> Any:
    try:
        return backbone(images)
    # Backbones of a fixed image size raise errors of various types.
    except Exception as error:
        raise ValueError(
            f'{type(backbone).__name__} does not accept a blank image of 3 channels and '
            f'{tuple(images.shape[-2:])} pixels ({type(error).__name__}: {error}): build it for images of 3 '
            'channels, and set probe_size to the size of your images'
        ) from error


def _children(backbone: nn.Module) -> list[str]:
    return [name for name, _ in backbone.named_children()]


def _indices(reads: Sequence | None, n: int) -> list[int]:
    if reads is None:
        return list(range(max(0, n - 2), n))
    indices = [read + n if isinstance(read, int) and read < 0 else read for read in reads]
    in_range = all(isinstance(index, int) and 0 <= index < n for index in indices)
    if not indices or not in_range or indices != sorted(set(indices)):
        raise ValueError(
            f'reads={list(reads)} must be increasing indices of the {n} outputs of the backbone, or names of '
            'its modules'
        )
    return indices


def _feature_map(backbone: nn.Module, read: int | str, output: object, size: tuple[int, int]) -> FeatureMap:
    kind = type(backbone).__name__
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f'reads={read!r} of {kind} gives {shape}, and no feature map (B, C, H, W): set reads to modules '
            "that return maps, such as reads=('layer3', 'layer4') of a ResNet, or let the backbone return "
            "maps, by out_type='featmap' of a ViT or gap_before_final_norm=False of a ConvNeXt"
        )
    _, channels, height, width = output.shape
    if size[0] % height or size[1] % width:
        raise ValueError(
            f'reads={read!r} of {kind} gives maps of {(height, width)} for images of {size} pixels: set '
            'probe_size to a multiple of its stride'
        )
    return FeatureMap(channels, (size[0] // height, size[1] // width))
