"""What feature maps a backbone gives, found by running it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lfi.utils.modules import eval_mode

Reads = tuple[int, ...] | tuple[str, ...]
"""Which maps are read: by their places among the outputs, or by the names of the modules that give them."""


@dataclass(frozen=True)
class FeatureMap:
    """A feature map of a backbone.

    Args:
        channels: how many.
        stride: height and width in pixels from one location to the next.
    """

    channels: int
    stride: tuple[int, int]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """The map's height and width for an image of a size in pixels: backbones round up."""
        return -(-height // self.stride[0]), -(-width // self.stride[1])

    def scale(self, finest: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a location in locations of the finest map.

        Args:
            finest: that map's stride.

        Raises:
            ValueError: if the stride is not a multiple of it.
        """
        if self.stride[0] % finest[0] or self.stride[1] % finest[1]:
            raise ValueError(
                f'reads gives maps of strides {finest} and {self.stride}, which is not a multiple: read maps '
                'whose strides are multiples of the finest one'
            )
        return self.stride[0] // finest[0], self.stride[1] // finest[1]


@torch.no_grad()
def find_feature_maps(
    backbone: nn.Module, reads: Sequence[int] | Sequence[str] | None, size: tuple[int, int]
) -> tuple[Reads, list[FeatureMap]]:
    """Run a backbone on a blank image of 3 channels, in eval mode, and look at its maps.

    Args:
        backbone: it is left as it was.
        reads: the maps that are wanted. None: the last two outputs, or the only one.
        size: height and width in pixels of the image.

    Returns:
        The reads, places counted from 0, and their maps, in the order in which they come.

    Raises:
        ValueError: if a read has no feature map (B, C, H, W), or its stride is not a whole number of pixels;
            or if the backbone sees no such image.
    """
    if isinstance(reads, str) or len({type(read) for read in reads or ()}) > 1:
        raise ValueError(f'reads={reads!r} must be a list of places, or one of names of modules')
    modules = dict(backbone.named_modules())
    names = [read for read in reads or () if isinstance(read, str)]
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(
            f'reads={list(reads or ())} has {unknown[0]!r}, which is not a module of '
            f'{type(backbone).__name__}; it has {_children(backbone)}'
        )
    of_modules: dict[str, object] = {}

    def keep(name: str, module: nn.Module, inputs: object, output: object) -> None:
        of_modules[name] = output

    handles = [modules[name].register_forward_hook(partial(keep, name)) for name in names]
    parameter = next(backbone.parameters())
    try:
        with eval_mode(backbone):
            outputs = _outputs(backbone, torch.zeros(1, 3, *size).to(parameter))
    finally:
        for handle in handles:
            handle.remove()
    idle = [name for name in names if name not in of_modules]
    if idle:
        raise ValueError(
            f'reads={list(reads or ())} has {idle[0]!r}, which {type(backbone).__name__} does not run in its '
            f'forward pass: take others of {_children(backbone)}'
        )
    found: list[tuple[Any, object]] = list(of_modules.items())
    if not names:
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        if not isinstance(outputs, list | tuple):
            raise ValueError(
                f'{type(backbone).__name__} gives a {type(outputs).__name__}, and outputs are read by their '
                f'places in a list or a tuple: name modules in reads, of {_children(backbone)}'
            )
        found = [(place, outputs[place]) for place in _places(reads, len(outputs))]
    maps = [_feature_map(backbone, read, output, size) for read, output in found]
    return tuple(read for read, _ in found), maps


def _outputs(backbone: nn.Module, images: Tensor) -> Any:
    try:
        return backbone(images)
    # What a backbone of a fixed size says of other images differs from one to the next.
    except Exception as error:
        raise ValueError(
            f'{type(backbone).__name__} cannot see a blank image of 3 channels and '
            f'{tuple(images.shape[-2:])} pixels ({type(error).__name__}: {error}): let it take images of 3 '
            'channels, and set probe_size to the size of yours'
        ) from error


def _children(backbone: nn.Module) -> list[str]:
    return [name for name, _ in backbone.named_children()]


def _places(reads: Sequence | None, n: int) -> list[int]:
    if reads is None:
        return list(range(max(0, n - 2), n))
    places = [read + n if isinstance(read, int) and read < 0 else read for read in reads]
    rise = all(isinstance(place, int) and 0 <= place < n for place in places)
    if not places or not rise or places != sorted(set(places)):
        raise ValueError(
            f'reads={list(reads)} must be places among the {n} outputs of the backbone, which rise, or names '
            'of its modules'
        )
    return places


def _feature_map(backbone: nn.Module, read: int | str, output: object, size: tuple[int, int]) -> FeatureMap:
    kind = type(backbone).__name__
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f'reads={read!r} of {kind} gives {shape}, and no feature map (B, C, H, W): name others in '
            "reads, as reads=('layer3', 'layer4') of a ResNet, or let the backbone give maps, as "
            "out_type='featmap' of a ViT or gap_before_final_norm=False of a ConvNeXt does"
        )
    _, channels, height, width = output.shape
    if size[0] % height or size[1] % width:
        raise ValueError(
            f'reads={read!r} of {kind} gives maps of {(height, width)} for images of {size} pixels: set '
            'probe_size to a multiple of its stride'
        )
    return FeatureMap(channels, (size[0] // height, size[1] // width))
