"""How well maps lie on what they name: measures of one map against one region."""

from __future__ import annotations

import torch
from torch import Tensor

from .pointing_game import on_pixels, pointing_game

MEASURES = ('pointing', 'energy', 'average_precision')


def localization(maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """All of `MEASURES`, each (N,) float32 in [0, 1].

    Args:
        maps: (N, H, W) float, higher is stronger; brought to the masks' size, bilinearly.
        masks: (N, h, w) bool, where the concept can be seen.
    """
    return {
        'pointing': pointing_game(maps, masks),
        'energy': energy_pointing_game(maps, masks),
        'average_precision': map_average_precision(maps, masks),
    }


def energy_pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of a map's energy inside its mask, (N,), with each map brought to [0, 1].

    (Wang et al., "Score-CAM", CVPR Workshops 2020, section 4.3.) A flat map gives the mask's share of the
    image.
    """
    values = on_pixels(maps, masks).flatten(1)  # [N, h * w]
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    flat = high == low
    values = torch.where(flat, 1.0, (values - low) / (high - low).where(~flat, 1.0))
    return (values * masks.flatten(1)).sum(1) / values.sum(1)


def map_average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """Average precision of the map as a detector of its mask's pixels, (N,); by chance the mask's share.

    Equal values are found together, so that their order does not count: a flat map gives the mask's share.
    """
    return average_precision(on_pixels(maps, masks).flatten(1), masks.flatten(1))


def average_precision(scores: Tensor, hits: Tensor) -> Tensor:
    """Average precision of each row of scores as a ranking of its hits, (N,).

    Equal scores are found together, so that their order does not count.

    Args:
        scores: (N, P) float, higher is found first.
        hits: (N, P) bool, at least one in each row.
    """
    values, order = scores.sort(1, descending=True)
    found = hits.gather(1, order)
    ranks = torch.arange(1, values.shape[1] + 1, device=values.device)
    precision = found.cumsum(1) / ranks
    # The precision of a score is that of the last one with its value.
    ends = torch.searchsorted(-values, -values, right=True) - 1
    return (precision.gather(1, ends) * found).sum(1) / found.sum(1)


def centre_map(size: tuple[int, int]) -> Tensor:
    """The map of one who always looks at the middle, (H, W): a Gaussian, a quarter of each side wide."""
    y, x = (torch.linspace(-1, 1, 2 * side + 1)[1::2] / 0.5 for side in size)
    return (-(y[:, None].square() + x.square()) / 2).exp()
