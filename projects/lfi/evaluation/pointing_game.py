"""The pointing game (Zhang et al., ECCV 2016): does the maximum of a map lie on the object?"""

import torch
from torch import Tensor
from torch.nn import functional as F


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Resize each map to its mask, bilinearly, and look whether the maximum lies in the mask.

    Args:
        maps: (N, H, W) float, one map an object; higher is stronger.
        masks: (N, h, w) bool, where the object can be seen; of any size.

    Returns:
        Tensor: (N,) float32, 1 for a hit; where several pixels are the maximum, as in a flat map, the
        share of them in the mask.

    Raises:
        ValueError: For another number of dimensions, for another N, or for a map that is not finite.
    """
    check_masks(masks)
    if maps.ndim != 3 or len(maps) != len(masks):
        raise ValueError(f'maps is {tuple(maps.shape)}: expected (N, H, W) with the N of masks, {len(masks)}')
    if not len(maps):
        return maps.new_zeros(0)
    resized = on_pixels(maps, masks)
    most, least = resized.amax((1, 2), keepdim=True), resized.amin((1, 2), keepdim=True)
    # Interpolation rounds equal values apart.
    strongest = resized >= most - 1e-6 * (most - least)
    return (strongest & masks).sum((1, 2)) / strongest.sum((1, 2))


def level(maps: Tensor) -> Tensor:
    """Maps (N, H, W), flat ones at 0: of another value interpolation would round some pixels up."""
    flat = maps.amax((1, 2), keepdim=True) == maps.amin((1, 2), keepdim=True)
    return maps.masked_fill(flat, 0)


def on_pixels(maps: Tensor, masks: Tensor) -> Tensor:
    """Maps (N, H, W) as float32 on the pixels of masks (N, h, w): (N, h, w).

    Raises:
        ValueError: As `check_masks` and `check_finite` say.
    """
    check_masks(masks)
    check_finite(maps, 'maps')
    return F.interpolate(level(maps.float())[:, None], masks.shape[1:], mode='bilinear')[:, 0]


def chance_level(masks: Tensor) -> float:
    """The share of hits of a pixel drawn at random: the mean share of the image that a mask (N, h, w) covers.

    Raises:
        ValueError: If `masks` is not (N, h, w) bool, or N is 0.
    """
    check_masks(masks)
    if not len(masks):
        raise ValueError('masks is empty: there is no chance level without objects')
    return masks.float().mean().item()


def check_finite(values: Tensor, name: str) -> None:
    """Raise a ValueError if values are not finite: they would be compared as if they were."""
    if not values.isfinite().all():
        raise ValueError(f'{name} has values that are not finite')


def check_masks(masks: Tensor) -> None:
    """Raise a ValueError if masks is not (N, h, w) bool."""
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise ValueError(f'masks is {tuple(masks.shape)} {masks.dtype}: expected (N, h, w) torch.bool')
